"""Capture is killed with SIGKILL at each of its durable steps; the next process goes on when the lease has run out."""

import asyncio
from itertools import count

import pytest

from shared import naming
from tests.chaos import steps
from tests.pipeline import pipeline, table_stream

SHARDS = 4
CAPTURES = ",".join(["capture", *(f"capture_{shard}" for shard in range(1, SHARDS))])
SETTINGS = f'capture {{\n  lease = "15s"\n  shards = {SHARDS}\n}}'

REPEATING = {"lost": {"save"}, "late": {"send", "save"}, "unanswered": {"send"}}
"""The steps after which changes are sent again, by what becomes of the request under way: it never arrives, it arrives
when the next process has done its work, or it is acted on at once and only its answer is lost."""


def table_of_each_shard() -> list[str]:
    """Name tables whose streams different shards advance: what holds up one of them holds up no other."""
    names: dict[int, str] = {}
    numbers = count(1)
    while len(names) < SHARDS:
        table = f"Table{next(numbers)}"
        names.setdefault(naming.bucket(table_stream(table)) % SHARDS, table)
    return [names[shard] for shard in range(SHARDS)]


@pytest.mark.timeout(100)
@pytest.mark.parametrize("fate", REPEATING)
async def test_a_capture_killed_at_any_step_loses_nothing_and_the_mark_drops_its_repeats(tmp_path, fate):
    read, save, send, renew = tables = table_of_each_shard()
    held = {
        read: steps.read(read),
        save: steps.checkpoint(save),
        send: steps.ingest(),  # holds up the sends of every shard: after the save, which follows one
        renew: steps.renew(tables.index(renew)),
    }
    async with pipeline(tmp_path, tables=tables, settings=SETTINGS, max_poll_interval="200ms") as line:
        deliver = await line.start("deliver")
        capture = await line.start(CAPTURES)
        await steps.commit_to_each(line, 3)
        await line.arrive()
        for table, step in held.items():
            await step.hold(line, "after" if fate == "unanswered" else "before")
            await line.commit(2, table=table)
            await step.held(line)
        await capture.kill()
        if fate != "late":
            await asyncio.gather(*(step.release(line, drop=fate == "lost") for step in held.values()))
        await steps.commit_to_each(line, 2)
        await line.start(CAPTURES)
        await line.arrive()
        if fate == "late":
            await asyncio.gather(*(step.release(line, drop=False) for step in held.values()))
            await steps.commit_to_each(line, 2)
            await line.arrive()
        repeated = {{"save": save, "send": send}[step] for step in REPEATING[fate]}
        await deliver.until(
            lambda _: repeated <= {table for table in tables if steps.repeats_seen_by_mark(line, table)}
        )
        await steps.check_each_once(line)
        for table in tables:
            assert not await steps.repeats_dropped_by_broker(line, table), "the mark lets nothing through twice"
