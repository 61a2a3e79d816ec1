"""The grammar of definitions: CREATE, ALTER, DROP.

https://learn.microsoft.com/sql/t-sql/statements/create-table-transact-sql
"""

from dataclasses import replace

from local.sqlserver.sql import commands
from local.sqlserver.sql.cursor import Cursor
from local.sqlserver.sql.parse_expressions import parse_expression
from local.sqlserver.sql.parse_security import parse_membership, parse_principal
from local.sqlserver.sqltypes import SqlType


def parse_create(cursor: Cursor) -> commands.Statement:
    """Take CREATE TABLE, INDEX, SCHEMA, DATABASE, LOGIN, USER or ROLE."""
    cursor.expect("CREATE")
    if (word := cursor.accept_any("LOGIN", "USER", "ROLE")) is not None:
        return parse_principal(cursor, word)
    if cursor.accept("TABLE"):
        return _table(cursor)
    if (word := cursor.accept_any("SCHEMA", "DATABASE")) is not None:
        return commands.Create(word, cursor.identifier())
    unique = cursor.accept("UNIQUE")
    clustered = cursor.accept_any("CLUSTERED", "NONCLUSTERED") == "CLUSTERED"
    cursor.expect("INDEX")
    name = cursor.identifier()
    cursor.expect("ON")
    return commands.CreateIndex(name, cursor.name(), _key(cursor), unique, clustered)


def _table(cursor: Cursor) -> commands.CreateTable:
    name = cursor.name()
    cursor.expect("(")
    columns, constraints = [], []
    while True:
        if _is_constraint(cursor):
            constraints.append(_constraint(cursor))
        else:
            columns.append(_column(cursor))
        if not cursor.accept(","):
            break
        if cursor.at(")"):
            break
    cursor.expect(")")
    if cursor.accept("ON") or cursor.accept("TEXTIMAGE_ON"):
        cursor.identifier()
    return commands.CreateTable(name, tuple(columns), tuple(constraints))


def _is_constraint(cursor: Cursor) -> bool:
    return cursor.token.word in {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}


def _constraint(cursor: Cursor) -> commands.Constraint:
    name = cursor.identifier() if cursor.accept("CONSTRAINT") else None
    word = cursor.accept_any("PRIMARY", "UNIQUE", "CHECK")
    if word is None:
        raise cursor.fail()
    if word == "CHECK":
        return commands.Constraint(word, name, check=_parenthesised(cursor))
    if word == "PRIMARY":
        cursor.expect("KEY")
    clustered = _clustered(cursor)
    return commands.Constraint(word, name, _key(cursor), clustered=clustered)


def _clustered(cursor: Cursor) -> bool | None:
    word = cursor.accept_any("CLUSTERED", "NONCLUSTERED")
    return None if word is None else word == "CLUSTERED"


def _key(cursor: Cursor) -> tuple[tuple[str, bool], ...]:
    cursor.expect("(")
    found = []
    while True:
        column = cursor.identifier()
        found.append((column, cursor.accept_any("ASC", "DESC") == "DESC"))
        if not cursor.accept(","):
            break
    cursor.expect(")")
    return tuple(found)


def _parenthesised(cursor: Cursor) -> str:
    cursor.expect("(")
    text = _expression_text(cursor)
    cursor.expect(")")
    return text


def _expression_text(cursor: Cursor) -> str:
    start = cursor.token.at
    parse_expression(cursor)
    return cursor.text_since(start)


def _column(cursor: Cursor) -> commands.ColumnDefinition:
    name = cursor.identifier()
    if cursor.accept("AS"):
        computed = _expression_text(cursor)
        cursor.accept("PERSISTED")
        return commands.ColumnDefinition(name, None, computed=computed)
    # A column called timestamp of type timestamp may leave its name out of the type.
    if name.lower() == "timestamp" and cursor.token.word in {",", ")", "NOT", "NULL"}:
        column = commands.ColumnDefinition(name, SqlType("timestamp"))
    else:
        column = commands.ColumnDefinition(name, cursor.type())
    while (changed := _column_option(cursor, column)) is not None:
        column = changed
    return column


def _column_option(cursor: Cursor, column: commands.ColumnDefinition) -> commands.ColumnDefinition | None:
    if cursor.accept("CONSTRAINT"):
        cursor.identifier()
    if cursor.accept("NOT", "NULL"):
        return replace(column, nullable=False)
    if cursor.accept("NULL"):
        return replace(column, nullable=True)
    if cursor.accept("IDENTITY"):
        return replace(column, identity=_identity(cursor), nullable=False)
    if cursor.accept("PRIMARY", "KEY"):
        _clustered(cursor)
        return replace(column, key="PRIMARY", nullable=False)
    if cursor.accept("UNIQUE"):
        _clustered(cursor)
        return replace(column, key="UNIQUE")
    return _column_rule(cursor, column)


def _column_rule(cursor: Cursor, column: commands.ColumnDefinition) -> commands.ColumnDefinition | None:
    if cursor.accept("DEFAULT"):
        return replace(column, default=_expression_text(cursor))
    if cursor.accept("CHECK"):
        return replace(column, check=_parenthesised(cursor))
    if cursor.accept("COLLATE"):
        cursor.identifier()
        return column
    if cursor.accept("SPARSE") or cursor.accept("ROWGUIDCOL"):
        return column
    return None


def _identity(cursor: Cursor) -> tuple[int, int]:
    if not cursor.accept("("):
        return 1, 1
    seed = cursor.integer()
    cursor.expect(",")
    step = cursor.integer()
    cursor.expect(")")
    return seed, step


def parse_alter(cursor: Cursor) -> commands.Statement:
    """Take ALTER TABLE … ADD, DROP COLUMN or ALTER COLUMN, or ALTER ROLE."""
    start = cursor.token.at
    cursor.expect("ALTER")
    if cursor.accept("ROLE"):
        return parse_membership(cursor)
    cursor.expect("TABLE")
    name = cursor.name()
    if cursor.accept("WITH", "CHECK") or cursor.accept("WITH", "NOCHECK"):
        pass
    if cursor.accept("ADD"):
        columns, constraints = [], []
        while True:
            if _is_constraint(cursor):
                constraints.append(_constraint(cursor))
            else:
                columns.append(_column(cursor))
            if not cursor.accept(","):
                break
        return commands.AlterTable(name, "ADD", tuple(columns), tuple(constraints), text=cursor.text_since(start))
    if cursor.accept("DROP", "COLUMN"):
        names = [cursor.identifier()]
        while cursor.accept(","):
            names.append(cursor.identifier())
        return commands.AlterTable(name, "DROP COLUMN", names=tuple(names), text=cursor.text_since(start))
    cursor.expect("ALTER", "COLUMN")
    column = _column(cursor)
    return commands.AlterTable(name, "ALTER COLUMN", (column,), text=cursor.text_since(start))


def parse_drop(cursor: Cursor) -> commands.Drop:
    """Take DROP TABLE, SCHEMA, DATABASE, INDEX, LOGIN, USER or ROLE."""
    cursor.expect("DROP")
    what = cursor.accept_any("TABLE", "SCHEMA", "DATABASE", "INDEX", "LOGIN", "USER", "ROLE")
    if what is None:
        raise cursor.fail()
    if_exists = cursor.accept("IF", "EXISTS")
    names = [cursor.name()]
    while cursor.accept(","):
        names.append(cursor.name())
    on = None
    if what == "INDEX":
        cursor.expect("ON")
        on = cursor.name()
    return commands.Drop(what, tuple(names), if_exists, on)
