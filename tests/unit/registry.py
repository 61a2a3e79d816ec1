"""A registry that keeps no history, and whoever observes it: the twin of a service catalog."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from shared import naming
from shared.errors import ConfigError, SluiceError
from shared.events import ChangeEvent, FoundStream, Memo, Observation, Op, Position, Stream

WEB = naming.stream("reg1", "dc1", "web")
API = naming.stream("reg1", "dc1", "api")

type Rows = dict[str, dict[str, Any]]


class Registry:
    """Rows by key and stream, as they are now; `version` rises with every change.

    `fail` holds errors to come; `move` happens right before each look.
    """

    def __init__(self, *streams: Stream) -> None:
        self.rows: dict[Stream, Rows] = {stream: {} for stream in streams or (WEB,)}
        self.version = 0
        self.changed_at: dict[Stream, int] = dict.fromkeys(self.rows, 0)
        self.fail: list[SluiceError] = []
        self.move: Callable[[], None] = lambda: None

    def put(self, key: str, stream: Stream = WEB, **values: Any) -> None:
        self.rows.setdefault(stream, {})[key] = {"ID": key, **values}
        self._touch(stream)

    def remove(self, key: str, stream: Stream = WEB) -> None:
        del self.rows[stream][key]
        self._touch(stream)

    def _touch(self, stream: Stream) -> None:
        self.version += 1
        self.changed_at[stream] = self.version


class RegistryObserver:
    """One process's view of a registry; positions are `<10 digits of the version>-<6 digits>`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._seen: dict[Stream, int] = {}
        self.observed: list[Stream] = []

    async def discover(self, known: Collection[Stream]) -> tuple[Sequence[FoundStream], Sequence[ConfigError]]:
        streams = sorted({*self._registry.rows, *known})
        return [FoundStream(each, Position(""), 1.0, 1.0, float("inf")) for each in streams], ()

    async def probe(self, streams: Collection[Stream]) -> frozenset[Stream]:
        changed_at = self._registry.changed_at
        return frozenset(each for each, version in changed_at.items() if self._seen.get(each) != version)

    async def observe(
        self, stream: Stream, memo: Memo | None, after: Position, *, snapshot: bool = False
    ) -> Observation:
        if self._registry.fail:
            raise self._registry.fail.pop(0)
        self._registry.move()
        self.observed.append(stream)
        items = dict(self._registry.rows.get(stream, {}))
        self._seen[stream] = self._registry.changed_at.get(stream, 0)
        version = max(self._registry.version, int(after.partition("-")[0] or 0) + 1)
        changes = [*_changes(memo.items if memo else {}, items, snapshot=memo is None)]
        changes += [("r", None, row) for row in items.values() if snapshot and memo is not None]
        events = [_event(stream, version, n, *change) for n, change in enumerate(changes, start=1)]
        return Observation(events, Memo({"version": version}, items))


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], *, snapshot: bool) -> Sequence[tuple[Op, Any, Any]]:
    added: Op = "r" if snapshot else "c"
    return [
        *(("d", row, None) for key, row in old.items() if key not in new),
        *((added, None, row) for key, row in new.items() if key not in old),
        *(("u", old[key], row) for key, row in new.items() if key in old and old[key] != row),
    ]


def _event(stream: Stream, version: int, n: int, op: Op, before: Any, after: Any) -> ChangeEvent:
    return ChangeEvent(
        stream=stream,
        op=op,
        position=Position(f"{version:010d}-{n:06d}"),
        key=("ID",),
        before=before,
        after=after,
        commit_time="2026-11-21T07:28:06.0000000Z",
        facts={"Version": version},
    )


def applied(events: Sequence[ChangeEvent], rows: Rows | None = None) -> Rows:
    """Return the picture of whoever applies these events in order."""
    picture = dict(rows or {})
    for event in events:
        if event.after is None:
            assert event.before is not None
            picture.pop(event.before["ID"], None)
        else:
            picture[event.after["ID"]] = event.after
    return picture
