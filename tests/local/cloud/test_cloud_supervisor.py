"""`python -m local`: it starts parts, keeps them running, and leaves no process behind."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables.aio import TableServiceClient

from local.cloud import running
from local.ports import reserve
from local.process import PartError


@pytest.fixture
def endpoints(eventually):
    """Read endpoints.json, once it is there and says something else than before."""

    async def read(directory: Path, other_than: object = None) -> dict[str, Any]:
        file = directory / "endpoints.json"
        await eventually(lambda: file.exists() and json.loads(file.read_text()) != other_than)
        settings: dict[str, Any] = json.loads(file.read_text())
        return settings

    return read


@asynccontextmanager
async def supervisor(directory: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local", "--directory", str(directory), *arguments, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_it_stops_everything_when_told_to(tmp_path, signum, endpoints, descendants, gone):
    async with supervisor(tmp_path, "--only=azurite") as process:
        settings = await endpoints(tmp_path)
        started = descendants(process.pid)
        assert settings["parts"]["azurite"]["pid"] in started
        assert len(started) == 2

        process.send_signal(signum)
        printed, complaints = await process.communicate()

        assert process.returncode == 0
        assert f"AzureWebJobsStorage  pid {settings['parts']['azurite']['pid']}".encode() in printed
        assert settings["AzureWebJobsStorage"].encode() in printed
        assert complaints == b""
        await gone(started)
        assert not (tmp_path / "endpoints.json").exists()


async def test_nothing_is_left_when_it_is_killed(tmp_path, endpoints, descendants, gone):
    async with supervisor(tmp_path, "--only=azurite") as process:
        await endpoints(tmp_path)
        started = descendants(process.pid)

        process.kill()

        await gone(started)


async def test_it_can_be_stopped_while_it_starts(tmp_path, eventually, descendants, gone):
    async with supervisor(tmp_path, "--only=azurite") as process:
        started = await eventually(lambda: descendants(process.pid))

        process.terminate()

        assert await process.wait() == 0
        await gone(started)


async def test_a_part_that_dies_comes_back_at_the_same_address_with_its_data(tmp_path, endpoints):
    async with supervisor(tmp_path, "--only=azurite") as process:
        before = await endpoints(tmp_path)
        async with TableServiceClient.from_connection_string(before["AzureWebJobsStorage"]) as tables:
            await tables.create_table("kept")

            os.kill(before["parts"]["azurite"]["pid"], signal.SIGKILL)

            after = await endpoints(tmp_path, other_than=before)
            assert after["AzureWebJobsStorage"] == before["AzureWebJobsStorage"]
            assert after["parts"]["azurite"]["control"] == before["parts"]["azurite"]["control"]
            assert [table.name async for table in tables.list_tables()] == ["kept"]
        process.terminate()
        _, complaints = await process.communicate()
        assert b"azurite died" in complaints
        assert b"azurite runs again" in complaints


async def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        async with supervisor(tmp_path, "--only=azurite", f"--blob-port={port}") as process:
            _, complaints = await process.communicate()

    assert process.returncode == 1
    assert f"port {port} of 127.0.0.1 is taken" in complaints.decode()


async def test_a_part_that_does_not_exist_is_refused(tmp_path):
    async with supervisor(tmp_path, "--only=azurite,kafka") as process:
        _, complaints = await process.communicate()

    assert process.returncode == 1
    assert complaints == b"error: no such part: kafka (there are azurite, sqlserver, consul, broker, host)\n"


async def test_a_part_starts_without_those_it_would_work_with(tmp_path, endpoints):
    async with supervisor(tmp_path, "--only=broker") as process:
        settings = await endpoints(tmp_path)
        assert settings.keys() == {"ServiceBus", "ServiceBusAdministration", "SLUICE_CA_FILE", "parts"}

        process.terminate()

        assert (await process.communicate())[1] == b""
        assert process.returncode == 0


async def test_a_part_that_does_not_start_shows_the_end_of_its_log(tmp_path):
    with pytest.raises(PartError, match="unrecognized arguments: --no-such-option"):
        async with running(("azurite",), tmp_path, options={"azurite": ["--no-such-option"]}):
            pass


async def test_a_part_asked_for_by_a_test_stays_dead_until_it_is_restarted(tmp_path):
    async with running(("azurite",), tmp_path) as cloud:
        part = cloud.part("azurite")
        await part.kill()
        async with asyncio.timeout(10):
            await part.died.wait()

        await part.restart()

        assert await part.until(lambda state: not state["paused"])
        with pytest.raises(TimeoutError, match=r"azurite: not met within 0\.1 s, last state: .*paused"):
            await part.until(lambda state: state["paused"], within_s=0.1)


def test_a_reserved_port_refuses_connections_and_serves_its_owner():
    with reserve() as reserved:
        port = reserved.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            pass
