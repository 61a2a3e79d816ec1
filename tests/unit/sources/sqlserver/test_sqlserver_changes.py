from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from shared.events import ChangeEvent, Stream
from shared.sources.sqlserver.changes import Changes, whole_groups
from shared.sources.sqlserver.values import Column

PERSONS = Stream("sql1/TestDB/dbo/Persons")
ID, NAME = Column("ID", 1, "int"), Column("Name", 2, "nvarchar", 100)
BIO = Column("Bio", 3, "nvarchar", -1)
NOTE = Column("Note", 4, "ntext", 16)
AGE = Column("Age", 5, "int", 4, computed=True)


def lsn(number: int) -> bytes:
    return number.to_bytes(10)


def row(
    operation: int,
    *values: object,
    at: int = 7,
    command: int = 1,
    seq: int = 3,
    mask: bytes = b"\xff",
    time: str | None = "2026-11-21T08:28:06.1230000",
) -> tuple[Any, ...]:
    return (lsn(at), command, lsn(seq), operation, mask, time, *values)


def changes(*columns: Column, values: Literal["typed", "string"] = "typed") -> Changes:
    return Changes(PERSONS, ("ID",), columns, values)


def events(columns: Iterable[Column], *rows: tuple[Any, ...]) -> list[ChangeEvent]:
    return changes(*columns).events(rows, timedelta(hours=1))


def test_an_insert_has_the_row_after():
    (event,) = events((ID, NAME), row(2, 180, "Diana"))

    assert (event.op, event.key, event.before, event.after) == ("c", ("ID",), None, {"ID": 180, "Name": "Diana"})
    assert event.position == "00000000000000000007-00000001-00000000000000000003-2"
    assert event.facts == {
        "LSN": "00000000000000000007",
        "Seq": "00000000000000000003",
        "CommandID": 1,
        "OperationID": 2,
    }
    assert (event.changed, event.unavailable, event.n) == (None, (), None)


def test_a_delete_has_the_row_before():
    (event,) = events((ID, NAME), row(1, 180, "Diana"))

    assert (event.op, event.before, event.after) == ("d", {"ID": 180, "Name": "Diana"}, None)


def test_an_update_is_one_event_placed_at_its_second_row():
    (event,) = events((ID, NAME), row(3, 1, "a", mask=b"\x02"), row(4, 1, "b", mask=b"\x02"))

    assert (event.op, event.before, event.after) == ("u", {"ID": 1, "Name": "a"}, {"ID": 1, "Name": "b"})
    assert event.position.endswith("-4")
    assert event.facts["OperationID"] == 4
    assert event.changed == ("Name",)


def test_a_lone_half_of_an_update_is_not_lost():
    lone_before, insert, lone_after, last = events(
        (ID,), row(3, 1), row(2, 2, seq=4), row(4, 3, seq=5), row(3, 4, seq=6)
    )

    assert (lone_before.op, lone_before.before, lone_before.after) == ("u", {"ID": 1}, None)
    assert lone_before.position.endswith("-3")
    assert insert.after == {"ID": 2}
    assert (lone_after.op, lone_after.before, lone_after.after) == ("u", None, {"ID": 3})
    assert (last.before, last.after) == ({"ID": 4}, None)


def test_the_update_mask_is_counted_from_its_last_byte():
    columns = [Column(f"c{number}", number, "int") for number in range(1, 18)]

    (event,) = events(columns, row(3, *range(17), mask=b"\x01\x80\x01"), row(4, *range(17), mask=b"\x01\x80\x01"))

    assert event.changed == ("c1", "c16", "c17")


def test_the_mask_counts_captured_columns_not_read_ones():
    (event,) = events(
        (Column("Sum", 1, "int", 4, computed=True), Column("ID", 2, "int")),
        row(3, 1, mask=b"\x02"),
        row(4, 2, mask=b"\x02"),
    )

    assert event.changed == ("ID",)


