import asyncio
from datetime import UTC, timedelta

import pytest

from shared.clock import ManualClock, SystemClock


async def sleeper(clock: ManualClock, name: str, seconds: float, woken: list[tuple[str, float]]) -> None:
    for _ in range(3):
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))


async def test_the_system_clock_is_aware_and_goes_on() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.now().tzinfo is UTC


async def test_sleepers_wake_in_order_and_the_time_is_theirs() -> None:
    clock, woken = ManualClock(), list[tuple[str, float]]()
    start = clock.now()
    await asyncio.gather(sleeper(clock, "a", 2, woken), sleeper(clock, "b", 3, woken))
    assert woken == [("a", 2), ("b", 3), ("a", 4), ("b", 6), ("a", 6), ("b", 9)]
    assert clock.now() - start == timedelta(seconds=9)


async def test_time_stands_still_until_it_is_moved() -> None:
    clock, woken = ManualClock(jumps=False), list[tuple[str, float]]()
    tasks = asyncio.gather(sleeper(clock, "a", 2, woken), sleeper(clock, "b", 3, woken))
    for _ in range(100):
        await asyncio.sleep(0)
    assert (clock.monotonic(), clock.due(), woken) == (0, 2, [])
    await clock.advance(5)
    assert (clock.monotonic(), clock.due(), woken) == (5, 1, [("a", 2), ("b", 3), ("a", 4)])
    await clock.advance(4)
    await tasks
    assert clock.due() is None


async def test_who_sleeps_no_longer_does_not_move_time() -> None:
    clock = ManualClock()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await clock.sleep(1_000)
    await clock.sleep(1)
    assert clock.monotonic() == 1


async def test_time_does_not_pass_while_somebody_asks_for_it() -> None:
    clock = ManualClock()
    asleep = asyncio.create_task(clock.sleep(60))
    for _ in range(200):
        await asyncio.sleep(0)
        assert clock.monotonic() == 0
    await asleep
    assert clock.monotonic() == 60


async def test_no_time_to_wait_gives_way_once() -> None:
    clock, other = ManualClock(), asyncio.create_task(asyncio.sleep(0))
    await clock.sleep(0)
    await clock.sleep(-1)
    assert other.done()
    assert clock.monotonic() == 0
