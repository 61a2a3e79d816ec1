"""Errors as SQL Server numbers them.

https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors
"""


class SqlError(Exception):
    """An error the client sees: number, message, class (severity) and state."""

    def __init__(self, number: int, message: str, severity: int = 16, state: int = 1) -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.severity = severity
        self.state = state


class AttentionError(Exception):
    """The client asked to stop the running request."""


class DisconnectError(Exception):
    """The connection is gone, or a fault says it has to go."""


def syntax(near: str) -> SqlError:
    """Return error 102, the answer to everything this server does not know."""
    return SqlError(102, f"Incorrect syntax near '{near}'.", 15)


def unknown_object(name: str) -> SqlError:
    """Return error 208."""
    return SqlError(208, f"Invalid object name '{name}'.")


def unknown_column(name: str) -> SqlError:
    """Return error 207."""
    return SqlError(207, f"Invalid column name '{name}'.")


def unknown_procedure(name: str) -> SqlError:
    """Return error 2812."""
    return SqlError(2812, f"Could not find stored procedure '{name}'.", state=62)


def denied(action: str, name: str, database: str, schema: str) -> SqlError:
    """Return error 229."""
    text = f"The {action} permission was denied on the object '{name}', database '{database}', schema '{schema}'."
    return SqlError(229, text, 14, 5)


def cannot_convert(source: str, target: str) -> SqlError:
    """Return error 529: no conversion exists between two types."""
    return SqlError(529, f"Explicit conversion from data type {source} to {target} is not allowed.")


def overflow(target: str) -> SqlError:
    """Return error 8115."""
    return SqlError(8115, f"Arithmetic overflow error converting expression to data type {target}.", state=2)
