import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import Position
from shared.sources.sqlserver.position import LSN_BYTES, NO_LSN, Place, after, before, decode, encode, previous

lsns = st.binary(min_size=LSN_BYTES, max_size=LSN_BYTES)
places = st.builds(Place, lsns, st.integers(0, 0x7FFF_FFFF), lsns, st.integers(1, 4))


def test_a_position_shows_all_four_columns():
    place = Place(bytes.fromhex("0000003600000b200003"), 1, bytes.fromhex("0000003600000b200002"), 2)

    assert encode(place) == "0000003600000b200003-00000001-0000003600000b200002-2"


@given(places)
def test_a_position_reads_back(place):
    assert decode(encode(place)) == place


@given(places, places)
def test_positions_sort_as_text_as_the_server_orders_rows(one, other):
    assert (encode(one) < encode(other)) == (one < other)


@given(places, places)
def test_every_row_of_a_transaction_lies_between_its_borders(one, other):
    assert before(one.start_lsn) < one < after(one.start_lsn)
    assert encode(before(one.start_lsn)) < encode(one) < encode(after(one.start_lsn))
    if one.start_lsn < other.start_lsn:
        assert after(one.start_lsn) < before(other.start_lsn)


def test_no_position_is_before_everything():
    assert decode(Position("")) == before(NO_LSN)
    assert Position("") < encode(before(NO_LSN))


@given(lsns.filter(lambda lsn: lsn != NO_LSN))
def test_nothing_lies_between_an_lsn_and_the_one_before(lsn):
    assert int.from_bytes(lsn) - int.from_bytes(previous(lsn)) == 1


@pytest.mark.parametrize("text", ["7", "0000003600000b200003-00000001-0000003600000b200002", "x" * 52])
def test_another_source_s_position_is_refused(text):
    with pytest.raises(ValueError, match="not a SQL Server position"):
        decode(Position(text))
