from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import pack
from shared.errors import RejectedError, TransientError
from shared.events import PackedChange, Position, Stream

GOLDEN = (Path(__file__).parent / "golden" / "pack.txt").read_bytes()
AFTER = Position("0000003600000b200003-00000001-0000003600000b200002-2")
FIRST = Position("0000003600000b280003-00000001-0000003600000b280002-2")
LAST = Position("0000003600000b300004-00000001-0000003600000b300002-1")
HEADER = pack.PackHeader(
    Stream("sql1/TestDB/dbo/Persons"), 1795246086123, start=False, replay=0, after=AFTER, last=LAST, count=2
)
CHANGES = [
    PackedChange(
        FIRST,
        "c",
        f"65q2shiqvyerx.0.{FIRST}",
        '{"data":{"ID":180,"FirstName":"Zoë","LastName":"Wil\\tliams"},"metadata":{"LSN":"0000003600000b280003"}}'.encode(),
    ),
    PackedChange(
        LAST,
        "d",
        f"65q2shiqvyerx.0.{LAST}",
        '{"data":{"ID":180,"FirstName":"Zoë","LastName":null},"metadata":{"LSN":"0000003600000b300004"}}'.encode(),
    ),
]

FIELD = st.text(st.characters(exclude_characters="\t\n", codec="utf-8"), min_size=1, max_size=20)
BODY = st.text(st.characters(exclude_characters="\n", codec="utf-8"), min_size=1, max_size=50).map(str.encode)


@st.composite
def packs(draw):
    positions = sorted(draw(st.lists(FIELD, max_size=5)))
    changes = [
        PackedChange(Position(position), draw(st.sampled_from("cudr")), draw(FIELD), draw(BODY))
        for position in positions
    ]
    last = Position(positions[-1] + draw(st.sampled_from(["", "z"])) if positions else draw(st.sampled_from(["", "z"])))
    number = st.integers(0, 2**63 - 1)
    header = pack.PackHeader(
        Stream(draw(FIELD)), draw(number), draw(st.booleans()), draw(number), Position(""), last, len(changes)
    )
    return pack.Pack(header, changes)


def test_a_pack_has_exactly_these_bytes():
    assert pack.encode(HEADER, CHANGES) == GOLDEN


def test_the_golden_pack_is_read():
    assert pack.decode(GOLDEN) == pack.Pack(HEADER, CHANGES)


@given(packs())
def test_a_pack_is_read_as_it_was_written(wanted):
    body = pack.encode(wanted.header, wanted.changes)
    assert pack.decode(body) == wanted
    bound = pack.header_bytes_bound(wanted.header.stream, wanted.header.after, wanted.header.last)
    assert len(body) <= bound + sum(map(pack.line_bytes, wanted.changes))


@given(st.integers(0, len(GOLDEN) - 1), st.binary(max_size=2))
def test_damage_is_either_readable_or_rejected(where, instead):
    damaged = GOLDEN[:where] + instead + GOLDEN[where + 1 :]
    try:
        found = pack.decode(damaged)
    except (RejectedError, pack.PackVersionError):
        return
    assert [change.body for change in found.changes] == [line.split(b"\t", 3)[3] for line in damaged.split(b"\n")[1:]]


@given(st.binary())
def test_any_other_bytes_are_rejected(body):
    with pytest.raises(RejectedError):
        pack.decode(body)


def test_an_empty_pack_is_its_header_alone():
    probe = replace(HEADER, after=LAST, count=0)
    body = pack.encode(probe, [])
    assert b"\n" not in body
    assert pack.decode(body) == pack.Pack(probe, [])


def test_events_of_one_position_follow_one_another():
    header = replace(HEADER, last=FIRST)
    twice = [CHANGES[0], replace(CHANGES[0], op="u")]
    assert pack.decode(pack.encode(header, twice)).changes == twice


def test_a_newer_version_is_held_not_rejected():
    with pytest.raises(pack.PackVersionError, match=r"version 2, this release reads 1 \(finish the roll-out") as raised:
        pack.decode(b'{"v":2,"anything":{"else":[1]}}\nwhatever')
    assert isinstance(raised.value, TransientError)


def header_with(old: bytes, new: bytes) -> bytes:
    assert old in GOLDEN
    return GOLDEN.replace(old, new, 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "bad header"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"{}", "missing required field `v`"),
        (header_with(b'"v":1', b'"v":0'), "bad header"),
        (header_with(b'"v":1', b'"v":true'), "bad header"),
        (header_with(b'"chain":1795246086123', b'"chain":-1'), "bad header"),
        (header_with(b'"chain":1795246086123', b'"chain":1e400'), "bad header"),
        (header_with(b',"replay":0', b""), "missing required field `replay`"),
        (header_with(b'"v":1', b'"v":1,"w":1'), "unknown field `w`"),
        (header_with(b'"v":1', b'"v":1,"w":' + b"[" * 100_000), "bad header"),
        (header_with(b"sql1/TestDB", b"\\ud800"), "bad header"),
        (header_with(b'"count":2', b'"count":3'), "counts 3 changes, there are 2"),
        (GOLDEN + b"\n", "counts 2 changes, there are 3"),
        (header_with(b"\tc\t", b"\tx\t"), "change 1 has the unknown op 'x'"),
        (header_with(b"\td\t", b"\t"), "change 2 lacks a field"),
        (header_with(b"\tc\t", b"\tc\t\t"), "change 1 lacks a field"),
        (header_with(AFTER.encode(), FIRST.encode()), "outside of what the header says"),
        (header_with(b'"last":"' + LAST.encode(), b'"last":"' + FIRST.encode()), "outside of what the header says"),
        (header_with(AFTER.encode(), b"1"), "ends before it begins"),
    ],
)
def test_a_malformed_pack_is_rejected_with_the_reason(body, reason):
    with pytest.raises(RejectedError, match=reason):
        pack.decode(body)


def test_changes_out_of_order_are_rejected():
    lines = GOLDEN.split(b"\n")
    middle = lines[1].replace(b"b280003", b"b290003")
    disordered = [header_with(b'"count":2', b'"count":3').split(b"\n")[0], middle, lines[1], lines[2]]
    with pytest.raises(RejectedError, match="out of order"):
        pack.decode(b"\n".join(disordered))


@pytest.mark.parametrize(
    ("header", "changes"),
    [
        (replace(HEADER, count=1), CHANGES),
        (HEADER, [CHANGES[0], replace(CHANGES[1], body=b"{\n}")]),
        (HEADER, [CHANGES[0], replace(CHANGES[1], event_id="a\tb")]),
        (HEADER, [replace(CHANGES[0], position=Position("0\n")), CHANGES[1]]),
    ],
)
def test_what_could_not_be_read_back_is_not_written(header, changes):
    with pytest.raises(ValueError, match=r"would break the pack|counts 1"):
        pack.encode(header, changes)


def test_the_message_id_is_the_hash_of_the_bytes():
    assert pack.message_id(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert pack.message_id(GOLDEN) != pack.message_id(GOLDEN + b" ")
