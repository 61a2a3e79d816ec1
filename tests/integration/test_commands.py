"""The `sluice` command against a running pipeline: what it prints, what it refuses, its exit codes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shared.events import Saved
from tests.pipeline import Pipeline, pipeline, table_stream

ROOT = Path(__file__).parents[2]
GOOD = """
source "sqlserver" "sql1" {
  connection_string = env("SqlServer")
  tables            = ["Persons"]
}
"""
SETTINGS = {
    "SqlServer": "sqlserver://sa:hunter2@sql1.contoso.com?database=TestDB",
    "ServiceBus": "Endpoint=sb://bus.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=hunter2",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
}


async def tick(line: Pipeline) -> None:
    """Capture once, in this process."""
    async with line.wiring() as wiring:
        await (await wiring.capture()).tick()


async def statuses(line: Pipeline) -> dict[str, str]:
    code, out, err = await line.command("status", "--json")
    assert (code, err) == (0, "")
    return {entry["stream"].rpartition("/")[2]: entry["status"] for entry in json.loads(out)["streams"]}


async def test_a_name_that_is_a_streams_own_means_that_stream_alone(tmp_path):
    async with pipeline(tmp_path, tables=("A*", "AB")) as line:
        assert await line.command("pause", "*") == (
            2,
            "",
            "sluice: no stream matches * (`sluice status` lists them; a stream appears once capture has seen it)\n",
        )
        await tick(line)

        assert await line.command("pause", "sql1/TestDB/dbo/A*") == (0, "paused: sql1/TestDB/dbo/A*\n", "")
        assert await statuses(line) == {"A*": "paused", "AB": "running"}
        assert (await line.command("pause", "*/A[B]"))[0] == 2

        both = "paused, left as it is: sql1/TestDB/dbo/A*\npaused: sql1/TestDB/dbo/AB\n"
        assert await line.command("pause", "*/A?") == (0, both, "")
        code, out, _ = await line.command("resume", "sql1/TestDB/dbo/A*", "--from", "earliest")
        assert (code, out.startswith("resumed from 0000"), len(out.splitlines())) == (0, True, 1)
        assert await statuses(line) == {"A*": "running", "AB": "paused"}


async def test_what_would_harm_a_stream_is_refused_and_changes_nothing(tmp_path):
    async with pipeline(tmp_path) as line:
        await line.commit(3)
        await tick(line)
        before = (await line.state()).state

        code, _, err = await line.command("resume", "*", "--from", "newest", "--skip")
        assert (code, "'newest' is not a SQL Server position" in err) == (1, True)
        code, _, err = await line.command("resume", "*", "--from", before.value.position)
        refusal = f"and up to {before.value.position} would be given up (add --skip to accept that)\n"
        assert (code, err.endswith(refusal)) == (2, True)
        assert (await line.command("resume", "*", "--skip"))[0] == 2
        assert (await line.state()).state == before

        async with line.wiring() as wiring:
            halted = replace(before.value, status="halted", reason="rows are missing")
            await wiring.states.save([Saved(halted, before.etag)])
        stream = table_stream("Persons")
        assert await line.command("pause", stream) == (0, f"halted, left as it is: {stream}\n", "")
        code, out, _ = await line.command("status")
        assert (code, f"{stream}: rows are missing" in out) == (0, True)


async def test_status_shows_the_streams_also_while_the_broker_is_away(tmp_path):
    async with pipeline(tmp_path) as line:
        await tick(line)
        await line.cloud.part("broker").fault({"outage_s": 60})

        code, out, err = await line.command("status", "--json")

        assert (code, err.startswith("sluice: Service Bus cannot serve ingest-queue now")) == (1, True)
        shown = json.loads(out)
        assert [entry["stream"] for entry in shown["streams"]] == [table_stream("Persons")]
        assert shown["dead_lettered_packs"] is None


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (
            GOOD,
            0,
            {
                "valid": True,
                "streams": [
                    {
                        "stream": "sql1/TestDB/dbo/Persons",
                        "topic": "sql1.testdb.persons.events",
                        "poll_interval_s": 1.0,
                        "max_poll_interval_s": 30.0,
                    }
                ],
                "selected": [],
                "outputs": [{"name": "topics", "type": "servicebus"}],
            },
        ),
        (
            GOOD + "capture {\n  shards = 17\n}\n",
            2,
            {
                "valid": False,
                "problems": [
                    {
                        "where": "sluice.hcl:7: capture: shards",
                        "problem": "is out of bounds",
                        "value": "17",
                        "hint": "1 to 16",
                    }
                ],
            },
        ),
    ],
)
def test_config_check_prints_json_and_tells_by_its_exit_code(tmp_path, text, code, said):
    done = config_check(tmp_path, text, "--json")

    assert (done.returncode, done.stderr) == (code, "")
    assert json.loads(done.stdout) == said | ({"file": "sluice.hcl"} if code == 0 else {})


def test_config_check_says_what_consul_has_yet_to_name(tmp_path):
    one = """source "consul" "c1" {
  address    = "http://h"
  datacenter = "dc1"
  services   = ["web", "api-*"]
}
"""
    two = """source "consul" "c2" {
  address       = "http://h"
  services      = ["web"]
  poll_interval = "5s"
}
"""

    done = config_check(tmp_path, one + two)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "sluice.hcl: 2 streams, and what Consul has yet to name, nothing wrong",
        "  c1/dc1/catalog -> c1.dc1.catalog.events (every 1 s)",
        "  c1/dc1/service/web -> c1.dc1.service.web.events (every 1 s)",
        "  c1/dc1/service/api-*: a stream of each service that matches (every 1 s)",
        "  c2/<datacenter>/catalog: in the datacenter of the agent (every 5 s)",
        "  c2/<datacenter>/service/web: in the datacenter of the agent (every 5 s)",
    ]


def config_check(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "sluice.hcl").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "cli", "config", "check", *options],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), **SETTINGS},
        capture_output=True,
        text=True,
        check=False,
    )
