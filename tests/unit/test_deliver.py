"""The second verb: what is forwarded, marked, repaired, parked, rejected, and what is held when something is away."""

import asyncio
import json
import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from shared import naming, pack
from shared.deliver import Incoming
from shared.errors import TransientError
from shared.events import PackedChange, Position
from shared.sinks.memory import Outage
from shared.sources.scripted import delete, insert, update
from tests.unit.twins import CARS, PERSONS, REJECTED, World, incoming, positions

TOPIC = naming.topic(PERSONS)


def position(number):
    return Position(f"{number:010d}-000001")


def body(number):
    return json.dumps({"data": {"ID": number}, "metadata": {"CommitTime": "2026-01-01T00:00:00.0000000Z"}}).encode()


def packed(chain, numbers, *, after=None, last=None, start=False, replay=0, stream=PERSONS):
    """Return a pack as capture sends it, holding the changes of these numbers."""
    changes = [PackedChange(position(n), "c", naming.event_id(stream, 0, position(n)), body(n)) for n in numbers]
    after = position(after if after is not None else numbers[0] - 1)
    header = pack.PackHeader(
        stream, chain, start, replay, after, position(last if last is not None else numbers[-1]), len(changes)
    )
    whole = pack.encode(header, changes)
    return Incoming(whole, pack.CONTENT_TYPE, pack.message_id(whole), stream, "pack")


async def world_with_state(*destinations, jumps=True, **state):
    """A stream that capture knows: chain 10 begins before everything, and its position is 9."""
    world = World(destinations=destinations or ("A",), jumps=jumps)
    await world.capture(lease="once").tick()
    world.change(chain=10, chain_start=position(0), position=position(9), **state)
    return world


def arrived(world, to="A"):
    return [int(each[:10]) for each in world.arrived(to)]


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


# ---------------------------------------------------------------------- repair


@pytest.mark.parametrize("gap", [packed(10, [5]), packed(11, [3]), packed(10, [], after=9, last=9)])
async def test_a_pack_that_shows_a_missing_one_begins_a_new_chain_where_the_destination_is_and_rings_the_bell(
    gap, caplog
):
    world = await world_with_state()
    world.mark(10, position(3))
    bell = world.account.control

    await world.deliver().deliver(gap)

    state, chain = world.state(), pack.decode(gap.body).header.chain
    assert (state.chain, state.position, state.chain_start) == (chain + 1, position(3), position(3))
    assert (state.repaired, state.status, state.not_before) == (1, "running", None)
    assert "went missing" in state.reason
    assert world.account.control != bell
    assert arrived(world) == []
    assert [record.message for record in caplog.records] == ["stream repaired"]


async def test_a_repair_starts_at_the_chain_s_start_while_a_destination_has_no_mark_and_at_the_lowest_mark_otherwise():
    world = await world_with_state("A", "B")
    world.mark(10, position(5), "A")
    await world.deliver().deliver(packed(10, [7, 8]))
    assert world.state().position == position(0)

    world.change(chain=20, position=position(9))
    world.mark(20, position(5), "A")
    world.mark(20, position(4), "B")
    await world.deliver().deliver(packed(20, [7, 8]))
    assert world.state().position == position(4)


async def test_a_repair_that_loses_against_another_writer_is_insisted_on():
    world = await world_with_state()
    world.mark(10, position(3))
    writers = 3

    async def step(call):
        nonlocal writers
        if call == "save" and writers:
            writers -= 1
            world.change(ring=False, interval_s=float(writers))

    world.account.step = step
    await world.deliver().deliver(packed(10, [7]))

    assert (world.state().chain, world.state().interval_s) == (11, 0.0)


async def test_a_repair_that_somebody_else_has_begun_is_not_begun_again():
    world = await world_with_state()
    world.mark(10, position(3))

    async def step(call):
        if call == "save":
            world.account.step = give_way
            world.change(ring=False, chain=11, position=position(3), chain_start=position(3))

    async def give_way(_):
        return None

    world.account.step = step
    await world.deliver().deliver(packed(10, [7]))

    assert (world.state().chain, world.state().repaired) == (11, 0)


