"""Deliver is killed with SIGKILL at each of its durable steps; the next process gets the sessions it held."""

import asyncio

import pytest

from tests.chaos import steps
from tests.pipeline import pipeline

SEEN_BY_MARK = {"lost": {"Settled"}, "late": {"Settled"}, "unanswered": {"Marked"}}
DROPPED_BY_BROKER = {"lost": {"Marked"}, "late": {"Sent", "Marked"}, "unanswered": {"Sent"}}
"""The tables whose changes are handed over again, and who drops them, by what becomes of the request under way: it
never arrives, it arrives when the next process has done its work, or it is acted on and only its answer is lost."""


@pytest.mark.timeout(100)
@pytest.mark.parametrize("fate", SEEN_BY_MARK)
async def test_a_deliver_killed_at_any_step_loses_nothing_and_repeats_are_dropped(tmp_path, fate):
    held = {"Sent": steps.forward("Sent"), "Marked": steps.mark("Marked"), "Settled": steps.settle()}
    async with pipeline(tmp_path, tables=tuple(held)) as line:
        deliver = await line.start("deliver")
        await line.start("capture")
        await steps.commit_to_each(line, 3)
        await line.arrive()
        await line.confirmed()
        for table, step in held.items():
            await step.hold(line, "after" if fate == "unanswered" else "before")
            await line.commit(2, table=table)
            await step.held(line)
        await deliver.kill()
        if fate != "late":
            await asyncio.gather(*(step.release(line, drop=fate == "lost") for step in held.values()))
        await steps.commit_to_each(line, 2)
        deliver = await line.start("deliver")
        await line.arrive()
        if fate == "late":
            await asyncio.gather(*(step.release(line, drop=False) for step in held.values()))
            await steps.commit_to_each(line, 2)
            await line.arrive()
        await steps.check_each_once(line)
        for table in held:
            dropped = await steps.repeats_dropped_by_broker(line, table)
            assert bool(dropped) == (table in DROPPED_BY_BROKER[fate]), table
        await deliver.until(
            lambda _: {table for table in held if steps.repeats_seen_by_mark(line, table)} == SEEN_BY_MARK[fate]
        )
