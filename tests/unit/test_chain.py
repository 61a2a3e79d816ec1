from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared import chain, naming
from shared.events import FoundStream, Mark, Position, StreamState
from shared.pack import PackHeader

STREAM = naming.stream("sql1", "TestDB", "dbo", "Persons")
NOW = datetime(2026, 11, 21, tzinfo=UTC)
STATE = StreamState(STREAM, Position("5"), chain=10, chain_start=Position("2"), destinations=("A", "B"))


def header(chain_number=10, *, start=False, after="3", last="5", replay=0):
    return PackHeader(STREAM, chain_number, start, replay, Position(after), Position(last), 1)


def mark(chain_number=10, position="3", replay=0):
    return Mark(chain_number, Position(position), replay)


@pytest.mark.parametrize(
    ("pack", "known", "base"),
    [
        (header(), mark(), "3"),
        (header(after="2"), mark(), "3"),  # a repeat that reaches further
        (header(after="4"), mark(), None),  # the pack between 3 and 4 went missing
        (header(11), mark(), None),  # the first pack of the chain went missing
        (header(11, start=True, after="1"), mark(), "3"),  # a repair sends again what is there already
        (header(11, start=True, after="4"), mark(), "4"),
        (header(11, start=True, after="1", replay=1), mark(), "1"),  # delivered again on purpose
        (header(10, start=True, after="2"), chain.NO_MARK, "2"),
        (header(10), chain.NO_MARK, None),
    ],
)
def test_a_pack_is_forwarded_above_its_base_or_shows_that_one_went_missing(pack, known, base):
    assert chain.base_of(pack, known) == base


def test_a_mark_moves_with_a_pack_and_stays_with_a_repeat():
    assert chain.advanced(header(), mark(), Position("3")) == mark(position="5")
    assert chain.advanced(header(last="3"), mark(position="4"), Position("4")) is None
    assert chain.advanced(header(11, start=True, last="3"), mark(position="4"), Position("4")) == mark(11, "4")


def test_a_stream_is_behind_while_a_destination_lacks_what_was_sent_in_this_chain():
    assert chain.behind(STATE, {"A": mark(position="5")}, ("A", "B"))
    assert not chain.behind(STATE, {"A": mark(position="5"), "B": mark(position="5")}, ("A", "B"))
    assert not chain.behind(STATE, {"A": mark(position="5")}, ("A",))
    assert not chain.behind(replace(STATE, position=Position("2")), {}, ("A",))


def test_a_new_chain_starts_at_the_lowest_mark_and_at_the_chain_start_while_one_has_none_or_an_older_replay():
    assert chain.restart(STATE, {"A": mark(position="4"), "B": mark(position="3")}, ("A", "B")) == "3"
    assert chain.restart(STATE, {"A": mark(position="4")}, ("A", "B")) == "2"
    assert chain.restart(replace(STATE, replay=1), {"A": mark(position="4")}, ("A",)) == "2"


def test_a_created_state_is_newer_than_every_mark_and_no_further_than_the_lowest():
    found = FoundStream(STREAM, Position("7"), 1.0, 30.0, 3600.0)
    fresh = chain.created(found, {}, ("A",), now=NOW)
    assert (fresh.position, fresh.chain, fresh.chain_start) == ("7", int(NOW.timestamp() * 1000), "7")
    future = int(NOW.timestamp() * 1000) + 5
    again = chain.created(found, {"A": mark(future, "4", replay=2), "B": mark(position="6")}, ("A", "B"), now=NOW)
    assert (again.position, again.chain, again.replay) == ("4", future + 1, 2)


def test_three_repairs_without_progress_halt_the_stream_and_progress_starts_the_count_again():
    state = chain.repaired(STATE, header(), Position("2"), now=NOW)
    state = chain.repaired(state, header(state.chain), Position("2"), now=NOW)
    assert (state.status, state.repairs, state.chain) == ("running", 2, 12)
    moved = chain.repaired(state, header(state.chain), Position("4"), now=NOW)
    assert (moved.status, moved.repairs, moved.repaired) == ("running", 1, 3)
    halted = chain.repaired(state, header(state.chain), Position("2"), now=NOW)
    assert halted.status == "halted"
    assert "sluice resume" in halted.reason
    assert chain.resumed(halted).status == "running"


