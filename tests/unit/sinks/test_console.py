"""Lines as people see them; the promise of a sink is in the conformance suite."""

import io
import unicodedata

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from shared.events import Message
from shared.sinks.console import ConsoleSink, line

WHOLE_WIDTH = 120


def change(op: str, **body) -> Message:
    said = {
        "Destination": "sql1.testdb.persons.events",
        "Key": ["ID"],
        "CommitTime": "2026-11-21T07:28:06.1230000Z",
    }
    metadata = said | body.pop("metadata", {})
    return of(op, msgspec.json.encode({**body, "metadata": metadata}))


def of(op: str, body: bytes) -> Message:
    return Message("m", "sql1/TestDB/dbo/Persons", op, "application/json", body)


ROW = {"ID": 180, "FirstName": "Diana", "LastName": "Williams"}
INSERT = change("c", data=ROW)
UPDATE = change("u", data=ROW, before=ROW | {"LastName": "Smith"}, metadata={"Changed": ["LastName"]})


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (INSERT, 'insert sql1.testdb.persons.events ID=180 FirstName="Diana" LastName="Williams"'),
        (UPDATE, 'update sql1.testdb.persons.events ID=180 LastName="Smith" -> "Williams"'),
        (change("d", data=ROW), "delete sql1.testdb.persons.events ID=180"),
        (change("r", data={"ID": 1, "On": None}), "read   sql1.testdb.persons.events ID=1 On=null"),
    ],
    ids=["insert", "update", "delete", "read"],
)
def test_a_line_says_when_what_where_and_which_row(message, shown):
    assert line(message, WHOLE_WIDTH, colour=False) == f"07:28:06.123 {shown}"


def test_an_update_without_a_list_of_changed_columns_shows_those_that_differ():
    message = change("u", data={"ID": 1, "A": 2, "B": 3}, before={"ID": 1, "A": 2, "B": 4})

    assert line(message, None, colour=False).endswith(" ID=1 B=4 -> 3")


def test_a_value_that_the_source_did_not_record_is_not_shown_as_null():
    message = change("u", data={"ID": 1, "Text": "new"}, before={"ID": 1}, metadata={"Changed": ["Text"]})

    assert line(message, None, colour=False).endswith(' Text=? -> "new"')


def test_a_row_that_was_stored_aside_shows_its_size():
    message = change("c", data=None, metadata={"ClaimCheck": {"bytes": 5_000_000}})

    assert line(message, None, colour=False).endswith("events stored aside: 5,000,000 bytes")


@pytest.mark.parametrize("body", [b"not json", b"\xff", b"[1]", b'{"data": 1}'])
def test_a_body_of_another_form_is_shown_as_it_is(body):
    shown = line(of("x", body), None, colour=False)

    assert shown == f"--:--:--.--- x      sql1/TestDB/dbo/Persons {body.decode(errors='backslashreplace')}"


def test_colours_tell_the_operations_apart_and_add_no_other_character():
    coloured = line(UPDATE, WHOLE_WIDTH, colour=True)

    assert '\x1b[33mLastName="Smith" -> "Williams"\x1b[0m' in coloured
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[33m"):
        coloured = coloured.replace(code, "")
    assert coloured == line(UPDATE, WHOLE_WIDTH, colour=False)


def test_a_line_that_is_too_wide_ends_in_an_ellipsis():
    assert line(INSERT, 60, colour=False) == "07:28:06.123 insert sql1.testdb.persons.events ID=180 First…"


def test_characters_of_double_width_count_twice():
    wide = change("c", data={"ID": 1, "Name": "東京東京東京"})
    upto = '07:28:06.123 insert sql1.testdb.persons.events ID=1 Name="'

    assert line(wide, len(upto) + 6, colour=False) == f"{upto}東京…"


@given(some.text(), some.integers(0, 100))
@settings(max_examples=50)
def test_no_value_can_break_the_line_or_command_the_terminal(text, width):
    message = change("c", data={"ID": text, text: text}, metadata={"Destination": text})

    shown = line(message, width, colour=False)

    assert shown.isprintable()
    assert sum(not unicodedata.combining(each) for each in shown) <= width


async def test_bodies_are_written_as_json_lines_on_demand():
    out = io.BytesIO()
    sink = ConsoleSink(out, json_lines=True)

    await sink.send("any", [of("x", b'{"a": 1,\n "b": "\xc3\xa9"}'), of("x", b"no\njson")])
    await sink.close()

    assert out.getvalue() == '{"a":1,"b":"é"}\n"no\\njson"\n'.encode()


async def test_no_colours_where_there_is_no_terminal_unless_asked_for():
    plain, coloured = io.BytesIO(), io.BytesIO()

    for sink in (ConsoleSink(plain), ConsoleSink(coloured, colour=True)):
        await sink.send("any", [INSERT])
        await sink.close()

    assert b"\x1b" not in plain.getvalue()
    assert b"\x1b[32minsert\x1b[0m" in coloured.getvalue()
