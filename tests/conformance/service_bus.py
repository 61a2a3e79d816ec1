"""A Service Bus namespace for tests of the sink: the local broker as a process of its own, or a real one.

With SLUICE_TEST_SERVICEBUS set to a connection string that may manage entities, tests use that namespace; with
SLUICE_TEST_ADMINISTRATION, its management API is at that address, `https://127.0.0.1:5300`, under SLUICE_CA_FILE.
"""

import asyncio
import base64
import gc
import json
import os
import subprocess
import sys
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

import aiohttp
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.aio.management import ServiceBusAdministrationClient

from shared import administration
from shared.settings.model import AzureSettings
from shared.sinks.servicebus import ServiceBusSink, SpreadSink

LIVE = os.environ.get("SLUICE_TEST_SERVICEBUS", "")
ADMINISTRATION = os.environ.get("SLUICE_TEST_ADMINISTRATION", "")
MAX_MESSAGE_BYTES = 256 * 1024
WINDOW = timedelta(minutes=5)


@contextmanager
def namespace() -> Iterator[tuple[str, str]]:
    """Yield a connection string, and the address of the broker's switches: "" for a real namespace."""
    if LIVE:
        yield LIVE, ""
        return
    command = [sys.executable, "-m", "local.broker", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as part:
        assert part.stdout
        ready = json.loads(part.stdout.readline())
        yield ready["settings"]["ServiceBus"], ready["control"]
        part.terminate()


class OnServiceBus:
    """Queues of their own in a namespace, and a sink."""

    refuses = True

    def __init__(self, connection_string: str, control: str, http: aiohttp.ClientSession, **options: Any) -> None:
        self.away = bool(control)
        self.control = control
        self.http = http
        self.connection_string = connection_string
        self.connection = AzureSettings(connection_string=connection_string)
        self.sink = ServiceBusSink(self.connection, **{"max_message_bytes": MAX_MESSAGE_BYTES, **options})
        self.queues: list[str] = []

    async def destination(self) -> str:
        """Create a queue that detects duplicates, as the topics of the product do."""
        return await self.queue(detects=True)

    async def queue(self, *, detects: bool = False, sessions: bool = False) -> str:
        name = f"test-{uuid.uuid4().hex}"
        self.queues.append(name)
        if self.control:
            properties = {
                "RequiresDuplicateDetection": detects,
                "DuplicateDetectionHistoryTimeWindow": "PT5M",
                "RequiresSession": sessions,
            }
            await self.post("entities", {"Queues": [{"Name": name, "Properties": properties}]})
            return name
        async with self.administration() as service:
            await service.create_queue(
                name,
                requires_duplicate_detection=detects,
                duplicate_detection_history_time_window=WINDOW,
                requires_session=sessions,
            )
        return name

    @asynccontextmanager
    async def administration(self) -> AsyncIterator[ServiceBusAdministrationClient]:
        """Open the management API of a real namespace."""
        reached = AzureSettings(self.connection_string, administration=ADMINISTRATION.removeprefix("https://"))
        made, closing = administration.client(reached, os.environ.get("SLUICE_CA_FILE", ""))
        async with closing:
            yield made

    async def received(self, to: str) -> Sequence[tuple[str, bytes]]:
        if self.control:
            async with self.http.get(f"{self.control}/messages", params={"entity": to}) as answer:
                return [(each["id"], base64.b64decode(each["body"])) for each in await answer.json()]
        return [(each.message_id or "", b"".join(each.body)) for each in await self.messages(to)]

    async def messages(self, to: str) -> list[ServiceBusReceivedMessage]:
        """Return all that is in a queue without sessions, as the SDK shows it."""
        found: list[ServiceBusReceivedMessage] = []
        client = ServiceBusClient.from_connection_string(self.connection_string)
        async with client, client.get_queue_receiver(to) as receiver:
            while page := await receiver.peek_messages(250, sequence_number=_next(found)):
                found += page
        return found

    async def take_away(self, to: str) -> None:
        await self.fault({"outage_s": 60})

    async def bring_back(self, to: str) -> None:
        await self.fault({"outage_s": 0})

    async def fault(self, fault: dict[str, Any]) -> None:
        await self.post("faults", fault)

    async def state(self) -> dict[str, Any]:
        async with self.http.get(f"{self.control}/state") as answer:
            return dict(await answer.json())

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> None:
        """Wait for a state of the broker."""
        async with asyncio.timeout(20):
            while True:
                if condition(await self.state()):
                    return
                await asyncio.sleep(0.01)

    async def post(self, path: str, content: object) -> None:
        async with self.http.post(f"{self.control}/{path}", json=content) as answer:
            assert answer.ok, await answer.text()

    async def close(self) -> None:
        await self.sink.close()
        if not self.control:
            async with self.administration() as service:
                for name in self.queues:
                    await service.delete_queue(name)


class OnTwoNamespaces:
    """Queues in two namespaces in turn, and a sink that looks up where each is."""

    refuses = True

    def __init__(self, *places: OnServiceBus) -> None:
        self.away = all(each.away for each in places)
        self._places = {f"namespace {number}": each for number, each in enumerate(places)}
        self._placed: dict[str, str] = {}
        self.sink = SpreadSink({name: each.sink for name, each in self._places.items()}, self.find)

    async def find(self, to: str) -> str | None:
        return self._placed.get(to)

    async def destination(self) -> str:
        name, at = list(self._places.items())[len(self._placed) % 2]
        to = await at.destination()
        self._placed[to] = name
        return to

    async def received(self, to: str) -> Sequence[tuple[str, bytes]]:
        return await self._at(to).received(to)

    async def take_away(self, to: str) -> None:
        await self._at(to).take_away(to)

    async def bring_back(self, to: str) -> None:
        await self._at(to).bring_back(to)

    def _at(self, to: str) -> OnServiceBus:
        return self._places[self._placed[to]]


@asynccontextmanager
async def place(where: tuple[str, str], **options: Any) -> AsyncIterator[OnServiceBus]:
    """Open a sink with these options on a namespace; at the end, close it and remove the queues."""
    async with aiohttp.ClientSession() as http:
        opened = OnServiceBus(*where, http, **options)
        try:
            yield opened
        finally:
            await opened.close()
            with warnings.catch_warnings():
                # The SDK leaves the socket of a connection that the other side ended to the garbage collector.
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()


def _next(found: Sequence[ServiceBusReceivedMessage]) -> int:
    return (found[-1].sequence_number or 0) + 1 if found else 0