def test_parks_wait_twice_as_long_each_time_up_to_a_limit_and_are_no_repairs():
    state, waits = replace(STATE, repairs=2), []
    for _ in range(6):
        state = chain.parked(state, header(), Position("2"), why="away", now=NOW, park_s=30, max_park_s=600)
        assert state.not_before is not None
        waits.append((state.not_before - NOW) / timedelta(seconds=1))
    assert waits == [30, 60, 120, 240, 480, 600]
    assert (state.repairs, state.status, state.reason) == (2, "running", "away")


def test_a_new_chain_is_newer_than_the_pack_that_asked_for_it_even_if_the_state_was_older():
    assert chain.repaired(STATE, header(99), Position("2"), now=NOW).chain == 100


def test_a_rewind_never_starts_above_what_every_destination_has_and_a_skip_may():
    marks = {"A": mark(position="4"), "B": mark(position="3")}
    rewound = chain.rewound(STATE, Position("9"), marks)
    assert (rewound.position, rewound.replay, rewound.chain) == ("3", 1, 11)
    skipped = chain.skipped(STATE, Position("9"))
    assert (skipped.position, skipped.chain_start, skipped.replay) == ("9", "9", 1)


def test_a_state_older_than_its_marks_is_caught_up():
    fresh = chain.caught_up(STATE, {"A": mark(50, "4", replay=3)})
    assert (fresh.chain, fresh.position, fresh.chain_start, fresh.replay) == (51, "4", "4", 3)


def test_the_mark_of_a_removed_destination_counts_only_while_no_other_has_one():
    marks = {"A": mark(position="4"), "gone": mark(7, "1")}
    assert chain.rewound(replace(STATE, destinations=("A",)), Position("9"), marks).position == "4"
    assert chain.rewound(replace(STATE, destinations=("new",)), Position("9"), marks).position == "1"
    assert chain.caught_up(replace(STATE, destinations=("A",)), marks).position == "4"


def test_an_imported_state_is_newer_than_all_that_ever_was_and_its_marks_are_newer_than_every_pack():
    marks = {"A": mark(50, "4"), "B": mark(9, "3")}
    fresh, carried = chain.imported(STATE, marks, ("A", "B"), now=NOW)
    between = int(NOW.timestamp() * 1000)
    assert (fresh.chain, fresh.position, fresh.chain_start) == (between + 1, "3", "3")
    assert carried == {"A": mark(between, "4"), "B": mark(between, "3")}

    later = replace(STATE, chain=between + 7, replay=3)
    fresh, carried = chain.imported(STATE, marks, ("A", "B"), instead=later, now=NOW)
    assert (fresh.chain, fresh.replay) == (between + 9, 3)
    assert carried == {"A": mark(between + 8, "4", 3), "B": mark(between + 8, "3", 3)}


def test_an_imported_state_begins_where_the_chain_did_while_a_destination_has_nothing_of_it():
    fresh, carried = chain.imported(STATE, {"A": mark(position="4")}, ("A", "B"), now=NOW)
    assert (fresh.position, carried["B"].position) == ("2", "2")

    behind = {"A": mark(position="4", replay=0), "B": mark(position="3", replay=1)}
    fresh, carried = chain.imported(replace(STATE, replay=1), behind, ("A", "B"), now=NOW)
    assert (fresh.position, fresh.replay) == ("2", 1)
    assert {name: known.replay for name, known in carried.items()} == {"A": 0, "B": 1}


def test_an_imported_stream_waits_for_the_destinations_that_are_configured_and_lets_a_new_one_join():
    marks = {"A": mark(position="4"), "B": mark(position="3")}
    assert chain.imported(STATE, marks, ("A",), now=NOW)[0].position == "4"
    fresh, carried = chain.imported(STATE, marks, ("C",), now=NOW)
    assert (fresh.position, carried["C"].position) == ("3", "3")
    fresh, carried = chain.imported(replace(STATE, destinations=()), {}, ("C",), now=NOW)
    assert (fresh.position, carried["C"].position) == ("2", "2")
