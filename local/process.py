"""A part of the local cloud as a process of its own, seen from whoever started it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession

ROOT = Path(__file__).parents[1]
READY_S = 60.0
STOP_S = 60.0  # the host drains for up to 40 s
POLL_S = 0.02
TAIL_LINES = 30


class PartError(Exception):
    """A part did not start; the message ends with the tail of its log."""


class PartProcess:
    """`python -m local.<name>` with its log file; it ends when this process does.

    `arguments` should fix its ports, so that `settings` stay true over a restart.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path, session: ClientSession
    ) -> None:
        self.name = name
        self.log = log
        self.pid = 0
        self.control = ""
        self.settings: dict[str, str] = {}
        self.died = asyncio.Event()
        self._command = (sys.executable, "-m", f"local.{name}", "--with-parent", *arguments)
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._session = session
        self._process: Process | None = None
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and wait until it is healthy.

        Raises:
            PartError: it ended or was not healthy within a minute; it does not run any more.
        """
        self.died.clear()
        with self.log.open("ab") as log:
            # A group of its own: Ctrl-C at a terminal reaches the supervisor alone, which stops the parts in order.
            process = await asyncio.create_subprocess_exec(
                *self._command, stdout=PIPE, stderr=log, cwd=ROOT, env=self._environment, process_group=0
            )
        self._process, self.pid = process, process.pid
        try:
            async with asyncio.timeout(READY_S):
                await self._ready(process)
        except (ValueError, KeyError, TimeoutError, ClientError) as why:
            await self.stop(within_s=0)
            message = (
                f"{self.name} did not start, {str(why) or f'too slow ({READY_S} s)'}; see {self.log}:\n{self._tail()}"
            )
            raise PartError(message) from why
        self._follower = asyncio.create_task(self._follow(process))

    async def stop(self, within_s: float = STOP_S) -> None:
        """Ask the process to end, kill it and all it started after `within_s`; none is left afterwards."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await process.wait()
                await _empty(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if self._follower:
            await self._follower

    async def kill(self) -> None:
        """End the process with SIGKILL, as a crash does; what it started is left to notice."""
        assert self._process, f"{self.name} is not running"
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def restart(self) -> None:
        """Stop the process, if it still runs, and start it again on the same ports."""
        await self.stop()
        await self.start()

    async def fault(self, fault: Mapping[str, Any]) -> None:
        """Give the part a fault (its documentation names them); ValueError when it refuses it."""
        async with self._session.post(f"{self.control}/faults", json=fault) as answer:
            if answer.status != 200:
                message = f"{self.name}: {await answer.text()}"
                raise ValueError(message)

    async def state(self) -> dict[str, Any]:
        """Return what the part says about itself."""
        async with self._session.get(f"{self.control}/state", raise_for_status=True) as answer:
            state: dict[str, Any] = await answer.json()
            return state

    async def until(self, condition: Callable[[dict[str, Any]], object], within_s: float = 30.0) -> dict[str, Any]:
        """Return the first state that meets `condition`; TimeoutError, with the last one, after `within_s`."""
        state: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within_s):
                while True:
                    with contextlib.suppress(ClientError):  # it may be starting again
                        state = await self.state()
                        if condition(state):
                            return state
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            message = f"{self.name}: not met within {within_s} s, last state: {state}"
            raise TimeoutError(message) from None

    async def _ready(self, process: Process) -> None:
        assert process.stdout
        line = await process.stdout.readline()
        if not line:
            message = f"exit code {await process.wait()}"
            raise ValueError(message)
        ready = json.loads(line)
        self.control, self.settings = ready["control"], ready["settings"]
        async with self._session.get(f"{self.control}/health", raise_for_status=True):
            pass

    async def _follow(self, process: Process) -> None:
        """Keep what the part prints (the console sink does) in its log; notice its end."""
        assert process.stdout
        copying = asyncio.create_task(self._copy(process.stdout))
        await process.wait()
        if self._process is process:
            self.died.set()
        await copying  # which goes on while a process the part started holds its standard output

    async def _copy(self, output: asyncio.StreamReader) -> None:
        with self.log.open("ab", buffering=0) as log:
            while piece := await output.read(1 << 16):
                log.write(piece)

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])


async def _empty(group: int) -> None:
    """Wait until no process of the group is left: what a part started may end a little later than the part."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            await asyncio.sleep(POLL_S)
