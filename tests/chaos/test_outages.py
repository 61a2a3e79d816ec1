"""The servers between source and topics go away and come back, while rows keep being committed."""

import pytest

from shared import naming
from tests.chaos import steps
from tests.pipeline import SHORT_LEASE, Pipeline, pipeline, table_stream

TABLES = ("Persons", "Cars")
OUTAGE_S = 5.0


async def until_what_is_committed_now_arrived(line: Pipeline) -> None:
    """Wait for it in each topic, and for one more."""
    counts = {naming.topic(table_stream(table)): len(line.committed.get(table, ())) + 1 for table in line.tables}
    await line.cloud.part("broker").until(
        lambda state: all(state["entities"][topic]["incoming"] >= count for topic, count in counts.items()),
        within_s=40,
    )


@pytest.mark.timeout(100)
async def test_outages_of_broker_and_storage_lose_nothing_and_are_over_by_themselves(tmp_path):
    async with pipeline(tmp_path, tables=TABLES, settings=SHORT_LEASE) as line:
        broker, storage = line.cloud.part("broker"), line.cloud.part("azurite")
        await line.start("deliver")
        await line.start("capture")
        async with line.commits():
            await until_what_is_committed_now_arrived(line)
            await broker.fault({"outage_s": OUTAGE_S})
            await until_what_is_committed_now_arrived(line)
            await storage.fault({"restart": True})
            await until_what_is_committed_now_arrived(line)
            await broker.fault({"outage_s": OUTAGE_S})
            await storage.fault({"restart": True})
            await until_what_is_committed_now_arrived(line)
        await line.arrive()
        await steps.check_each_once(line)
        assert (await broker.state())["entities"]["ingest-queue"]["in_dead_letter_queue"] == 0
