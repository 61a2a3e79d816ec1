"""`sluice monitor` as a process, as somebody at a terminal has it."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0


class Monitor:
    """A running command, and what it has printed so far."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []

    async def until(self, condition: Callable[[list[str]], object]) -> list[str]:
        """Return the lines of standard output once they meet a condition."""
        assert self.process.stdout
        async with asyncio.timeout(DEADLINE_S):
            while not condition(self.lines):
                line = await self.process.stdout.readline()
                assert line, f"it ended: {self.lines}, {await self.process.communicate()}"
                self.lines.append(line.decode().rstrip("\n"))
        return self.lines

    async def until_said(self, text: str) -> str:
        """Return the first line with `text`, without its time."""
        lines = await self.until(lambda lines: any(text in line for line in lines))
        return untimed(next(line for line in lines if text in line))

    async def until_told(self, text: str) -> str:
        """Return the first line of standard error with `text`."""
        assert self.process.stderr
        async with asyncio.timeout(DEADLINE_S):
            while not any(text in line for line in self.errors):
                line = await self.process.stderr.readline()
                assert line, f"it ended: {self.errors}"
                self.errors.append(line.decode().rstrip("\n"))
        return next(line for line in self.errors if text in line)

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    async def end(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(signum)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the exit code; whatever else was printed is kept."""
        async with asyncio.timeout(DEADLINE_S):
            out, err = await self.process.communicate()
        self.lines += out.decode().splitlines()
        self.errors += err.decode().splitlines()
        return self.process.returncode or 0


@asynccontextmanager
async def monitoring(*arguments: str, **environment: str) -> AsyncIterator[Monitor]:
    """Run `sluice monitor`, in a folder without a configuration; no app setting is there."""
    process = await asyncio.create_subprocess_exec(
        *command(arguments), stdout=PIPE, stderr=PIPE, env=bare(environment), limit=1024 * 1024
    )
    try:
        yield Monitor(process)
    finally:
        await killed(process)


async def killed(process: Process) -> None:
    """Leave nothing running."""
    if process.returncode is None:
        process.kill()
        await process.communicate()


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "cli", "monitor", *arguments]


def bare(environment: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}


def untimed(line: str) -> str:
    """Return a line without the time of a change and without the width of its columns."""
    words = line.split()
    return " ".join(words[1:] if words and words[0].count(":") == 2 and words[0][:2].isdigit() else words)
