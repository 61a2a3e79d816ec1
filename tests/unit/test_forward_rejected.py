"""What cannot be sent as it is: values that have no form, and events too large for the queue."""

import base64
import json

from shared import naming
from shared.errors import TransientError
from shared.sinks.memory import Outage
from shared.sources.scripted import insert
from tests.unit.twins import PERSONS, REJECTED, World, positions, running

SURROGATE = "\ud800"


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
