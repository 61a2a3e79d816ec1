"""The commands of the README, run as they stand there; `make demo` and `make test` are run by `.ci/run`."""

import asyncio
import os
import re
import shlex
import signal
import sys
from pathlib import Path

from tests.pipeline import pipeline

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("sluice ")]


async def run_until_it_says_so(environment):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli",
        "run",
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while b"running" not in await process.stderr.readline():
            assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    return process.returncode


async def test_every_sluice_command_of_the_readme_works_on_a_running_pipeline(tmp_path):
    assert len(COMMANDS) >= 5
    async with pipeline(tmp_path) as line:
        capture = await line.start("capture")
        await line.start("deliver")
        await line.commit(2)
        await line.arrive()
        await capture.stop()
        for command in COMMANDS:
            if command == "sluice run":
                assert await run_until_it_says_so(line.environment) == 0
                continue
            code, out, err = await line.command(*shlex.split(command)[1:])
            assert code == 0, f"{command}: {err}"
            assert out, command
