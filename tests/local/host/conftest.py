"""Hosts as processes of their own: the worker library keeps one app per process."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

ROOT = Path(__file__).parents[3]
APPS = Path(__file__).parent / "apps"
HOST_JSON = {"version": "2.0"}


class Host:
    """A running `python -m local.host`; its log is read in the background."""

    def __init__(self, process: Process, line: Mapping[str, Any], log: Path) -> None:
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

    async def stop(self) -> int:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 20)


type Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Hosts, by `await start(app, *arguments, **environment)`; they are stopped after the test.

    ChildProcessError holds the exit code and the log of one that ended before it was ready.
    """
    hosts: list[Process] = []

    async def begin(app: Path | str, *arguments: str, **environment: str) -> Host:
        log = tmp_path / f"host{len(hosts)}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AzureWebJobs")}
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "local.host", "--app", str(APPS / app), "--with-parent", *arguments),
                cwd=ROOT,
                env=inherited | {"PYTHONDONTWRITEBYTECODE": "1"} | environment,
                stdout=PIPE,
                stderr=stderr,
            )
        hosts.append(process)
        assert process.stdout
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        if not line:
            raise ChildProcessError(await process.wait(), log.read_text())
        return Host(process, json.loads(line), log)

    yield begin
    for process in hosts:
        if process.returncode is None:
            process.kill()
            await process.wait()


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
            while not (seen := look()):
                await asyncio.sleep(0.02)
            return seen

    return wait
