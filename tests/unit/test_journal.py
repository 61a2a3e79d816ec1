"""A source that keeps no history, made readable by its journal."""

import pytest

from shared.errors import PositionLostError, TransientError
from shared.events import Batch, Mark, Position, Saved, StreamState
from shared.journal import JournaledSource
from shared.stores.memory import MemoryAccount, MemoryJournalStore, MemoryStateStore
from tests.unit.registry import API, WEB, Registry, RegistryObserver, applied
from tests.unit.twins import World

START = Position("")


class Place:
    """A registry, and an account that outlives the processes which observe it."""

    def __init__(self) -> None:
        self.registry, self.account = Registry(), MemoryAccount()

    def process(self, **of) -> JournaledSource:
        observer = RegistryObserver(self.registry)
        journals, states = MemoryJournalStore(self.account), MemoryStateStore(self.account)
        return JournaledSource("reg1", observer, journals=journals, states=states, **of)


@pytest.fixture
def place():
    return Place()


def told(batch):
    return [(event.op, (event.after or event.before)["ID"]) for event in batch.events]


async def test_the_first_sight_is_a_snapshot_and_what_comes_later_a_change(place):
    place.registry.put("a")
    source = place.process()
    first = await source.read(WEB, START, 10)
    place.registry.put("b")
    place.registry.put("a", Port=1)

    second = await source.read(WEB, first.position, 10)

    assert told(first) == [("r", "a")]
    assert told(second) == [("c", "b"), ("u", "a")]
    assert second.events[1].before == {"ID": "a"}


async def test_what_appears_in_a_stream_that_was_empty_at_first_sight_is_new(place):
    source = place.process()
    assert (await source.read(WEB, START, 10)).events == ()
    place.registry.put("a")

    assert told(await place.process().read(WEB, START, 10)) == [("c", "a")]


async def test_another_process_tells_what_vanished_meanwhile_once(place):
    place.registry.put("a")
    before = await place.process().read(WEB, START, 10)
    place.registry.remove("a")

    source = place.process()
    batch = await source.read(WEB, before.position, 10)

    assert told(batch) == [("d", "a")]
    assert (await source.read(WEB, batch.position, 10)).events == ()
    assert (await place.process().read(WEB, batch.position, 10)).events == ()


async def test_what_was_written_down_is_read_again_after_a_crash_also_when_it_is_gone_by_then(place):
    place.registry.put("a")
    lost = await place.process().read(WEB, START, 10)
    place.registry.remove("a")

    source = place.process()
    await source.discover()
    again = await source.read(WEB, START, 10)

    assert again.events == lost.events
    assert told(await source.read(WEB, again.position, 10)) == [("d", "a")]


async def test_a_page_ends_at_the_limit_and_the_next_one_goes_on(place):
    for key in "abcde":
        place.registry.put(key)
    source, after, pages = place.process(), START, []

    while (batch := await source.read(WEB, after, 2)).events:
        pages.append((told(batch), batch.more))
        after = batch.position

    assert pages == [([("r", "a"), ("r", "b")], True), ([("r", "c"), ("r", "d")], True), ([("r", "e")], False)]


async def test_a_probe_names_what_changed_and_what_waits_in_the_journal(place):
    place.registry.put("a")
    source = place.process()
    assert await source.probe({WEB: START}) == {WEB}
    batch = await source.read(WEB, START, 10)

    assert await source.probe({WEB: batch.position}) == set()
    assert await source.probe({WEB: START}) == {WEB}
    assert await source.probe({}) == set()


async def test_a_look_whose_result_was_not_written_down_is_asked_for_again(place):
    source = place.process()
    batch = await source.read(WEB, START, 10)
    place.registry.put("a")
    await source.probe({WEB: batch.position})
    place.account.away = True
    with pytest.raises(TransientError):
        await source.read(WEB, batch.position, 10)
    place.account.away = False

    assert await source.probe({WEB: batch.position}) == {WEB}
    assert told(await source.read(WEB, batch.position, 10)) == [("c", "a")]


async def test_an_answer_that_got_lost_does_not_make_a_change_twice(place):
    source = place.process()
    await source.read(WEB, START, 10)
    place.registry.put("a")
    place.account.lost_answers = 1
    with pytest.raises(TransientError):
        await source.read(WEB, START, 10)

    batch = await source.read(WEB, START, 10)

    assert told(batch) == [("c", "a")]
    assert (await source.read(WEB, batch.position, 10)).events == ()


