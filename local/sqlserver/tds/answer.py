"""The answer to one request: results and ends of statements as tokens, with the marks that say whether more follows."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from local.sqlserver.errors import SqlError
from local.sqlserver.sqltypes import SqlType
from local.sqlserver.tds import tokens
from local.sqlserver.tds.packets import Wire
from local.sqlserver.tds.pages import Page
from local.sqlserver.tds.rows import encode_rows

_BLOCK = 200


class WireAnswer:
    """Writes the results of a batch, or of one procedure call, to a client.

    `between` is called before each block of rows with the number of rows sent so far; it raises to stop the result.
    """

    def __init__(self, wire: Wire, *, procedure: bool, between: Callable[[int], None]) -> None:
        self._wire = wire
        self._token = tokens.DONE_IN_PROC if procedure else tokens.DONE
        self._procedure = procedure
        self._between = between
        self._pending: tuple[int, int, int] | None = None

    def rows(self, columns: Sequence[tokens.Column], rows: Iterable[Sequence[Any]]) -> int:
        """Send a result, block by block."""
        self._flush_done()
        self._wire.write(tokens.columns(columns))
        kinds = tuple(column.kind for column in columns)
        source = iter(rows)
        count = 0
        while block := list(islice(source, _BLOCK)):
            self._between(count)
            self._wire.write(encode_rows(kinds, block))
            count += len(block)
        return count

    def page(self, page: Page) -> None:
        """Send a result that was kept."""
        self._flush_done()
        self._between(page.rows)
        self._wire.write(page.data)

    def done(self, command: int, count: int | None) -> None:
        """End a statement."""
        self._flush_done()
        self._pending = (tokens.COUNTED if count is not None else 0, command, count or 0)

    def info(self, number: int, message: str) -> None:
        """Send an informational message."""
        self._flush_done()
        self._wire.write(tokens.info(number, message))

    def entered(self, database: str) -> None:
        """Say which database the session is in now."""
        self._flush_done()
        self._wire.write(tokens.changed(1, database))
        self._wire.write(tokens.info(5701, f"Changed database context to '{database}'.", 2))

    def fail(self, fault: SqlError) -> None:
        """Send an error, and end its statement."""
        self._flush_done()
        self._wire.write(tokens.error(fault))
        self._pending = (tokens.FAILED, 0, 0)

    def value(self, ordinal: int, name: str, kind: SqlType, value: bytes) -> None:
        """Send an output parameter."""
        self._flush_done()
        self._wire.write(tokens.return_value(ordinal, name, kind, value))

    def finish(self, *, more: bool = False, status: int = 0) -> None:
        """End the batch or the call; `more` when another call's answer follows."""
        if not self._procedure:
            flags, command, count = self._pending or (0, 0, 0)
            self._wire.write(tokens.done(self._token, flags, command, count))
            return
        failed = self._pending is not None and self._pending[0] & tokens.FAILED
        self._flush_done()
        if not failed:
            self._wire.write(tokens.return_status(status))
        flags = (tokens.FAILED if failed else 0) | (tokens.MORE if more else 0)
        self._wire.write(tokens.done(tokens.DONE_PROC, flags, tokens.EXECUTE))

    def _flush_done(self) -> None:
        if self._pending is not None:
            status, command, count = self._pending
            self._wire.write(tokens.done(self._token, status | tokens.MORE, command, count))
            self._pending = None
