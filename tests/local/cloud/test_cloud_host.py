"""The functions host inside the local cloud: it finds the other parts, and is gone when its starter is."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE

import pytest
from aiohttp import ClientSession

from local.cloud import running

APP = """
import json, os
import azure.functions as func

app = func.FunctionApp()

@app.route(route="settings", auth_level=func.AuthLevel.ANONYMOUS)
def settings(req: func.HttpRequest) -> str:
    return json.dumps(dict(os.environ))
"""
SERVER = {"SqlServer": "sqlserver://sa:x@127.0.0.1:1433?database=TestDB"}
RUN = """
import asyncio, pathlib, sys
from local.cloud import running

async def run(folder: pathlib.Path) -> None:
    options = {"host": ["--app", str(folder / "app")]}
    async with running(("azurite", "broker", "host"), folder / "cloud", options=options) as cloud:
        print("running", flush=True)
        await asyncio.Event().wait()

asyncio.run(run(pathlib.Path(sys.argv[1])))
"""


@pytest.fixture
def app(tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "function_app.py").write_text(APP)
    (folder / "host.json").write_text('{"version": "2.0"}')
    return folder


@pytest.mark.parametrize(
    ("capture", "schedule"),
    [("", "* * * * * *"), ('capture { schedule = "*/5 * * * * *" }', "*/5 * * * * *")],
    ids=["default", "configured"],
)
async def test_it_gets_the_settings_of_the_other_parts_and_of_the_file(tmp_path, app, capture, schedule):
    file = tmp_path / "sluice.hcl"
    file.write_text(
        f'source "sqlserver" "sql1" {{\n  connection_string = env("SqlServer")\n  tables = ["Persons"]\n}}\n{capture}\n'
    )
    async with (
        running(
            ("azurite", "broker", "host"),
            tmp_path / "cloud",
            settings_file=file,
            environment=SERVER,
            options={"host": ["--app", str(app)]},
        ) as cloud,
        ClientSession() as session,
        session.get(f"{cloud.settings['HttpUrl']}/api/settings") as answer,
    ):
        seen = json.loads(await answer.text())

        expected = {
            "ServiceBus": cloud.settings["ServiceBus"],
            "AzureWebJobsStorage": cloud.settings["AzureWebJobsStorage"],
            "INGEST_QUEUE": "ingest-queue",
            "CAPTURE_SCHEDULE": schedule,
            "SLUICE_CONFIG": str(file),
            **SERVER,
        }
        assert {name: seen[name] for name in expected} == expected
        assert "sql1.testdb.persons.events" in (await cloud.part("broker").state())["entities"]


async def test_no_process_is_left_when_the_starter_is_killed(tmp_path, app, descendants, gone):
    starter = await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, str(tmp_path), stdout=PIPE)
    assert starter.stdout
    assert await starter.stdout.readline() == b"running\n"
    started = descendants(starter.pid)
    assert len(started) >= 5

    starter.kill()

    await gone(started)
    await starter.communicate()
