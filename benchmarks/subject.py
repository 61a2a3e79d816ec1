"""A process that is measured: it does what lines on its standard input say, and answers each with one line of JSON."""

import asyncio
import ctypes
import gc
import json
import resource
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

LOOK_EVERY_S = 1.0
"""How soon the next look follows, as in `sluice run`."""
PATIENCE_S = 120.0
"""How long an event may take, in seconds, before the run is given up."""

type Answer = dict[str, Any]


class Subject(Protocol):
    """Whatever finds changes in Consul; `found` has when each service was last found changed, monotonic seconds."""

    @property
    def found(self) -> Mapping[str, float]: ...  # noqa: D102

    async def look(self) -> None:
        """Look once at everything."""
        ...

    async def figures(self) -> Answer:
        """Return what else there is to tell."""
        ...


async def serve(subject: Subject, commands: Mapping[str, Callable[[], Awaitable[Answer]]] | None = None) -> None:
    """Do what standard input says until it ends."""
    baseline = _memory()
    going_on: asyncio.Task[None] | None = None
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def measure() -> Answer:
        most_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        figures = await subject.figures()
        return {"mb": (_memory() - baseline) / 2**20, "most_mb": most_mb - baseline / 2**20, **figures}

    async def look() -> Answer:
        await subject.look()
        return {}

    known: Mapping[str, Callable[[], Awaitable[Answer]]] = {"look": look, "measure": measure, **(commands or {})}
    while line := await lines.readline():
        asked = json.loads(line)
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        match asked["do"]:
            case "go on":
                going_on = going_on or asyncio.create_task(_repeat(subject))
                answer: Answer = {}
            case "stop":
                if going_on is not None:
                    going_on.cancel()
                    await asyncio.wait([going_on])
                going_on, answer = None, {}
            case "idle":
                await asyncio.sleep(asked["seconds"])
                answer = {}
            case "await":
                answer = {"at": await _arrival(subject, asked["service"], asked["since"], going_on)}
            case command:
                answer = await known[command]()
        passed = {"s": time.monotonic() - began_s, "cpu_s": time.process_time() - began_cpu_s}
        print(json.dumps(passed | answer), flush=True)


async def _repeat(subject: Subject) -> None:
    while True:
        await subject.look()
        await asyncio.sleep(LOOK_EVERY_S)


async def _arrival(subject: Subject, service: str, since: float, going_on: asyncio.Task[None] | None) -> float:
    async with asyncio.timeout(PATIENCE_S):
        while (at := subject.found.get(service, 0.0)) < since:
            if going_on is not None and going_on.done():
                going_on.result()
            await asyncio.sleep(0.002)
    return at


def _memory() -> int:
    """Return the resident bytes of this process, once all that is free was given back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Running:
    """A subject seen from the process that started it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def do(self, command: str, **more: Any) -> Answer:
        """Tell it what to do, and return its answer: `s` and `cpu_s` are what that took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **more}).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, f"the process ended at {command}"
        answer: Answer = json.loads(line)
        return answer


@asynccontextmanager
async def started(module: str, *arguments: str) -> AsyncIterator[Running]:
    """Run `python -m module` until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=PIPE, stdout=PIPE, limit=1 << 20
    )
    try:
        yield Running(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
