"""One stream brought forward: packs, the limit ahead of deliver, and quiet positions."""

import logging
from itertools import pairwise

from shared import naming, pack
from shared.forward import QUIET_PART
from shared.sinks.memory import Outage
from tests.unit.twins import CARS, PERSONS, QUEUE, World, incoming, positions, running

DAY_S = 86_400.0


# ---------------------------------------------------------------------- packs


async def test_a_pack_travels_in_the_session_of_its_stream_under_the_hash_of_its_bytes():
    world = World()
    world.commit(2)

    await world.capture().tick()

    (message,) = world.queue
    assert message.session == PERSONS
    assert message.content_type == pack.CONTENT_TYPE
    assert message.id == pack.message_id(message.body)
    (whole,) = world.packs()
    assert [change.event_id for change in whole.changes] == [
        naming.event_id(PERSONS, 0, change.position) for change in whole.changes
    ]


async def test_one_line_is_logged_for_each_batch_with_stream_count_positions_and_lag(caplog):
    world = World()
    events = world.commit(3)
    caplog.set_level(logging.INFO, "sluice.capture")

    await world.capture().tick()

    (line,) = [vars(record) for record in caplog.records if record.message == "captured"]
    assert (line["stream"], line["count"]) == (PERSONS, 3)
    assert (line["after"], line["last"]) == ("0000000000-000000", events[-1].position)
    assert isinstance(line["lag_s"], float)


async def test_what_was_sent_of_a_batch_is_logged_even_if_the_queue_fails_in_the_middle(caplog):
    world = World()
    capture = await running(world, page=4, max_pack_changes=2, linger_s=5.0)
    world.commit(4)
    caplog.set_level(logging.INFO, "sluice.capture")

    async def step(call):
        if call == "save done":
            world.bus.away(QUEUE, Outage(calls=1))

    world.account.step = step
    await capture.tick()

    (line,) = [vars(record) for record in caplog.records if record.message == "captured"]
    assert (line["count"], line["last"]) == (2, world.state().position)


# ---------------------------------------------------------------------- ahead of deliver


async def test_a_stream_is_not_read_further_than_64_packs_ahead_and_goes_on_as_deliver_does():
    world = World(jumps=True)
    events = world.commit(200)
    capture = world.capture(page=1, linger_s=1_000.0)

    await capture.tick()
    assert len(world.queue) == 64
    await capture.tick()
    assert len(world.queue) == 64

    deliver = world.deliver()
    for message in world.queue[:3]:
        await deliver.deliver(incoming(message))
    del world.queue[:3]
    await world.clock.advance(1.0)
    await capture.tick()
    assert len(world.queue) == 64

    await world.tick_until_quiet(capture, deliver)
    assert world.arrived() == positions(events)
    assert world.state().repaired == 0


async def test_the_limit_ahead_counts_from_the_destination_that_is_furthest_behind():
    world = World(destinations=("A", "B"), jumps=True)
    world.commit(20)
    capture = world.capture(page=1, ahead=4, linger_s=1_000.0)
    await capture.tick()
    first = world.packs()[0].header
    world.mark(first.chain, world.packs()[3].header.last, "A")
    world.mark(first.chain, world.packs()[0].header.last, "B")
    await world.clock.advance(1.0)

    await capture.tick()

    assert len(world.queue) == 5


async def test_packs_under_way_hold_for_a_restarted_capture_too_until_they_have_arrived():
    world = World(jumps=True)
    events = world.commit(10)
    await world.capture(page=1, ahead=4, linger_s=1_000.0).tick()
    assert len(world.queue) == 4

    restarted = world.capture(page=1, ahead=4, linger_s=1_000.0, lease="another")
    for _ in range(5):
        await world.clock.advance(1.0)
        await restarted.tick()
    assert len(world.queue) == 4

    await world.tick_until_quiet(restarted, world.deliver())
    assert world.arrived() == positions(events)
    assert world.state().repaired == 0


# ---------------------------------------------------------------------- quiet positions


async def test_a_quiet_position_moves_on_by_an_empty_pack_about_once_per_tenth_of_the_retention():
    world = World(PERSONS, CARS, retention_s=10 * DAY_S)
    capture, deliver = await running(world), world.deliver()
    before, moved = world.state(), []
    for hour in range(24 * 10):
        world.commit(1, CARS)
        await world.clock.advance(3_600.0)
        await capture.tick()
        moved.extend([hour] * len(world.packs()))
        assert not any(each.header.count for each in world.packs())
        await world.deliver_queue(deliver)

    assert QUIET_PART == 10
    assert len(moved) == 9
    assert {after - earlier for earlier, after in pairwise(moved)} <= {24, 25}
    after = world.state()
    assert after.position > before.position
    assert (after.interval_s, after.repaired) == (30.0, 0)
    assert world.arrived() == []


async def test_a_quiet_position_stays_while_the_source_is_no_further_and_reading_is_not_tried_at_every_turn():
    world = World(retention_s=10 * DAY_S)
    capture = await running(world)
    world.commit()
    for _ in range(2):  # after the change, and at the end of its transaction
        await world.tick_until_quiet(capture, world.deliver())
        await world.clock.advance(2 * DAY_S)
    reads = world.source.calls["read"]

    for _ in range(600):
        await world.clock.advance(60.0)
        await capture.tick()

    assert not world.queue
    assert world.source.calls["read"] - reads == 1


async def test_a_stream_that_has_changes_needs_no_empty_pack():
    world = World(retention_s=DAY_S)
    capture, deliver = await running(world), world.deliver()
    for _ in range(48):
        world.commit()
        await world.clock.advance(3_600.0)
        await capture.tick()
        assert all(each.header.count for each in world.packs())
        await world.deliver_queue(deliver)
