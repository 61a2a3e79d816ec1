"""A source in memory whose commits, clean-ups and faults are scripted: the twin of a change-captured database."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from shared import naming
from shared.errors import ConfigError, PositionLostError, SluiceError
from shared.events import Batch, ChangeEvent, FoundStream, Op, Position, Stream

type Call = Literal["discover", "probe", "read"]

EPOCH = datetime(2026, 11, 21, 7, 28, 6, tzinfo=UTC)
"""When the first transaction was committed; each later one a millisecond after the one before."""

_OPERATION_IDS = {"d": 1, "c": 2, "u": 4, "r": 0}
_END = 999_999


@dataclass(frozen=True, slots=True)
class Change:
    """One row's change, as a test states it; `before` and `after` as in `ChangeEvent`."""

    op: Op
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    key: tuple[str, ...] = ("ID",)


def insert(row: dict[str, Any]) -> Change:
    """Return the insertion of `row`."""
    return Change("c", None, row)


def update(before: dict[str, Any], after: dict[str, Any]) -> Change:
    """Return the change of a row from `before` to `after`."""
    return Change("u", before, after)


def delete(row: dict[str, Any]) -> Change:
    """Return the deletion of `row`."""
    return Change("d", row, None)


@dataclass(slots=True)
class _Kept:
    """One stream: what it holds, and the newest transaction that is gone."""

    found: FoundStream
    events: list[ChangeEvent] = field(default_factory=list)
    cleaned: int = 0


