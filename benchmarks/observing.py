"""Consul observed as capture does it, in a process that `benchmarks.consul` measures.

The store is in this process, so that the measured memory includes it; what is sent counts as delivered at once.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any
from urllib.request import urlopen

import msgspec

import shared.wiring  # noqa: F401 - what `sluice run` loads belongs to the baseline
from benchmarks.subject import Answer, serve
from shared import memo, naming, pack
from shared.capture import Capture, SourceInUse
from shared.checkpoint import Checkpoint
from shared.clock import SystemClock
from shared.events import Mark, Message, Record, Saved, Stream, StreamState
from shared.formats.dstream import DStreamFormat
from shared.forward import Forward
from shared.held import Shard
from shared.journal import JournaledSource
from shared.packing import Packing
from shared.ports import Source
from shared.settings.model import CaptureSettings, ConsulSettings
from shared.sources.consul import changes, open_observer, rows
from shared.sources.consul.position import Place
from shared.stores.memory import (
    MemoryAccount,
    MemoryClaimStore,
    MemoryControl,
    MemoryJournalStore,
    MemoryLease,
    MemoryMarkStore,
)

SOURCE, DATACENTER, OUTPUT, QUEUE = "bench", "dc1", "topics", "ingest-queue"
TIMES = 100
"""How often a piece of work is done to see what it takes."""


class States:
    """States and marks; unlike the twin, it finds those of one stream without looking at all others."""

    def __init__(self, calls: Counter[str]) -> None:
        self._calls = calls
        self._states: dict[Stream, Saved[StreamState]] = {}
        self._marks: dict[Stream, Saved[Mark]] = {}
        self._version = 0

    async def load(self, bucket: int) -> Sequence[Record]:
        """Return the records of one bucket."""
        self._calls["load"] += 1
        return [self._record(stream) for stream in self._states if naming.bucket(stream) == bucket]

    async def find(self, stream: Stream) -> Record:
        """Return one record."""
        self._calls["find"] += 1
        return self._record(stream)

    async def save(self, states: Sequence[Saved[StreamState]]) -> Sequence[Saved[StreamState]]:
        """Write states; nobody else does."""
        self._calls["save"] += 1
        saved = [Saved(state.value, self._etag()) for state in states]
        self._states |= {state.value.stream: state for state in saved}
        return saved

    def deliver(self, header: pack.PackHeader) -> None:
        """Move the mark of a stream to where a pack ends."""
        self._marks[header.stream] = Saved(Mark(header.chain, header.last, header.replay), self._etag())

    def _etag(self) -> str:
        self._version += 1
        return f'W/"{self._version}"'

    def _record(self, stream: Stream) -> Record:
        mark = self._marks.get(stream)
        return Record(stream, self._states.get(stream), {OUTPUT: mark} if mark else {})


class Arrivals:
    """The ingest queue and all that is behind it: what is sent has arrived everywhere."""

    def __init__(self, states: States) -> None:
        self._states = states
        self.found: dict[str, float] = {}
        self.events = 0
        self.packs = 0

    async def send(self, _: str, messages: Sequence[Message]) -> None:
        """Note when."""
        for message in messages:
            header = pack.decode(message.body).header
            self._states.deliver(header)
            self.found[naming.parts(header.stream)[-1]] = time.monotonic()
            self.events += header.count
            self.packs += 1

    async def close(self) -> None:
        """There is nothing to close."""


class Observing:
    """A capture whose only source is Consul."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._account = MemoryAccount()
        self._states = States(self._account.calls)
        self._arrivals = Arrivals(self._states)
        self._capture: Capture | None = None

    @property
    def found(self) -> dict[str, float]:
        """When each service was last found changed."""
        return self._arrivals.found

    async def run(self, wait_s: float | None) -> None:
        """Open the source and serve."""
        settings = ConsulSettings(SOURCE, self._address, datacenters=(DATACENTER,), services=("*",), wait_s=wait_s)
        async with open_observer(settings, resident=wait_s is None) as observer:
            journals = MemoryJournalStore(self._account)
            source = JournaledSource(SOURCE, observer, journals=journals, states=self._states)
            self._capture = self._made(source, settings)
            await serve(self, {"diff": self.diff})

    async def look(self) -> None:
        """Run one tick."""
        assert self._capture is not None
        await self._capture.tick()

    async def figures(self) -> Answer:
        """Return what was sent, and the calls of the store since the last time."""
        calls, sent = dict(self._account.calls), {"events": self._arrivals.events, "packs": self._arrivals.packs}
        self._account.calls.clear()
        self._arrivals.events = self._arrivals.packs = 0
        return {"calls": calls, **sent}

    async def diff(self) -> Answer:
        """Return what one change takes, in milliseconds of CPU: reading the answer, comparing, and keeping the memo."""
        name = "service-00000"
        service = f"/v1/health/service/{name}?dc={DATACENTER}"
        stream = naming.stream(SOURCE, DATACENTER, "service", name)
        instances = await asyncio.to_thread(self._fetch, service)
        catalog = await asyncio.to_thread(self._fetch, f"/v1/catalog/services?dc={DATACENTER}")
        old, known = rows.instances(json.loads(instances), DATACENTER), rows.catalog(json.loads(catalog), DATACENTER)

        def read_instances() -> rows.Rows:
            return rows.instances(msgspec.json.decode(instances, type=list[dict[str, Any]]), DATACENTER)

        def read_catalog() -> rows.Rows:
            return rows.catalog(msgspec.json.decode(catalog, type=dict[str, list[str]]), DATACENTER, known)

        now, there = dict(read_instances()), dict(read_catalog())
        moved = next(iter(now))
        now[moved] = now[moved] | {"Port": 1}
        there[name] = there[name] | {"Tags": ["other"]}
        return {
            **_work("instance", stream, read_instances, (old, now), moved),
            **_work("catalog", naming.stream(SOURCE, DATACENTER, "catalog"), read_catalog, (known, there), name),
        }

    def _fetch(self, path: str) -> bytes:
        with urlopen(self._address + path) as answer:  # noqa: S310 - the Consul of this benchmark
            body: bytes = answer.read()
            return body

    def _made(self, source: Source, consul: ConsulSettings) -> Capture:
        clock, settings = SystemClock(), CaptureSettings()
        checkpoint, account = Checkpoint(self._states, clock), self._account
        packing = Packing(
            DStreamFormat(QUEUE),
            MemoryClaimStore(account),
            max_message_bytes=settings.max_message_bytes,
            max_changes=settings.max_pack_changes,
        )
        return Capture(
            sources={SOURCE: SourceInUse(source, consul.deadline_s, consul.page)},
            shard=Shard(
                index=0,
                shards=1,
                states=self._states,
                marks=MemoryMarkStore(account),
                destinations=(OUTPUT,),
                clock=clock,
                probe_after_s=settings.probe_after_s,
            ),
            forward=Forward(
                ingest=self._arrivals,
                queue=QUEUE,
                rejected_queue="rejected-queue",
                packing=packing,
                checkpoint=checkpoint,
                settings=settings,
                clock=clock,
            ),
            checkpoint=checkpoint,
            control=MemoryControl(account),
            lease=MemoryLease(account, "shard-0", clock, duration_s=settings.lease_s),
            settings=settings,
            clock=clock,
        )


def _work(
    what: str, stream: Stream, read: Callable[[], object], then_and_now: tuple[rows.Rows, rows.Rows], key: str
) -> dict[str, float]:
    old, new = then_and_now
    parts, place, now = memo.parts_of(old), Place(1, 1, 0), datetime.now(UTC)

    def compare() -> Any:
        return changes.events(stream, changes.between(old, new), place, now)

    events = compare()
    assert len(events) == 1
    return {
        f"{what}_parse_ms": _cpu_ms(read),
        f"{what}_diff_ms": _cpu_ms(compare),
        f"{what}_store_ms": _cpu_ms(lambda: (memo.outbox(events), memo.parts_of(new, parts, [key]))),
    }


def _cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU time of one call, the median of many."""
    times = []
    for _ in range(TIMES):
        began = time.thread_time()
        work()
        times.append((time.thread_time() - began) * 1_000)
    return median(times)


if __name__ == "__main__":
    asyncio.run(Observing(sys.argv[1]).run(float(sys.argv[2]) if len(sys.argv) > 2 else None))
