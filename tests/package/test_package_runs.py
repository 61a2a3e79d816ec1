"""The deployment package at work: through Microsoft's worker library, and nothing else on `sys.path`."""

import asyncio
import json

import pytest
from aiohttp import ClientSession

from tests.pipeline import pipeline

pytestmark = [pytest.mark.xdist_group("package"), pytest.mark.timeout(300)]
SETTINGS = {
    "ServiceBus": "Endpoint=sb://127.0.0.1;SharedAccessKeyName=k;SharedAccessKey=x;UseDevelopmentEmulator=true",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "SqlServer": "sqlserver://sa:secret@127.0.0.1:1433?database=TestDB",
    "INGEST_QUEUE": "ingest-queue",
    "CAPTURE_SCHEDULE": "*/15 * * * * *",
}
INDEX = """
import asyncio, json, sysconfig
from pathlib import Path
from local.host.worker import Worker

names = sorted(function.name for function in asyncio.run(Worker.load(Path(app))).functions)
import function_app
standard = sysconfig.get_path("stdlib")
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
strange = [file for file in files if file and not file.startswith((app, beside, standard, "<"))]
print(json.dumps({"functions": names, "problems": vars(function_app).get("problems", []), "strange": strange}))
"""
HOST = """
import runpy
sys.argv = ["local.host", "--app", app, "--with-parent"]
runpy.run_module("local.host", run_name="__main__", alter_sys=True)
"""
LOADED = """
import json
from shared.sources.sqlserver.driver import find_driver
found = find_driver()
with open("/proc/self/maps") as maps:
    files = sorted({line.split()[-1] for line in maps if ".so" in line})
print(json.dumps({"driver": found, "libraries": [file for file in files if "odbc" in file or "krb5" in file]}))
"""


def test_the_worker_library_finds_every_function_with_the_package_alone(built, tmp_path):
    found = built.prints(INDEX, SETTINGS, tmp_path / "log")
    assert found["problems"] == []
    assert {"capture", "deliver", "health", "health_reasons"} <= set(found["functions"])
    assert found["strange"] == []


def test_the_package_brings_driver_and_driver_manager_to_a_machine_without(built, bare, tmp_path):
    found = built.prints(LOADED, bare, tmp_path / "log")
    assert "mssql_python_odbc/libs/linux/debian_ubuntu" in found["driver"]
    assert found["libraries"]
    assert not [file for file in found["libraries"] if not file.startswith(str(built.root))]


def test_without_its_libraries_health_alone_is_there_and_names_what_is_missing(built, bare, tmp_path):
    found = built.without("odbc", tmp_path / "root").prints(INDEX, SETTINGS | bare, tmp_path / "log")
    assert found["functions"] == ["health", "health_reasons"]
    [problem] = found["problems"]
    assert "libodbc.so.2" in problem
    assert "make package" in problem


async def test_rows_arrive_and_health_says_well_on_a_machine_without_a_driver(built, bare, tmp_path):
    log = tmp_path / "host.log"
    async with pipeline(tmp_path) as line:
        with built.running(HOST, {**line.environment, **bare}, log) as process:
            assert process.stdout is not None
            ready = await asyncio.to_thread(process.stdout.readline)
            assert ready, log.read_text()
            await line.commit(20, each=3)
            await line.arrive(within_s=120)
            url = json.loads(ready)["settings"]["HttpUrl"]
            async with ClientSession() as session, session.get(f"{url}/api/health") as answer:
                assert (answer.status, await answer.json()) == (200, {"status": "healthy"})