async def test_many_packs_after_a_missing_one_repair_once():
    world = World(destinations=("A", "B"))
    capture, deliver = world.capture(page=1), world.deliver()
    events = world.commit(10)
    for _ in range(10):
        await capture.tick()
    del world.queue[3]

    await world.deliver_queue(deliver)
    for _ in range(30):
        await world.clock.advance(1.0)
        await capture.tick()
        await world.deliver_queue(deliver)

    assert world.arrived("A") == world.arrived("B") == positions(events)
    assert world.state().repaired == 1


async def test_three_repairs_without_progress_halt_the_stream_and_say_what_to_do(caplog):
    world = await world_with_state()
    world.mark(10, position(3))
    world.change(chain_start=position(3))
    deliver = world.deliver()

    for chain in (10, 11, 12):
        await deliver.deliver(packed(chain, [7]))

    assert world.state().status == "halted"
    assert "sluice resume" in world.state().reason
    assert [record.message for record in caplog.records] == ["stream repaired", "stream repaired", "stream halted"]
    assert caplog.records[-1].levelno == logging.ERROR


async def test_a_stream_without_a_state_is_left_to_capture_to_create():
    world = await world_with_state()
    world.account.states.clear()

    await world.deliver().deliver(packed(10, [7]))

    assert not world.account.states


# ---------------------------------------------------------------------- park


async def test_a_destination_away_for_longer_than_the_hold_budget_parks_the_stream_and_completes_the_pack(caplog):
    world = await world_with_state()
    world.topics["A"].away(TOPIC)
    deliver, began, bell = world.deliver(), world.clock.monotonic(), world.account.control

    await deliver.deliver(packed(10, [1, 2], start=True))

    state = world.state()
    assert 100 < world.clock.monotonic() - began <= 120
    assert (state.chain, state.position, state.parks, state.repaired) == (11, position(0), 1, 0)
    assert state.not_before == world.clock.now() + timedelta(seconds=30)
    assert "away" in state.reason
    assert world.account.control != bell
    assert [record.message for record in caplog.records if record.name == "sluice.deliver"] == ["stream parked"]


async def test_a_destination_that_comes_back_within_the_hold_budget_parks_nothing():
    world = await world_with_state()
    world.topics["A"].away(TOPIC, Outage(calls=5, keep=1))

    await world.deliver().deliver(packed(10, [1, 2], start=True))

    assert arrived(world) == [1, 2]
    assert world.state().parks == 0


async def test_a_parked_stream_waits_twice_as_long_each_time_up_to_ten_minutes_and_starts_anew_after_progress():
    world = await world_with_state()
    world.topics["A"].away(TOPIC)
    deliver, waits = world.deliver(), []
    for chain in range(10, 17):
        await deliver.deliver(packed(chain, [1, 2], start=True))
        not_before = world.state().not_before
        assert not_before is not None
        waits.append((not_before - world.clock.now()).total_seconds())
    assert waits == [30, 60, 120, 240, 480, 600, 600]

    world.topics["A"].mend(TOPIC)
    await deliver.deliver(packed(17, [1, 2], start=True))
    world.topics["A"].away(TOPIC)
    await deliver.deliver(packed(17, [3]))
    assert world.state().not_before == world.clock.now() + timedelta(seconds=30)
    assert world.state().position == position(2)


async def test_a_lasting_fault_of_a_destination_parks_at_once():
    world = await world_with_state()
    world.topics["A"].away(TOPIC, Outage(lasting=True))
    began = world.clock.monotonic()

    await world.deliver().deliver(packed(10, [1], start=True))

    assert world.state().parks == 1
    assert world.topics["A"].calls[TOPIC] == 2
    assert world.clock.monotonic() - began < 1


async def test_a_destination_that_was_given_up_gets_a_single_attempt_a_pack_until_it_is_back():
    world = await world_with_state()
    world.topics["A"].away(TOPIC)
    deliver = world.deliver()
    await deliver.deliver(packed(10, [1], start=True))
    calls = world.topics["A"].calls[TOPIC]

    await deliver.deliver(packed(11, [1], start=True))
    assert world.topics["A"].calls[TOPIC] == calls + 1

    world.topics["A"].mend(TOPIC)
    await deliver.deliver(packed(12, [1], start=True))
    world.topics["A"].away(TOPIC, Outage(calls=5))
    await deliver.deliver(packed(12, [2]))
    assert arrived(world) == [1, 2]


