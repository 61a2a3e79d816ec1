"""Topics that cannot take their changes for long: their streams park, and hold up nothing."""

import re
from collections.abc import Collection
from typing import Any

import pytest

from local.entities import config
from shared import naming
from tests.chaos import faults
from tests.pipeline import Pipeline, pipeline, table_stream

SHORT_HOLD = """
deliver {
  hold     = "1s"
  park     = "2s"
  max_park = "4s"
}
"""
SHORT_PARKS = """
deliver {
  park     = "10s"
  max_park = "10s"
}
"""
ROWS = 6
MISSING = tuple(f"Missing{number}" for number in range(70))


def topic(table: str) -> str:
    return naming.topic(table_stream(table))


async def create_topics(line: Pipeline, tables: Collection[str]) -> None:
    wanted = config(map(topic, tables))["UserConfig"]["Namespaces"][0]["Topics"]
    async with line.session.post(f"{line.cloud.part('broker').control}/entities", json={"Topics": wanted}) as answer:
        assert answer.status == 201


async def delete_topics(line: Pipeline, tables: Collection[str]) -> None:
    control = line.cloud.part("broker").control
    for table in tables:
        async with line.session.delete(f"{control}/entities/{topic(table)}") as answer:
            assert answer.status == 200


async def until_parked(line: Pipeline, tables: Collection[str], *, times: int = 1) -> None:
    """Wait until the stream of each table was parked so many times."""

    async def are_parked() -> bool:
        parked = re.findall(r"stream parked stream=(\S+) ", line.log("deliver"))
        return all(parked.count(table_stream(table)) >= times for table in tables)

    await faults.until(are_parked, within_s=60)


def is_idle(state: dict[str, Any], tables: Collection[str]) -> bool:
    """Whether nothing of these streams waits on the ingest queue, and nobody holds their sessions."""
    sessions = state["entities"][faults.INGEST]["sessions"]
    held = [sessions.get(naming.session(table_stream(table)), {}) for table in tables]
    return not any(one for each in held for one in each.values())


@pytest.mark.timeout(100)
async def test_a_stream_whose_topic_is_away_parks_and_goes_on_by_itself_in_order(tmp_path):
    async with pipeline(tmp_path, tables=("Deleted", "Refused", "Spared"), settings=SHORT_HOLD) as line:
        broker, parked = line.cloud.part("broker"), ("Deleted", "Refused")
        await line.start("capture")
        await line.start("deliver")
        for table in line.tables:
            await line.commit(ROWS, table=table)
        await line.arrive()
        await delete_topics(line, ["Deleted"])
        line.committed["Deleted"].clear()  # what was there is gone with the topic
        await broker.fault({"refuse": {"entity": topic("Refused"), "count": 1_000_000}})
        for table in line.tables:
            await line.commit(ROWS, table=table)
        await until_parked(line, parked, times=2)

        async def both() -> dict[str, dict[str, Any]]:
            streams, dead_lettered = await faults.status(line)
            assert dead_lettered == 0
            assert streams["Spared"]["status"] == "running"
            return streams if all(streams[table]["status"] == "parked" for table in parked) else {}

        streams = await faults.until(both)
        assert all(streams[table]["not_before"] for table in parked)
        assert f"create {topic('Deleted')}:" in streams["Deleted"]["reason"]
        assert f"cannot serve {topic('Refused')} now" in streams["Refused"]["reason"]
        await broker.until(lambda state: is_idle(state, parked))
        assert await line.delivered("Refused") == line.committed["Refused"][:ROWS]

        await create_topics(line, ["Deleted"])
        await broker.fault({"clear": True})
        for table in line.tables:
            await line.commit(ROWS, table=table)
        await line.arrive()
        await line.confirmed()
        streams, dead_lettered = await faults.status(line)
        assert [(streams[table]["status"], streams[table]["repaired"]) for table in line.tables] == [("running", 0)] * 3
        assert dead_lettered == 0


@pytest.mark.timeout(120)
async def test_seventy_missing_topics_hold_up_no_other_stream(tmp_path):
    async with pipeline(tmp_path, tables=(*MISSING, "Persons", "Cars"), settings=SHORT_PARKS) as line:
        await delete_topics(line, MISSING)
        await line.start("capture")
        await line.start("deliver")
        for table in MISSING:
            await line.commit(1, table=table)
        await until_parked(line, MISSING)

        missing, line.committed = line.committed, {}
        for _ in range(2):
            for table in ("Persons", "Cars"):
                await line.commit(ROWS, table=table)
            await line.arrive(within_s=30)

        await create_topics(line, MISSING)
        line.committed |= missing
        await line.arrive()
        await line.confirmed()
        streams, dead_lettered = await faults.status(line)
        assert {each["repaired"] for each in streams.values()} == {0}
        assert dead_lettered == 0
