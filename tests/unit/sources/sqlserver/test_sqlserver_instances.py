from hypothesis import given
from hypothesis import strategies as st

from shared.sources.sqlserver.instances import Instance, Span, in_order, is_start, next_span
from shared.sources.sqlserver.position import after, before


def lsn(number: int) -> bytes:
    return number.to_bytes(10)


OLD, NEW = Instance(1, "dbo_Persons", lsn(10)), Instance(2, "dbo_Persons_2", lsn(50))


def test_a_single_instance_is_read_up_to_the_bound():
    assert next_span([OLD], before(lsn(10)), lsn(99)) == Span(OLD, lsn(99))


def test_a_position_older_than_every_instance_is_held_by_none():
    assert next_span([OLD, NEW], after(lsn(9)), lsn(99)) is None


def test_the_older_of_two_instances_is_read_up_to_the_start_of_the_newer():
    assert next_span([OLD, NEW], after(lsn(20)), lsn(99)) == Span(OLD, lsn(49), then=lsn(50))


def test_the_newer_of_two_instances_is_read_from_its_start_on():
    assert next_span([OLD, NEW], before(lsn(50)), lsn(99)) == Span(NEW, lsn(99))


def test_the_older_instance_is_read_while_nothing_was_scanned_since_the_newer_began():
    assert next_span([OLD, NEW], after(lsn(20)), lsn(49)) == Span(OLD, lsn(49))


def test_of_two_instances_cleaned_up_to_one_lsn_the_newer_counts():
    old, new = Instance(1, "a", lsn(70)), Instance(2, "b", lsn(70))

    assert next_span(in_order([old, new]), before(lsn(70)), lsn(99)) == Span(new, lsn(99))


def test_a_fresh_instance_begins_above_everything_scanned():
    assert is_start([OLD], before(lsn(10)))
    assert not is_start([OLD], after(lsn(10)))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=3), st.integers(0, 70), st.integers(0, 70))
def test_the_spans_join_without_a_gap_or_an_overlap(starts, position, bound):
    instances = in_order([Instance(number, str(number), lsn(start)) for number, start in enumerate(starts)])
    place = after(lsn(position))
    read: list[int] = []
    while (span := next_span(instances, place, lsn(bound))) is not None:
        assert span.instance.start_lsn <= place.start_lsn
        read += range(int.from_bytes(place.start_lsn) + 1, int.from_bytes(span.last) + 1)
        if span.then is None:
            break
        read.append(int.from_bytes(span.then))
        place = after(span.then)

    expected = list(range(position + 1, bound + 1)) if position >= min(starts) else []
    assert read == expected
