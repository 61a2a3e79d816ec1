"""The first verb as its operator sees it: what a tick reads, sends, saves and asks for, and what it survives."""

import asyncio
import logging
from itertools import pairwise

import pytest

from shared import chain, naming
from shared.capture import SourceInUse
from shared.errors import ConfigError, TransientError
from shared.events import Position, StreamState
from shared.ports import Source
from shared.sinks.memory import Outage
from shared.sources.scripted import ScriptedSource, insert
from shared.stores.memory import MemoryLease
from tests.unit.twins import CARS, ORDERS, PERSONS, QUEUE, Slow, World, positions


def failing_saves(world, times):
    left = [None] * times

    async def step(call):
        await asyncio.sleep(0)
        if call == "save" and left:
            left.pop()
            msg = "storage is away"
            raise TransientError(msg)

    return step


async def give_way(_):
    await asyncio.sleep(0)


def recording(world, calls):
    async def step(call):
        calls.append(call)

    world.account.step = step


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


# ---------------------------------------------------------------------- lease and control


async def test_a_capture_steps_aside_while_another_holds_the_lease_and_takes_over_when_it_expired():
    world = World()
    first, second = world.capture(), world.capture()
    await first.tick()
    events = world.commit(2)
    await second.tick()
    assert not world.queue

    await world.clock.advance(62.0)
    await second.tick()

    assert world.packs()[0].header.last == events[-1].position


async def test_a_lease_that_lapsed_makes_capture_read_the_states_again_even_if_the_bell_cannot_be_read_at_first():
    world = World()
    capture = world.capture()
    await capture.tick()
    world.commit()
    world.change(ring=False, status="paused")
    await world.clock.advance(61.0)
    failed: list[str] = []

    async def step(call):
        if call == "version" and not failed:
            failed.append(call)
            msg = "storage is away"
            raise TransientError(msg)

    world.account.step = step
    with pytest.raises(TransientError):
        await capture.tick()
    await capture.tick()

    assert not world.queue
    assert capture.held[PERSONS].state.status == "paused"


async def test_a_lease_lost_in_mid_tick_ends_it_between_two_packs():
    world = World()
    capture = world.capture(page=1, linger_s=1_000.0, lease_s=30.0)
    await capture.tick()
    world.commit(10)
    other = MemoryLease(world.account, "shard-0", world.clock)

    async def step(call):
        if call == "save done" and len(world.queue) == 3:
            world.account.leases.clear()
            await other.hold()
            await world.clock.advance(11.0)

    world.account.step = step
    await world.clock.advance(2.0)
    await capture.tick()

    assert len(world.queue) == 3
    assert world.state().position == world.packs()[-1].header.last


async def test_a_lease_lost_while_the_states_are_read_stops_the_tick_before_anything_is_sent():
    world = World()
    world.commit(3)
    capture = world.capture(lease_s=30.0)
    other = MemoryLease(world.account, "shard-0", world.clock)

    async def step(call):
        if call == "load":
            world.account.leases.clear()
            await other.hold()
            await world.clock.advance(11.0)

    world.account.step = step
    await capture.tick()
    assert not world.queue

    calls: list[str] = []
    recording(world, calls)
    await other.release()
    await capture.tick()
    assert "load" in calls
    assert world.queue


async def test_a_lease_that_lapsed_while_the_states_were_read_makes_the_next_tick_read_them_again():
    world = World()
    capture = world.capture(lease_s=30.0)
    await capture.tick()
    world.change(parks=1)

    async def step(call):
        await give_way(call)
        if call == "load":
            world.account.leases.clear()
            await world.clock.advance(11.0)  # it is taken again, but was not held without a break

    await world.clock.advance(1.0)
    world.account.step = step
    await capture.tick()
    world.account.step = give_way
    world.change(ring=False, parks=7)
    await capture.tick()

    assert capture.held[PERSONS].state.parks == 7


async def test_a_tick_renews_the_lease_while_it_lingers():
    world = World(jumps=True)
    capture = world.capture(page=1, linger_s=20.0, lease_s=3.0, linger_poll_s=1.0, ahead=10**6)
    await capture.tick()

    async def step(call):
        if call == "save done":
            world.commit()

    world.account.step = step
    world.commit()
    await world.clock.advance(2.0)
    before = world.account.calls["hold"]
    await capture.tick()

    assert world.account.calls["hold"] - before > 15