class ScriptedSource:
    """Reads what the test committed.

    Positions are `<10 digits>-<6 digits>`: transaction and change in it. All streams share one count of transactions,
    as the tables of a database share its log. `calls` counts the calls of each method that did IO.
    """

    def __init__(self, *streams: Stream, poll_interval_s: float = 1.0, retention_s: float = 259_200.0) -> None:
        self.calls: dict[Call, int] = {"discover": 0, "probe": 0, "read": 0}
        self._poll_interval_s = poll_interval_s
        self._retention_s = retention_s
        self._kept: dict[Stream, _Kept] = {}
        self._transaction = 0
        self._faults: defaultdict[Call, list[tuple[Stream | None, SluiceError]]] = defaultdict(list)
        for stream in streams:
            self.add(stream)

    def add(self, stream: Stream, *, first: Position | None = None) -> None:
        """Make the source hold `stream`, empty, beginning at `first` (before all transactions by default)."""
        found = FoundStream(
            stream=stream,
            first=_position(0, 0) if first is None else first,
            poll_interval_s=self._poll_interval_s,
            max_poll_interval_s=self._poll_interval_s * 30,
            retention_s=self._retention_s,
        )
        self._kept[stream] = _Kept(found)

    def commit(self, stream: Stream, *changes: Change) -> Sequence[ChangeEvent]:
        """Commit one transaction that changes one stream, and return its events; without changes, time just passes."""
        return self.commit_all({stream: changes})

    def commit_all(self, changes: Mapping[Stream, Iterable[Change]]) -> Sequence[ChangeEvent]:
        """Commit one transaction over several streams, and return its events."""
        self._transaction += 1
        events: list[ChangeEvent] = []
        for stream, rows in changes.items():
            if stream not in self._kept:
                self.add(stream)
            made = [self._event(stream, number, change) for number, change in enumerate(rows, start=1)]
            self._kept[stream].events.extend(made)
            events.extend(made)
        return events

    def events(self, stream: Stream) -> Sequence[ChangeEvent]:
        """Return all that the source still holds of `stream`, in commit order."""
        return tuple(self._kept[stream].events)

    def clean_up(self, stream: Stream) -> None:
        """Forget everything committed so far: reading from before it is over."""
        kept = self._kept[stream]
        kept.events.clear()
        kept.cleaned = self._transaction

    def restore(self, transaction: int) -> None:
        """Go back to how things were after `transaction`, as a database restored from a backup does."""
        self._transaction = transaction
        end = _position(transaction, _END)
        for kept in self._kept.values():
            kept.events[:] = [event for event in kept.events if event.position <= end]

    def fail(self, call: Call, *errors: SluiceError, stream: Stream | None = None) -> None:
        """Make the next calls (of `read`: the next ones of `stream`, if given) raise these errors, one each."""
        self._faults[call].extend((stream, error) for error in errors)

    async def discover(self) -> tuple[Sequence[FoundStream], Sequence[ConfigError]]:
        """Return every stream."""
        self._called("discover")
        return [kept.found for kept in self._kept.values()], ()

    async def probe(self, after: Mapping[Stream, Position]) -> frozenset[Stream]:
        """Return which streams hold events after the given positions, and those that can no longer be read on."""
        if not after:
            return frozenset()
        self._called("probe")
        return frozenset(stream for stream, position in after.items() if self._is_changed(stream, position))

    async def read(self, stream: Stream, after: Position, limit: int) -> Batch:
        """Return up to `limit` events after `after`, or where the source stands."""
        self._called("read", stream)
        kept = self._of(stream)
        lost = self._lost(kept, after)
        if lost:
            raise PositionLostError(
                stream, lost, hint=f"accept the loss and go on with: sluice resume {stream} --from earliest --skip"
            )
        start = bisect_right(kept.events, after, key=_position_of)
        taken = kept.events[start : start + max(limit, 1)]
        if not taken:
            return Batch((), max(after, _position(self._transaction, _END)))
        return Batch(taken, taken[-1].position, more=start + len(taken) < len(kept.events))

    def _event(self, stream: Stream, number: int, change: Change) -> ChangeEvent:
        committed = EPOCH + timedelta(milliseconds=self._transaction - 1)
        lsn = f"{self._transaction:020x}"
        changed = None
        if change.op == "u" and change.before is not None and change.after is not None:
            before = change.before
            changed = tuple(name for name, value in change.after.items() if before.get(name) != value)
        return ChangeEvent(
            stream=stream,
            op=change.op,
            position=_position(self._transaction, number),
            key=change.key,
            before=change.before,
            after=change.after,
            commit_time=f"{committed:%Y-%m-%dT%H:%M:%S.%f}0Z",
            facts={"LSN": lsn, "Seq": f"{number:020x}", "CommandID": 1, "OperationID": _OPERATION_IDS[change.op]},
            changed=changed,
            origin=_named(stream, "Database", "Schema", "TableName"),
        )

    def _is_changed(self, stream: Stream, after: Position) -> bool:
        kept = self._of(stream)
        return bool(self._lost(kept, after)) or (bool(kept.events) and kept.events[-1].position > after)

    def _lost(self, kept: _Kept, after: Position) -> str:
        transaction = int(after.partition("-")[0] or 0)
        if after and transaction < kept.cleaned:
            return f"the source cleaned up to transaction {kept.cleaned}; the position is {after}"
        if transaction > self._transaction:
            return f"the source is at transaction {self._transaction}, the position is {after}: it was restored"
        return ""

    def _of(self, stream: Stream) -> _Kept:
        kept = self._kept.get(stream)
        if kept is None:
            msg = f"there is no stream {stream}"
            raise ConfigError(msg, hint="commit something to it, or add it")
        return kept

    def _called(self, call: Call, stream: Stream | None = None) -> None:
        self.calls[call] += 1
        faults = self._faults[call]
        for index, (only, error) in enumerate(faults):
            if only is None or only == stream:
                del faults[index]
                raise error


def origin(stream: Stream, position: Position) -> dict[str, str | int]:
    """Return what the properties of a message say of a stream: as of a table, when it has as many parts."""
    return {**_named(stream, "database", "schema", "table"), "lsn": position.partition("-")[0]}


def _named(stream: Stream, *names: str) -> dict[str, str]:
    parts = naming.parts(stream)[1:]
    return dict(reversed(list(zip(names, parts, strict=True)))) if len(parts) == len(names) else {}


def _position_of(event: ChangeEvent) -> Position:
    return event.position


def _position(transaction: int, number: int) -> Position:
    return Position(f"{transaction:010d}-{number:06d}")
