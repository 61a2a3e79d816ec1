"""Consul through its observer and journals: services of their own for each test, on one server.

A row is an instance on one node: its id is the row's, its meta has the name. What is committed in one transaction is
observed change by change, so that the observer sees as many as were made.
"""

import functools
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec

from shared import naming
from shared.errors import ConfigError
from shared.events import Batch, ChangeEvent, FoundStream, Mark, Position, Saved, Stream, StreamState
from shared.journal import JournaledSource
from shared.settings.model import ConsulSettings
from shared.sources.consul import open_observer
from shared.sources.scripted import Change
from shared.stores.memory import MemoryAccount, MemoryJournalStore, MemoryStateStore
from tests.conformance.source_suite import NOWHERE, Database

SOURCE, NODE = "consul1", "conformance"


@contextmanager
def started() -> Iterator[str]:
    """Run a server, or use the one of SLUICE_TEST_CONSUL; yield its address."""
    if address := os.environ.get("SLUICE_TEST_CONSUL", ""):
        yield address
        return
    command = [sys.executable, "-m", "local.consul", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as part:
        assert part.stdout
        yield json.loads(part.stdout.readline())["settings"]["Consul"]
        part.terminate()


_server = functools.cache(lambda running: running.enter_context(started()))


class Shown:
    """The source, its instances shown as the rows they stand for, and its catalog left out."""

    def __init__(self, inner: JournaledSource) -> None:
        self.inner = inner

    async def discover(self) -> tuple[Sequence[FoundStream], Sequence[ConfigError]]:
        found, problems = await self.inner.discover()
        return [each for each in found if naming.parts(each.stream)[2] == "service"], tuple(problems)

    async def probe(self, after: Mapping[Stream, Position]) -> frozenset[Stream]:
        return await self.inner.probe(after)

    async def read(self, stream: Stream, after: Position, limit: int) -> Batch:
        batch = await self.inner.read(stream, after, limit)
        return replace(batch, events=[_shown(event) for event in batch.events])


class ConsulDatabase:
    keeps_history = False

    def __init__(
        self, http: aiohttp.ClientSession, account: MemoryAccount, source: JournaledSource, names: Any
    ) -> None:
        self.http = http
        self.account = account
        self.source = Shown(source)
        first, second, third = (naming.stream(SOURCE, "dc1", "service", name) for name in names)
        self.streams = first, second, third
        self.last = dict.fromkeys(self.streams, NOWHERE)

    async def commit(self, changes: Mapping[Stream, Sequence[Change]]) -> None:
        for stream, made in changes.items():
            together = all(change.op == "c" for change in made)
            for change in made:
                await self.make(naming.parts(stream)[3], change)
                if not together:
                    await self.look(stream)
            await self.look(stream)

    async def make(self, service: str, change: Change) -> None:
        row = change.after or change.before or {}
        instance = f"{row['ID']:06d}"
        if change.op == "d":
            body = {"Node": NODE, "ServiceID": f"{service}-{instance}"}
            await self.put("/v1/catalog/deregister", body)
            return
        entry = {"Service": service, "ID": f"{service}-{instance}", "Meta": {"Name": row["Name"]}}
        await self.put(
            "/v1/catalog/register", {"Node": NODE, "Address": "192.0.2.1", "SkipNodeUpdate": True, "Service": entry}
        )

    async def put(self, path: str, body: Mapping[str, Any]) -> None:
        async with self.http.put(path, json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def look(self, stream: Stream) -> None:
        while (batch := await self.source.inner.read(stream, self.last[stream], 10_000)).events:
            self.last[stream] = batch.position

    async def clean_up(self, stream: Stream) -> None:
        """Say that everything was delivered; what is observed next lets it go."""
        last = self.last[stream]
        state = StreamState(stream, last, 1, NOWHERE, destinations=("A",))
        self.account.states[stream] = Saved(state, "e")
        self.account.marks[stream, "A"] = Saved(Mark(1, last), "e")

    async def go_back(self, stream: Stream) -> Position:
        raise AssertionError(stream)


def _shown(event: ChangeEvent) -> ChangeEvent:
    changed = event.changed and tuple({"Meta": "Name"}.get(name, name) for name in event.changed)
    assert event.key == ("Datacenter", "Node", "ServiceID")
    return msgspec.structs.replace(
        event, key=("ID",), before=_row(event.before), after=_row(event.after), changed=changed
    )


def _row(instance: dict[str, Any] | None) -> dict[str, Any] | None:
    if instance is None:
        return None
    return {"ID": int(instance["ServiceID"].rpartition("-")[2]), "Name": instance["Meta"]["Name"]}


@asynccontextmanager
async def database(running: ExitStack) -> AsyncIterator[Database]:
    """Open three services that nobody has registered yet, observed once."""
    address, account = _server(running), MemoryAccount()
    names = [f"{name}-{uuid.uuid4().hex[:8]}" for name in ("persons", "cars", "quiet")]
    settings = ConsulSettings(SOURCE, address, datacenters=("dc1",), services=tuple(names))
    journals, states = MemoryJournalStore(account), MemoryStateStore(account)
    async with aiohttp.ClientSession(address) as http, open_observer(settings, resident=False) as observer:
        source = JournaledSource(SOURCE, observer, journals=journals, states=states)
        opened = ConsulDatabase(http, account, source, names)
        await source.discover()
        for stream in opened.streams:
            await opened.look(stream)
        yield opened
