"""What a capture holds of its streams: first states, destinations that come and go, and looks at how far deliver is."""

from collections.abc import Mapping, Sequence

import pytest

from shared import naming
from shared.errors import TransientError
from shared.events import ChangeEvent, FoundStream, Stream
from shared.held import FIND_AT_MOST, Held, Shard
from shared.stores.memory import MemoryMarkStore, MemoryStateStore
from tests.unit.twins import CARS, PERSONS, World, found, positions

FIRST, SECOND, THIRD = "0000000001-000001", "0000000002-000001", "0000000003-000001"


def shard(world: World, *destinations: str, index: int = 0, shards: int = 1) -> Shard:
    return Shard(
        index=index,
        shards=shards,
        states=MemoryStateStore(world.account),
        marks=MemoryMarkStore(world.account),
        destinations=destinations or ("A",),
        clock=world.clock,
        probe_after_s=60.0,
    )


def entries(*streams: Stream) -> Mapping[Stream, tuple[str, FoundStream]]:
    return {stream: ("sql1", found(stream)) for stream in streams or (PERSONS,)}


async def load(world: World, *destinations: str, streams: Sequence[Stream] = (PERSONS,)) -> dict[Stream, Held]:
    return await shard(world, *destinations).load(entries(*streams), {})


# ---------------------------------------------------------------------- first states


async def test_many_new_streams_are_created_by_one_write_and_read_by_one_query_per_bucket():
    world = World()
    streams = tuple(naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(300))

    held = await load(world, streams=streams)

    assert set(held) == set(streams) == set(world.account.states)
    assert world.account.calls == {"load": naming.BUCKETS, "save": 1}


async def test_a_state_that_another_process_created_at_the_same_time_is_taken_over():
    world = World()

    async def step(call):
        if call == "save":
            world.account.step = give_way
            await load(world)
            world.change(position=SECOND)

    async def give_way(_):
        return None

    world.account.step = step
    held = await load(world)

    assert held[PERSONS].state == world.state()
    assert held[PERSONS].state.position == SECOND


async def test_the_answer_to_a_creation_that_got_lost_leaves_one_state_which_the_next_load_finds():
    world = World()
    world.account.lost_answers = 1
    with pytest.raises(TransientError):
        await load(world)

    held = await load(world)

    assert held[PERSONS].state == world.state()


async def test_a_state_older_than_a_mark_begins_a_chain_newer_than_both():
    world = World()
    await load(world)
    world.change(position=THIRD, chain=5, chain_start=THIRD)
    world.mark(9, SECOND)

    held = await load(world)

    state = held[PERSONS].state
    assert (state.chain, state.position, state.chain_start) == (10, SECOND, SECOND)
    assert world.state() == state


async def test_a_stream_of_a_newer_release_is_left_out_and_the_others_are_held(caplog):
    world = World()
    await load(world, streams=(PERSONS, CARS))
    world.account.newer.add(PERSONS)

    held = await load(world, streams=(PERSONS, CARS))

    assert set(held) == {CARS}
    assert [record.message for record in caplog.records] == ["stream held back"]


# ---------------------------------------------------------------------- destinations


async def test_a_destination_configured_later_gets_a_mark_at_the_lowest_existing_one():
    world = World()
    await load(world, "A", "B")
    chain = world.state().chain
    world.mark(chain, THIRD, "A")
    world.mark(chain, SECOND, "B")
    world.change(position=THIRD)

    held = await load(world, "A", "B", "C")

    assert world.marks()["C"] == world.marks()["B"]
    assert world.state().destinations == ("A", "B", "C")
    assert held[PERSONS].marks == world.marks()


async def test_a_destination_configured_later_gets_what_comes_from_then_on_and_nothing_is_repaired():
    world = World(destinations=("A", "B"))
    capture, deliver = world.capture(destinations=["A"]), world.deliver(destinations=["A"])
    world.commit(3)
    await world.tick_until_quiet(capture, deliver)

    capture, deliver = world.capture(lease="another"), world.deliver()
    later: list[ChangeEvent] = []
    for _ in range(3):
        await world.clock.advance(2.0)
        await capture.tick()
        later += world.commit()
        await world.clock.advance(2.0)
        await world.tick_until_quiet(capture, deliver)

    assert world.arrived("B") == positions(later)
    assert world.arrived("A") == positions(world.source.events(PERSONS))
    assert world.state().repaired == 0


async def test_a_destination_that_delivered_before_its_mark_could_be_inserted_keeps_its_own():
    world = World()
    await load(world)
    chain = world.state().chain
    world.mark(chain, FIRST)

    async def step(call):
        if call == "write":
            world.mark(chain, SECOND, "B")

    world.account.step = step
    await load(world, "A", "B")

    assert world.marks()["B"].position == SECOND


