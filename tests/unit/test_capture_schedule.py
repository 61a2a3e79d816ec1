"""When capture asks for which stream, what that costs, and which streams it leaves alone."""

from itertools import pairwise

import pytest

from shared import chain, naming
from shared.events import Position
from shared.sources.scripted import ScriptedSource
from tests.unit.twins import CARS, PERSONS, World

# ---------------------------------------------------------------------- schedule and cost


async def test_an_idle_tick_over_a_thousand_streams_asks_for_lease_and_bell_and_the_source_once():
    streams = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(1_000)]
    world = World(*streams)
    capture = world.capture()
    for _ in range(8):  # until every interval is the longest
        await capture.tick()
        await world.clock.advance(31.0)
    world.account.calls.clear()
    world.source.calls["probe"] = 0

    await capture.tick()

    assert world.account.calls == {"hold": 1, "version": 1}
    assert world.source.calls == {"discover": 1, "probe": 1, "read": 0}


async def test_a_tick_in_which_no_stream_is_due_asks_the_source_nothing():
    world = World()
    capture = world.capture()
    await capture.tick()
    probes = world.source.calls["probe"]

    await capture.tick()
    await world.clock.advance(0.5)
    await capture.tick()

    assert world.source.calls["probe"] == probes


async def test_a_quiet_stream_is_probed_half_as_often_each_time_and_its_interval_is_saved_when_it_changes():
    world = World()
    capture = world.capture()
    at, saves = [], []
    for second in range(200):
        probes, saved = world.source.calls["probe"], world.account.calls["save"]
        await capture.tick()
        if world.source.calls["probe"] > probes:
            at.append(second)
        saves.extend([second] * (world.account.calls["save"] - saved))
        await world.clock.advance(1.0)

    gaps = [after - before for before, after in pairwise(at)]
    assert gaps[:5] == [2, 4, 8, 16, 30]
    assert set(gaps[4:]) == {30}
    assert saves == [0, 0, *at[1:5]]
    assert world.state().interval_s == 30.0


async def test_a_quiet_stream_keeps_its_turn_over_a_restart():
    world = World()
    capture = world.capture()
    for _ in range(100):
        await capture.tick()
        await world.clock.advance(1.0)
    due_at = capture.held[PERSONS].due_at
    probes = world.source.calls["probe"]

    restarted = world.capture(lease="another")
    await restarted.tick()

    assert world.source.calls["probe"] == probes
    assert restarted.held[PERSONS].due_at == due_at


async def test_intervals_of_many_streams_are_saved_together():
    streams = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(1_000)]
    world = World(*streams)
    capture = world.capture()
    await capture.tick()
    saves = world.account.calls["save"]
    await world.clock.advance(2.0)

    await capture.tick()

    assert world.account.calls["save"] - saves <= naming.BUCKETS
    assert {held.state.interval_s for held in capture.held.values()} == {4.0}


async def test_activity_brings_the_shortest_interval_back_at_once():
    world = World()
    capture = world.capture()
    for _ in range(100):
        await capture.tick()
        await world.clock.advance(1.0)
    world.commit()
    await world.clock.advance(30.0)
    await capture.tick()

    assert world.state().interval_s == 1.0
    world.commit()
    await capture.tick()
    assert len(world.queue) == 2


async def test_a_stream_that_the_source_names_without_events_is_still_looked_at_less_often():
    world = World()

    class Named(ScriptedSource):
        async def probe(self, after):
            await super().probe(after)
            return frozenset(after)

    source = Named(PERSONS)
    capture = world.capture(sources={"sql1": source})
    for _ in range(20):
        await capture.tick()
        await world.clock.advance(1.0)

    assert source.calls["probe"] <= 6


async def test_a_tick_lingers_while_changes_keep_arriving_and_returns_when_it_is_quiet():
    world = World(jumps=True)
    capture = world.capture(linger_s=20.0, linger_poll_s=0.1)
    await capture.tick()
    world.commit()
    left = [None] * 5

    async def step(call):
        if call == "save done" and left:
            left.pop()
            world.commit()

    world.account.step = step
    await world.clock.advance(2.0)
    began = world.clock.monotonic()
    await capture.tick()

    assert len(world.queue) == 6
    assert world.clock.monotonic() - began < 2.0


async def test_lingering_ends_with_its_budget_however_much_arrives():
    world = World(jumps=True)
    capture = world.capture(linger_s=20.0, linger_poll_s=0.5, ahead=10**6)
    await capture.tick()

    async def step(call):
        if call == "save done":
            world.commit()

    world.account.step = step
    world.commit()
    await world.clock.advance(2.0)
    began = world.clock.monotonic()
    await capture.tick()

    assert 20.0 <= world.clock.monotonic() - began <= 21.0


# ---------------------------------------------------------------------- streams that are not to be read


@pytest.mark.parametrize("status", ["paused", "halted"])
async def test_a_paused_or_halted_stream_is_neither_asked_for_nor_probed_nor_watched(status):
    world = World()
    capture = world.capture(probe_after_s=1.0)
    world.commit()
    await capture.tick()
    world.change(status=status)
    await world.clock.advance(10.0)
    await capture.tick()
    probes = world.source.calls["probe"]
    world.account.calls.clear()

    world.commit()
    await world.clock.advance(10.0)
    await capture.tick()

    assert len(world.queue) == 1
    assert world.source.calls["probe"] == probes
    assert world.account.calls == {"hold": 1, "version": 1}


async def test_a_parked_stream_waits_until_its_time_and_then_goes_on_by_itself():
    world = World()
    capture = world.capture()
    await capture.tick()
    world.commit()
    later = world.clock.now().replace(second=30)
    world.change(not_before=later, parks=1)

    await world.clock.advance(29.0)
    await capture.tick()
    assert not world.queue
    await world.clock.advance(1.0)
    await capture.tick()

    assert len(world.queue) == 1
    assert world.state().not_before is None


async def test_a_lost_position_halts_the_stream_with_reason_and_remedy_and_resume_lets_it_go_on(caplog):
    world = World(PERSONS, CARS)
    capture = world.capture()
    await capture.tick()
    world.commit()
    world.source.clean_up(PERSONS)
    world.commit(1, CARS)
    await world.clock.advance(2.0)
    bell = world.account.control
    await capture.tick()

    state = world.state()
    assert state.status == "halted"
    assert "cleaned up" in state.reason
    assert "sluice resume" in state.reason
    assert any(record.message == "stream halted" for record in caplog.records)
    assert len(world.packs(CARS)) == 1
    assert world.account.control != bell

    (event,) = world.commit()
    world.store(chain.skipped(state, Position("0000000002-999999")))
    await capture.tick()
    assert world.state().position == event.position


async def test_a_halt_that_somebody_elses_save_came_before_is_not_said(caplog):
    world = World()
    capture = world.capture()
    await capture.tick()
    world.commit()
    world.source.clean_up(PERSONS)
    world.change(ring=False, parks=1)
    await world.clock.advance(2.0)

    await capture.tick()

    assert world.state().status == "running"
    assert not [record for record in caplog.records if record.message == "stream halted"]