async def test_a_look_that_gave_way_to_what_was_written_before_it_is_asked_for_again(place):
    source = place.process()
    await source.read(WEB, START, 10)
    place.registry.put("a")
    place.account.lost_answers = 1
    with pytest.raises(TransientError):
        await source.read(WEB, START, 10)
    place.registry.put("b")
    batch = await source.read(WEB, START, 10)

    assert told(batch) == [("c", "a")]
    assert await source.probe({WEB: batch.position}) == {WEB}
    assert told(await source.read(WEB, batch.position, 10)) == [("c", "b")]


async def test_two_processes_write_one_history(place):
    one, other = place.process(), place.process()
    await one.read(WEB, START, 10)
    await other.discover()
    place.registry.put("a")
    first = await one.read(WEB, START, 10)
    place.registry.put("b")

    second = await other.read(WEB, START, 10)
    rest = await other.read(WEB, second.position, 10)

    assert second.events == first.events
    assert told(rest) == [("c", "b")]


async def test_what_another_process_told_is_known_though_it_is_gone_again(place):
    one, other = place.process(), place.process()
    await one.read(WEB, START, 10)
    await other.discover()
    place.registry.put("a")
    await one.read(WEB, START, 10)
    place.registry.remove("a")

    batch = await other.read(WEB, START, 10)

    assert told(batch) == [("c", "a")]
    assert told(await other.read(WEB, batch.position, 10)) == [("d", "a")]


async def test_what_another_process_wrote_down_after_one_had_looked_is_named_by_its_probe(place):
    one, late = place.process(), place.process()
    await one.read(WEB, START, 10)
    place.registry.put("a")
    looked: list[Batch] = []

    async def step(call):
        if call == "save journal" and not looked:
            place.registry.remove("a")
            looked.append(await one.read(WEB, START, 10))

    place.account.step = step
    batch = await late.read(WEB, START, 10)

    assert (told(looked[0]), told(batch)) == ([], [("c", "a")])
    assert await one.probe({WEB: batch.position}) == {WEB}
    later = await one.read(WEB, batch.position, 10)
    assert told(later) == [("d", "a")]
    assert await one.probe({WEB: later.position}) == set()


async def test_a_position_before_one_that_nobody_told_is_not_looked_at_for_ever(place):
    place.registry.put("a")
    source = place.process()
    batch = await source.read(WEB, START, 10)
    await source.read(WEB, Position("0000000009-000001"), 10)

    later = place.process()
    await later.read(WEB, batch.position, 10)

    assert await later.probe({WEB: batch.position}) == set()


async def test_a_position_beyond_all_that_is_known_is_looked_at_once(place):
    source, far = place.process(), Position("0000000009-000001")
    assert await source.probe({WEB: far}) == {WEB}
    await source.read(WEB, far, 10)
    assert await source.probe({WEB: far}) == set()
    place.registry.put("a")
    assert told(await source.read(WEB, far, 10)) == [("c", "a")]


async def test_an_unchanged_look_writes_nothing(place):
    place.registry.put("a")
    source = place.process()
    batch = await source.read(WEB, START, 10)
    writes = place.account.calls["save journal"]
    place.registry.version += 1  # others changed

    assert (await source.read(WEB, batch.position, 10)).events == ()
    assert place.account.calls["save journal"] == writes


async def delivered(place: Place, world: World, position: Position) -> None:
    """Let everything up to `position` be sent and delivered."""
    place.account.states = world.account.states
    place.account.marks = world.account.marks
    world.change(WEB, position=position, destinations=("A",))
    world.account.marks[WEB, "A"] = Saved(Mark(world.account.states[WEB].value.chain, position), "e")


@pytest.fixture
async def world():
    world = World(WEB)
    await world.capture().tick()
    return world


async def test_events_leave_the_journal_only_below_the_lowest_mark(place, world):
    source = place.process()
    after: list[Position] = []
    for key in "abc":
        place.registry.put(key)
        after.append((await source.read(WEB, after[-1] if after else START, 10)).position)
    await delivered(place, world, after[1])
    place.registry.put("d")
    await source.read(WEB, after[2], 10)

    again = place.process()
    await again.discover()

    assert told(await again.read(WEB, after[1], 10)) == [("c", "c"), ("c", "d")]
    with pytest.raises(PositionLostError, match="--from earliest"):
        await again.read(WEB, after[0], 10)


async def begun(place: Place, world: World) -> tuple[JournaledSource, Batch]:
    """Return a source of which the snapshot of two rows is delivered, and that snapshot."""
    source = place.process()
    place.registry.put("a")
    place.registry.put("b")
    first = await source.read(WEB, START, 10)
    await delivered(place, world, first.position)
    return source, first


