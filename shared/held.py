"""What a capture holds of its shard's streams between ticks, and how it is read again."""

import logging
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby

from shared import chain, naming, schedule
from shared.errors import ConfigError, StaleError
from shared.events import FoundStream, Mark, Position, Record, Saved, Stream, StreamState
from shared.ports import Clock, MarkStore, StateStore

log = logging.getLogger("sluice.capture")

FIND_AT_MOST = 8
"""Streams of one bucket up to which single look-ups are cheaper than reading the whole bucket."""


@dataclass(slots=True)
class Held:
    """One stream as this capture last read or wrote it.

    `trail` has the end of each pack sent that the lowest mark does not cover yet; `adrift` says that the stream was
    loaded with packs under way, so that their number is not known. `looked_at` is when a stream that was quiet for long
    was read and the source turned out to be no further either. Times without a zone are monotonic seconds.
    """

    found: FoundStream
    source: str
    saved: Saved[StreamState]
    marks: Mapping[str, Mark]
    due_at: datetime
    confirmed: bool = True
    adrift: bool = False
    active: bool = False
    stale: bool = False
    unsaved_interval: bool = False
    failures: int = 0
    left_alone_until: float = 0.0
    looked_at: datetime | None = None
    probe_at: float = 0.0
    probe_wait: float = 0.0
    trail: deque[Position] = field(default_factory=deque)

    @property
    def state(self) -> StreamState:
        """The state that was last read or written."""
        return self.saved.value


