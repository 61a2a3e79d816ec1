"""The codec: what is encoded decodes to itself, and no bytes at all make it fail in another way than CodecError."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.broker import codec
from local.broker.codec import CodecError, Described, Symbol

MAX_EXAMPLE = 300


def uuid(value: UUID) -> bytes:
    return b"\x98" + value.bytes


ascii_text = st.text(st.characters(max_codepoint=127), max_size=MAX_EXAMPLE)
scalars = st.one_of(
    st.just((codec.NULL, None)),
    st.booleans().map(lambda value: (codec.boolean(value), value)),
    st.integers(0, 255).map(lambda value: (codec.ubyte(value), value)),
    st.integers(0, 2**32 - 1).map(lambda value: (codec.uint(value), value)),
    st.integers(0, 2**64 - 1).map(lambda value: (codec.ulong(value), value)),
    st.integers(-(2**31), 2**31 - 1).map(lambda value: (codec.int32(value), value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: (codec.int64(value), value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: (codec.timestamp(value), value)),
    st.uuids().map(lambda value: (uuid(value), value)),
    st.binary(max_size=MAX_EXAMPLE).map(lambda value: (codec.binary(value), value)),
    st.text(max_size=MAX_EXAMPLE).map(lambda value: (codec.string(value), value)),
    ascii_text.map(lambda value: (codec.symbol(value), Symbol(value))),
)
keys = ascii_text.map(lambda value: (codec.symbol(value), Symbol(value)))


def _list(items: Any) -> Any:
    return codec.list_of(*(encoded for encoded, _ in items)), [value for _, value in items]


def _map(pairs: Any) -> Any:
    unique = {key[1]: (key, value) for key, value in pairs}
    encoded = codec.map_of((key[0], value[0]) for key, value in unique.values())
    return encoded, {key[1]: value[1] for key, value in unique.values()}


def _described(code: int, item: Any) -> Any:
    return codec.described(code, item[0]), Described(code, item[1])


values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6).map(_list),
        st.lists(st.tuples(keys, inner), max_size=6).map(_map),
        st.builds(_described, st.integers(0, 2**64 - 1), inner),
    ),
    max_leaves=12,
)


@given(values, st.binary(max_size=8), st.binary(max_size=8))
def test_every_value_decodes_to_itself_and_ends_where_skip_says(value, before, after):
    encoded, expected = value
    data = before + encoded + after
    end = len(before) + len(encoded)

    assert codec.decode(data, len(before)) == (expected, end)
    assert codec.skip(data, len(before)) == end


@given(st.binary(max_size=200))
def test_arbitrary_bytes_decode_or_are_refused(data):
    for read in (codec.decode, codec.skip, codec.raw_items, codec.raw_pairs):
        try:
            read(data, 0)
        except CodecError:
            continue


@given(values, st.data())
def test_a_value_cut_short_is_refused(value, data):
    encoded, _ = value
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]

    with pytest.raises(CodecError):
        codec.skip(cut, 0)
    with pytest.raises(CodecError):
        codec.decode(cut)


@given(st.lists(st.binary(max_size=40).map(codec.binary), max_size=300))
def test_raw_items_are_the_very_bytes_that_were_listed(items):
    assert codec.raw_items(codec.list_of(*items)) == items
    assert codec.raw_items(codec.described(0x28, codec.list_of(*items))) == items


@given(st.lists(st.uuids(), max_size=20))
def test_an_array_of_uuids_decodes_to_them(tokens):
    assert codec.decode(codec.array_of([uuid(token) for token in tokens]))[0] == tokens


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("40", None),
        ("5601", True),
        ("5600", False),
        ("60fffe", 65534),
        ("51ff", -1),
        ("61fffe", -2),
        ("54ff", -1),
        ("55fe", -2),
        ("723fc00000", 1.5),
        ("823ff8000000000000", 1.5),
        ("730001f600", "😀"),
        ("98000102030405060708090a0b0c0d0e0f", UUID("00010203-0405-0607-0809-0a0b0c0d0e0f")),
        ("e00401a30161", [Symbol("a")]),
        ("e00402520102", [1, 2]),
        ("f00000000d00000002710000000100000002", [1, 2]),
        ("e0060100532445", [Described(0x24, [])]),
        ("00a30161a10162", Described(Symbol("a"), "b")),
    ],
)
def test_the_encodings_other_clients_choose_are_read(encoded, value):
    assert codec.decode(bytes.fromhex(encoded))[0] == value


@pytest.mark.parametrize("code", [0x3F, 0x46, 0x57, 0x99, 0xA2, 0xFF])
def test_an_unknown_constructor_is_refused(code):
    with pytest.raises(CodecError):
        codec.decode(bytes([code, 0, 0, 0, 0, 0, 0, 0, 0]))


def test_items_of_two_encodings_are_no_array():
    with pytest.raises(AssertionError, match="one encoding"):
        codec.array_of([codec.uint(0), codec.uint(1)])
