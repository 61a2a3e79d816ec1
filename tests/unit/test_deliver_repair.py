"""When deliver begins a new chain, from where, and what a destination configured later changes about it."""

import logging

import pytest

from shared import naming, pack
from shared.sinks.memory import Outage
from tests.unit.twins import PERSONS, World, arrived, packed, position, positions, world_with_state

TOPIC = naming.topic(PERSONS)


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
