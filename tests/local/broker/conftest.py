"""A broker process per test module, and clients for it."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient
from azure.servicebus.aio import ServiceBusClient as AsyncClient

DEADLINE_S = 15.0


@dataclass(frozen=True)
class BrokerProcess:
    """A running broker; entities are named by the test that uses them."""

    connection: str
    control: str

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as problem:
            with problem:
                return problem.code, json.loads(problem.read())

    def fault(self, **what: Any) -> None:
        status, said = self.call("POST", "/faults", what)
        assert status == 200, said

    def queue(self, name: str, **properties: Any) -> str:
        return self._create({"Queues": [{"Name": name, "Properties": properties}]}, name)

    def topic(self, name: str, *subscriptions: str, **properties: Any) -> str:
        entry = {"Name": name, "Properties": properties, "Subscriptions": [{"Name": one} for one in subscriptions]}
        return self._create({"Topics": [entry]}, name)

    def state(self, entity: str) -> dict[str, Any]:
        return self.call("GET", "/state")[1]["entities"][entity]

    def paused(self) -> list[dict[str, Any]]:
        return self.call("GET", "/state")[1]["paused"]

    def messages(self, entity: str) -> list[dict[str, Any]]:
        return self.call("GET", f"/messages?entity={entity}")[1]

    def _create(self, entities: dict[str, Any], name: str) -> str:
        status, said = self.call("POST", "/entities", entities)
        assert status == 201, said
        return name


def wait_until(holds: Callable[[], Any], what: str) -> Any:
    """Return the first true result, polled; fail after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if result := holds():
            return result
        time.sleep(0.02)
    pytest.fail(f"not within {DEADLINE_S} s: {what}")


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerProcess]:
    command = [sys.executable, "-m", "local.broker", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            yield BrokerProcess(ready["settings"]["ServiceBus"], ready["control"])
        finally:
            process.terminate()
            assert process.wait(10) == 0


@pytest.fixture(scope="module")
def client(broker) -> Iterator[ServiceBusClient]:
    with ServiceBusClient.from_connection_string(broker.connection, retry_total=0) as client:
        yield client


@pytest.fixture
async def aclient(broker):
    async with AsyncClient.from_connection_string(broker.connection, retry_total=0) as client:
        yield client
