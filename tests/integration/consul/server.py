"""The Consul stand-in inside the test's own event loop, and a consumer that does what capture does with an observer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp

from local.consul.cluster import Cluster
from local.consul.control import Control
from local.consul.server import Server
from shared import naming
from shared.errors import SluiceError
from shared.events import ChangeEvent, Memo, Position, Stream
from shared.settings.model import ConsulSettings
from shared.sources.consul import open_observer, position
from shared.sources.consul.observer import ConsulObserver

DEADLINE_S = 20.0


class Consul:
    """A running stand-in, its switches, and a client that registers what a test wants to see."""

    def __init__(self, server: Server, session: aiohttp.ClientSession, address: str) -> None:
        self.server = server
        self.address = address
        self._session = session

    def settings(self, *services: str, **changes: Any) -> ConsulSettings:
        settings = ConsulSettings(name="registry", address=self.address, services=services, wait_s=0.02)
        return replace(settings, **changes)

    async def switch(self, **fault: Any) -> None:
        await Control(self.server).fault(fault)

    def counts(self) -> dict[str, int]:
        return dict(self.server.state()["counts"])

    def asked(self) -> list[str]:
        """Return the reads since the counts were reset, as path and query."""
        return [f"{each['path']}?{each['query']}" for each in self.server.state()["last"] if each["method"] == "GET"]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is true of the server."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)

    async def put(self, path: str, body: Any) -> None:
        async with self._session.put(self.address + path, json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def register(self, service: str, service_id: str = "", node: str = "n1", **more: Any) -> None:
        """Register an instance; `status` adds a check, `address` is the node's, `datacenter` another than the own."""
        service_id = service_id or service
        body: dict[str, Any] = {
            "Node": node,
            "Address": more.pop("address", "10.0.0.1"),
            "Datacenter": more.pop("datacenter", "dc1"),
        }
        if status := more.pop("status", ""):
            body["Check"] = {"CheckID": f"{service_id}:up", "Status": status, "ServiceID": service_id}
        body["Service"] = {"ID": service_id, "Service": service, "Port": 80, **more}
        await self.put("/v1/catalog/register", body)

    async def deregister(self, service_id: str = "", node: str = "n1") -> None:
        await self.put("/v1/catalog/deregister", {"Node": node, "ServiceID": service_id})

    async def check(self, check_id: str, status: str, node: str = "n1", service_id: str = "", output: str = "") -> None:
        check = {"CheckID": check_id, "Status": status, "ServiceID": service_id, "Output": output}
        await self.put("/v1/catalog/register", {"Node": node, "SkipNodeUpdate": True, "Address": "x", "Check": check})


class Consumer:
    """Observes as capture does, keeps the memos, and checks that deltas and memos agree."""

    def __init__(self, observer: ConsulObserver) -> None:
        self.observer = observer
        self.streams: list[Stream] = []
        self.problems: list[str] = []
        self.memos: dict[Stream, Memo] = {}
        self.last: dict[Stream, Position] = {}

    async def discover(self) -> list[Stream]:
        found, problems = await self.observer.discover(self.memos.keys())
        self.streams, self.problems = [each.stream for each in found], [str(each) for each in problems]
        return self.streams

    async def probe(self) -> frozenset[Stream]:
        return await self.observer.probe(self.streams)

    async def observe(self, stream: Stream) -> list[ChangeEvent]:
        memo, after = self.memos.get(stream), self.last.get(stream, Position(""))
        seen = await self.observer.observe(stream, memo, after)
        positions = [event.position for event in seen.events]
        assert positions == sorted({*positions}), "positions ascend, one event each"
        assert all(position > after for position in positions)
        if memo is not None:
            assert applied(memo.items, seen.events) == dict(seen.memo.items)
        self.memos[stream] = seen.memo
        self.last[stream] = positions[-1] if positions else after
        return list(seen.events)

    async def turn(self) -> list[ChangeEvent]:
        """Look once: at what the probe names, as capture would."""
        named = await self.probe()
        if not named <= set(self.streams):
            await self.discover()
            named = (named | await self.probe()) & set(self.streams)
        return [event for stream in sorted(named) for event in await self.observe(stream)]

    async def settle(self) -> list[ChangeEvent]:
        """Go on until a probe finds nothing."""
        if not self.streams:
            await self.discover()
        events: list[ChangeEvent] = []
        async with asyncio.timeout(DEADLINE_S):
            while await self.probe():
                events += await self.turn()
        return events

    async def until(self, condition: Callable[[list[ChangeEvent]], object]) -> list[ChangeEvent]:
        """Go on until the events together meet a condition."""
        events: list[ChangeEvent] = []
        async with asyncio.timeout(DEADLINE_S):
            while not condition(events):
                events += await self.turn()
                await asyncio.sleep(0.01)
        return events

    async def believed(self) -> list[ChangeEvent]:
        """Go on until discovery has no problem."""
        events: list[ChangeEvent] = []
        async with asyncio.timeout(DEADLINE_S):
            while True:
                events += await self.turn()
                await self.discover()
                if not self.problems:
                    return events
                await asyncio.sleep(0.01)

    async def refused(self) -> SluiceError:
        """Probe until Consul's refusal comes out."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    await self.turn()
                except SluiceError as why:
                    return why
                await asyncio.sleep(0.01)


@asynccontextmanager
async def consuming(settings: ConsulSettings, *, resident: bool = False) -> AsyncIterator[Consumer]:
    async with open_observer(settings, resident=resident) as observer:
        yield Consumer(observer)


@asynccontextmanager
async def serving(*datacenters: str) -> AsyncIterator[Consul]:
    server = Server(Cluster(datacenters or ("dc1",)))
    async with server.serving(0), aiohttp.ClientSession() as session:
        yield Consul(server, session, f"http://127.0.0.1:{server.port}")


def service(name: str, datacenter: str = "dc1") -> Stream:
    return naming.stream("registry", datacenter, "service", name)


def catalog(datacenter: str = "dc1") -> Stream:
    return naming.stream("registry", datacenter, "catalog")


def told(events: list[ChangeEvent]) -> list[tuple[str, str]]:
    """Return of each event its name and its subject."""
    return [(str(event.facts["Event"]), subject(event)) for event in events]


def epoch(event: ChangeEvent) -> int:
    return position.decode(event.position).epoch


def subject(event: ChangeEvent) -> str:
    row = event.after or event.before or {}
    return str(row["ServiceID"] if "ServiceID" in row else row["ServiceName"])


def applied(items: Any, events: Any) -> dict[str, Any]:
    rows = dict(items)
    for event in events:
        [key] = [key for key, row in rows.items() if row == event.before] if event.before else [_key(event.after)]
        if event.after is None:
            del rows[key]
        else:
            rows[key] = event.after
    return rows


def _key(row: dict[str, Any]) -> str:
    return f"{row['Node']}/{row['ServiceID']}" if "ServiceID" in row else str(row["ServiceName"])