async def test_a_parked_stream_goes_on_by_itself_and_other_streams_never_stopped():
    world = World(PERSONS, CARS, jumps=True)
    capture, deliver = world.capture(), world.deliver(hold_s=1.0)
    world.topics["A"].away(TOPIC)
    committed = {PERSONS: world.commit(5), CARS: world.commit(5, CARS)}
    await capture.tick()
    await world.deliver_queue(deliver)
    assert world.arrived(stream=CARS) == positions(committed[CARS])
    assert world.arrived() == []

    for _ in range(60):
        await world.clock.advance(1.0)
        await capture.tick()
        assert len(world.queue) <= 1
        await world.deliver_queue(deliver)
    world.topics["A"].mend(TOPIC)
    for _ in range(70):
        await world.clock.advance(1.0)
        await capture.tick()
        await world.deliver_queue(deliver)

    assert world.arrived() == positions(committed[PERSONS])
    assert world.state().repaired == 0


@pytest.mark.parametrize("away", ["A", "B"])
async def test_of_two_destinations_with_one_away_the_other_gets_every_pack_that_comes(away):
    other = {"A": "B", "B": "A"}[away]
    world = await world_with_state("A", "B")
    world.topics[away].away(TOPIC)
    deliver = world.deliver(hold_s=1.0)
    await deliver.deliver(packed(10, [1], start=True))

    await deliver.deliver(packed(11, [1, 2], start=True))
    await deliver.deliver(packed(12, [1, 2, 3], start=True))
    assert arrived(world, other) == [1, 2, 3]
    assert arrived(world, away) == []
    assert world.state().position == position(0)

    world.topics[away].mend(TOPIC)
    await deliver.deliver(packed(13, [1, 2, 3], start=True))
    assert arrived(world, "A") == arrived(world, "B") == [1, 2, 3]
    assert world.state().repaired == 0


# ---------------------------------------------------------------------- the state store


@pytest.mark.parametrize("call", ["read", "write"])
async def test_a_state_store_that_is_away_is_held_for_eight_minutes_and_then_the_message_must_come_again(call):
    world = await world_with_state()
    calls: list[str] = []

    async def step(name):
        if name == call:
            calls.append(name)
            msg = "storage is away"
            raise TransientError(msg)

    world.account.step = step
    began = world.clock.monotonic()
    with pytest.raises(TransientError):
        await world.deliver().deliver(packed(10, [1], start=True))

    assert 450 < world.clock.monotonic() - began <= 480
    assert len(calls) < 100
    assert arrived(world) == ([1] if call == "write" else [])


async def test_a_state_store_away_between_send_and_mark_loses_nothing_and_repeats_nothing():
    world = await world_with_state()
    failed: list[str] = []

    async def step(call):
        if call == "write" and len(failed) < 10:
            failed.append(call)
            msg = "storage is away"
            raise TransientError(msg)

    world.account.step = step
    await world.deliver().deliver(packed(10, [1, 2], start=True))

    assert arrived(world) == [1, 2]
    assert world.marks()["A"].position == position(2)
    assert world.topics["A"].calls[TOPIC] == 1


async def test_a_mark_whose_answer_was_lost_is_known_again():
    world = await world_with_state()
    world.account.lost_answers = 2

    await world.deliver().deliver(packed(10, [1, 2], start=True))

    assert world.marks()["A"].position == position(2)
    assert world.account.calls["read"] == 1


async def test_a_refused_mark_makes_deliver_look_again_and_forward_only_what_is_missing():
    world = await world_with_state()
    world.mark(10, position(0))

    async def step(call):
        if call == "write":
            world.account.step = give_way
            world.mark(10, position(2))  # somebody delivered 1 and 2 beside us

    async def give_way(_):
        return None

    world.account.step = step
    await world.deliver().deliver(packed(10, [1, 2, 3]))

    assert world.topics["A"].dropped[TOPIC] == 1  # 3 was sent before the mark was refused
    assert arrived(world) == [1, 2, 3]
    assert world.marks()["A"].position == position(3)
    assert world.account.calls["read"] == 2


