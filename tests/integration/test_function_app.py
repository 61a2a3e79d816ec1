"""The function app as the worker library indexes it: it always loads, and serves health alone where it cannot work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests/unit/settings/samples"
ALL = {"capture", "deliver", "health", "health_reasons", "sync_topics"}
LOAD = """
import asyncio, sys
from pathlib import Path
for name in {missing!r}:
    sys.modules[name] = None  # as if it could not be imported on this machine
from local.host.worker import Worker

async def names():
    return sorted(function.name for function in (await Worker.load(Path.cwd())).functions)

print(*asyncio.run(names()))
import function_app
if "problems" in vars(function_app):
    print(*function_app.problems, sep="\\n")
"""
WORKING = {
    "ServiceBus": "Endpoint=sb://127.0.0.1;SharedAccessKeyName=k;SharedAccessKey=x;UseDevelopmentEmulator=true",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "SqlServer": "sqlserver://sa:secret@127.0.0.1:1433?database=TestDB",
    "INGEST_QUEUE": "ingest-queue",
    "CAPTURE_SCHEDULE": "*/15 * * * * *",
}


def loaded(*missing: str, **changes: str) -> tuple[set[str], str]:
    """Return the functions the worker library finds, and the problems the app knows of."""
    environment = {name: value for name, value in {**WORKING, **changes}.items() if value}
    done = subprocess.run(
        [sys.executable, "-c", LOAD.format(missing=missing)],
        cwd=ROOT,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, _, rest = done.stdout.partition("\n")
    return set(first.split()), rest


def test_every_function_is_found():
    assert loaded() == (ALL, "")


@pytest.mark.parametrize(
    ("missing", "changes", "said"),
    [
        (("pyodbc",), {}, "pyodbc cannot be loaded"),
        ((), {"SqlServer": ""}, "SqlServer"),
        ((), {"INGEST_QUEUE": ""}, "app setting INGEST_QUEUE"),
        ((), {"CAPTURE_SCHEDULE": "often"}, "CAPTURE_SCHEDULE"),
        ((), {"SLUICE_CONFIG": str(SAMPLES / "dstream-2024.hcl"), "ServiceBus": ""}, "app setting ServiceBus"),
        ((), {"SLUICE_CONFIG": str(SAMPLES / "dstream-2024.hcl"), "AzureWebJobsStorage": ""}, "AzureWebJobsStorage"),
    ],
)
def test_where_it_cannot_work_health_alone_is_served_and_knows_why(missing, changes, said):
    functions, problems = loaded(*missing, **changes)
    assert functions == {"health", "health_reasons"}
    assert said in problems
    assert "secret" not in problems
