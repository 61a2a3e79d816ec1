"""What it costs to look at a thousand tables, or at Consul, where nothing happens, counted at the servers."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from shared.settings import load
from shared.settings.model import ConsulSettings, SqlServerSettings
from shared.stores.azure.journals import AzureJournalStore
from shared.wiring import Wiring
from tests.pipeline import CATALOG, pipeline, service_stream

TABLES = [f"Idle{number}" for number in range(1_000)]


@pytest.mark.timeout(120)
async def test_an_idle_tick_over_a_thousand_tables_is_one_statement_and_two_storage_calls(tmp_path):
    async with pipeline(tmp_path, tables=TABLES) as line:
        settings = load(Path(line.environment["SLUICE_CONFIG"]), line.environment)
        [source] = settings.sources
        assert isinstance(source, SqlServerSettings)
        tables = tuple(replace(table, poll_interval_s=0.01, max_poll_interval_s=0.01) for table in source.tables)
        wiring = Wiring(replace(settings, sources=(replace(source, tables=tables),)))
        capture = await wiring.capture()
        for _ in range(3):  # creates the states, finds all quiet, settles the intervals
            await capture.tick()
            await asyncio.sleep(0.05)
        await line.cloud.part("sqlserver").fault({"reset_counts": True})
        await line.cloud.part("azurite").fault({"reset_counts": True})
        await capture.tick()
        assert len(capture.held) == len(TABLES)
        assert (await line.cloud.part("sqlserver").state())["statements"] <= 1
        calls = (await line.cloud.part("azurite").state())["counts"]
        assert sum(calls.values()) <= 2, calls
        await wiring.close()


@pytest.mark.timeout(120)
async def test_an_idle_tick_with_consul_writes_nothing_and_is_three_requests_and_two_storage_calls(tmp_path):
    async with pipeline(tmp_path, services=["web", "db"], max_poll_interval="200ms") as line:
        settings = load(Path(line.environment["SLUICE_CONFIG"]), line.environment)
        [consul] = (source for source in settings.sources if isinstance(source, ConsulSettings))
        wiring = Wiring(replace(settings, sources=(replace(consul, poll_interval_s=0.01),)))
        journals = AzureJournalStore(wiring.account, settings.state_table, settings.memo_container)
        streams = [CATALOG, *map(service_stream, consul.services)]
        capture, parts = await wiring.capture(), [line.cloud.part(name) for name in ("azurite", "consul")]

        async def stored() -> list[object]:
            return [each for s in streams for each in (await wiring.states.find(s), await journals.find(s))]

        async def tick() -> list[dict[str, int]]:
            for part in parts:
                await part.fault({"reset_counts": True})
            await capture.tick()
            return [(await part.state())["counts"] for part in parts]

        await line.start("deliver")
        async with asyncio.timeout(60):
            await tick()  # creates the states, tells the snapshot
            while not all(held.confirmed for held in capture.held.values()):
                await asyncio.sleep(0.05)
                await tick()
        before = await stored()
        storage, asked = await tick()
        assert len(capture.held) == len(streams)
        assert asked == {"GET /v1/catalog/services": 1, "GET /v1/health/state/{name}": 2}
        assert sum(storage.values()) <= 2, storage
        assert await stored() == before
        await wiring.close()
