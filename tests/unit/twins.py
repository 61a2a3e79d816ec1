"""A whole pipeline over in-memory twins, for scenarios without IO: time stands still unless a test moves it."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from shared import naming, pack
from shared.capture import Capture, SourceInUse
from shared.checkpoint import Checkpoint
from shared.clock import ManualClock
from shared.deliver import Deliver, Incoming
from shared.events import (
    Batch,
    ChangeEvent,
    FoundStream,
    Mark,
    Message,
    PackedChange,
    Position,
    Saved,
    Stream,
    StreamState,
)
from shared.formats.dstream import DStreamFormat
from shared.forward import Forward
from shared.held import Shard
from shared.packing import Packing
from shared.ports import Source
from shared.settings.model import CaptureSettings, DeliverSettings
from shared.sinks.memory import MemorySink
from shared.sources.scripted import ScriptedSource, insert, origin
from shared.stores.memory import (
    MemoryAccount,
    MemoryClaimStore,
    MemoryControl,
    MemoryLease,
    MemoryMarkStore,
    MemoryStateStore,
)

QUEUE, REJECTED = "ingest-queue", "rejected"
PERSONS = naming.stream("sql1", "TestDB", "dbo", "Persons")
CARS = naming.stream("sql1", "TestDB", "dbo", "Cars")
ORDERS = naming.stream("sql2", "Shop", "dbo", "Orders")

type Step = Callable[[str], Awaitable[None]]


class World:
    """One storage account, one bus, the topics of each destination, and one scripted source per source name.

    `capture` and `deliver` start a process each: it knows nothing but what the twins keep.
    """

    def __init__(self, *streams: Stream, destinations: Sequence[str] = ("A",), jumps: bool = False, **of: Any) -> None:
        self.clock = ManualClock(jumps=jumps)
        self.account = MemoryAccount()
        self.bus = MemorySink()
        self.topics = {name: MemorySink(detect_duplicates=True) for name in destinations}
        self.sources: dict[str, ScriptedSource] = {}
        for stream in streams or (PERSONS,):
            self.sources.setdefault(naming.parts(stream)[0], ScriptedSource(**of)).add(stream)

    @property
    def source(self) -> ScriptedSource:
        return next(iter(self.sources.values()))

    def capture(
        self,
        *,
        shard: int = 0,
        shards: int = 1,
        destinations: Sequence[str] | None = None,
        sources: Mapping[str, Source] | None = None,
        page: int = 100,
        deadline_s: float = 5.0,
        shared_sources: Mapping[str, SourceInUse] | None = None,
        lease: str | None = None,
        **settings: Any,
    ) -> Capture:
        chosen = CaptureSettings(**{"linger_s": 0.0, **settings})
        states, marks = MemoryStateStore(self.account), MemoryMarkStore(self.account)
        checkpoint = Checkpoint(states, self.clock)
        return Capture(
            sources=shared_sources
            or {name: SourceInUse(each, deadline_s, page) for name, each in (sources or self.sources).items()},
            shard=Shard(
                index=shard,
                shards=shards,
                states=states,
                marks=marks,
                destinations=tuple(self.topics if destinations is None else destinations),
                clock=self.clock,
                probe_after_s=chosen.probe_after_s,
            ),
            forward=Forward(
                ingest=self.bus,
                queue=QUEUE,
                rejected_queue=REJECTED,
                packing=Packing(
                    DStreamFormat(QUEUE),
                    MemoryClaimStore(self.account),
                    max_message_bytes=chosen.max_message_bytes,
                    max_changes=chosen.max_pack_changes,
                ),
                checkpoint=checkpoint,
                settings=chosen,
                clock=self.clock,
            ),
            checkpoint=checkpoint,
            control=MemoryControl(self.account),
            lease=MemoryLease(self.account, lease or f"shard-{shard}", self.clock, duration_s=chosen.lease_s),
            settings=chosen,
            clock=self.clock,
        )

    def deliver(self, *, destinations: Sequence[str] | None = None, **settings: Any) -> Deliver:
        names = self.topics if destinations is None else destinations
        return Deliver(
            sinks={name: self.topics[name] for name in names},
            rejected_sink=self.bus,
            rejected_queue=REJECTED,
            states=MemoryStateStore(self.account),
            marks=MemoryMarkStore(self.account),
            control=MemoryControl(self.account),
            claims=MemoryClaimStore(self.account),
            origin=origin,
            settings=DeliverSettings(**settings),
            clock=self.clock,
        )

    # ------------------------------------------------------------------ what happens outside

    def commit(self, count: int = 1, stream: Stream = PERSONS) -> Sequence[ChangeEvent]:
        """Commit as many transactions of one row each."""
        source = self.sources[naming.parts(stream)[0]]
        return [event for n in range(count) for event in source.commit(stream, insert({"ID": n}))]

    def change(self, stream: Stream = PERSONS, *, ring: bool = True, **changes: Any) -> StreamState:
        """Change a stored state as somebody else does, and ring the bell."""
        saved = self.account.states[stream]
        return self.store(replace(saved.value, **changes), ring=ring)

    def store(self, state: StreamState, *, ring: bool = True) -> StreamState:
        self.account.states[state.stream] = Saved(state, self.account.next_version())
        if ring:
            self.account.control = self.account.next_version()
        return state

    def mark(self, chain: int, position: str, to: str = "A", stream: Stream = PERSONS, replay: int = 0) -> None:
        mark = Mark(chain, Position(position), replay)
        self.account.marks[stream, to] = Saved(mark, self.account.next_version())

    # ------------------------------------------------------------------ what can be seen

    def state(self, stream: Stream = PERSONS) -> StreamState:
        return self.account.states[stream].value

    def marks(self, stream: Stream = PERSONS) -> dict[str, Mark]:
        return {to: saved.value for (of, to), saved in self.account.marks.items() if of == stream}

    @property
    def queue(self) -> list[Message]:
        return self.bus.kept[QUEUE]

    @property
    def rejected(self) -> list[Message]:
        return self.bus.kept[REJECTED]

    def packs(self, stream: Stream = PERSONS) -> list[pack.Pack]:
        return [whole for message in self.queue if (whole := pack.decode(message.body)).header.stream == stream]

    def arrived(self, to: str = "A", stream: Stream = PERSONS) -> list[Position]:
        kept = self.topics[to].kept[naming.topic(stream)]
        return [Position(str(message.properties["event_id"]).split(".", 2)[2]) for message in kept]

    async def deliver_queue(self, deliver: Deliver) -> None:
        """Deliver all that is queued, in order, and complete it."""
        while self.queue:
            await deliver.deliver(incoming(self.queue[0]))
            self.queue.pop(0)

    async def tick_until_quiet(self, capture: Capture, deliver: Deliver) -> None:
        """Let both run until nothing is sent any more."""
        while True:
            await capture.tick()
            if not self.queue:
                return
            await self.deliver_queue(deliver)
            await self.clock.advance(1.0)


class Slow:
    """A source that answers only when a gate lets it."""

    def __init__(self, inner: Source, wait: Callable[[str], Awaitable[object]]) -> None:
        self._inner = inner
        self._wait = wait

    async def discover(self) -> Any:
        await self._wait("discover")
        return await self._inner.discover()

    async def probe(self, after: Mapping[Stream, Position]) -> frozenset[Stream]:
        await self._wait("probe")
        return await self._inner.probe(after)

    async def read(self, stream: Stream, after: Position, limit: int) -> Batch:
        await self._wait("read")
        return await self._inner.read(stream, after, limit)


def incoming(message: Message) -> Incoming:
    return Incoming(
        body=message.body,
        content_type=message.content_type,
        id=message.id,
        session=message.session,
        subject=message.subject,
        correlation_id=message.correlation_id,
        properties=dict(message.properties),
    )


def positions(events: Sequence[ChangeEvent]) -> list[Position]:
    return [event.position for event in events]


def found(stream: Stream = PERSONS, first: str = "0000000000-000000") -> FoundStream:
    return FoundStream(stream, Position(first), 1.0, 30.0, 259_200.0)


def position(number: int) -> Position:
    return Position(f"{number:010d}-000001")


def body(number: int) -> bytes:
    return json.dumps({"data": {"ID": number}, "metadata": {"CommitTime": "2026-01-01T00:00:00.0000000Z"}}).encode()


def packed(
    chain: int,
    numbers: Sequence[int],
    *,
    after: int | None = None,
    last: int | None = None,
    start: bool = False,
    replay: int = 0,
    stream: Stream = PERSONS,
) -> Incoming:
    """Return a pack as capture sends it, holding the changes of these numbers."""
    changes = [PackedChange(position(n), "c", naming.event_id(stream, 0, position(n)), body(n)) for n in numbers]
    header = pack.PackHeader(
        stream,
        chain,
        start,
        replay,
        position(after if after is not None else numbers[0] - 1),
        position(last if last is not None else numbers[-1]),
        len(changes),
    )
    whole = pack.encode(header, changes)
    return Incoming(whole, pack.CONTENT_TYPE, pack.message_id(whole), stream, "pack")


async def world_with_state(*destinations: str, jumps: bool = True, **state: Any) -> World:
    """A stream that capture knows: chain 10 begins before everything, and its position is 9."""
    world = World(destinations=destinations or ("A",), jumps=jumps)
    await world.capture(lease="once").tick()
    world.change(chain=10, chain_start=position(0), position=position(9), **state)
    return world


def arrived(world: World, to: str = "A") -> list[int]:
    return [int(each[:10]) for each in world.arrived(to)]


async def running(world: World, **settings: Any) -> Capture:
    """A capture that has seen its streams: the next tick finds them due."""
    capture = world.capture(**settings)
    await capture.tick()
    await world.clock.advance(2.0)
    return capture
