"""Sinks in memory, on a console and on Service Bus keep the same promises.

Service Bus is the local broker; with SLUICE_TEST_SERVICEBUS set to a connection string that may manage, it is that
namespace.
"""

import json
import os
import pkgutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.aio.management import ServiceBusAdministrationClient

from shared import sinks
from shared.settings.model import AzureSettings
from shared.sinks.console import ConsoleSink
from shared.sinks.memory import MemorySink, Outage
from shared.sinks.servicebus import ServiceBusSink
from tests.conformance.sink_suite import Place, SinkSuite

LIVE = os.environ.get("SLUICE_TEST_SERVICEBUS", "")
MAX_MESSAGE_BYTES = 256 * 1024
WINDOW = timedelta(minutes=5)


class InMemory:
    refuses = away = True

    def __init__(self) -> None:
        self.sink = MemorySink(detect_duplicates=True, max_message_bytes=MAX_MESSAGE_BYTES)
        self.sink.away("missing", Outage(lasting=True))

    async def destination(self) -> str:
        return uuid.uuid4().hex

    async def received(self, to: str) -> Sequence[tuple[str, bytes]]:
        return [(each.id, each.body) for each in self.sink.kept[to]]

    async def take_away(self, to: str) -> None:
        self.sink.away(to)

    async def bring_back(self, to: str) -> None:
        self.sink.mend(to)


class OnConsole:
    """A console whose output goes into a file; while it is away, into a pipe that nobody reads."""

    refuses, away = False, True

    def __init__(self, file: Path) -> None:
        self.file = file
        self.out = file.open("ab")
        self.sink = ConsoleSink(self.out, json_lines=True)

    async def destination(self) -> str:
        return uuid.uuid4().hex

    async def received(self, to: str) -> Sequence[tuple[str, bytes]]:
        bodies = self.file.read_bytes().splitlines()
        said = [(json.loads(body)["metadata"], body) for body in bodies]
        return [(metadata["EventID"], body) for metadata, body in said if metadata["Destination"] == to]

    async def take_away(self, to: str) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, self.out.fileno())
        os.close(writing)

    async def bring_back(self, to: str) -> None:
        with self.file.open("ab") as file:
            os.dup2(file.fileno(), self.out.fileno())


class OnServiceBus:
    """Queues of one namespace, which detect duplicates as the topics of the product do."""

    refuses = True

    def __init__(self, connection_string: str, control: str, *, encoded: bool) -> None:
        self.away = bool(control)
        self.control = control
        self.connection_string = connection_string
        self.connection = AzureSettings(connection_string=connection_string)
        self.sink = ServiceBusSink(self.connection, max_message_bytes=MAX_MESSAGE_BYTES, encoded=encoded)
        self.client = ServiceBusClient.from_connection_string(connection_string)
        self.http = aiohttp.ClientSession()
        self.queues: list[str] = []

    async def destination(self, *, sessions: bool = False) -> str:
        name = f"test-{uuid.uuid4().hex}"
        self.queues.append(name)
        if self.control:
            properties = {
                "RequiresDuplicateDetection": not sessions,
                "DuplicateDetectionHistoryTimeWindow": "PT5M",
                "RequiresSession": sessions,
            }
            await self.post("entities", {"Queues": [{"Name": name, "Properties": properties}]})
            return name
        async with ServiceBusAdministrationClient.from_connection_string(self.connection_string) as service:
            await service.create_queue(
                name,
                requires_duplicate_detection=not sessions,
                duplicate_detection_history_time_window=WINDOW,
                requires_session=sessions,
            )
        return name

    async def received(self, to: str) -> Sequence[tuple[str, bytes]]:
        return [(each.message_id or "", b"".join(each.body)) for each in await self.messages(to)]

    async def messages(self, to: str) -> list[ServiceBusReceivedMessage]:
        """Return all that is in a queue without sessions, through the SDK's own decoder."""
        found: list[ServiceBusReceivedMessage] = []
        async with self.client.get_queue_receiver(to) as receiver:
            while page := await receiver.peek_messages(250, sequence_number=_next(found)):
                found += page
        return found

    async def take_away(self, to: str) -> None:
        await self.post("faults", {"outage_s": 60})

    async def bring_back(self, to: str) -> None:
        await self.post("faults", {"outage_s": 0})

    async def post(self, path: str, content: object) -> None:
        async with self.http.post(f"{self.control}/{path}", json=content) as answer:
            assert answer.ok, await answer.text()

    async def close(self) -> None:
        await self.sink.close()
        await self.client.close()
        await self.http.close()
        if not self.control:
            async with ServiceBusAdministrationClient.from_connection_string(self.connection_string) as service:
                for name in self.queues:
                    await service.delete_queue(name)


def _next(found: Sequence[ServiceBusReceivedMessage]) -> int:
    return (found[-1].sequence_number or 0) + 1 if found else 0


@pytest.fixture(scope="session")
def broker() -> Iterator[tuple[str, str]]:
    """A namespace's connection string, and the address of the switches of its faults."""
    if LIVE:
        yield LIVE, ""
        return
    command = [sys.executable, "-m", "local.broker", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as part:
        assert part.stdout
        ready = json.loads(part.stdout.readline())
        yield ready["settings"]["ServiceBus"], ready["control"]
        part.terminate()


@pytest.fixture
async def memory() -> InMemory:
    return InMemory()


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[OnConsole]:
    place = OnConsole(tmp_path / "out")
    yield place
    await place.sink.close()
    place.out.close()


@pytest.fixture
async def servicebus(broker: tuple[str, str]) -> AsyncIterator[OnServiceBus]:
    place = OnServiceBus(*broker, encoded=True)
    yield place
    await place.close()


@pytest.fixture
async def servicebus_by_the_sdk(broker: tuple[str, str]) -> AsyncIterator[OnServiceBus]:
    place = OnServiceBus(*broker, encoded=False)
    yield place
    await place.close()


CASES = ("memory", "console", "servicebus", "servicebus_by_the_sdk")


@pytest.fixture(params=CASES)
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


class TestSinks(SinkSuite):
    """All promises, by every kind."""


def test_every_kind_of_sink_has_a_case() -> None:
    assert {module.name for module in pkgutil.iter_modules(sinks.__path__)} <= set(CASES)
