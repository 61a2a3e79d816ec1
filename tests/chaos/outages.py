"""Readers of a Consul that changes and fails at random, over real HTTP; a seed is a schedule, as far as HTTP allows.

Something may happen whenever a request arrives, whenever its answer leaves, and around every call of a store. A reader
does what capture does with a source, in two shards side by side; it may be killed at any of these places, and the next
one is a new process over the same account.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import aiohttp

from local.consul.catalog import Catalog
from local.consul.cluster import Cluster
from local.consul.control import Control
from local.consul.faults import Faults
from local.consul.server import Server
from shared.clock import ManualClock
from shared.events import Mark, Position, Saved, Stream, StreamState
from shared.settings.consul import COARSE
from shared.settings.model import ConsulSettings
from shared.sources.consul.position import decode
from shared.sources.consul.watches import HELD_S
from shared.stores.memory import MemoryAccount
from tests.chaos.catalogs import (
    CATALOG,
    NAMED,
    NAMES,
    PATTERN,
    SOURCE,
    UNSELECTED,
    Consumer,
    Picture,
    Registrations,
    key_of,
    row_of_instance,
    rows_of_catalog,
    stream_of,
)
from tests.chaos.readers import Reader

TOKEN = "reader"
SEES_ALL = {"service_prefix": {"": "read"}, "node_prefix": {"": "read"}}
SEES_LESS: Sequence[dict[str, Any] | None] = (
    {"service_prefix": {"": "read", "web": "deny"}, "node_prefix": {"": "read"}},
    {"service_prefix": {"": "read"}, "node_prefix": {"": "read", "n1": "deny"}},
    {"node_prefix": {"": "read"}},
    {},
    None,
)
DESTINATION = "A"
TURNS = 9
"""Looks of every reader while things go wrong."""
STRUCK, MOST_STRIKES = 0.12, 5
"""How probably something happens at a gate, and how often at most in one turn."""
CALM_TURNS, PATIENCE_TURNS, DEADLINE_S = 2, 20, 60.0
"""Looks in a row that have to find the whole catalog, how many it may take until then, and seconds for all of it."""
PASSED_S = 61.0
"""A minute passes: what was held or left alone is looked at again."""
ROWS = "/v1/(catalog/services|catalog/nodes|health/state|health/service)"
MATCHES = ("", ROWS, "/health/service", "/health/state/critical", "/catalog/services", "/connect/ca/roots", "stale")
FAULTS = {
    "reset": "every index falls",
    "restore": "the catalog is again what it was a while ago, with the indexes of then",
    "replace": "another cluster answers, with the same catalog or none",
    "leader": "there is no leader for a while",
    "refuse": "requests are refused",
    "cut": "connections end instead of an answer",
    "lag": "stale reads get to a server that is behind",
    "partial": "answers lack rows, and look whole",
    "permission": "the token sees less, or is unknown",
    "kill": "a reader is killed",
    "answers": "the account is away, or loses the answer to a write",
    "beside": "a second process reads the same streams",
}
"""What may go wrong; a world has some of these."""


class Edge(Faults):
    """Lets something happen before and after each request."""

    def __init__(self, gate: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self._gate = gate

    async def before(self, target: str) -> None:
        await self._gate()
        await super().before(target)

    async def after(self, target: str) -> None:
        await super().after(target)
        await self._gate()


class World:
    """One Consul, one storage account, its readers and its consumer."""

    def __init__(self, seed: int, *, resident: bool) -> None:
        self.rng = rng = random.Random(seed)
        self.resident = resident
        faults = frozenset(rng.sample(list(FAULTS), rng.choice((0, 1, 1, 2, 2, 3, len(FAULTS)))))
        self.faults = faults - {"restore"} if "reset" in faults else faults  # a copy has indexes from before a reset
        self.clock = ManualClock()
        self.account = MemoryAccount(step=lambda _: self.gate())
        self.consumer = Consumer(sees_again="beside" in self.faults)
        self.server = Server(Cluster())
        self.server.faults = Edge(self.gate)
        self.control = Control(self.server)
        self.datacenter = self.server.cluster.local
        self.datacenter.index = 1 << 60  # a fall halves it
        self.registrations = Registrations(self.datacenter, rng)
        self.readers: list[Reader] = []
        self.replaced: list[datetime] = []
        self._kept: Catalog | None = None
        self._strikes = 0
        self._is_changing = True
        self._moves: dict[str, Callable[[], Awaitable[None]]] = {
            "reset": self._reset,
            "restore": self._restore,
            "leader": self._lose_leader,
            "refuse": self._refuse,
            "cut": self._cut,
            "lag": self._lag,
            "partial": self._answer_in_part,
            "permission": self._permit,
            "kill": self._kill,
            "answers": self._lose_answers,
        }

    def settings(self) -> ConsulSettings:
        return ConsulSettings(
            name=SOURCE,
            address=f"http://127.0.0.1:{self.server.port}",
            token=TOKEN if "permission" in self.faults else "",
            datacenters=("dc1",),
            services=(*NAMED, PATTERN),
            wait_s=HELD_S if self.resident else 0.002,
            hold_removals_over=0.0 if "partial" in self.faults else 0.3,
            requests_per_second=1e6,
        )

    # ------------------------------------------------------------------ what is durable

    def position(self, stream: Stream) -> Position:
        saved = self.account.states.get(stream)
        return saved.value.position if saved else Position("")

    def save(self, stream: Stream, position: Position) -> None:
        """Save how far a stream is; its destination has everything sooner or later."""
        state = StreamState(stream, position, 1, Position(""), destinations=(DESTINATION,))
        if self.rng.random() < 0.7:
            self.account.marks[stream, DESTINATION] = Saved(Mark(1, self.position(stream)), "")
        self.account.states[stream] = Saved(state, "")

    # ------------------------------------------------------------------ the schedule

    async def run(self) -> None:
        """Let all of it happen, mend it, and see that the consumer has the catalog, each change once."""
        async with self.server.serving(0), asyncio.timeout(DEADLINE_S):
            try:
                await self._mend()
                await self._disturbed(changing=True)
                await self._mend()
                if "partial" in self.faults:
                    self.registrations.change_everything()
                await self._settle()
                await self._verdict()
                told = self.consumer.changes()
                await self._disturbed(changing=False)
                await self._mend()
                await self._settle()
                assert self.consumer.changes() == told, "something was told though nothing had changed"
            finally:
                await asyncio.gather(*(reader.close() for reader in self.readers))

    async def _disturbed(self, *, changing: bool) -> None:
        """Let a few turns go by in which anything may go wrong, while the catalog changes or stays what it is."""
        self._is_changing = changing
        for _ in range(TURNS):
            await self.clock.advance(self.rng.choice((0.1, 1.0, PASSED_S)))
            if "replace" in self.faults and self.rng.random() < 0.15:
                await self._replace()
            if not self.readers or ("beside" in self.faults and self.rng.random() < 0.2 and len(self.readers) < 2):
                await self._open()
            self._strikes = MOST_STRIKES
            await self._strike()
            await self._turn()
            self._strikes = 0

    async def gate(self) -> None:
        """Perhaps let something happen, and others go on."""
        if self._strikes and self.rng.random() < STRUCK:
            await self._strike()
        await asyncio.sleep(0)

    async def _strike(self) -> None:
        """Let one thing happen: a fault, an index that moves for nothing, or a change of the catalog."""
        rng = self.rng
        self._strikes -= 1
        possible = sorted(self.faults & self._moves.keys())
        if possible and rng.random() < 0.4:
            await self._moves[rng.choice(possible)]()
        elif rng.random() < 0.15:
            indexes = sorted(self.datacenter.catalog.indexes)
            if self.datacenter.has_leader:
                await self.control.fault({"bump": {"indexes": rng.sample(indexes, rng.randint(1, len(indexes)))}})
        elif self.datacenter.has_leader and self._is_changing:
            self.registrations.change()

    async def _open(self) -> None:
        reader = Reader(self)
        await reader.open()
        self.readers.append(reader)

    async def _turn(self) -> bool:
        """Let every reader look once; those that are killed meanwhile are gone."""
        for reader in self.readers:
            reader.task = asyncio.create_task(reader.turn())
        tasks = [reader.task for reader in self.readers if reader.task]
        await asyncio.wait(tasks)
        for reader in [reader for reader in self.readers if reader.task and reader.task.cancelled()]:
            self.readers.remove(reader)
            await reader.close()
        outcomes = [task.result() for task in tasks if not task.cancelled()]
        return all(outcomes)

    async def _settle(self) -> None:
        """Let time go by until the consumer's picture is the catalog, and stays so."""
        if not self.readers:
            await self._open()
        calm, turns = 0, 0
        while calm < CALM_TURNS:
            await self.clock.advance(PASSED_S)
            is_well = await self._turn() and not self.missing()
            calm = calm + 1 if is_well and self._is_held_open() else 0
            turns += 1
            if not self.resident:
                assert turns < PATIENCE_TURNS, "does not settle"
            elif not calm:
                await asyncio.sleep(0.005)  # for what is asked in the background

    def _is_held_open(self) -> bool:
        """Whether every query of a process of its own waits for something to happen."""
        return not self.resident or self.server.requests.waiting >= COARSE * len(self.readers)

    def missing(self) -> str:
        """Return something that the consumer has not been told of; "" when it has the catalog."""
        return self._difference(self.registrations.picture())

    def _difference(self, there: Picture) -> str:
        told = self.consumer.picture
        for stream in there:
            for key in there[stream].keys() | told[stream].keys():
                if there[stream].get(key) != told[stream].get(key):
                    return f"{stream} {key}: told is {told[stream].get(key)}, there is {there[stream].get(key)}"
        return ""

    async def _verdict(self) -> None:
        """See that the consumer's picture is right, that it was told only what was, and another cluster as such."""
        assert not (why := self._difference(await self._plainly_read())), why
        self.consumer.see_that_it_happened(self.registrations.history)
        if self.resident:
            return  # a query in the background may be answered by either cluster: when they changed is not to be told
        for events in self.consumer.told.values():
            for one, other in pairwise(events.values()):
                if any(one.commit_time < f"{at:%Y-%m-%dT%H:%M:%S.%f}" < other.commit_time for at in self.replaced):
                    then, now = decode(one.position).epoch, decode(other.position).epoch
                    assert now > then, f"another cluster, the same epoch: {one}, {other}"

    async def _plainly_read(self) -> Picture:
        """Return the catalog as somebody reads it who asks for all of it."""
        headers = {"X-Consul-Token": TOKEN} if "permission" in self.faults else {}
        root = f"http://127.0.0.1:{self.server.port}/v1"
        async with aiohttp.ClientSession(headers=headers) as session:

            async def read(path: str) -> Any:
                async with session.get(f"{root}/{path}?consistent", raise_for_status=True) as answer:
                    return await answer.json()

            found = {CATALOG: {key_of(row): row for row in rows_of_catalog(await read("catalog/services"))}}
            for name in set(NAMES) - {UNSELECTED}:
                rows = map(row_of_instance, await read(f"health/service/{name}"))
                found[stream_of(name)] = {key_of(row): row for row in rows}
        return found

    # ------------------------------------------------------------------ what goes wrong

    async def _mend(self) -> None:
        """Let all be well."""
        await self.control.fault({"clear": True})
        if "permission" in self.faults:
            await self.control.fault({"token": {"secret": TOKEN, "rules": SEES_ALL}})
        self.account.away, self.account.lost_answers = False, 0

    async def _reset(self) -> None:
        """Let every index fall, far enough that it does not come to where it was."""
        await self.control.fault({"reset": {"index": self.datacenter.index // 2}})

    async def _restore(self) -> None:
        """Put back what there was, with its indexes; the next write gets a higher one than ever all the same."""
        old = self.datacenter.catalog
        if self._kept is None or not self._is_changing:
            self._kept = old.copy()
            return
        self.datacenter.lag(0)
        self.datacenter.catalog, self._kept = self._kept, None
        old.abandon()
        self.registrations.record()

    async def _replace(self) -> None:
        """Put another cluster in the place of this one; readers cannot reach any meanwhile."""
        wipe = self._is_changing and self.rng.random() < 0.5
        index = self.datacenter.index // 2 + self.rng.randint(0, self.datacenter.index)
        await self.clock.advance(1.0)
        await self.control.fault({"clear": True, "refuse": {"status": 500}})
        await self.control.fault({"reset": {"index": index, "new_cluster": True, "wipe": wipe}})
        self.registrations.record()
        self._kept = None
        while self.readers and await self._turn():  # noqa: ASYNC110 - in the background they find out by themselves
            await asyncio.sleep(0.001)
        await self.control.fault({"clear": True})
        self.replaced.append(self.clock.now())
        await self.clock.advance(1.0)

    async def _lose_leader(self) -> None:
        await self.control.fault({"leader": "lost" if self.datacenter.has_leader else "back"})

    async def _refuse(self) -> None:
        status, count = self.rng.choice((429, 500, 503)), self.rng.randint(1, 4)
        await self.control.fault({"refuse": {"status": status, "count": count, "match": self.rng.choice(MATCHES)}})

    async def _cut(self) -> None:
        await self.control.fault({"cut": {"count": self.rng.randint(1, 3), "match": self.rng.choice(MATCHES)}})

    async def _lag(self) -> None:
        behind, every = self.rng.randint(0, 4), self.rng.randint(1, 2)
        last_contact_ms = self.rng.choice((0, 50, 20_000))
        await self.control.fault({"lag": {"behind": behind, "every": every, "last_contact_ms": last_contact_ms}})

    async def _answer_in_part(self) -> None:
        """Leave rows out of answers; not of those that have to be consistent."""
        percent, count = self.rng.randint(40, 100), self.rng.randint(1, 3)
        await self.control.fault({"partial": {"percent": percent, "count": count, "match": f"{ROWS}(?!.*consistent)"}})

    async def _permit(self) -> None:
        rules = self.rng.choice((SEES_ALL, *SEES_LESS))
        await self.control.fault({"token": {"secret": TOKEN, "rules": rules}})

    async def _kill(self) -> None:
        for reader in self.rng.sample(self.readers, min(len(self.readers), 1)):
            if reader.task is not None:
                reader.task.cancel()

    async def _lose_answers(self) -> None:
        if self.rng.random() < 0.5:
            self.account.lost_answers = 1
        else:
            self.account.away = not self.account.away
