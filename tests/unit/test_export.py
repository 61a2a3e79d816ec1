import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.events import Stream
from shared.export import Beside, Copy, StreamCopy, lines, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False, allow_infinity=False)
ENTITIES = st.dictionaries(TEXT, TEXT | NUMBERS | st.booleans(), max_size=4)
BESIDE = st.builds(Beside, ENTITIES, st.dictionaries(TEXT, st.binary(max_size=40), max_size=2))
STREAMS = st.builds(
    StreamCopy,
    TEXT.filter(bool),
    st.none() | ENTITIES,
    st.lists(ENTITIES, max_size=3).map(tuple),
    st.lists(BESIDE, max_size=2).map(tuple),
)
COPIES = st.builds(
    Copy,
    st.just("2026-11-21T07:28:06Z"),
    st.lists(STREAMS, max_size=4, unique_by=lambda each: each.stream).map(tuple),
    st.lists(BESIDE, max_size=3).map(tuple),
)
COPY = Copy(
    "2026-11-21T07:28:06Z",
    (
        StreamCopy(Stream("sql1/T/dbo/B"), {"chain": "9", "chain@odata.type": "Edm.Int64"}, ({"replay": 1},)),
        StreamCopy(Stream("sql1/T/dbo/A"), None, (), (Beside({"RowKey": "a"}, {"x/y": b"\x00\xff"}),)),
    ),
    (Beside({"PartitionKey": "topics", "RowKey": "t"}),),
)


def text(copy=COPY):
    return list(lines(copy))


def by_name(copy):
    return {each.stream: each for each in copy.streams}


@given(COPIES)
def test_what_is_written_is_read_as_it_was(copy):
    read = parse(text(copy))
    assert by_name(read) == by_name(copy)
    assert all(each in copy.others for each in read.others)
    assert len(read.others) == len(copy.others)
    assert text(read) == text(copy)
    for stream, each in by_name(read).items():
        kinds = {name: type(value) for name, value in (each.state or {}).items()}
        assert kinds == {name: type(value) for name, value in (by_name(copy)[stream].state or {}).items()}


def test_a_stream_is_a_line_in_order_between_the_header_and_the_end():
    assert [json.loads(line) for line in text()] == [
        {"sluice": "state", "v": 1, "taken_at": "2026-11-21T07:28:06Z"},
        {"stream": "sql1/T/dbo/A", "beside": [{"entity": {"RowKey": "a"}, "blobs": {"x/y": "AP8="}}]},
        {"stream": "sql1/T/dbo/B", "state": {"chain": "9", "chain@odata.type": "Edm.Int64"}, "marks": [{"replay": 1}]},
        {"entity": {"PartitionKey": "topics", "RowKey": "t"}},
        {"end": 3},
    ]


@pytest.mark.parametrize("kept", range(5))
def test_a_text_that_was_cut_off_is_refused(kept):
    with pytest.raises(ConfigError, match="no exported state"):
        parse(text()[:kept])


@pytest.mark.parametrize(
    ("line", "instead", "said"),
    [
        (0, b'{"sluice":"state","v":2,"taken_at":"x","more":1}', "a newer release wrote this state, in form 2"),
        (0, b'{"sluice":"something","v":1,"taken_at":"x"}', "line 1: this is no exported state"),
        (1, b'{"stream":"sql1/T/dbo/B"}', "a stream is there twice"),
        (1, b'{"stream":"a","colour":"blue"}', "line 2: this is no exported state"),
        (2, b"", "line 5: this is no exported state: 2 lines lie before it"),
        (3, b'{"entity":{"a":null}}', "line 4"),
        (3, b"not JSON", "line 4"),
    ],
)
def test_what_is_not_whole_and_right_is_refused_with_its_line(line, instead, said):
    wrong = text()
    wrong[line] = instead + b"\n"
    with pytest.raises(ConfigError, match=said) as raised:
        parse(wrong)
    assert raised.value.hint


def test_numbers_that_are_whole_stay_what_they_were():
    copy = Copy("x", (StreamCopy(Stream("s"), {"whole": 3.0, "int": 3}),))
    state = parse(text(copy)).streams[0].state
    assert state is not None
    assert [type(state["whole"]), type(state["int"])] == [float, int]
    assert state == {"whole": 3.0, "int": 3}
