"""Azurite and its part never outlive each other, and acknowledged data survive either way."""

import asyncio
import os
import signal

import pytest
from aiohttp import ClientSession
from azure.data.tables.aio import TableClient

from local.azurite.server import Azurite
from local.cloud import running
from local.process import PartProcess


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_part_that_is_killed_takes_azurite_along_and_finds_everything_when_it_is_back(tmp_path):
    async with running(("azurite",), tmp_path) as cloud:
        part = cloud.part("azurite")
        connection = cloud.settings["AzureWebJobsStorage"]
        async with TableClient.from_connection_string(connection, "kept") as table:
            await table.create_table()
            await table.create_entity({"PartitionKey": "p", "RowKey": "r"})
            azurite = (await part.state())["azurite"]

            await part.kill()
            await part.restart()

            assert not is_alive(azurite)
            assert cloud.settings["AzureWebJobsStorage"] == connection
            assert await table.get_entity("p", "r")


async def test_the_part_ends_when_azurite_dies(tmp_path):
    async with running(("azurite",), tmp_path) as cloud:
        part = cloud.part("azurite")

        os.kill((await part.state())["azurite"], signal.SIGKILL)

        async with asyncio.timeout(10):
            await part.died.wait()
        assert "Azurite died, exit code -9" in part.log.read_text()


async def test_without_a_folder_nothing_is_kept_and_a_restart_refused(tmp_path):
    async with ClientSession() as session:
        part = PartProcess("azurite", (), {}, tmp_path / "log", session)
        try:
            await part.start()
            with pytest.raises(ValueError, match="without --data nothing would survive"):
                await part.fault({"restart": True})
        finally:
            await part.stop()


async def test_a_folder_in_use_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("local.azurite.server.LOCK_S", 0.1)
    first, second = Azurite(tmp_path), Azurite(tmp_path)
    try:
        await first.start()
        with pytest.raises(RuntimeError, match="another Azurite uses"):
            await second.start()
    finally:
        await first.stop()
