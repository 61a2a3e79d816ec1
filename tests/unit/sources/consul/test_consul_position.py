from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import Position
from shared.sources.consul.position import NOWHERE, Place, continued, decode, encode

NOW = datetime(2026, 11, 21, 7, 28, 6, 123_000, UTC)
CLOCK = 1_795_246_086_123

indexes = st.integers(1, 2**63)
places = st.builds(Place, st.integers(0, 2**47), indexes, st.integers(0, 2**32 - 1))


def test_a_position_shows_epoch_index_and_n():
    assert encode(Place(CLOCK, 4711, 3)) == "01a1fd0157eb-0000000000001267-00000003"


@given(places)
def test_a_position_reads_back(place):
    assert decode(encode(place)) == place


@given(places, places)
def test_positions_sort_as_text_as_places_do(one, other):
    assert (encode(one) < encode(other)) == (one < other)


def test_no_position_is_before_everything():
    assert decode(Position("")) == NOWHERE
    assert Position("") < encode(NOWHERE)


@pytest.mark.parametrize("text", ["7", "0000003600000b200003-00000001-0000003600000b200002-2", "x" * 38])
def test_another_source_s_position_is_refused(text):
    with pytest.raises(ValueError, match="not a Consul position"):
        decode(Position(text))


def test_the_first_epoch_is_the_time():
    assert continued(None, 7, after=Position(""), now=NOW) == Place(CLOCK, 7, 0)


def test_a_higher_index_counts_from_the_beginning():
    assert continued(Place(5, 7, 3), 8, after=Position(""), now=NOW) == Place(5, 8, 0)


def test_the_same_index_counts_on():
    assert continued(Place(5, 7, 3), 7, after=Position(""), now=NOW) == Place(5, 7, 3)


def test_an_epoch_goes_on_where_everything_before_was_told():
    assert continued(Place(5, 7, 3), 7, after=encode(Place(5, 7, 3)), now=NOW) == Place(5, 7, 3)


def test_an_index_that_falls_raises_the_epoch():
    assert continued(Place(5, 7, 3), 6, after=Position(""), now=NOW) == Place(CLOCK, 6, 0)


def test_another_cluster_raises_the_epoch_though_the_index_rises():
    assert continued(Place(5, 7, 3), 8, after=Position(""), now=NOW, replaced=True) == Place(CLOCK, 8, 0)


def test_the_epoch_rises_even_when_the_clock_went_back():
    assert continued(Place(CLOCK + 9, 7, 3), 6, after=Position(""), now=NOW) == Place(CLOCK + 10, 6, 0)


def test_a_lost_memo_does_not_go_back_though_the_clock_did():
    after = encode(Place(CLOCK + 9, 7, 3))

    assert continued(None, 7, after=after, now=NOW) == Place(CLOCK + 10, 7, 0)


@pytest.mark.parametrize("index", [0, -5])
def test_an_index_below_one_counts_as_one(index):
    assert continued(None, index, after=Position(""), now=NOW).index == 1
    assert continued(Place(5, 1, 2), index, after=Position(""), now=NOW) == Place(5, 1, 2)


@given(
    st.none() | places,
    st.just(Position("")) | st.builds(encode, places),
    st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 3), st.integers(-3, 3), st.booleans()), max_size=12),
)
def test_positions_ascend_whatever_index_clock_and_cluster_do(head, after, answers):
    told = [after]
    for index, changes, milliseconds, replaced in answers:
        now = NOW + timedelta(milliseconds=milliseconds)
        start = continued(head, index, after=told[-1], now=now, replaced=replaced)
        assert encode(start) >= told[-1]
        told += [encode(Place(start.epoch, start.index, start.n + 1 + each)) for each in range(changes)]
        head = Place(start.epoch, start.index, start.n + changes)

    assert told == sorted(set(told))
