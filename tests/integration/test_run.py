"""`sluice run`: the same pipeline as one ordinary process."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.pipeline import pipeline

ROOT = Path(__file__).parents[2]


async def test_one_process_captures_and_delivers_and_drains_on_sigterm(tmp_path):
    async with pipeline(tmp_path, tables=("Persons", "Cars")) as line:
        with (tmp_path / "run.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "cli",
                "run",
                "--every",
                "0.2",
                cwd=ROOT,
                env={**os.environ, **line.environment},
                stdout=log,
                stderr=log,
            )
        try:
            await line.commit(20, each=3)
            await line.commit(5, table="Cars")
            await line.arrive()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                assert await process.wait() == 0, (tmp_path / "run.log").read_text()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert "delivered stream=sql1/TestDB/dbo/Persons" in (tmp_path / "run.log").read_text()
