"""What deliver parks or holds while a destination or the state store is away."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from shared import deliver, naming
from shared.errors import TransientError
from shared.sinks.memory import Outage
from tests.unit.twins import CARS, PERSONS, World, arrived, packed, position, positions, world_with_state

TOPIC = naming.topic(PERSONS)
ROOT = Path(__file__).parents[2]


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


# ---------------------------------------------------------------------- all of it


async def test_a_message_that_takes_too_long_comes_again_and_nothing_is_lost(monkeypatch):
    world = await world_with_state()
    never = asyncio.Event()

    async def hang(call):
        if call == "write":
            await never.wait()

    world.account.step = hang
    monkeypatch.setattr(deliver, "LONGEST_S", 0.05)
    with pytest.raises(TransientError, match="not delivered within"):
        await world.deliver().deliver(packed(10, [1, 2], start=True))
    world.account.step = no_hang

    await world.deliver().deliver(packed(10, [1, 2], start=True))

    assert arrived(world) == [1, 2]
    assert world.marks()["A"].position == position(2)


async def no_hang(call):
    await asyncio.sleep(0)


def test_the_longest_delivery_ends_before_the_host_would_end_the_process():
    hours, minutes, seconds = map(int, json.loads((ROOT / "host.json").read_text())["functionTimeout"].split(":"))

    assert hours * 3600 + minutes * 60 + seconds > deliver.LONGEST_S