async def test_a_destination_that_was_removed_holds_up_nothing():
    world = World(destinations=("A", "B"))
    capture, deliver = world.capture(ahead=2), world.deliver()
    world.commit()
    await world.tick_until_quiet(capture, deliver)

    capture, deliver = world.capture(destinations=["A"], ahead=2, lease="another"), world.deliver(destinations=["A"])
    for _ in range(5):
        await world.clock.advance(2.0)
        world.commit()
        await world.clock.advance(2.0)
        await world.tick_until_quiet(capture, deliver)

    assert world.arrived("A") == positions(world.source.events(PERSONS))
    assert world.arrived("B") == world.arrived("A")[:1]
    assert (world.state().repaired, world.state().destinations) == (0, ("A",))


async def test_a_destination_that_replaces_a_removed_one_begins_where_the_others_are():
    world = World()
    await load(world, "A", "old")
    chain = world.state().chain
    world.mark(chain, THIRD, "A")
    world.mark(chain - 5, FIRST, "old")
    world.change(position=THIRD)
    await load(world, "A")

    await load(world, "A", "new")

    assert world.marks()["new"] == world.marks()["A"]


async def test_a_destination_that_was_renamed_begins_where_it_was_under_its_old_name():
    world = World()
    await load(world, "old")
    world.mark(world.state().chain, SECOND, "old")
    world.change(position=SECOND)

    held = await load(world, "new")

    assert world.marks()["new"] == world.marks()["old"]
    assert held[PERSONS].confirmed


async def test_a_lost_state_is_not_created_at_the_mark_of_a_removed_destination():
    world = World()
    await load(world)
    chain = world.state().chain
    world.mark(chain, THIRD, "A")
    world.mark(chain - 5, FIRST, "old")
    world.account.states.clear()

    entry = found(first="0000000009-000000")
    await shard(world).load({PERSONS: ("sql1", entry)}, {})

    assert world.state().position == THIRD


async def test_a_destination_without_any_mark_beside_it_gets_none():
    world = World()
    await load(world)

    await load(world, "A", "B")

    assert world.marks() == {}
    assert world.state().destinations == ("A", "B")


async def test_nothing_is_written_when_nothing_changed():
    world = World()
    await load(world, "A", "B")
    world.account.calls.clear()

    await load(world, "B", "A")

    assert world.account.calls == {"load": 1}


# ---------------------------------------------------------------------- how far deliver is


async def test_what_was_sent_before_a_restart_leaves_the_stream_unconfirmed_and_its_packs_uncounted():
    world = World()
    await load(world)
    world.change(position=SECOND)

    held = (await load(world))[PERSONS]
    assert (held.confirmed, held.adrift) == (False, True)

    world.mark(world.state().chain, SECOND)
    assert await shard(world).see_marks([held])
    assert (held.confirmed, held.adrift, held.stale) == (True, False, False)


async def test_marks_of_a_few_streams_are_looked_up_and_those_of_many_read_by_one_query():
    world = World()
    streams = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(400)]
    streams = [stream for stream in streams if naming.bucket(stream) == 3]
    mine = shard(world)
    held = await mine.load(entries(*streams), {})
    world.account.calls.clear()

    await mine.see_marks([held[stream] for stream in streams[:FIND_AT_MOST]])
    assert world.account.calls == {"find": FIND_AT_MOST}
    await mine.see_marks(list(held.values()))
    assert world.account.calls["load"] == 1


@pytest.mark.parametrize("change", ["state", "mark", "gone", "newer"])
async def test_a_stream_that_somebody_else_changed_is_stale_when_its_marks_are_read(change):
    world = World()
    mine = shard(world)
    held = (await mine.load(entries(), {}))[PERSONS]
    if change == "state":
        world.change(ring=False, parks=1)
    elif change == "mark":
        world.mark(held.state.chain + 1, FIRST)
    elif change == "gone":
        world.account.states.clear()
    else:
        world.account.newer.add(PERSONS)

    await mine.see_marks([held])

    assert held.stale


async def test_a_stream_read_again_is_the_same_unless_somebody_changed_it():
    world = World()
    mine = shard(world)
    held = (await mine.load(entries(), {}))[PERSONS]
    held.stale = True
    held.failures = 3

    assert await mine.again(held) is held
    assert (held.stale, held.failures) == (False, 3)

    world.change(position=SECOND)
    fresh = await mine.again(held)
    assert fresh is not held
    assert fresh.state.position == SECOND
    assert fresh.active


async def test_a_reload_goes_on_with_what_nobody_changed_and_takes_over_what_was():
    world = World()
    mine = shard(world)
    before = await mine.load(entries(PERSONS, CARS), {})
    world.change(CARS, status="paused")

    after = await mine.load(entries(PERSONS, CARS), before)

    assert after[PERSONS] is before[PERSONS]
    assert after[CARS] is not before[CARS]
    assert after[CARS].state.status == "paused"


async def test_a_shard_owns_the_buckets_that_leave_its_index():
    world = World()
    streams = [naming.stream("sql1", "TestDB", "dbo", f"T{n}") for n in range(100)]
    owners = [sum(shard(world, index=n, shards=4).owns(stream) for n in range(4)) for stream in streams]
    assert set(owners) == {1}
