"""The second verb: what is forwarded and marked, of packs and of plain messages."""

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from shared import naming, pack
from shared.deliver import Incoming
from shared.errors import TransientError
from shared.events import PackedChange
from shared.sinks.memory import Outage
from shared.sources.scripted import delete, insert, update
from tests.unit.twins import (
    PERSONS,
    World,
    arrived,
    incoming,
    packed,
    position,
    positions,
    world_with_state,
)

TOPIC = naming.topic(PERSONS)


# ---------------------------------------------------------------------- what is forwarded


async def test_changes_of_every_kind_arrive_in_order_with_what_they_say():
    world = World()
    rows = {"ID": 1, "Name": "a"}, {"ID": 1, "Name": "b"}
    events = world.source.commit(PERSONS, insert(rows[0]), update(*rows), delete(rows[1]))

    await world.tick_until_quiet(world.capture(), world.deliver())

    kept = world.topics["A"].kept[TOPIC]
    assert [message.subject for message in kept] == ["c", "u", "d"]
    assert world.arrived() == positions(events)
    assert [json.loads(message.body)["data"] for message in kept] == [rows[0], rows[1], rows[1]]
    assert world.marks()["A"].position == events[-1].position


async def test_the_first_pack_of_a_chain_opens_it_and_the_next_ones_follow():
    world = await world_with_state()
    deliver = world.deliver()

    await deliver.deliver(packed(10, [1, 2], start=True))
    await deliver.deliver(packed(10, [3]))

    assert arrived(world) == [1, 2, 3]
    assert world.marks()["A"] == replace(world.marks()["A"], chain=10, position=position(3), replay=0)


async def test_a_pack_of_an_older_chain_is_ignored():
    world = await world_with_state()
    world.mark(11, position(1))
    state = world.state()

    await world.deliver().deliver(packed(10, [2, 3]))

    assert arrived(world) == []
    assert world.state() == state
    assert world.marks()["A"].position == position(1)


async def test_a_repeat_is_forwarded_only_above_the_mark_and_a_whole_one_writes_nothing():
    world = await world_with_state()
    world.mark(10, position(2))
    deliver = world.deliver()

    await deliver.deliver(packed(10, [1, 2, 3, 4]))
    assert arrived(world) == [3, 4]
    writes = world.account.calls["write"]
    await deliver.deliver(packed(10, [1, 2, 3, 4]))

    assert arrived(world) == [3, 4]
    assert world.account.calls["write"] == writes
    assert world.state().repaired == 0


async def test_one_mark_is_read_and_one_written_for_a_pack():
    world = await world_with_state()
    world.account.calls.clear()

    await world.deliver().deliver(packed(10, [1, 2, 3], start=True))

    assert world.account.calls == {"read": 1, "write": 1}
    assert world.topics["A"].calls[TOPIC] == 1


async def test_a_new_chain_sends_again_only_what_lies_above_the_mark_unless_the_replay_is_new():
    world = await world_with_state()
    world.mark(9, position(3))
    deliver = world.deliver()

    await deliver.deliver(packed(10, [2, 3, 4, 5], start=True))
    assert arrived(world) == [4, 5]
    await deliver.deliver(packed(11, [1, 2], start=True, replay=1))

    ids = [message.id for message in world.topics["A"].kept[TOPIC]]
    assert arrived(world) == [4, 5, 1, 2]
    assert [each.endswith(".r1") for each in ids] == [False, False, True, True]
    assert world.marks()["A"].position == position(2)


async def test_an_empty_pack_moves_the_mark_and_sends_nothing():
    world = await world_with_state()
    world.mark(10, position(3))

    await world.deliver().deliver(packed(10, [], after=3, last=7))

    assert world.marks()["A"].position == position(7)
    assert world.topics["A"].calls[TOPIC] == 0


async def test_a_probe_of_a_stream_that_is_all_there_changes_nothing():
    world = await world_with_state()
    world.mark(10, position(9))
    state, marks = world.state(), world.marks()

    await world.deliver().deliver(packed(10, [], after=9, last=9))

    assert (world.state(), world.marks()) == (state, marks)


