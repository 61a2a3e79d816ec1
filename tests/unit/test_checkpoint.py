"""Saves of many streams that run side by side: gathered per bucket, tried again, and each with its own outcome."""

import asyncio
from dataclasses import replace

import pytest

from shared import chain, naming
from shared.checkpoint import SAVE_BUDGET_S, Checkpoint
from shared.clock import ManualClock
from shared.errors import StaleError, TransientError
from shared.events import Position, Saved
from shared.stores.memory import MemoryAccount, MemoryStateStore
from tests.unit.twins import found

CLOCK = ManualClock()
STREAMS = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(300)]
TOGETHER = [stream for stream in STREAMS if naming.bucket(stream) == 5]


def states(streams):
    return [Saved(chain.created(found(stream), {}, ("A",), now=CLOCK.now())) for stream in streams]


def begun(account, clock=None):
    return Checkpoint(MemoryStateStore(account), clock or ManualClock())


async def test_streams_saved_side_by_side_are_written_once_per_bucket():
    account = MemoryAccount()
    checkpoint = begun(account)

    saved = await asyncio.gather(*(checkpoint.save(state) for state in states(STREAMS)))

    assert account.calls["save"] == naming.BUCKETS
    assert {each.value.stream: each for each in saved} == account.states


async def test_whoever_saves_while_a_write_is_under_way_goes_with_the_next():
    account = MemoryAccount()
    checkpoint, gate = begun(account), asyncio.Event()

    async def step(call):
        if call == "save done":
            await gate.wait()

    account.step = step
    first, *others = states(TOGETHER)
    saving = [asyncio.create_task(checkpoint.save(first))]
    while not account.states:  # noqa: ASYNC110 - every turn of the loop is a step
        await asyncio.sleep(0)
    saving += [asyncio.create_task(checkpoint.save(state)) for state in others]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*saving)

    assert account.calls["save"] == 2


async def test_a_refused_save_refuses_its_own_stream_and_no_other():
    account = MemoryAccount()
    checkpoint = begun(account)
    first, second, third = await asyncio.gather(*(checkpoint.save(state) for state in states(TOGETHER[:3])))
    account.states[second.value.stream] = Saved(second.value, account.next_version())

    moved = [replace(each, value=replace(each.value, position=Position("5"))) for each in (first, second, third)]
    outcomes = await asyncio.gather(*(checkpoint.save(each) for each in moved), return_exceptions=True)

    assert isinstance(outcomes[0], Saved)
    assert isinstance(outcomes[1], StaleError)
    assert isinstance(outcomes[2], Saved)


async def test_a_save_whose_answer_was_lost_is_tried_again_and_known_as_one_s_own():
    account = MemoryAccount(lost_answers=3)

    saved = await begun(account).save(states(TOGETHER[:1])[0])

    assert account.states[TOGETHER[0]] == saved


async def test_a_store_that_stays_away_fails_every_save_that_went_together_within_the_budget():
    account, clock = MemoryAccount(away=True), ManualClock()
    checkpoint = begun(account, clock)

    outcomes = await asyncio.gather(*(checkpoint.save(each) for each in states(TOGETHER[:3])), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [TransientError] * 3
    assert SAVE_BUDGET_S / 2 < clock.monotonic() <= SAVE_BUDGET_S
    account.away = False
    assert await checkpoint.save(states(TOGETHER[:1])[0])


async def test_a_cancelled_save_takes_no_other_with_it():
    account = MemoryAccount()
    checkpoint, gate = begun(account), asyncio.Event()

    async def step(call):
        if call == "save":
            await gate.wait()

    account.step = step
    first, second = (asyncio.create_task(checkpoint.save(state)) for state in states(TOGETHER[:2]))
    while not account.calls["save"]:  # noqa: ASYNC110 - every turn of the loop is a step
        await asyncio.sleep(0)
    first.cancel()
    gate.set()

    assert isinstance(await second, Saved)
    with pytest.raises(asyncio.CancelledError):
        await first
    assert set(account.states) == {TOGETHER[1]}


async def test_a_save_cancelled_before_its_turn_is_never_written():
    account = MemoryAccount()
    checkpoint, gate = begun(account), asyncio.Event()

    async def step(call):
        if call == "save":
            await gate.wait()

    account.step = step
    first, second, third = states(TOGETHER[:3])
    writing = asyncio.create_task(checkpoint.save(first))
    while not account.calls["save"]:  # noqa: ASYNC110 - every turn of the loop is a step
        await asyncio.sleep(0)
    waiting = asyncio.create_task(checkpoint.save(second))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.set()
    await writing
    await checkpoint.save(third)

    assert set(account.states) == {TOGETHER[0], TOGETHER[2]}
