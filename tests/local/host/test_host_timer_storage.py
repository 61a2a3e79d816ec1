"""Timers of several hosts on one storage account."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.blob.aio import BlobServiceClient as AsyncClient

from local.host.host_json import SingletonOptions
from local.host.storage import CONTAINER, BlobStorage
from local.host.timer import Status

EVERY_SECOND = "* * * * * *"
HOST_ID = "AzureFunctionsWebHost__hostid"
LEASE_15_S = {
    "AzureFunctionsJobHost__singleton__listenerLockPeriod": "00:00:15",
    "AzureFunctionsJobHost__singleton__listenerLockRecoveryPollingInterval": "00:00:00.2",
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("azurite"))
    command = [sys.executable, "-m", "local.azurite", "--with-parent", "--data", root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["settings"]["AzureWebJobsStorage"]
        process.terminate()


@pytest.fixture
def host_id(tmp_path):
    return tmp_path.name.lower().replace("_", "-")[:60]


def ticks(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def begin(start, storage, host_id, tmp_path):
    def begin_host(name: str, *arguments: str, **settings: str):
        environment = {
            "AzureWebJobsStorage": storage,
            HOST_ID: host_id,
            "TICK_SCHEDULE": EVERY_SECOND,
            "TRACE": str(tmp_path / name),
        }
        return start("basic", "--functions", "tick", *arguments, **environment | LEASE_15_S | settings)

    return begin_host


async def test_one_of_two_hosts_fires_and_the_other_takes_over_when_it_stops(begin, tmp_path, until):
    first = begin("first")
    await until(lambda: ticks(tmp_path / "first"))
    begin("second")
    count = len(ticks(tmp_path / "first"))
    await until(lambda: len(ticks(tmp_path / "first")) >= count + 4)
    assert ticks(tmp_path / "second") == []
    assert await first.stop() == 0
    await until(lambda: ticks(tmp_path / "second"), 5)


async def test_a_killed_host_keeps_others_waiting_but_not_its_own_successor(begin, tmp_path, until):
    first = begin("first", "--instance", "one")
    await until(lambda: ticks(tmp_path / "first"))
    first.process.kill()
    await first.ended()
    other = begin("other", "--instance", "two")
    await until(lambda: "another instance holds its lock" in other.log)
    successor = begin("successor", "--instance", "one")
    await until(lambda: ticks(tmp_path / "successor"), 5)
    assert ticks(tmp_path / "other") == []
    assert await successor.stop() == 0
    await until(lambda: ticks(tmp_path / "other"), 5)


@pytest.fixture
async def blobs(storage, host_id):
    async with AsyncClient.from_connection_string(storage) as client:
        yield BlobStorage(client, host_id, SingletonOptions(), "test")


async def test_a_status_is_stored_as_azure_stores_it(blobs, storage, host_id):
    assert await blobs.load("tick") is None
    at = datetime(2026, 11, 21, 12, tzinfo=UTC)
    never_ran = Status(None, at + timedelta(hours=1), at)
    await blobs.save("tick", never_ran)
    assert await blobs.load("tick") == never_ran
    ran = Status(at, at + timedelta(hours=1), at)
    await blobs.save("tick", ran)
    assert await blobs.load("tick") == ran
    with BlobServiceClient.from_connection_string(storage) as client:
        blob = client.get_blob_client(CONTAINER, f"timers/{host_id}/Host.Functions.tick/status")
        assert json.loads(blob.download_blob().readall()) == {
            "Last": "2026-11-21T12:00:00+00:00",
            "Next": "2026-11-21T13:00:00+00:00",
            "LastUpdated": "2026-11-21T12:00:00+00:00",
        }


async def test_a_monitored_timer_that_missed_its_times_fires_once_at_start_past_due(begin, blobs, tmp_path, until):
    hourly = "0 0 * * * *"
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    last = hour - timedelta(hours=5)
    await blobs.save("tick", Status(last, last + timedelta(hours=1), last))
    host = begin("first", TICK_SCHEDULE=hourly)
    facts = await until(lambda: len(ticks(tmp_path / "first")) == 2 and ticks(tmp_path / "first"))
    assert facts[0]["past_due"]
    assert facts[0]["status"]["Last"] == last.isoformat()
    await host.stop()
    status = await blobs.load("tick")
    assert status is not None
    assert status.next > datetime.now(UTC)
    assert len(ticks(tmp_path / "first")) == 2