class Shard:
    """The streams of one shard: the buckets whose number modulo `shards` is `index`."""

    def __init__(
        self,
        *,
        index: int,
        shards: int,
        states: StateStore,
        marks: MarkStore,
        destinations: tuple[str, ...],
        clock: Clock,
        probe_after_s: float,
    ) -> None:
        self._buckets = [bucket for bucket in range(naming.BUCKETS) if bucket % shards == index]
        self._states = states
        self._marks = marks
        self._destinations = destinations
        self._clock = clock
        self._probe_after_s = probe_after_s

    def owns(self, stream: Stream) -> bool:
        """Whether this shard advances the stream."""
        return naming.bucket(stream) in self._buckets

    async def load(
        self, found: Mapping[Stream, tuple[str, FoundStream]], before: Mapping[Stream, Held]
    ) -> dict[Stream, Held]:
        """Read the streams that were found and belong to this shard; create the state of those that have none.

        One that was held `before` and that nobody has changed since stays as it is. A stream whose record a newer
        release wrote is left out, and logged.

        Raises:
            TransientError: the store is away.
        """
        mine = {stream: entry for stream, entry in found.items() if self.owns(stream)}
        records: dict[Stream, Record] = {}
        for bucket in sorted({naming.bucket(stream) for stream in mine}):
            records |= {record.stream: record for record in await self._states.load(bucket)}
        new = [
            Saved(self._created(entry[1], records.get(stream)))
            for stream, entry in mine.items()
            if (record := records.get(stream)) is None or record.state is None
        ]
        for state, outcome in zip(new, await self._states.save(new) if new else (), strict=True):
            stream = state.value.stream
            if isinstance(outcome, StaleError):
                records.pop(stream, None)
            else:
                marks = records[stream].marks if stream in records else {}
                records[stream] = Record(stream, outcome, marks)
        held: dict[Stream, Held] = {}
        for stream, (source, entry) in mine.items():
            try:
                record = records.get(stream) or await self._states.find(stream)
                fresh = await self._hold(source, entry, record)
                held[stream] = _unless_changed(before.get(stream), fresh)
            except ConfigError as why:
                log.error("stream held back", extra={"stream": stream, "reason": str(why)})  # noqa: TRY400 - no bug
        return held

    async def again(self, held: Held) -> Held:
        """Read one stream afresh.

        Raises:
            TransientError: the store is away.
            ConfigError: a newer release wrote it.
        """
        record = await self._states.find(held.found.stream)
        fresh = await self._hold(held.source, held.found, record)
        fresh.active = True
        return _unless_changed(held, fresh)

    async def see_marks(self, streams: Collection[Held]) -> bool:
        """Read the marks of these streams; notice those whose state somebody else has changed (`stale`).

        True when a destination got on with one of them.

        Raises:
            TransientError: the store is away.
        """
        moved = False
        by_bucket = sorted(streams, key=lambda held: naming.bucket(held.found.stream))
        for bucket, some in groupby(by_bucket, key=lambda held: naming.bucket(held.found.stream)):
            together = list(some)
            if len(together) <= FIND_AT_MOST:
                records = [record for held in together if (record := await self._readable(held)) is not None]
            else:
                records = list(await self._states.load(bucket))
            by_stream = {record.stream: record for record in records}
            for held in together:
                moved = self._see(held, by_stream.get(held.found.stream)) or moved
        return moved

    async def _readable(self, held: Held) -> Record | None:
        try:
            return await self._states.find(held.found.stream)
        except ConfigError:  # of a newer release; who reads it again says so
            return None

    def _see(self, held: Held, record: Record | None) -> bool:
        if record is None or record.state is None or record.state.etag != held.saved.etag:
            held.stale = True
            return True
        before = chain.lowest(held.marks, self._destinations)
        held.marks = {name: saved.value for name, saved in record.marks.items()}
        held.stale = chain.overtaken(held.state, held.marks)
        held.confirmed = not chain.behind(held.state, held.marks, self._destinations)
        after = chain.lowest(held.marks, self._destinations)
        moved = after is not None and after != before
        if after is not None and moved:
            held.probe_wait = self._probe_after_s
            held.probe_at = self._clock.monotonic() + held.probe_wait
            while held.trail and after.chain == held.state.chain and held.trail[0] <= after.position:
                held.trail.popleft()
        if held.confirmed:
            held.trail.clear()
            held.adrift = False
        return moved

    def _created(self, found: FoundStream, record: Record | None) -> StreamState:
        marks = {name: saved.value for name, saved in record.marks.items()} if record else {}
        return chain.created(found, marks, self._destinations, now=self._clock.now())

    async def _hold(self, source: str, found: FoundStream, record: Record) -> Held:
        """Bring a stored record up to date with the configuration and hold it; whoever wrote meanwhile goes first."""
        while True:
            marks = {name: saved.value for name, saved in record.marks.items()}
            wanted = self._brought_up_to_date(found, record, marks)
            if record.state is not None and wanted == record.state.value:
                return self._held(source, found, record.state, marks)
            if record.state is not None:
                marks = await self._let_join(record.state.value, marks)
            etag = record.state.etag if record.state is not None else None
            outcome = (await self._states.save([Saved(wanted, etag)]))[0]
            if isinstance(outcome, Saved):
                return self._held(source, found, outcome, marks)
            record = await self._states.find(found.stream)

    def _brought_up_to_date(self, found: FoundStream, record: Record, marks: Mapping[str, Mark]) -> StreamState:
        if record.state is None:
            return self._created(found, record)
        state = record.state.value
        if chain.overtaken(state, marks):
            state = chain.caught_up(state, marks)
        if set(self._destinations) != set(state.destinations):
            state = replace(state, destinations=self._destinations)
        return state

    async def _let_join(self, state: StreamState, marks: dict[str, Mark]) -> dict[str, Mark]:
        """Let destinations that were configured later begin where the one furthest behind is."""
        lowest = chain.lowest(marks, self._destinations) or chain.lowest(marks, marks)
        for name in self._destinations:
            if name in state.destinations or name in marks or lowest is None:
                continue
            try:
                await self._marks.write(state.stream, name, Saved(lowest))
            except StaleError:
                continue  # it has delivered something meanwhile
            marks = {**marks, name: lowest}
        return marks

    def _held(self, source: str, found: FoundStream, saved: Saved[StreamState], marks: Mapping[str, Mark]) -> Held:
        state = saved.value
        interval = min(max(state.interval_s, found.poll_interval_s), found.max_poll_interval_s)
        now = self._clock.now()
        behind = chain.behind(state, marks, self._destinations)
        return Held(
            found=found,
            source=source,
            saved=saved,
            marks=marks,
            due_at=schedule.due(state.anchor, interval, now) if state.anchor else now,
            confirmed=not behind,
            adrift=behind,
            probe_wait=self._probe_after_s,
            probe_at=self._clock.monotonic() + self._probe_after_s,
        )


def _unless_changed(before: Held | None, fresh: Held) -> Held:
    """Return what was held before when nobody has written since: it also knows what is under way."""
    if before is None or before.saved.etag != fresh.saved.etag:
        return fresh
    before.found, before.source, before.stale = fresh.found, fresh.source, False
    return before
