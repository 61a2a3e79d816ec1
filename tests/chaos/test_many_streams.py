"""Many streams with little to do each: sessions change hands fast enough."""

import asyncio

import pytest

from tests.chaos import faults
from tests.pipeline import pipeline

STREAMS = 100
DRAINED_WITHIN_S = 60.0


@pytest.mark.timeout(120)
async def test_a_hundred_streams_of_one_pack_drain_within_a_minute(tmp_path):
    async with pipeline(tmp_path, tables=[f"Table{number}" for number in range(STREAMS)]) as line:
        await line.start("capture")
        for table in line.tables:
            await line.commit(1, table=table)
        await line.cloud.part("broker").until(lambda state: waiting(state) == STREAMS)

        await line.start("deliver")
        began = asyncio.get_running_loop().time()
        await line.confirmed(within_s=DRAINED_WITHIN_S)
        took_s = asyncio.get_running_loop().time() - began

        await line.arrive(within_s=DRAINED_WITHIN_S - took_s)
        streams, dead_lettered = await faults.status(line)
        assert [each["repaired"] for each in streams.values()] == [0] * STREAMS
        assert dead_lettered == 0


def waiting(state):
    return state["entities"][faults.INGEST]["active"]
