"""What capture survives: sources, queue and store that fail, hang, or are away."""

import asyncio

import pytest

from shared import naming
from shared.capture import SourceInUse
from shared.errors import ConfigError, TransientError
from shared.ports import Source
from shared.sinks.memory import Outage
from shared.sources.scripted import ScriptedSource, insert
from tests.unit.twins import CARS, ORDERS, PERSONS, QUEUE, Slow, World


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
