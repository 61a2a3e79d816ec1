"""Sinks in memory, on a console and on Service Bus keep the same promises."""

import json
import os
import pkgutil
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from shared import sinks
from shared.sinks.console import ConsoleSink
from shared.sinks.memory import MemorySink, Outage
from tests.conformance import service_bus
from tests.conformance.sink_suite import Place, SinkSuite


class InMemory:
    refuses = away = True

    def __init__(self) -> None:
        self.sink = MemorySink(detect_duplicates=True, max_message_bytes=256 * 1024)
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


@pytest.fixture(scope="session")
def namespace() -> Iterator[tuple[str, str]]:
    with service_bus.namespace() as where:
        yield where


@pytest.fixture(scope="session")
def second_namespace() -> Iterator[tuple[str, str]]:
    with service_bus.namespace() as where:
        yield where


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
async def servicebus(namespace: tuple[str, str]) -> AsyncIterator[Place]:
    async with service_bus.place(namespace, encoded=True) as place:
        yield place


@pytest.fixture
async def servicebus_by_the_sdk(namespace: tuple[str, str]) -> AsyncIterator[Place]:
    async with service_bus.place(namespace, encoded=False) as place:
        yield place


@pytest.fixture
async def servicebus_in_two_namespaces(
    namespace: tuple[str, str], second_namespace: tuple[str, str]
) -> AsyncIterator[Place]:
    async with service_bus.place(namespace) as one, service_bus.place(second_namespace) as other:
        yield service_bus.OnTwoNamespaces(one, other)


CASES = ("memory", "console", "servicebus", "servicebus_by_the_sdk", "servicebus_in_two_namespaces")


@pytest.fixture(params=CASES)
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


class TestSinks(SinkSuite):
    """All promises, by every kind."""


def test_every_kind_of_sink_has_a_case() -> None:
    assert {module.name for module in pkgutil.iter_modules(sinks.__path__)} <= set(CASES)