async def test_what_others_changed_is_read_again_when_the_bell_was_rung_and_only_then():
    world = World()
    capture = world.capture()
    await capture.tick()
    loads = world.account.calls["load"]
    world.change(ring=False, status="paused")
    await capture.tick()
    assert world.account.calls["load"] == loads

    world.change(status="paused")
    await capture.tick()
    assert world.account.calls["load"] == loads + 1
    assert capture.held[PERSONS].state.status == "paused"


async def test_the_bell_is_read_before_the_states():
    world = World()
    calls: list[str] = []
    recording(world, calls)

    await world.capture().tick()

    assert calls.index("version") < calls.index("load")


async def test_a_bell_rung_while_the_states_are_read_is_heard_in_the_next_tick():
    world = World()
    capture = world.capture()

    async def step(call):
        if call == "save done":
            world.account.step = give_way
            world.change(status="paused")

    world.account.step = step
    await capture.tick()
    world.commit()
    await world.clock.advance(2.0)
    await capture.tick()

    assert not world.queue


async def test_a_reload_forgets_neither_the_back_off_nor_the_probe_nor_the_packs_under_way():
    world = World(PERSONS, CARS)
    capture = world.capture(probe_after_s=60.0, ahead=1)
    await capture.tick()
    world.commit()
    await world.clock.advance(2.0)
    await capture.tick()
    held = capture.held[PERSONS]

    for _ in range(61):  # another stream is parked again and again
        await world.clock.advance(1.0)
        world.change(CARS, parks=1)
        await capture.tick()

    assert capture.held[PERSONS] is held
    assert not held.adrift
    assert [each.header.count for each in world.packs()] == [1, 0]


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


# ---------------------------------------------------------------------- errors


async def test_a_stream_that_cannot_be_read_is_left_alone_longer_each_time_and_holds_up_no_other():
    world = World(PERSONS, CARS)
    capture = world.capture()
    await capture.tick()
    world.source.fail("read", *[TransientError("locked")] * 1_000, stream=PERSONS)
    world.commit()
    attempts = []
    for second in range(120):
        before = world.source.calls["read"]
        await world.clock.advance(1.0)
        await capture.tick()
        if world.source.calls["read"] > before:
            attempts.append(second)
    assert 4 < len(attempts) < 20
    assert attempts[-1] - attempts[-2] > 10 * (attempts[1] - attempts[0])

    (event,) = world.commit(1, CARS)
    await world.clock.advance(30.0)
    await capture.tick()
    assert world.state(CARS).position == event.position


async def test_a_source_that_is_away_is_left_alone_longer_each_time_and_holds_up_no_other(caplog):
    world = World(PERSONS, ORDERS)
    capture = world.capture()
    await capture.tick()
    world.sources["sql1"].fail("probe", *[TransientError("unreachable")] * 1_000)
    before = world.sources["sql1"].calls["probe"]
    for _ in range(120):
        await world.clock.advance(1.0)
        await capture.tick()
    assert 4 < world.sources["sql1"].calls["probe"] - before < 20
    assert any("unreachable" in str(vars(record).get("reason")) for record in caplog.records)

    (event,) = world.commit(1, ORDERS)
    await world.clock.advance(30.0)
    await capture.tick()
    assert world.state(ORDERS).position == event.position


async def test_a_queue_that_is_away_makes_the_stream_wait_and_nothing_is_lost_or_saved():
    world = World()
    capture = world.capture()
    await capture.tick()
    events = world.commit(3)
    world.bus.away(QUEUE, Outage(calls=3))
    for _ in range(30):
        await world.clock.advance(1.0)
        await capture.tick()

    assert [each.header.last for each in world.packs()] == [events[-1].position]


async def test_a_source_that_hangs_holds_up_no_other():
    world = World(PERSONS, ORDERS, jumps=True)
    hanging, gate = asyncio.Event(), asyncio.Event()

    async def wait(call):
        if call == "probe":
            hanging.set()
            await gate.wait()

    sources: dict[str, Source] = {"sql1": Slow(world.sources["sql1"], wait), "sql2": world.sources["sql2"]}
    capture = world.capture(sources=sources, linger_s=1.0)
    ticking = asyncio.create_task(capture.tick())
    await hanging.wait()
    for n in range(1, 4):
        (event,) = world.commit(1, ORDERS)
        async with asyncio.timeout(5):
            while ORDERS not in world.account.states or world.state(ORDERS).position != event.position:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert len(world.packs(ORDERS)) == n
    gate.set()
    await ticking