async def test_one_line_is_logged_for_each_pack_with_stream_count_positions_and_lag(caplog):
    world = await world_with_state()
    caplog.set_level(logging.INFO, "sluice.deliver")
    lag = (world.clock.now() - world.clock.now().replace(second=0, minute=0)).total_seconds()

    await world.deliver().deliver(packed(10, [1, 2], start=True))

    (line,) = [vars(record) for record in caplog.records]
    assert (line["message"], line["stream"], line["destination"], line["count"]) == ("delivered", PERSONS, "A", 2)
    assert (line["after"], line["last"], line["lag_s"]) == (position(0), position(2), lag)


@pytest.mark.parametrize("commit_time", ["yesterday", "2026-01-01T00:00:00", ""])
async def test_a_commit_time_that_cannot_be_read_is_no_reason_to_deliver_again(commit_time):
    world = await world_with_state()
    change = PackedChange(position(1), "c", "id.0.1", json.dumps({"CommitTime": commit_time}).encode())
    raw = change.body.replace(b'": "', b'":"')
    header = pack.PackHeader(PERSONS, 10, True, 0, position(0), position(1), 1)
    whole = pack.encode(header, [replace(change, body=raw)])

    await world.deliver().deliver(Incoming(whole, pack.CONTENT_TYPE, "id", PERSONS))

    assert world.marks()["A"].position == position(1)


# ---------------------------------------------------------------------- plain DStream messages


DSTREAM = Incoming(
    body=b'{"data":{"ID":1},"metadata":{"Destination":"server.db.cars.events","IngestQueue":"ingest-queue"}}',
    content_type="application/json",
    id="message-7",
    session="session-7",
    subject="Insert",
    correlation_id="correlation-7",
    properties={"tenant": "x", "n": 7},
)


async def test_a_plain_dstream_message_is_forwarded_to_its_topic_with_all_its_properties():
    world = World(destinations=("A", "B"))

    await world.deliver().deliver(DSTREAM)

    for name in ("A", "B"):
        (message,) = world.topics[name].kept["server.db.cars.events"]
        assert incoming(message) == DSTREAM
    assert not world.rejected


async def test_a_plain_message_waits_for_a_topic_that_is_away_and_must_come_again_after_eight_minutes():
    world = World(jumps=True)
    world.topics["A"].away("server.db.cars.events", Outage(lasting=True))
    began = world.clock.monotonic()

    with pytest.raises(TransientError):
        await world.deliver().deliver(DSTREAM)

    assert world.clock.monotonic() - began > 450
    assert not world.rejected


async def test_a_plain_message_that_its_topic_refuses_for_ever_is_rejected():
    world = World()
    world.topics["A"].refuse("server.db.cars.events", lambda _: True)

    await world.deliver().deliver(DSTREAM)

    entry = json.loads(world.rejected[0].body)
    assert (entry["body"], entry["stream"], entry["position"]) == (DSTREAM.body.decode(), "session-7", "")


# ---------------------------------------------------------------------- side by side


async def test_packs_of_many_streams_are_delivered_side_by_side():
    streams = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(50)]
    world = World(*streams)
    for stream in streams:
        world.commit(3, stream)
    await world.capture().tick()
    deliver = world.deliver()

    await asyncio.gather(*(deliver.deliver(incoming(message)) for message in world.queue))

    for stream in streams:
        assert world.arrived(stream=stream) == positions(world.source.events(stream))


async def test_one_pack_delivered_twice_at_once_arrives_once_and_is_marked_once():
    world = await world_with_state()
    deliver = world.deliver()
    whole = packed(10, [1, 2, 3], start=True)

    await asyncio.gather(deliver.deliver(whole), deliver.deliver(whole))

    assert arrived(world) == [1, 2, 3]
    assert world.marks()["A"].position == position(3)
    assert world.state().chain == 10
