"""What deliver keeps in the rejected queue, and what it does not."""

import json
from dataclasses import replace

import pytest

from shared import naming, pack
from shared.deliver import Incoming
from shared.errors import TransientError
from shared.events import PackedChange
from tests.unit.twins import PERSONS, REJECTED, World, arrived, packed, position, positions, world_with_state

TOPIC = naming.topic(PERSONS)


async def test_a_message_that_a_destination_refuses_for_ever_is_rejected_and_the_rest_is_delivered_in_order(caplog):
    world = await world_with_state()
    refused = naming.event_id(PERSONS, 0, position(2))
    world.topics["A"].refuse(TOPIC, lambda message: message.id == refused)

    await world.deliver().deliver(packed(10, [1, 2, 3], start=True))

    assert arrived(world) == [1, 3]
    assert world.marks()["A"].position == position(3)
    (kept,) = world.rejected
    entry = json.loads(kept.body)
    assert (entry["event_id"], entry["position"], entry["stream"]) == (refused, position(2), PERSONS)
    assert "refuses" in entry["reason"]
    assert json.loads(entry["body"])["data"] == {"ID": 2}
    assert [record.message for record in caplog.records] == ["event rejected"]


async def test_the_position_of_a_rejected_event_is_its_own_even_when_several_share_it():
    world = await world_with_state()
    event_id = naming.event_id(PERSONS, 0, position(1), 4)
    header = pack.PackHeader(PERSONS, 10, True, 0, position(0), position(1), 1)
    whole = pack.encode(header, [PackedChange(position(1), "c", event_id, b"{}")])
    world.topics["A"].refuse(TOPIC, lambda _: True)

    await world.deliver().deliver(Incoming(whole, pack.CONTENT_TYPE, "id", PERSONS))

    entry = json.loads(world.rejected[0].body)
    assert (entry["event_id"], entry["position"]) == (event_id, position(1))


async def test_an_event_is_not_passed_before_the_rejected_queue_has_it():
    world = await world_with_state()
    world.topics["A"].refuse(TOPIC, lambda _: True)
    world.bus.away(REJECTED)

    await world.deliver().deliver(packed(10, [1], start=True))
    assert (world.marks(), world.state().parks) == ({}, 1)

    world.bus.mend(REJECTED)
    await world.deliver().deliver(packed(11, [1], start=True))
    assert len(world.rejected) == 1
    assert world.marks()["A"].position == position(1)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe\x00",
        b"no pack",
        b"[" * 100_000,
        b'{"v":1}',
        b'{"v":0,"stream":"s"}',
        packed(10, [1, 2]).body[:-3].rpartition(b"\n")[0],
        b'{"metadata":{"Destination":7}}',
        b'{"metadata":[]}',
    ],
)
async def test_a_message_that_is_neither_pack_nor_dstream_s_is_kept_in_the_rejected_queue(garbage, caplog):
    world = World()

    await world.deliver().deliver(Incoming(garbage, "text/plain", "id", "session"))

    (kept,) = world.rejected
    entry = json.loads(kept.body)
    assert entry["reason"].startswith("pack: ")
    assert entry["stream"] == "session"
    assert {"body", "body_base64", "ClaimCheck"} & entry.keys()
    assert [record.message for record in caplog.records] == ["message rejected"]


async def test_what_claims_to_be_a_pack_and_is_not_is_rejected_even_if_it_looks_like_dstream_s():
    world = World()
    whole = json.dumps({"data": {}, "metadata": {"Destination": "somewhere"}}).encode()

    await world.deliver().deliver(Incoming(whole, pack.CONTENT_TYPE, "id", "session"))

    assert len(world.rejected) == 1
    assert not world.topics["A"].kept["somewhere"]


async def test_a_malformed_pack_is_repaired_by_the_chain():
    world = World()
    capture, deliver = world.capture(page=1), world.deliver()
    events = world.commit(3)
    for _ in range(3):
        await capture.tick()
    world.queue[1] = replace(world.queue[1], body=world.queue[1].body[:-20] + b"\n")

    await world.deliver_queue(deliver)
    for _ in range(10):
        await world.clock.advance(1.0)
        await capture.tick()
        await world.deliver_queue(deliver)

    assert world.arrived() == positions(events)
    assert (world.state().repaired, len(world.rejected)) == (1, 1)


async def test_a_pack_of_an_unknown_version_is_held_and_neither_rejected_nor_given_back_at_once():
    world = await world_with_state()
    whole = packed(10, [1], start=True)
    newer = replace(whole, body=whole.body.replace(b'"v":1', b'"v":2'))
    began = world.clock.monotonic()

    with pytest.raises(TransientError, match="version 2"):
        await world.deliver().deliver(newer)

    assert world.clock.monotonic() - began > 450
    assert not world.rejected
    assert (world.state().chain, world.marks()) == (10, {})
