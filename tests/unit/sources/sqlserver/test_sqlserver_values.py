import struct
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sources.sqlserver.values import Column, conversion, datetime_text, offset_text, select, time_text


def shown(column_type: str, value: object, values: Literal["typed", "string"] = "typed") -> Any:
    convert = conversion(Column("c", 1, column_type), values)
    return value if convert is None else convert(value)


@pytest.mark.parametrize(
    ("column_type", "value", "json"),
    [
        ("bit", True, b"true"),
        ("bigint", 2**53 + 1, b"9007199254740993"),
        ("float", 0.1, b"0.1"),
        ("real", 0.10000000149011612, b"0.1"),
        ("decimal", Decimal("0E-10"), b'"0.0000000000"'),
        ("decimal", Decimal("-12345678901234567890.123456789012345678"), b'"-12345678901234567890.123456789012345678"'),
        ("money", Decimal("12.3400"), b'"12.3400"'),
        ("uniqueidentifier", "6F9619FF-8B86-D011-B42D-00C04FC964FF", b'"6f9619ff-8b86-d011-b42d-00c04fc964ff"'),
        ("date", date(2026, 11, 21), b'"2026-11-21"'),
        ("date", date(1, 1, 1), b'"0001-01-01"'),
        ("varbinary", b"\x00\xff", b'"AP8="'),
        ("nvarchar", "Zoë 🚗", '"Zoë 🚗"'.encode()),
    ],
)
def test_a_value_is_shown_exactly(column_type, value, json):
    assert msgspec.json.encode(shown(column_type, value)) == json


@pytest.mark.parametrize(
    ("column_type", "value", "text"),
    [
        ("bit", False, "false"),
        ("int", 180, "180"),
        ("float", 123456789.5, "123456789.5"),
        ("real", 3.4028234663852886e38, "3.4028235e+38"),
        ("decimal", Decimal("1.50"), "1.50"),
        ("nvarchar", "x", "x"),
    ],
)
def test_as_a_string_a_value_is_its_text(column_type, value, text):
    assert shown(column_type, value, "string") == text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_real_is_the_same_single_precision_number(value):
    assert struct.pack("<f", shown("real", value)) == struct.pack("<f", value)


def test_dates_and_times_keep_their_seventh_digit():
    stamp = struct.pack("<hHHHHHI", 2026, 11, 21, 7, 28, 6, 123_456_700)
    assert datetime_text(stamp) == "2026-11-21T07:28:06.1234567"
    assert time_text(struct.pack("<HHHxxI", 7, 28, 6, 100)) == "07:28:06.0000001"


@pytest.mark.parametrize(
    ("ticks", "text"), [(0, "00.0000000"), (1, "00.0030000"), (2, "00.0070000"), (3, "00.0100000"), (299, "00.9970000")]
)
def test_a_datetime_is_shown_in_milliseconds_as_the_server_does(ticks, text):
    assert datetime_text(struct.pack("<iI", -53690, ticks)) == f"1753-01-01T00:00:{text}"


def test_a_smalldatetime_is_shown_with_seven_digits():
    assert datetime_text(struct.pack("<HH", 46_345, 448)) == "2026-11-21T07:28:00.0000000"


@pytest.mark.parametrize(
    ("hours", "minutes", "shown_offset"), [(7, 0, "+07:00"), (-3, -30, "-03:30"), (0, -30, "-00:30"), (0, 0, "+00:00")]
)
def test_an_offset_is_shown_with_its_sign(hours, minutes, shown_offset):
    raw = struct.pack("<hHHHHHIhh", 1, 1, 1, 0, 0, 0, 0, hours, minutes)

    assert offset_text(raw) == f"0001-01-01T00:00:00.0000000{shown_offset}"


def test_serialized_types_are_read_as_bytes():
    for column_type in ("hierarchyid", "geometry", "geography"):
        assert select(Column("Node", 1, column_type), "q.[Node]") == "CAST(q.[Node] AS varbinary(max))"


def test_a_variant_is_read_as_text_whatever_its_name():
    expression = select(Column("{0}", 1, "sql_variant"), "q.[{0}]")

    assert expression.startswith("CASE CONVERT(nvarchar(128), SQL_VARIANT_PROPERTY(q.[{0}], N'BaseType'))")


def test_a_type_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="column Embedding has the type vector"):
        select(Column("Embedding", 1, "vector"), "q.[Embedding]")