async def test_from_the_very_beginning_there_is_a_snapshot_behind_what_is_not_delivered_yet(place, world):
    source, first = await begun(place, world)
    place.registry.remove("a")
    removal = await source.read(WEB, first.position, 10)

    batch = await source.read(WEB, START, 10)

    assert batch.events[0] == removal.events[0]
    assert told(batch) == [("d", "a"), ("r", "b")]
    assert applied(batch.events) == place.registry.rows[WEB]
    assert [event.position for event in batch.events] == sorted({event.position for event in batch.events})
    assert (await source.read(WEB, batch.position, 10)).events == ()


async def test_what_vanished_unseen_is_told_before_the_snapshot_from_the_very_beginning(place, world):
    source, first = await begun(place, world)
    place.registry.put("c")
    second = await source.read(WEB, first.position, 10)
    place.registry.remove("a")

    batch = await source.read(WEB, START, 10)

    assert told(batch) == [("c", "c"), ("d", "a"), ("r", "b"), ("r", "c")]
    assert batch.events[0] == second.events[0]


async def test_what_vanishes_while_the_snapshot_from_the_very_beginning_is_taken_is_told(place, world):
    source, first = await begun(place, world)
    place.registry.put("c")
    await source.read(WEB, first.position, 10)
    looks = iter((None, "a"))

    def move():
        if gone := next(looks, None):
            place.registry.remove(gone)

    place.registry.move = move
    again = await source.read(WEB, START, 10)
    place.registry.remove("b")
    later = await source.read(WEB, again.position, 10)

    assert applied([*first.events, *again.events, *later.events]) == place.registry.rows[WEB]


async def test_discovery_knows_the_streams_that_have_a_journal_though_their_subject_is_gone(place):
    place.registry.put("a", API)
    await place.process().read(API, START, 10)
    del place.registry.rows[API]

    found, _ = await place.process().discover()

    assert API in {each.stream for each in found}


async def test_starting_at_the_latest_place_there_is_no_snapshot(place):
    place.registry.put("a")
    source = place.process(start="latest")
    found, _ = await source.discover()
    (start,) = (each.first for each in found)
    assert (await source.read(WEB, start, 10)).events == ()
    place.registry.put("b")

    assert told(await source.read(WEB, start, 10)) == [("c", "b")]


async def test_starting_at_the_latest_place_a_snapshot_can_be_asked_for_later(place):
    place.registry.put("a")
    source = place.process(start="latest")
    found, _ = await source.discover()
    (start,) = (each.first for each in found)
    await source.read(WEB, start, 10)
    assert told(await source.read(WEB, START, 10)) == [("r", "a")]


async def test_starting_at_the_latest_place_goes_on_so_in_another_process(place):
    place.registry.put("a")
    found, _ = await place.process(start="latest").discover()
    (start,) = (each.first for each in found)
    place.registry.put("b", API)
    await place.process().read(API, START, 10)

    source = place.process(start="latest")
    await source.discover()

    assert (await source.read(WEB, start, 10)).events == ()


@pytest.mark.parametrize("restarted", [False, True])
async def test_starting_at_the_latest_place_what_appears_later_is_told_all_the_same(place, restarted):
    source = place.process(start="latest")
    found, _ = await source.discover()
    await source.read(WEB, found[0].first, 10)
    place.registry.put("a", API)

    later = place.process(start="latest") if restarted else source
    await later.discover()

    assert told(await later.read(API, START, 10)) == [("r", "a")]


async def test_starting_at_the_latest_place_begins_where_the_journal_ends(place):
    place.registry.put("a")
    batch = await place.process().read(WEB, START, 10)

    found, _ = await place.process(start="latest").discover()

    assert [each.first for each in found if each.stream == WEB] == [batch.position]


async def test_a_position_that_somebody_typed_is_checked_without_a_look(place):
    place.registry.put("a")
    first = await place.process().read(WEB, START, 10)
    place.registry.put("b")

    source = place.process()
    place.account.states[WEB] = Saved(StreamState(WEB, Position("0000000009-000001"), 1, START), "e")
    for good in (START, first.position, Position("0000000009-000001")):
        await source.check(WEB, good)
    for bad in ("garbage", "0000000000-xyz", "9999999999-000001"):
        with pytest.raises(PositionLostError, match=f"observed up to {first.position}, which {bad} is not among"):
            await source.check(WEB, Position(bad))

    assert told(await place.process().read(WEB, first.position, 10)) == [("c", "b")]
