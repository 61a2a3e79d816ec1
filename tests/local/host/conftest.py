"""Hosts as processes of their own: the worker library keeps one app per process."""

import asyncio
import json
import os
import signal
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from aiohttp import ClientSession
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

ROOT = Path(__file__).parents[3]
APPS = Path(__file__).parent / "apps"
HOST_JSON = {"version": "2.0"}


class Host:
    """A running `python -m local.host`."""

    def __init__(self, process: Popen[str], line: Mapping[str, Any], log: Path) -> None:
        self.process = process
        self.pid = int(line["pid"])
        self.control = str(line["control"])
        self.settings: Mapping[str, str] = line["settings"]
        self._log = log

    @property
    def url(self) -> str:
        return self.settings["HttpUrl"]

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def state(self) -> dict[str, Any]:
        async with ClientSession() as session, session.get(f"{self.control}/state") as answer:
            state: dict[str, Any] = await answer.json()
            return state

    async def get(self, path: str, method: str = "GET", **options: Any) -> tuple[int, str]:
        async with ClientSession() as session, session.request(method, self.url + path, **options) as answer:
            return answer.status, await answer.text()

    async def ended(self) -> int:
        """Wait for the process to end; return its exit code."""
        return await asyncio.to_thread(self.process.wait, 20)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()


class Hosts:
    """Starts hosts whose logs go to `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Popen[str]] = []

    def start(self, app: Path | str, *arguments: str, **environment: str) -> Host:
        """Start a host and wait until it is ready.

        Raises:
            ChildProcessError: it ended before that: its exit code and log.
        """
        log = self._folder / f"host{len(self._processes)}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AzureWebJobs")}
        with log.open("wb") as stderr:
            process = Popen(
                [sys.executable, "-m", "local.host", "--app", str(APPS / app), "--with-parent", *arguments],
                cwd=ROOT,
                env=inherited | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
                stdout=PIPE,
                stderr=stderr,
                text=True,
            )
        self._processes.append(process)
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            raise ChildProcessError(process.wait(), log.read_text())
        return Host(process, json.loads(line), log)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            with process:
                pass


@dataclass(frozen=True)
class Broker:
    """A running broker."""

    connection: str
    control: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.loads(reply.read())

    def queue(self, **properties: Any) -> str:
        name = f"queue-{uuid.uuid4().hex}"
        self.call(
            "POST", "/entities", {"Queues": [{"Name": name, "Properties": {"RequiresSession": True} | properties}]}
        )
        return name

    def state(self, queue: str) -> dict[str, Any]:
        state: dict[str, Any] = self.call("GET", "/state")["entities"][queue]
        return state

    async def send(self, queue: str, *messages: ServiceBusMessage) -> None:
        client = ServiceBusClient.from_connection_string(self.connection)
        async with client, client.get_queue_sender(queue) as sender:
            for message in messages:
                await sender.send_messages(message)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    command = [sys.executable, "-m", "local.broker", "--with-parent"]
    with Popen(command, cwd=ROOT, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield Broker(ready["settings"]["ServiceBus"], ready["control"])
        process.terminate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Return what starts a host: app, arguments, and settings by name; all are stopped after the test."""
    hosts = Hosts(tmp_path)
    yield hosts.start
    hosts.stop()


@pytest.fixture(scope="module")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Host]]:
    """Return what starts a host for all tests of a module."""
    hosts = Hosts(tmp_path_factory.mktemp("hosts"))
    yield hosts.start
    hosts.stop()


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[..., Path]:
    """Write an app: its source, and what its host.json says beside the version."""

    def make(source: str | None, **host_json: Any) -> Path:
        folder = tmp_path / "app"
        folder.mkdir()
        (folder / "host.json").write_text(json.dumps(HOST_JSON | host_json))
        if source is not None:
            (folder / "function_app.py").write_text("import azure.functions as func\n" + source)
        return folder

    return make


@pytest.fixture
def trace(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """Return what an app noted in the file named by TRACE."""

    def read() -> list[dict[str, Any]]:
        path = tmp_path / "trace"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for the first true thing that a look returns, and return it."""

    async def wait[T](look: Callable[[], T], seconds: float = 20) -> T:
        async with asyncio.timeout(seconds):
            while not (seen := look()):  # noqa: ASYNC110 - other processes send no event
                await asyncio.sleep(0.02)
            return seen

    return wait