def test_an_untouched_large_value_is_unavailable_not_null():
    (event,) = events((ID, NAME, BIO), row(3, 1, "a", None, mask=b"\x02"), row(4, 1, None, None, mask=b"\x02"))

    assert event.unavailable == ("Bio",)
    assert event.before == {"ID": 1, "Name": "a"}
    assert event.after == {"ID": 1, "Name": None}


def test_a_large_value_set_to_null_is_null():
    (event,) = events((ID, NAME, BIO), row(3, 1, "a", "long", mask=b"\x04"), row(4, 1, "a", None, mask=b"\x04"))

    assert event.unavailable == ()
    assert (event.before, event.after) == ({"ID": 1, "Name": "a", "Bio": "long"}, {"ID": 1, "Name": "a", "Bio": None})


def test_a_large_value_that_was_recorded_although_untouched_is_that_of_both_rows():
    (event,) = events((ID, NAME, BIO), row(3, 1, "a", None, mask=b"\x02"), row(4, 1, "b", "long", mask=b"\x02"))

    assert event.unavailable == ()
    assert (event.before, event.after) == ({"ID": 1, "Name": "a", "Bio": "long"}, {"ID": 1, "Name": "b", "Bio": "long"})


def test_a_text_value_before_a_change_was_never_recorded():
    update, delete = events(
        (ID, NAME, BIO, NOTE),
        row(3, 1, "a", "b", None, mask=b"\x08"),
        row(4, 1, "a", "b", "new", mask=b"\x08"),
        row(1, 1, "a", "b", None, seq=4),
    )

    assert update.before == {"ID": 1, "Name": "a", "Bio": "b"}
    assert update.after == {"ID": 1, "Name": "a", "Bio": "b", "Note": "new"}
    assert update.unavailable == ()
    assert delete.before == {"ID": 1, "Name": "a", "Bio": "b"}
    assert delete.unavailable == ("Note",)


def test_a_computed_column_is_always_unavailable():
    (event,) = events((ID, AGE), row(2, 1))

    assert (event.after, event.unavailable) == ({"ID": 1}, ("Age",))


def test_the_commit_time_is_in_utc_with_seven_digits():
    (event,) = events((ID,), row(2, 1, time="2026-11-21T08:28:06.1234567"))

    assert event.commit_time == "2026-11-21T07:28:06.1234567Z"


def test_a_transaction_whose_time_is_gone_is_still_read():
    (event,) = events((ID,), row(2, 1, time=None))

    assert event.commit_time == ""


def test_with_string_values_everything_but_null_is_a_string():
    made = changes(ID, Column("Paid", 2, "bit"), Column("Rate", 3, "real"), NAME, values="string")

    (event,) = made.events([row(2, 180, True, 0.10000000149011612, None)], timedelta())

    assert event.after == {"ID": "180", "Paid": "true", "Rate": "0.1", "Name": None}


@st.composite
def pages(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Rows in commit order: inserts, deletes, updates, and key updates stored as delete and insert."""
    groups = draw(st.lists(st.sampled_from([(1,), (2,), (3, 4), (1, 2)]), max_size=12))
    return [row(operation, 0, seq=number) for number, group in enumerate(groups) for operation in group]


@given(pages(), st.integers(1, 9))
def test_pages_of_any_size_have_every_row_once_and_cut_no_group(rows, limit):
    count, start = max(limit + 1, 3), 0
    read: list[tuple[Any, ...]] = []
    while True:
        page = rows[start : start + count]
        taken = whole_groups(page, limit, more=len(page) == count)
        assert taken is not None
        if not taken:
            break
        assert taken <= max(limit, 2)
        if start + taken < len(rows):
            assert rows[start + taken - 1][2] != rows[start + taken][2]
        read += page[:taken]
        start += taken

    assert read == rows


def test_a_group_that_may_go_on_is_not_known_to_be_whole():
    rows = [row(operation, 0) for operation in (1, 2, 3, 4)]

    assert whole_groups(rows[:3], 2, more=True) is None
    assert whole_groups([*rows, row(2, 0, seq=9)], 2, more=True) == 4
    assert whole_groups(rows, 2, more=False) == 4