async def test_a_mark_that_moved_past_the_pack_meanwhile_completes_it():
    world = await world_with_state()
    world.mark(10, position(0))

    async def step(call):
        if call == "write":
            world.account.step = give_way
            world.mark(12, position(9))

    async def give_way(_):
        return None

    world.account.step = step
    await world.deliver().deliver(packed(10, [1, 2]))

    assert world.marks()["A"].chain == 12


async def test_a_state_of_a_newer_release_holds_the_pack_that_would_repair_it():
    world = World(jumps=True)
    await world.capture(lease="once").tick()
    world.change(chain=10, chain_start=position(0), position=position(9))
    world.mark(10, position(2), "A")
    began = world.clock.monotonic()

    async def rolled_out_meanwhile(call):
        if call == "find":
            world.account.newer.add(PERSONS)

    world.account.step = rolled_out_meanwhile

    with pytest.raises(TransientError, match="newer release"):
        await world.deliver().deliver(packed(10, [6]))

    assert world.clock.monotonic() - began > 400


async def test_a_mark_of_a_newer_release_holds_the_pack():
    world = await world_with_state()
    world.account.newer.add(PERSONS)

    with pytest.raises(TransientError, match="newer release"):
        await world.deliver().deliver(packed(10, [1], start=True))

    assert arrived(world) == []


# ---------------------------------------------------------------------- rejected


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


# ---------------------------------------------------------------------- a destination configured later


async def test_a_new_destination_that_capture_has_not_let_join_yet_begins_at_the_lowest_mark_without_a_repair():
    world = World(destinations=("A", "B", "C"))
    await world.capture(lease="once", destinations=["A", "B"]).tick()
    world.change(chain=10, chain_start=position(0), position=position(9))
    world.mark(10, position(5), "A")
    world.mark(10, position(4), "B")
    world.mark(7, position(1), "removed")

    await world.deliver().deliver(packed(10, [5, 6]))

    await world.deliver().deliver(packed(10, [7]))

    assert [arrived(world, name) for name in ("A", "B", "C")] == [[6, 7], [5, 6, 7], [7]]
    assert {world.marks()[name].position for name in ("A", "B", "C")} == {position(7)}
    assert world.state().repaired == 0


async def test_a_new_destination_that_capture_lets_join_at_the_same_time_keeps_capture_s_mark():
    world = World(destinations=("A", "B"))
    await world.capture(lease="once", destinations=["A"]).tick()
    world.change(chain=10, chain_start=position(0), position=position(9))
    world.mark(10, position(5), "A")

    async def step(call):
        if call == "write" and "B" not in world.marks():
            world.mark(10, position(5), "B")

    world.account.step = step
    await world.deliver().deliver(packed(10, [6]))

    assert arrived(world, "B") == [6]
    assert world.state().repaired == 0


async def test_a_destination_whose_mark_is_missing_although_it_is_not_new_is_repaired():
    world = await world_with_state("A", "B")
    world.mark(10, position(5), "A")

    await world.deliver().deliver(packed(10, [6]))

    assert (world.state().repaired, world.state().position) == (1, position(0))


@pytest.mark.parametrize("fault", ["gap", "away"])
async def test_a_new_destination_does_not_set_a_new_chain_back_to_the_start(fault):
    world = World(destinations=("A", "B"), jumps=True)
    await world.capture(lease="once", destinations=["A"]).tick()
    world.change(chain=10, chain_start=position(0), position=position(9))
    world.mark(10, position(5), "A")
    if fault == "away":
        world.topics["A"].away(TOPIC)

    await world.deliver().deliver(packed(10, [8] if fault == "gap" else [6]))

    assert (world.state().chain, world.state().position) == (11, position(5))


async def test_a_new_destination_that_falls_behind_before_capture_knows_it_still_holds_the_restart_back():
    world = World(destinations=("A", "B"), jumps=True)
    await world.capture(lease="once", destinations=["A"]).tick()
    world.change(chain=10, chain_start=position(0), position=position(9))
    world.mark(10, position(7), "A")
    world.mark(10, position(4), "B")
    world.topics["B"].away(TOPIC, Outage(lasting=True))

    await world.deliver().deliver(packed(10, [5, 6, 7]))

    assert world.state().position == position(4)