async def test_a_source_that_hangs_while_it_is_looked_at_holds_up_no_other():
    world = World(PERSONS, ORDERS, jumps=True)
    gate = asyncio.Event()

    async def wait(_):
        await gate.wait()

    (event,) = world.commit(1, ORDERS)
    sources: dict[str, Source] = {"sql1": Slow(world.sources["sql1"], wait), "sql2": world.sources["sql2"]}
    capture = world.capture(sources=sources)
    ticking = asyncio.create_task(capture.tick())
    async with asyncio.timeout(5):
        while not world.packs(ORDERS):  # noqa: ASYNC110 - every turn of the loop is a step
            await asyncio.sleep(0)
    gate.set()
    await ticking

    assert world.state(ORDERS).position == event.position
    assert PERSONS in world.account.states


async def test_a_source_is_given_up_for_now_at_its_deadline_and_what_is_due_then_is_read_later(caplog):
    world = World(PERSONS, ORDERS)
    gate = asyncio.Event()

    async def wait(call):
        if call == "probe":
            await gate.wait()

    sources: dict[str, Source] = {"sql1": Slow(world.sources["sql1"], wait), "sql2": world.sources["sql2"]}
    capture = world.capture(sources=sources, deadline_s=0.02)
    world.commit(1)
    await capture.tick()
    assert not world.packs()
    assert any("no answer within 0.02 s" in str(vars(record).get("reason")) for record in caplog.records)

    gate.set()
    await world.clock.advance(5.0)
    await capture.tick()
    assert len(world.packs()) == 1


async def test_a_store_that_is_away_fails_the_tick_and_the_next_one_goes_on():
    world = World()
    capture = world.capture()
    await capture.tick()
    events = world.commit(2)
    await world.clock.advance(2.0)
    world.account.away = True
    with pytest.raises(TransientError):
        await capture.tick()
    world.account.away = False

    await capture.tick()

    assert world.packs()[0].header.last == events[-1].position


async def test_a_record_of_a_newer_release_holds_its_own_stream_and_no_other(caplog):
    world = World(PERSONS, CARS)
    capture = world.capture()
    world.commit()
    await capture.tick()
    world.account.newer.add(PERSONS)

    await world.clock.advance(1.0)
    for n in range(20):
        world.commit(1, CARS)
        await world.clock.advance(1.0)
        await capture.tick()
        assert len(world.packs(CARS)) == n + 1
    assert len(world.packs()) == 1
    warned = [record for record in caplog.records if "newer release" in str(vars(record).get("reason"))]
    assert 1 <= len(warned) <= 6

    world.account.newer.clear()
    world.commit()
    await world.clock.advance(60.0)
    await world.deliver_queue(world.deliver())
    for _ in range(3):
        await world.clock.advance(1.0)
        await capture.tick()
    assert len(world.packs()) == 1


async def test_what_a_source_cannot_find_is_said_and_looked_for_again_after_a_minute(caplog):
    world = World(PERSONS)

    class Partial(ScriptedSource):
        async def discover(self):
            entries, _ = await super().discover()
            if self.calls["discover"] > 1:
                return entries, ()
            return entries[:1], [ConfigError("table Cars is not captured", hint="enable it")]

    source = Partial(PERSONS, CARS)
    capture = world.capture(sources={"sql1": source})
    await capture.tick()
    assert set(capture.held) == {PERSONS}
    assert any("Cars is not captured" in str(vars(record).get("reason")) for record in caplog.records)

    source.commit(CARS, insert({"ID": 1}))
    for _ in range(62):
        await world.clock.advance(1.0)
        await capture.tick()

    assert source.calls["discover"] == 2
    assert len(world.packs(CARS)) == 1


async def test_shards_of_one_process_all_notice_a_stream_that_is_found_later():
    world = World(PERSONS)
    streams = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(16)]

    class Growing(ScriptedSource):
        async def discover(self):
            entries, _ = await super().discover()
            if self.calls["discover"] > 1:
                return entries, ()
            return (), [ConfigError("nothing is captured yet")]

    in_use = {"sql1": SourceInUse(Growing(*streams), 5.0, 10)}
    captures = [world.capture(shard=n, shards=2, shared_sources=in_use) for n in range(2)]
    for _ in range(62):
        for capture in captures:
            await capture.tick()
        await world.clock.advance(1.0)

    assert {*captures[0].held, *captures[1].held} == set(streams)


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
