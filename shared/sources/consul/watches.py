"""What tells of changes in a datacenter: few requests, whatever the number of its services.

Three coarse watches see the catalog and what is not passing; what differs names the services. An index that rises and
shows nothing has changed some service all the same: then a sweep asks the selected ones. Services that change often
have a blocking query of their own where requests are held open for long.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final

from shared.errors import SluiceError
from shared.ports import Clock
from shared.settings.model import ConsulSettings
from shared.sources.consul.coarse import CATALOG, CRITICAL, NODES, WARNING, Coarse, Subject
from shared.sources.consul.homes import Homes
from shared.sources.consul.http import Wait
from shared.sources.consul.marks import Marks, Service
from shared.sources.consul.queries import Queries
from shared.sources.consul.reads import Reads
from shared.sources.consul.sweep import Sweep

HELD_S: Final = 10.0
"""Waits of so many seconds and more are held open between probes."""
NODES_EVERY_S: Final = 60.0
"""How often nodes are looked at: another address of a node is seen by nothing else."""
IDENTITY_EVERY_S: Final = 60.0
"""How often it is asked which cluster answers, where no failure tells that it may be another one."""


class Watches:
    """Marks the streams of one datacenter that may have changed.

    `wait_s` is how long blocking queries wait: shortly, they are part of each probe; for long, tasks hold them open.
    Then up to `hot` services have one of their own.
    """

    def __init__(
        self,
        datacenter: str,
        marks: Marks,
        settings: ConsulSettings,
        reads: Reads,
        *,
        wait_s: float,
        hot: int,
        clock: Clock,
    ) -> None:
        self.datacenter = datacenter
        self.marks = marks
        self.identity = ""
        self._reads = reads
        self._wait_s = wait_s
        self._clock = clock
        self._homes = Homes()
        self._sweep = Sweep(datacenter, marks, settings, reads, clock)
        self._queries = Queries(hot, clock)
        self._catalog = Coarse(CATALOG)
        self._checks = (Coarse(CRITICAL), Coarse(WARNING))
        self._nodes = Coarse(NODES)
        self._nodes_at = float("-inf")
        self._changed_nodes: dict[str, int] = {}
        self._something = asyncio.Event()
        self._identify_at = float("-inf")
        self._alone = asyncio.Lock()

    @property
    def services(self) -> AbstractSet[str]:
        """The names that the catalog last showed."""
        return self._catalog.kept.keys()

    async def probe(self) -> None:
        """Mark what may have changed; with long waits, what was found since the last time.

        Raises:
            TransientError: a watch cannot be answered; what others showed is marked.
            ConfigError: Consul refuses.
        """
        if self._wait_s < HELD_S:
            await self._look()
            return
        if self._is_new():
            await self._begin()
        for coarse in self._needed():
            self._queries.hold(coarse.kind.name, partial(self._attend, coarse))
        self._queries.hold("sweep", self._find)
        self._queries.check()

    async def go_on(self) -> None:
        """Go on with a sweep, if there is one and nothing in the background does it.

        Raises:
            TransientError: Consul cannot be reached.
            ConfigError: it refuses.
        """
        if self._wait_s < HELD_S:
            await self._sweep.run()

    async def identify(self) -> str:
        """Return the identity of the cluster; when another one answers, everything may have changed.

        Raises:
            TransientError: it cannot be reached.
        """
        async with self._alone:
            return await self._identify()

    def see(self, index: int, catalog: Mapping[str, Sequence[str]]) -> None:
        """Take over what a read of the catalog showed.

        The watch itself would not show what came and went since, nor what the token may see again at the same index.
        """
        known = self._catalog.index
        if 0 < known <= index:
            self._follow(self._catalog, self._catalog.learn(index, catalog), rose=index > known)

    def heat(self, service: Service) -> None:
        """Note a change of a service; one that changes often gets a blocking query of its own."""
        service.changes += 1
        service.changed_at = self._clock.monotonic()
        if service.is_hot:
            self._queries.hold_hot(service.name, partial(self._wait_for, service))

    def settle(self, name: str, came: Iterable[str], gone: Iterable[str]) -> None:
        """Note which instances came to a service and are gone from it, and mark the services that they left for it."""
        for other in self._homes.settle(name, came, gone):
            if other in self.marks.services:
                self.marks.mark(self.marks.services[other].stream)

    async def close(self) -> None:
        """End what runs in the background."""
        await self._queries.close()

    def _needed(self) -> Sequence[Coarse]:
        """Return the watches that wait: where no service is selected, no health is of interest."""
        return (self._catalog, *self._checks) if self.marks.services else (self._catalog,)

    def _is_new(self) -> bool:
        return any(not coarse.index for coarse in self._needed())

    async def _look(self) -> None:
        """Ask every watch once, side by side."""
        await self.identify()
        if not self._is_new():
            nodes = [self._look_at_nodes()] if self.marks.services else []
            await _together([*(self._ask(coarse) for coarse in self._needed()), *nodes])
            await self._resolve()
        if self._is_new():
            await self._begin()

    async def _begin(self) -> None:
        """See what there is, and mark everything: nobody knows what changed until now."""
        async with self._alone:
            await self._identify()
            if not self._is_new():
                return
            watches = (*self._needed(), self._nodes) if self.marks.services else self._needed()
            reads = [self._reads.read(c.kind.path, c.kind.shape, self.datacenter, fresh=True) for c in watches]
            answers = await _together(reads)
            for coarse, answer in zip(watches, answers, strict=True):
                coarse.learn(answer.index, answer.data)
                coarse.is_filtered, coarse.is_doubted = answer.filtered, True  # the index may have fallen in between
            self._queries.renew()
            self._nodes_at = self._clock.monotonic()
            self._changed_nodes.clear()
            self._sweep.forget()
            for name in self._catalog.kept:
                self.marks.mark_service(name, self._catalog.index)
            self.marks.mark_all()

    async def _identify(self) -> str:
        now = self._clock.monotonic()
        if now >= self._identify_at or self.datacenter in self._reads.lost:
            self._identify_at = now + IDENTITY_EVERY_S  # before it is asked: what is lost meanwhile is asked again
            found = await self._reads.trust_domain(self.datacenter)
            if found and self.identity and found != self.identity:
                self._forget()
            if self.identity and not found:  # another one may be about to get its own
                self._identify_at = now
            self.identity = found or self.identity
        return self.identity

    def _forget(self) -> None:
        for coarse in (self._catalog, *self._checks, self._nodes):
            coarse.forget()

    async def _attend(self, coarse: Coarse, wait: bool) -> None:  # noqa: FBT001 - an Ask
        """Ask one watch in the background, where others may have found that everything has to be looked at anew."""
        await self.identify()
        if self._is_new():
            await self._begin()
        else:
            await self._ask(coarse, wait=wait)

    async def _ask(self, coarse: Coarse, *, wait: bool = True) -> None:
        """Ask one watch, and mark what its answer shows.

        A query for what follows an index that has fallen waits in vain. One that ends early for nothing tells of a
        restored snapshot, and a failure hides one: then the next does not wait.
        """
        kind, known, began_at = coarse.kind, coarse.index, self._clock.monotonic()
        waiting = None if coarse.is_doubted or not wait else Wait(known, self._wait_s)
        try:
            answer = await self._reads.read(kind.path, kind.shape, self.datacenter, at_least=known, wait=waiting)
        except SluiceError:
            coarse.is_doubted = True
            raise
        if coarse.index != known:
            return  # everything was looked at anew meanwhile
        early = self._clock.monotonic() < began_at + self._wait_s / 2
        coarse.is_doubted = waiting is not None and answer.index == known and early
        if answer.index < known:
            self._identify_at = float("-inf")  # another cluster may answer
            self._forget()
            return
        if coarse is self._catalog and answer.filtered != coarse.is_filtered:
            self.marks.mark(self.marks.catalog, answer.index)  # whoever reads it sees to what is left out
        coarse.is_filtered = answer.filtered
        self._follow(coarse, coarse.learn(answer.index, answer.data), rose=answer.index > known)

    def _follow(self, coarse: Coarse, subjects: frozenset[Subject], *, rose: bool) -> None:
        """Mark whom an answer concerns, and look for what it does not show.

        A service that is gone may have gone with its node, and others have lost an instance.
        """
        if not rose and not subjects:
            return
        for service, node in subjects:
            if node:
                self._changed_nodes[node] = coarse.index
            else:
                self.marks.mark_service(service, coarse.index)
        if coarse is self._catalog:
            if subjects:
                self.marks.mark_catalog(coarse.index)
            is_explained = subjects and all(subject.service in coarse.kept for subject in subjects)
            self._sweep.want(0 if is_explained else coarse.index)
        elif coarse is not self._nodes:
            self._sweep.want()
        self._something.set()

    async def _look_at_nodes(self) -> None:
        if self._clock.monotonic() >= self._nodes_at + NODES_EVERY_S:
            await self._ask(self._nodes, wait=False)
            self._nodes_at = self._clock.monotonic()

    async def _resolve(self) -> None:
        """Mark the services on the nodes that changed; when these are many, all services."""
        if len(self._changed_nodes) > len(self.marks.services):
            self._changed_nodes.clear()
            self.marks.mark_all()
        await _together([self._resolve_node(node, index) for node, index in self._changed_nodes.items()])

    async def _resolve_node(self, node: str, index: int) -> None:
        names = await self._reads.services_on(self.datacenter, node)
        if names is None:  # it is gone, and nobody knows what was on it
            self._sweep.want(index)
        for name in names or ():
            self.marks.mark_service(name, index)
        if self._changed_nodes.get(node) == index:
            del self._changed_nodes[node]

    async def _find(self, wait: bool) -> None:  # noqa: FBT001 - an Ask
        """Once something rose, or there is time: find out what changed."""
        due_s = self._sweep.due_in()
        if wait and not self._changed_nodes and due_s != 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(due_s or NODES_EVERY_S, NODES_EVERY_S, IDENTITY_EVERY_S)):
                    await self._something.wait()
        self._something.clear()
        await self.identify()
        if self.marks.services and not self._is_new():
            await self._look_at_nodes()
            await self._resolve()
        await self._sweep.run()

    async def _wait_for(self, service: Service, wait: bool) -> None:  # noqa: FBT001 - an Ask
        """Wait until the index of one service moves, and mark it."""
        waiting = Wait(service.index, self._wait_s) if wait else None
        index = await self._reads.index(self.datacenter, service.name, waiting)
        if index != service.index:
            self.marks.mark(service.stream, index)
            service.index = index  # it is marked: nobody else has to find out


async def _together[T](awaited: Iterable[Awaitable[T]]) -> Sequence[T]:
    """Wait for all, then raise the first error: what the others found is not lost.

    Raises:
        TransientError: Consul cannot be reached.
        ConfigError: it refuses.
    """
    outcomes = await asyncio.gather(*awaited, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
