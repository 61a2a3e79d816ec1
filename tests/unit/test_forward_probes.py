"""When capture asks by an empty pack whether what it sent has arrived."""

from datetime import timedelta

import pytest

from tests.unit.twins import CARS, PERSONS, QUEUE, World, incoming, positions, running


async def probes_at(world, capture, seconds):
    """Tick every second; return when empty packs were sent."""
    at = []
    for second in range(1, seconds + 1):
        before = len(world.queue)
        await world.clock.advance(1.0)
        await capture.tick()
        at.extend([second] * (len(world.queue) - before))
    return at


async def test_a_stream_that_stays_behind_is_probed_after_a_minute_and_then_half_as_often_up_to_an_hour():
    world = World()
    capture = await running(world)
    world.commit()
    await capture.tick()

    at = await probes_at(world, capture, 4 * 3_600)

    gaps = [after - before for before, after in zip([0, *at], at, strict=False)]
    assert gaps == [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]
    for each in world.packs()[1:]:
        assert (each.header.count, each.header.start) == (0, False)
        assert each.header.after == each.header.last == world.state().position


async def test_a_probe_is_sent_only_if_nobody_has_changed_the_stream_meanwhile():
    world = World()
    capture = await running(world)
    world.commit()
    await capture.tick()
    start = world.state().chain_start
    world.change(ring=False, not_before=world.clock.now() + timedelta(hours=1), chain=10**15, position=start)

    assert await probes_at(world, capture, 300) == []
    assert capture.held[PERSONS].state.chain == 10**15


async def test_the_state_is_read_afresh_right_before_a_probe():
    world = World()
    capture = await running(world)
    world.commit()
    await capture.tick()
    finds: list[str] = []

    async def step(call):
        if call == "find":
            finds.append(call)
            if len(finds) == 2:  # the first sees the marks, the second is the fresh look
                world.change(ring=False, parks=1)

    await world.clock.advance(61.0)
    world.account.step = step
    await capture.tick()

    assert len(finds) == 2
    assert len(world.queue) == 1


async def test_no_probe_is_sent_once_everything_has_arrived_or_for_a_stream_that_was_set_back():
    world = World(PERSONS, CARS)
    capture = await running(world)
    world.commit()
    world.commit(1, CARS)
    await capture.tick()
    state = world.state(CARS)
    world.change(CARS, chain=state.chain + 1, position=state.chain_start, status="paused")
    world.bus.kept[QUEUE] = [message for message in world.queue if message.session == PERSONS]
    await world.deliver_queue(world.deliver())

    assert await probes_at(world, capture, 300) == []


@pytest.mark.parametrize("status", ["paused", "halted"])
async def test_no_probe_is_sent_for_a_stream_that_is_paused_or_halted(status):
    world = World()
    capture = await running(world)
    world.commit()
    await capture.tick()
    world.change(status=status)

    assert await probes_at(world, capture, 300) == []


async def test_many_probes_of_packs_that_are_only_late_cause_no_repair():
    world = World()
    capture = await running(world)
    events = world.commit(3)
    await capture.tick()
    assert len(await probes_at(world, capture, 3_600)) > 4

    await world.tick_until_quiet(capture, world.deliver())

    assert world.arrived() == positions(events)
    assert world.state().repaired == 0


async def test_a_probe_finds_a_last_pack_that_went_missing():
    world = World()
    capture, deliver = await running(world), world.deliver()
    world.commit()
    await capture.tick()
    await world.deliver_queue(deliver)
    await world.clock.advance(1.0)
    (event,) = world.commit()
    await capture.tick()
    world.queue.clear()

    for _ in range(120):
        await world.clock.advance(1.0)
        await capture.tick()
        await world.deliver_queue(deliver)

    assert world.arrived()[-1] == event.position
    assert world.state().repaired == 1


async def test_a_probe_that_the_queue_does_not_take_waits_like_any_other_error():
    world = World()
    capture = await running(world)
    world.commit()
    await capture.tick()
    world.bus.away(QUEUE)
    calls = world.bus.calls[QUEUE]

    await probes_at(world, capture, 180)

    assert 3 <= world.bus.calls[QUEUE] - calls <= 15


async def test_a_destination_that_gets_on_puts_the_probe_off():
    world = World(jumps=False)
    capture = await running(world, page=1, linger_s=0.0)
    world.commit(50)
    deliver = world.deliver()
    for _ in range(50):
        await capture.tick()
    for _ in range(20):
        await world.clock.advance(30.0)
        await deliver.deliver(incoming(world.queue.pop(0)))
        await capture.tick()

    assert all(each.header.count for each in world.packs())
