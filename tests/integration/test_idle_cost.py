"""What it costs to look at a thousand tables in which nothing happens, counted at the servers."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from shared.settings import load
from shared.settings.model import SqlServerSettings
from shared.wiring import Wiring
from tests.pipeline import pipeline

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
