"""`sluice run`: the same pipeline as one ordinary process."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.pipeline import pipeline

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def running(environment: Mapping[str, str], log: Path) -> AsyncIterator[Process]:
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli",
            "run",
            "--every",
            "0.2",
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=out,
            stderr=out,
        )
    try:
        async with asyncio.timeout(30):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - a file has no event for it
        await asyncio.sleep(0.005)


async def test_one_process_captures_and_delivers_and_drains_on_sigterm(tmp_path):
    log = tmp_path / "run.log"
    async with pipeline(tmp_path, tables=("Persons", "Cars")) as line, running(line.environment, log) as process:
        await line.commit(20, each=3)
        await line.commit(5, table="Cars")
        await line.arrive()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0, log.read_text()
    assert "delivered stream=sql1/TestDB/dbo/Persons" in log.read_text()


async def test_a_second_ctrl_c_ends_it_at_once_and_as_well(tmp_path):
    log = tmp_path / "run.log"
    async with pipeline(tmp_path) as line, running(line.environment, log) as process:
        await until(lambda: " running " in log.read_text())
        process.send_signal(signal.SIGINT)
        await until(lambda: " ending" in log.read_text())
        os.kill(process.pid, signal.SIGINT)
        assert await process.wait() == 0, log.read_text()
    assert "KeyboardInterrupt" not in log.read_text()
