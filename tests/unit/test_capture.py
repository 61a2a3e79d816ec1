"""The first verb as its operator sees it: what is sent, then saved, and how shards share the streams."""

import asyncio
import logging

from shared import naming
from shared.errors import TransientError
from shared.events import StreamState
from tests.unit.twins import PERSONS, World, positions


def failing_saves(world, times):
    left = [None] * times

    async def step(call):
        await asyncio.sleep(0)
        if call == "save" and left:
            left.pop()
            msg = "storage is away"
            raise TransientError(msg)

    return step


# ---------------------------------------------------------------------- send, then save


async def test_a_stream_is_saved_at_first_sight_before_anything_was_committed():
    world = World()

    await world.capture().tick()

    state = world.state()
    assert state.position == state.chain_start == "0000000000-000000"
    assert state.chain == int(world.clock.now().timestamp() * 1000)
    assert state.destinations == ("A",)
    assert not world.queue


async def test_every_pack_follows_the_saved_position_and_is_saved_before_the_next_is_sent():
    world, seen = World(jumps=True), []

    async def step(call):
        if call == "save":
            saved = world.account.states.get(PERSONS)
            seen.append((len(world.queue), saved and saved.value.position))

    world.account.step = step
    events = world.commit(7)
    await world.capture(page=2, linger_s=20.0).tick()

    headers = [each.header for each in world.packs()]
    assert [header.after for header in headers] == ["0000000000-000000", *[header.last for header in headers[:-1]]]
    assert [header.start for header in headers] == [True, False, False, False]
    assert [header.count for header in headers] == [2, 2, 2, 1]
    assert seen[1:] == [(n + 1, header.after) for n, header in enumerate(headers)]
    assert world.state().position == events[-1].position


async def test_a_failed_save_is_tried_again_before_anything_more_is_sent():
    world = World(jumps=True)
    capture = world.capture(page=1, linger_s=20.0)
    await capture.tick()
    world.commit(2)
    sent: list[int] = []

    async def step(call):
        if call == "save" and len(sent) < 3:
            sent.append(len(world.queue))
            msg = "storage is away"
            raise TransientError(msg)

    world.account.step = step
    await world.clock.advance(2.0)
    await capture.tick()

    assert sent == [1, 1, 1]
    assert [each.header.count for each in world.packs()] == [1, 1]
    assert world.account.calls["find"] <= 1


async def test_a_save_that_is_given_up_leaves_the_stream_to_be_read_again_and_the_pack_to_be_repeated():
    world = World(jumps=True)
    capture = world.capture()
    await capture.tick()
    (event,) = world.commit()
    world.account.step = failing_saves(world, 1_000)
    await world.clock.advance(2.0)
    await capture.tick()
    assert len(world.queue) == 1
    assert world.state().position < event.position

    world.account.step = failing_saves(world, 0)
    await world.clock.advance(5.0)
    await capture.tick()

    first, second = world.packs()
    assert first == second
    assert world.state().position == event.position


async def test_a_save_whose_answer_was_lost_is_known_again_as_one_s_own():
    world = World(jumps=True)
    capture = world.capture()
    await capture.tick()
    (event,) = world.commit()
    world.account.lost_answers = 1
    held = capture.held[PERSONS]
    await world.clock.advance(2.0)

    await capture.tick()

    assert world.state().position == event.position
    assert len(world.queue) == 1
    assert capture.held[PERSONS] is held
    assert not held.adrift


async def test_a_refused_save_makes_capture_read_the_stream_again_and_go_on_from_there():
    world = World(jumps=True)
    capture = world.capture(linger_s=20.0)
    await capture.tick()
    events = world.commit(3)
    moved: list[StreamState] = []

    async def step(call):
        if call == "save" and not moved:  # an operator rewinds between send and save
            moved.append(
                world.change(
                    ring=False, position=events[0].position, chain_start=events[0].position, chain=10**15, replay=1
                )
            )

    world.account.step = step
    await world.clock.advance(2.0)
    await capture.tick()

    old, new = (each.header for each in world.packs())
    assert (old.count, new.count, new.after, new.chain) == (3, 2, events[0].position, 10**15)
    assert new.start
    assert world.state().position == events[-1].position


async def test_a_state_that_vanished_is_created_again_on_a_newer_chain_at_the_lowest_mark():
    world = World(destinations=("A", "B"))
    capture, deliver = world.capture(), world.deliver()
    events = world.commit(2)
    await capture.tick()
    await world.deliver_queue(deliver)
    world.mark(world.state().chain + 10**6, events[0].position, "B")
    world.account.states.clear()

    await world.capture(lease="another").tick()

    state = world.state()
    assert state.chain == world.marks()["B"].chain + 1
    assert state.chain_start <= events[0].position
    assert world.packs()[0].header.start
    await world.deliver_queue(deliver)
    assert world.arrived("A") == positions(events)
    assert world.marks()["A"] == world.marks()["B"]


async def test_two_captures_without_a_lease_lose_nothing_and_one_of_two_saves_is_refused(caplog):
    world = World()
    first, second = world.capture(lease="one", linger_s=0.0), world.capture(lease="two")
    await first.tick()
    await second.tick()
    events = world.commit(5)
    await world.clock.advance(2.0)
    caplog.set_level(logging.INFO, "sluice.capture")

    await asyncio.gather(first.tick(), second.tick())

    assert [record.message for record in caplog.records].count("stream read again") == 1
    deliver = world.deliver()
    await world.deliver_queue(deliver)
    assert world.arrived() == positions(events)
    assert world.state().repaired == 0


# ---------------------------------------------------------------------- shards


async def test_going_from_one_shard_to_four_and_back_keeps_every_position():
    streams = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(40)]
    world = World(*streams)
    deliver = world.deliver()
    for shards in (1, 4, 1):
        for stream in streams:
            world.commit(2, stream)
        captures = [world.capture(shard=n, shards=shards, lease=f"{shards}-{n}") for n in range(shards)]
        for capture in captures:
            await capture.tick()
        assert sorted(stream for capture in captures for stream in capture.held) == sorted(streams)
        await world.deliver_queue(deliver)
        await world.clock.advance(30.0)

    for stream in streams:
        assert world.arrived(stream=stream) == positions(world.source.events(stream))
        assert world.state(stream).repaired == 0


async def test_a_shard_reads_only_its_own_buckets():
    streams = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(200)]
    world = World(*streams)

    capture = world.capture(shard=1, shards=4)
    await capture.tick()

    assert {naming.bucket(stream) % 4 for stream in capture.held} == {1}
    assert world.account.calls["load"] == 4
