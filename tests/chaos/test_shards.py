"""The number of shards is changed, and changed back."""

import pytest

from shared.events import StreamState
from tests.chaos import steps
from tests.pipeline import Pipeline, pipeline

TABLES = ("Persons", "Cars", "Orders", "Items", "Shops")


def configuration(shards: int) -> str:
    return f'capture {{\n  lease = "15s"\n  shards = {shards}\n}}'


def functions(shards: int) -> str:
    return ",".join(["capture", *(f"capture_{shard}" for shard in range(1, shards))])


async def commit_and_arrive(line: Pipeline) -> None:
    await steps.commit_to_each(line, 2)
    await line.arrive()


async def states(line: Pipeline) -> list[StreamState]:
    return [(await line.state(table)).state.value for table in line.tables]


@pytest.mark.timeout(100)
async def test_one_shard_then_four_then_one_again_keeps_every_position(tmp_path):
    async with pipeline(tmp_path, tables=TABLES, settings=configuration(1), max_poll_interval="200ms") as line:
        await line.start("deliver")
        capture = await line.start(functions(1))
        await commit_and_arrive(line)
        for shards in (4, 1):
            await capture.stop()
            await steps.take_leases_away(line)  # which would run out in a while
            before = await states(line)
            line.configure(configuration(shards))
            capture = await line.start(functions(shards))
            await capture.until(lambda state: all(each["succeeded"] > 1 for each in state["functions"].values()))
            assert await states(line) == before
            await commit_and_arrive(line)
            after = await states(line)
            assert all(old.position <= new.position for old, new in zip(before, after, strict=True))
            assert [state.chain for state in after] == [state.chain for state in before]
        await steps.check_each_once(line)
        for table in TABLES:
            assert not steps.repeats_seen_by_mark(line, table)
            assert not await steps.repeats_dropped_by_broker(line, table)
