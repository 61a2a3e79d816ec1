"""One stream brought forward: packs, the limit ahead of deliver, probes, quiet positions, and what cannot be sent."""

import base64
import json
import logging
from datetime import timedelta
from itertools import pairwise

import pytest

from shared import naming, pack
from shared.errors import TransientError
from shared.forward import QUIET_PART
from shared.sinks.memory import Outage
from shared.sources.scripted import insert
from tests.unit.twins import CARS, PERSONS, QUEUE, REJECTED, World, incoming, positions

DAY_S = 86_400.0
SURROGATE = "\ud800"


async def running(world, **settings):
    capture = world.capture(**settings)
    await capture.tick()
    await world.clock.advance(2.0)
    return capture


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


# ---------------------------------------------------------------------- probes


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


# ---------------------------------------------------------------------- what cannot be sent


async def test_an_event_with_a_value_that_has_no_form_goes_to_the_rejected_queue_and_the_stream_goes_on(caplog):
    world = World()
    capture, deliver = await running(world), world.deliver()
    good = world.commit()
    (bad,) = world.source.commit(PERSONS, insert({"ID": 7, "Name": SURROGATE}))
    good = [*good, *world.commit()]

    await world.tick_until_quiet(capture, deliver)

    assert world.arrived() == positions(good)
    (message,) = world.rejected
    event_id = naming.event_id(PERSONS, 0, bad.position)
    entry = json.loads(message.body)
    assert entry["event_id"] == message.id == event_id
    assert (entry["stream"], entry["position"]) == (PERSONS, bad.position)
    assert "JSON cannot hold" in entry["reason"]
    assert entry["rejected_at"].startswith("2026-")
    assert json.loads(entry["body"])["after"] == {"ID": 7, "Name": SURROGATE}
    assert any(record.message == "event rejected" for record in caplog.records)


async def test_a_batch_of_nothing_but_such_events_still_moves_the_position():
    world = World()
    capture = await running(world)
    events = [world.source.commit(PERSONS, insert({"ID": n, "Name": SURROGATE}))[0] for n in range(3)]

    await capture.tick()

    assert len(world.rejected) == 3
    assert world.packs()[0].header.count == 0
    assert world.state().position == events[-1].position


async def test_an_event_is_kept_in_the_rejected_queue_before_its_place_in_the_stream_is_passed():
    world = World()
    capture = await running(world)
    world.source.commit(PERSONS, insert({"Name": SURROGATE}))
    world.bus.away(REJECTED, Outage(calls=2))

    await capture.tick()
    assert not world.queue
    for _ in range(10):
        await world.clock.advance(1.0)
        await capture.tick()

    assert len(world.rejected) == 1
    assert len(world.queue) == 1


async def test_a_rejected_event_too_large_for_the_queue_is_stored_aside_whole():
    world = World()
    capture = await running(world)
    row = {"ID": 1, "Name": SURROGATE, "Blob": "x" * 5_000_000}
    world.source.commit(PERSONS, insert(row))

    await capture.tick()

    (message,) = world.rejected
    assert len(message.body) < 4_000
    claim = json.loads(message.body)["ClaimCheck"]
    kept = world.account.claims[f"{claim['container']}/{claim['blob']}"]
    assert json.loads(kept)["after"] == row
    assert len(world.queue) == 1


async def test_an_oversize_event_leaves_a_claim_check_in_its_place_and_the_stream_goes_on():
    world = World()
    capture, deliver = await running(world, max_message_bytes=20_000), world.deliver()
    first = world.commit()
    large = world.source.commit(PERSONS, insert({"ID": 5, "Blob": base64.b64encode(bytes(40_000)).decode()}))
    last = world.commit()

    await world.tick_until_quiet(capture, deliver)

    assert world.arrived() == positions([*first, *large, *last])
    body = json.loads(world.topics["A"].kept[naming.topic(PERSONS)][1].body)
    claim = body["metadata"]["ClaimCheck"]
    assert body["data"] is None
    whole = world.account.claims[f"{claim['container']}/{claim['blob']}"]
    assert len(whole) == claim["bytes"]
    assert json.loads(whole)["data"]["ID"] == 5
    assert claim["blob"] == body["metadata"]["EventID"]


async def test_a_claim_store_that_is_away_makes_the_stream_wait():
    world = World()
    capture = await running(world, max_message_bytes=20_000)
    large = world.source.commit(PERSONS, insert({"ID": 5, "Blob": "x" * 40_000}))
    failed: list[str] = []

    async def step(call):
        if call == "put" and len(failed) < 2:
            failed.append(call)
            msg = "storage is away"
            raise TransientError(msg)

    world.account.step = step
    for _ in range(10):
        await world.clock.advance(1.0)
        await capture.tick()

    assert [each.header.last for each in world.packs()] == positions(large)
