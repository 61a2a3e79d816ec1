"""Rows of a change table become change events; pure.

A row is `(start_lsn, command_id, seqval, operation, update_mask, commit time, value, …)`; operations: 1 delete,
2 insert, 3 the row before an update, 4 the row after it.

Source:
    https://learn.microsoft.com/sql/relational-databases/system-tables/cdc-capture-instance-ct-transact-sql
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from shared.events import ChangeEvent, Op, Stream
from shared.sources.sqlserver.origin import metadata
from shared.sources.sqlserver.position import Place, encode
from shared.sources.sqlserver.values import Column, conversion

type Row = Sequence[Any]

DELETE, INSERT, BEFORE, AFTER = 1, 2, 3, 4
FIRST_VALUE = 6
"""Where the values begin in a row."""

_OPS: dict[int, Op] = {DELETE: "d", INSERT: "c", BEFORE: "u", AFTER: "u"}
_MASKS_REMEMBERED = 1024


def whole_groups(rows: Sequence[Row], limit: int, *, more: bool) -> int | None:
    """Return how many rows, at most `limit`, to take so that no group is cut; None when none is known to be whole.

    A group is the rows of one command and sequence value: an update's two rows, or the delete and the insert by which
    the server records an update of a key. The first group counts whole even beyond `limit`. `more` says that rows may
    follow those given.
    """
    if len(rows) <= limit and not more:
        return len(rows)
    cut = min(limit, len(rows) - 1)
    while cut > 0 and _group(rows[cut - 1]) == _group(rows[cut]):
        cut -= 1
    if cut > 0:
        return cut
    first = _group(rows[0])
    end = next((index for index, row in enumerate(rows) if _group(row) != first), None)
    if end is None and not more:
        return len(rows)
    return end


class Changes:
    """Makes the events of one capture instance out of its rows."""

    def __init__(
        self, stream: Stream, key: Iterable[str], columns: Iterable[Column], values: Literal["typed", "string"]
    ) -> None:
        captured = tuple(columns)
        self.columns = tuple(column for column in captured if not column.computed)
        """Those whose values a row holds, in its order."""
        self._stream = stream
        self._origin = metadata(stream)
        self._key = tuple(key)
        self._names = tuple(column.name for column in self.columns)
        self._conversions = tuple(
            (column.name, convert) for column in self.columns if (convert := conversion(column, values)) is not None
        )
        self._never = tuple(column.name for column in captured if column.computed)
        self._no_before = tuple(column.name for column in self.columns if column.has_no_before)
        self._in_mask = lru_cache(_MASKS_REMEMBERED)(self._columns_of_mask)

    def events(self, rows: Sequence[Row], utc_offset: timedelta) -> list[ChangeEvent]:
        """Return one event per change; `utc_offset` is how far the server's local time is ahead of UTC."""
        events: list[ChangeEvent] = []
        lsn, time = None, ""
        for row, before, after in _paired(rows):
            if row[0] != lsn:
                lsn, time = row[0], _utc(row[5], utc_offset)
            events.append(self._event(row, before, after, time))
        return events

    def _event(self, row: Row, before: Row | None, after: Row | None, time: str) -> ChangeEvent:
        start_lsn, command_id, seqval, operation, mask = row[:5]
        old = None if before is None else self._values(before)
        new = None if after is None else self._values(after)
        changed: tuple[str, ...] | None = None
        missing: tuple[str, ...] = ()
        if operation >= BEFORE:
            changed, missing = self._leave_out(mask, old, new)
        elif old is not None and self._no_before:
            missing = _drop_nulls(old, self._no_before)
        return ChangeEvent(
            stream=self._stream,
            op=_OPS[operation],
            position=encode(Place(start_lsn, command_id, seqval, operation)),
            key=self._key,
            before=old,
            after=new,
            commit_time=time,
            facts={
                "LSN": start_lsn.hex(),
                "Seq": seqval.hex(),
                "CommandID": command_id,
                "OperationID": operation,
            },
            changed=changed,
            unavailable=self._never + missing,
            origin=self._origin,
        )

    def _values(self, row: Row) -> dict[str, Any]:
        values = dict(zip(self._names, row[FIRST_VALUE:], strict=True))
        for name, convert in self._conversions:
            value = values[name]
            if value is not None:
                values[name] = convert(value)
        return values

    def _leave_out(
        self, mask: bytes, old: dict[str, Any] | None, new: dict[str, Any] | None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Take out of an update's rows what the server did not record; return the changed and the missing columns."""
        changed, untouched = self._in_mask(mask)
        missing = []
        for name in untouched:
            rows = [values for values in (old, new) if values is not None]
            value = rows[-1][name]
            if value is None:
                missing.append(name)
            for values in rows:
                if value is None:
                    del values[name]
                else:
                    values[name] = value
        if old is not None and self._no_before:
            _drop_nulls(old, (name for name in self._no_before if name in old))
        return changed, tuple(missing)

    def _columns_of_mask(self, mask: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the columns that an update changed, and of the large ones that it left alone.

        The mask is counted from its last byte: the column with ordinal 1 is the lowest bit of that.
        """
        bits = int.from_bytes(mask)
        changed = tuple(column.name for column in self.columns if bits >> (column.ordinal - 1) & 1)
        untouched = tuple(
            column.name for column in self.columns if column.is_large and not bits >> (column.ordinal - 1) & 1
        )
        return changed, untouched


def _paired(rows: Iterable[Row]) -> Iterator[tuple[Row, Row | None, Row | None]]:
    """Yield of each change the row that places it, and those before and after; a lone half of an update is kept too."""
    before: Row | None = None
    for row in rows:
        operation = row[3]
        if before is not None:
            whole = operation == AFTER and _group(row) == _group(before)
            yield (row, before, row) if whole else (before, before, None)
            before = None
            if whole:
                continue
        if operation == BEFORE:
            before = row
        elif operation == DELETE:
            yield row, row, None
        else:
            yield row, None, row
    if before is not None:
        yield before, before, None


def _drop_nulls(values: dict[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    """Take these columns out where they are null, and return which ones were."""
    nulls = tuple(name for name in names if values[name] is None)
    for name in nulls:
        del values[name]
    return nulls


def _group(row: Row) -> tuple[Any, Any, Any]:
    return row[0], row[1], row[2]


def _utc(local: str | None, utc_offset: timedelta) -> str:
    """Return when a transaction ended, UTC with seven digits; "" when the server no longer knows.

    `local` has seven digits too, of which a `datetime` fills three.
    """
    if local is None:
        return ""
    moment = datetime.fromisoformat(local[:-1]) - utc_offset
    return f"{moment.isoformat(timespec='microseconds')}{local[-1]}Z"
