"""The real capture and deliver over in-memory twins, driven through random schedules of crashes, losses and outages.

Every read and write of the twins is a gate: an actor waits there until the schedule lets it go on, or is killed there
and never goes on. One seed is one schedule, the same every time.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence

from shared import chain, naming
from shared.capture import Capture, SourceInUse
from shared.checkpoint import Checkpoint
from shared.clock import ManualClock
from shared.deliver import Deliver, Incoming
from shared.errors import SluiceError
from shared.events import Message, Position, Saved, StreamState
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
from tests.chaos.actors import Actor, GatedSink, current, gate

CALM = 300
"""Turns after which no new fault happens and everything must settle by itself."""
LIMIT = 6_000
QUEUE, REJECTED = "ingest-queue", "rejected"
STREAM = naming.stream("sql1", "TestDB", "dbo", "Persons")
FAULTS: Sequence[tuple[str, ...]] = (
    (),
    ("loss",),
    ("loss", "purge"),
    ("down",),
    ("rewind",),
    ("answers",),
    ("loss", "down", "rewind", "purge", "answers"),
)
SETTINGS = CaptureSettings(linger_s=0.0, probe_after_s=3.0, max_probe_after_s=12.0, max_pack_changes=3, ahead=4)


class Schedule:
    """One world and the random schedule that it is driven through; its source holds one stream."""

    stream = STREAM

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.size = 12
        self.faults = rng.choice(FAULTS)
        self.clock = ManualClock(jumps=False)
        self.account = MemoryAccount(step=gate)
        self.source = ScriptedSource(STREAM, poll_interval_s=0.2, retention_s=rng.choice((259_200.0, 100.0)))
        self.topic = naming.topic(self.stream)
        self.bus = MemorySink()
        self.topics = {name: MemorySink() for name in ("A", "B")[: rng.randint(1, 2)]}
        self.deliver = self._deliver()
        self.captures: list[Actor] = []
        self.deliveries: list[Actor] = []
        self.buried: list[Actor] = []
        self.committed = self.lost = self.repairs = self.parks = 0
        self.rewinds: list[tuple[int, Position]] = []
        self.down: set[str] = set()
        self.seen: StreamState | None = None

    # ------------------------------------------------------------------ the source

    def open_source(self) -> Source:
        """Return the source as one process opens it."""
        return self.source

    def change(self, count: int) -> None:
        """Commit one transaction of so many changes."""
        self.source.commit(STREAM, *(insert({"ID": self.committed + k + 1}) for k in range(count)))
        self.committed += count

    def pass_by(self) -> None:
        """Let the source's history move on without a change of the stream."""
        self.source.commit(STREAM)

    def places(self) -> Sequence[Position]:
        """Return where a rewind may begin."""
        return [Position(""), *(event.position for event in self.source.events(STREAM))]

    def end(self) -> Position | None:
        """Return the position of the last change, None while the source cannot know it yet."""
        return self.source.events(STREAM)[-1].position

    def check(self, name: str, arrived: Sequence[Message]) -> None:
        """See that what arrived at a destination is all that was committed, in order."""
        events = [event.position for event in self.source.events(STREAM)]
        first = list(dict.fromkeys(map(_position, arrived)))
        assert first == events, f"{name}: {first} instead of {events}"
        if self.rewinds:
            replay, start = self.rewinds[-1]
            again = {_position(message) for message in arrived if message.id.endswith(f".r{replay}")}
            missing = {position for position in events if position > start} - again
            assert not missing, f"{name} did not get {sorted(missing)} again"

    # ------------------------------------------------------------------ the actors

    def _capture(self) -> Capture:
        states, marks = MemoryStateStore(self.account), MemoryMarkStore(self.account)
        checkpoint = Checkpoint(states, self.clock)
        form = DStreamFormat(QUEUE)
        forward = Forward(
            ingest=GatedSink(self.bus, self.rng),
            queue=QUEUE,
            rejected_queue=REJECTED,
            packing=Packing(form, MemoryClaimStore(self.account), max_message_bytes=262_144, max_changes=3),
            checkpoint=checkpoint,
            settings=SETTINGS,
            clock=self.clock,
        )
        shard = Shard(
            index=0,
            shards=1,
            states=states,
            marks=marks,
            destinations=tuple(self.topics),
            clock=self.clock,
            probe_after_s=SETTINGS.probe_after_s,
        )
        return Capture(
            sources={naming.parts(self.stream)[0]: SourceInUse(self.open_source(), 1e9, 5)},
            shard=shard,
            forward=forward,
            checkpoint=checkpoint,
            control=MemoryControl(self.account),
            lease=MemoryLease(self.account, f"{self.rng.random()}", self.clock),  # every capture believes it is alone
            settings=SETTINGS,
            clock=self.clock,
        )

    def _deliver(self) -> Deliver:
        return Deliver(
            sinks={name: GatedSink(sink, self.rng) for name, sink in self.topics.items()},
            rejected_sink=self.bus,
            rejected_queue=REJECTED,
            states=MemoryStateStore(self.account),
            marks=MemoryMarkStore(self.account),
            control=MemoryControl(self.account),
            claims=MemoryClaimStore(self.account),
            origin=origin,
            settings=DeliverSettings(hold_s=1.0, store_hold_s=30.0, park_s=2.0, max_park_s=8.0),
            clock=self.clock,
        )

    async def _capturing(self, actor: Actor) -> None:
        current.set(actor)
        capture = self._capture()
        while True:
            await actor.gate()
            try:
                await capture.tick()
            except SluiceError:
                continue

    async def _delivering(self, actor: Actor, message: Message) -> bool:
        current.set(actor)
        await actor.gate()
        try:
            await self.deliver.deliver(Incoming(message.body, message.content_type, message.id, message.session))
        except SluiceError:
            return False
        await actor.gate()
        return True

    def start_capture(self) -> None:
        actor = Actor()
        actor.task = asyncio.create_task(self._capturing(actor))
        self.captures.append(actor)

    def start_delivery(self, message: Message) -> None:
        actor = Actor(message=message)
        actor.task = asyncio.create_task(self._delivering(actor, message))
        self.deliveries.append(actor)

    # ------------------------------------------------------------------ the schedule

    async def run(self) -> None:
        """Drive the world until it has settled, and check what it promises."""
        try:
            for turn in range(LIMIT):
                if turn > CALM and self._settled():
                    break
                await self._turn(calm=turn > CALM)
                await self._quiesce()
                self._watch()
            else:
                msg = f"does not settle: {self._picture()}"
                raise AssertionError(msg)
            self._verdict()
        finally:
            for actor in (*self.captures, *self.deliveries, *self.buried):
                assert actor.task is not None
                actor.task.cancel()
            everyone = (a.task for a in (*self.captures, *self.deliveries, *self.buried) if a.task)
            await asyncio.gather(*everyone, return_exceptions=True)

    async def _turn(self, *, calm: bool) -> None:
        rng = self.rng
        if calm:
            self._mend()
        else:
            await self._strike()
        move = rng.random()
        if self.committed < self.size and (move < 0.1 or calm):
            self.change(min(rng.randint(1, 3), self.size - self.committed))
        elif move < 0.14:
            self.pass_by()
        elif move < 0.30:
            await self.clock.advance(rng.choice((0.05, 0.3, 1.0)))
        elif move < 0.62:
            if not self.captures:
                self.start_capture()
            else:
                rng.choice(self.captures).let_go(rng)
        elif self.deliveries and move < 0.94:
            actor = rng.choice(self.deliveries)
            actor.let_go(rng)
            await self._quiesce()
            self._settle_delivery(actor, calm=calm)
        else:
            self._receive(calm=calm)

    def _receive(self, *, calm: bool) -> None:
        queue = self.bus.kept[QUEUE]
        if queue and (not self.deliveries or (not calm and self.rng.random() < 0.2)):
            self.start_delivery(queue[0])  # beside another one: its lock was lost

    def _settle_delivery(self, actor: Actor, *, calm: bool) -> None:
        if actor.task is None or not actor.task.done():
            return
        self.deliveries.remove(actor)
        queue = self.bus.kept[QUEUE]
        arrived = actor.task.result() and (calm or self.rng.random() < 0.8)  # else its settlement got lost
        if arrived and any(message is actor.message for message in queue):
            queue[:] = [message for message in queue if message is not actor.message]

    async def _strike(self) -> None:
        rng, chance, queue = self.rng, self.rng.random(), self.bus.kept[QUEUE]
        if "down" in self.faults and chance < 0.02:
            name = rng.choice(list(self.topics))
            if name in self.down:
                self.down.discard(name)
                self.topics[name].mend(self.topic)
            else:
                self.down.add(name)
                self.topics[name].away(self.topic)
        elif "purge" in self.faults and 0.02 < chance < 0.025:
            self.lost += len(queue)
            queue.clear()
        elif "rewind" in self.faults and 0.03 < chance < 0.04:
            self._rewind()
        elif "loss" in self.faults and 0.04 < chance < 0.07 and queue:
            queue.pop(rng.randrange(len(queue)))
            self.lost += 1
        elif "answers" in self.faults and 0.07 < chance < 0.09:
            self.account.lost_answers = 1
        elif 0.90 < chance < 0.93:
            self.start_capture()  # one more beside the first: a lost lease, a pause, a rollout
        elif chance > 0.95:
            self._kill()

    def _kill(self) -> None:
        group = self.rng.choice((self.captures, self.deliveries))
        if group:
            actor = group.pop(self.rng.randrange(len(group)))
            actor.dead = True
            self.buried.append(actor)

    def _mend(self) -> None:
        self.account.lost_answers = 0
        for name in self.down:
            self.topics[name].mend(self.topic)
        self.down.clear()

    def _rewind(self) -> None:
        saved = self.account.states.get(self.stream)
        if saved is None:
            return
        marks = {to: mark.value for (_, to), mark in self.account.marks.items()}
        if set(marks) != set(self.topics):
            return
        fresh = chain.rewound(saved.value, self.rng.choice(self.places()), marks)
        self.account.put(self.account.states, self.stream, Saved(fresh, saved.etag), self)
        self.account.control = self.account.next_version()
        self.rewinds.append((fresh.replay, fresh.position))

    async def _quiesce(self) -> None:
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined] # until nobody can go on by himself
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110 - this is the event loop's own turn
            await asyncio.sleep(0)

    def _watch(self) -> None:
        for actor in self.captures:
            if actor.task is not None and actor.task.done():
                actor.task.result()  # a capture only ends by a fault of its own
        saved = self.account.states.get(self.stream)
        state = saved.value if saved else None
        if state and self.seen and state.chain > self.seen.chain and state.replay == self.seen.replay:
            if state.not_before is None:
                self.repairs += 1
            else:
                self.parks += 1
        self.seen = state
        if saved and saved.value.status == "halted":  # three losses in a row: the operator lets it go on
            self.account.put(self.account.states, self.stream, Saved(chain.resumed(saved.value), saved.etag), self)
            self.account.control = self.account.next_version()

    # ------------------------------------------------------------------ what must hold

    def _settled(self) -> bool:
        saved = self.account.states.get(self.stream)
        if saved is None or self.committed < self.size or self.bus.kept[QUEUE] or self.deliveries:
            return False
        marks = {to: mark.value for (_, to), mark in self.account.marks.items()}
        last = self.end()
        if last is None:
            return False
        there = all(name in marks and marks[name].position >= last for name in self.topics)
        return there and not chain.behind(saved.value, marks, tuple(self.topics)) and saved.value.position >= last

    def _verdict(self) -> None:
        for name, sink in self.topics.items():
            self.check(name, sink.kept[self.topic])
        assert not self.bus.kept[REJECTED]
        if not self.rewinds:
            assert self.repairs <= self.lost, f"{self.repairs} repairs for {self.lost} lost packs"

    def _picture(self) -> str:
        counts = defaultdict(int, {name: len(sink.kept[self.topic]) for name, sink in self.topics.items()})
        queued = len(self.bus.kept[QUEUE])
        return f"{self.faults} {dict(counts)} queue {queued} state {self.seen} marks {self.account.marks}"


def _position(message: Message) -> Position:
    return Position(str(message.properties["event_id"]).split(".", 2)[2])
