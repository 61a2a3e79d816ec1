"""Whether the app can work, and if not, why."""

import asyncio
from dataclasses import replace

import pytest

from shared import health, naming
from shared.capture import SourceInUse
from shared.errors import ConfigError, TransientError
from shared.health import Health
from shared.sources.scripted import ScriptedSource
from shared.stores.memory import MemoryStateStore
from tests.unit.twins import CARS, PERSONS, QUEUE, World


class Partial(ScriptedSource):
    async def discover(self):
        return (await super().discover())[0], [ConfigError("dbo.Cars is not captured", hint="enable it")]


class Hanging(ScriptedSource):
    async def discover(self):
        return await asyncio.get_running_loop().create_future()


def looking(world, *, sources=None, dead=0):
    async def opened():
        if isinstance(sources, Exception):
            raise sources
        return {name: SourceInUse(each, 5.0, 10) for name, each in (sources or world.sources).items()}

    async def dead_lettered(queue):
        assert queue == QUEUE
        if isinstance(dead, Exception):
            raise dead
        return dead

    return Health(opened, MemoryStateStore(world.account), dead_lettered, QUEUE)


async def test_an_app_that_works_has_nothing_to_say():
    world = World(PERSONS, CARS)
    await world.capture().tick()

    assert await looking(world).reasons() == []


async def test_a_missing_driver_is_a_reason():
    why = ConfigError("there is no ODBC driver", hint="install it")

    assert await looking(World(), sources=why).reasons() == ["there is no ODBC driver (install it)"]


@pytest.mark.parametrize("why", [ConfigError("login failed", hint="set the password"), TransientError("unreachable")])
async def test_a_source_that_cannot_be_used_is_named(why):
    world = World()
    world.source.fail("discover", why)

    assert await looking(world).reasons() == [f"source sql1: {why}"]


async def test_every_stream_that_cannot_be_read_is_named_with_the_remedy():
    assert await looking(World(), sources={"sql1": Partial(PERSONS)}).reasons() == [
        "source sql1: dbo.Cars is not captured (enable it)"
    ]


async def test_a_halted_stream_is_named_with_its_reason_and_a_paused_or_parked_one_is_not():
    world = World(PERSONS, CARS)
    await world.capture().tick()
    world.change(PERSONS, status="halted", reason="rows are gone: run `sluice resume`")
    world.change(CARS, status="paused", not_before=world.clock.now())

    assert await looking(world).reasons() == [f"stream {PERSONS} is halted: rows are gone: run `sluice resume`"]


async def test_dead_lettered_packs_are_counted():
    (reason,) = await looking(World(), dead=3).reasons()

    assert "dead-lettered 3 packs" in reason
    assert QUEUE in reason


async def test_every_reason_is_told_at_once():
    world = World()
    await world.capture().tick()
    world.change(status="halted", reason="gone")
    world.source.fail("discover", TransientError("unreachable"))

    assert len(await looking(world, dead=TransientError("no access to the queue")).reasons()) == 3


async def test_a_state_store_that_is_away_is_a_reason():
    world = World()
    world.account.away = True

    assert await looking(world).reasons() == ["the storage account is away"]


async def test_streams_of_every_bucket_are_looked_at():
    streams = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(100)]
    world = World(*streams)
    await world.capture().tick()
    for stream in streams:
        world.store(replace(world.state(stream), status="halted", reason="gone"))

    assert len(await looking(world).reasons()) == 100


async def test_what_does_not_answer_in_time_is_named_and_hides_no_other_reason(monkeypatch):
    monkeypatch.setattr(health, "TIMEOUT_S", 0.05)
    world = World()
    world.source.fail("discover", TransientError("unreachable"))

    reasons = await looking(world, sources={"sql9": Hanging(PERSONS), "sql1": world.source}, dead=1).reasons()

    assert reasons[:2] == ["source sql9: no answer within 0.05 s", "source sql1: unreachable"]
    assert "dead-lettered" in reasons[2]
