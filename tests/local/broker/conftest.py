"""A broker process per test module, and clients for it."""

import gc
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.aio import ServiceBusClient as AsyncClient

DEADLINE_S = 15.0


@dataclass(frozen=True)
class BrokerProcess:
    """A running broker; entities are named by the test that uses them."""

    connection: str
    control: str
    settings: Mapping[str, str]

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

    def state(self, entity: str) -> Any:
        return self.call("GET", "/state")[1]["entities"][entity]

    def traffic(self) -> Any:
        return self.call("GET", "/state")[1]["traffic"]

    def paused(self) -> Any:
        return self.call("GET", "/state")[1]["paused"]

    def messages(self, entity: str) -> Any:
        return self.call("GET", f"/messages?entity={entity}")[1]

    def wait_until(self, holds: Callable[[], Any], what: str) -> Any:
        """Return the first true result, polled; fail after the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if result := holds():
                return result
            time.sleep(0.02)
        pytest.fail(f"not within {DEADLINE_S} s: {what}")

    def _create(self, entities: dict[str, Any], name: str) -> str:
        status, said = self.call("POST", "/entities", entities)
        assert status == 201, said
        return name


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerProcess]:
    command = [sys.executable, "-m", "local.broker", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            yield BrokerProcess(ready["settings"]["ServiceBus"], ready["control"], ready["settings"])
        finally:
            process.terminate()
            assert process.wait(10) == 0
            _collect_lost_sockets()


def _collect_lost_sockets() -> None:
    """Let go of the sockets of lost connections, which the library leaves to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Clients:
    """Senders and receivers of one test module.

    They are closed together at its end, as the library takes half a second to close each.
    """

    def __init__(self, connection: str) -> None:
        self._client = ServiceBusClient.from_connection_string(connection, retry_total=0)
        self._opened: list[Any] = []

    def sender(self, queue: str) -> ServiceBusSender:
        return self._keep(self._client.get_queue_sender(queue))

    def topic_sender(self, topic: str) -> ServiceBusSender:
        return self._keep(self._client.get_topic_sender(topic))

    def receiver(self, queue: str, **options: Any) -> ServiceBusReceiver:
        return self._keep(self._client.get_queue_receiver(queue, max_wait_time=3, **options))

    def subscription(self, topic: str, name: str, **options: Any) -> ServiceBusReceiver:
        return self._keep(self._client.get_subscription_receiver(topic, name, max_wait_time=3, **options))

    def send(self, queue: str, *messages: ServiceBusMessage) -> None:
        self.sender(queue).send_messages(list(messages))

    def close(self) -> None:
        with ThreadPoolExecutor(32) as threads:
            list(threads.map(lambda one: one.close(), self._opened))
        self._client.close()

    def _keep[T](self, opened: T) -> T:
        self._opened.append(opened)
        return opened


@pytest.fixture(scope="module")
def clients(broker) -> Iterator[Clients]:
    clients = Clients(broker.connection)
    try:
        yield clients
    finally:
        clients.close()


@pytest.fixture
async def client(broker) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.from_connection_string(broker.connection, retry_total=0) as client:
        yield client
