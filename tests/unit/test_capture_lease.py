"""Capture and others: who holds the lease, and what is read again when the bell rings."""

import asyncio

import pytest

from shared.errors import TransientError
from shared.stores.memory import MemoryLease
from tests.unit.twins import CARS, PERSONS, World


async def give_way(_):
    await asyncio.sleep(0)


def recording(world, calls):
    async def step(call):
        calls.append(call)

    world.account.step = step


async def test_a_capture_steps_aside_while_another_holds_the_lease_and_takes_over_when_it_expired():
    world = World()
    first, second = world.capture(), world.capture()
    await first.tick()
    events = world.commit(2)
    await second.tick()
    assert not world.queue

    await world.clock.advance(62.0)
    await second.tick()

    assert world.packs()[0].header.last == events[-1].position


async def test_a_lease_that_lapsed_makes_capture_read_the_states_again_even_if_the_bell_cannot_be_read_at_first():
    world = World()
    capture = world.capture()
    await capture.tick()
    world.commit()
    world.change(ring=False, status="paused")
    await world.clock.advance(61.0)
    failed: list[str] = []

    async def step(call):
        if call == "version" and not failed:
            failed.append(call)
            msg = "storage is away"
            raise TransientError(msg)

    world.account.step = step
    with pytest.raises(TransientError):
        await capture.tick()
    await capture.tick()

    assert not world.queue
    assert capture.held[PERSONS].state.status == "paused"


async def test_a_lease_lost_in_mid_tick_ends_it_between_two_packs():
    world = World()
    capture = world.capture(page=1, linger_s=1_000.0, lease_s=30.0)
    await capture.tick()
    world.commit(10)
    other = MemoryLease(world.account, "shard-0", world.clock)

    async def step(call):
        if call == "save done" and len(world.queue) == 3:
            world.account.leases.clear()
            await other.hold()
            await world.clock.advance(11.0)

    world.account.step = step
    await world.clock.advance(2.0)
    await capture.tick()

    assert len(world.queue) == 3
    assert world.state().position == world.packs()[-1].header.last


async def test_a_lease_lost_while_the_states_are_read_stops_the_tick_before_anything_is_sent():
    world = World()
    world.commit(3)
    capture = world.capture(lease_s=30.0)
    other = MemoryLease(world.account, "shard-0", world.clock)

    async def step(call):
        if call == "load":
            world.account.leases.clear()
            await other.hold()
            await world.clock.advance(11.0)

    world.account.step = step
    await capture.tick()
    assert not world.queue

    calls: list[str] = []
    recording(world, calls)
    await other.release()
    await capture.tick()
    assert "load" in calls
    assert world.queue


async def test_a_lease_that_lapsed_while_the_states_were_read_makes_the_next_tick_read_them_again():
    world = World()
    capture = world.capture(lease_s=30.0)
    await capture.tick()
    world.change(parks=1)

    async def step(call):
        await give_way(call)
        if call == "load":
            world.account.leases.clear()
            await world.clock.advance(11.0)  # it is taken again, but was not held without a break

    await world.clock.advance(1.0)
    world.account.step = step
    await capture.tick()
    world.account.step = give_way
    world.change(ring=False, parks=7)
    await capture.tick()

    assert capture.held[PERSONS].state.parks == 7


async def test_a_tick_renews_the_lease_while_it_lingers():
    world = World(jumps=True)
    capture = world.capture(page=1, linger_s=20.0, lease_s=3.0, linger_poll_s=1.0, ahead=10**6)
    await capture.tick()

    async def step(call):
        if call == "save done":
            world.commit()

    world.account.step = step
    world.commit()
    await world.clock.advance(2.0)
    before = world.account.calls["hold"]
    await capture.tick()

    assert world.account.calls["hold"] - before > 15


async def test_what_others_changed_is_read_again_when_the_bell_was_rung_and_only_then():
    world = World()
    capture = world.capture()
    await capture.tick()
    loads = world.account.calls["load"]
    world.change(ring=False, status="paused")
    await capture.tick()
    assert world.account.calls["load"] == loads

    world.change(status="paused")
    await capture.tick()
    assert world.account.calls["load"] == loads + 1
    assert capture.held[PERSONS].state.status == "paused"


async def test_the_bell_is_read_before_the_states():
    world = World()
    calls: list[str] = []
    recording(world, calls)

    await world.capture().tick()

    assert calls.index("version") < calls.index("load")


async def test_a_bell_rung_while_the_states_are_read_is_heard_in_the_next_tick():
    world = World()
    capture = world.capture()

    async def step(call):
        if call == "save done":
            world.account.step = give_way
            world.change(status="paused")

    world.account.step = step
    await capture.tick()
    world.commit()
    await world.clock.advance(2.0)
    await capture.tick()

    assert not world.queue


async def test_a_reload_forgets_neither_the_back_off_nor_the_probe_nor_the_packs_under_way():
    world = World(PERSONS, CARS)
    capture = world.capture(probe_after_s=60.0, ahead=1)
    await capture.tick()
    world.commit()
    await world.clock.advance(2.0)
    await capture.tick()
    held = capture.held[PERSONS]

    for _ in range(61):  # another stream is parked again and again
        await world.clock.advance(1.0)
        world.change(CARS, parks=1)
        await capture.tick()

    assert capture.held[PERSONS] is held
    assert not held.adrift
    assert [each.header.count for each in world.packs()] == [1, 0]
