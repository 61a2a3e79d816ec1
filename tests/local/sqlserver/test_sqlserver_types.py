"""Every type through the real driver: declared, written as parameter and as constant, fetched, captured."""

import datetime as dt
import struct
import uuid
from decimal import Decimal
from typing import Any

import pyodbc
import pytest

from tests.local.sqlserver.conftest import Client

MOMENT = dt.datetime(2026, 11, 21, 7, 28, 6, 123456)  # noqa: DTZ001 - a column without a zone
GUID = uuid.UUID("6F9619FF-8B86-D011-B42D-00C04FC964FF")

# Declaration, value given to the driver, value expected back.
VALUES: dict[str, tuple[str, Any, Any]] = {
    "bit": ("bit", True, True),
    "tinyint": ("tinyint", 255, 255),
    "smallint": ("smallint", -32768, -32768),
    "int": ("int", 2**31 - 1, 2**31 - 1),
    "bigint": ("bigint", -(2**63), -(2**63)),
    "decimal_small": ("decimal(9,2)", Decimal("-1234567.89"), Decimal("-1234567.89")),
    "decimal_middle": ("decimal(19,4)", Decimal("123456789012345.6789"), Decimal("123456789012345.6789")),
    "decimal_28": (
        "decimal(28,10)",
        Decimal("-123456789012345678.0123456789"),
        Decimal("-123456789012345678.0123456789"),
    ),
    "decimal_38": ("decimal(38,0)", Decimal(10**38 - 1), Decimal(10**38 - 1)),
    "numeric": ("numeric(5,5)", Decimal("0.00001"), Decimal("0.00001")),
    "money": ("money", Decimal("922337203685477.5807"), Decimal("922337203685477.5807")),
    "money_negative": ("money", Decimal("-0.0001"), Decimal("-0.0001")),
    "smallmoney": ("smallmoney", Decimal("-214748.3648"), Decimal("-214748.3648")),
    "float": ("float", 1.7976931348623157e308, 1.7976931348623157e308),
    "real": ("real", 0.5, 0.5),
    "date": ("date", dt.date(1, 1, 1), dt.date(1, 1, 1)),
    "time0": ("time(0)", dt.time(23, 59, 59), dt.time(23, 59, 59)),
    "time3": ("time(3)", "07:28:06.123", dt.time(7, 28, 6, 123000)),
    "time7": ("time", "07:28:06.1234567", dt.time(7, 28, 6, 123456)),
    "datetime": ("datetime", "2026-11-21T07:28:06.124", dt.datetime(2026, 11, 21, 7, 28, 6, 123000)),  # noqa: DTZ001
    "smalldatetime": ("smalldatetime", "2026-11-21T07:28:29", dt.datetime(2026, 11, 21, 7, 28)),  # noqa: DTZ001
    "datetime2": ("datetime2", MOMENT, MOMENT),
    "datetime2_0": ("datetime2(0)", "2026-11-21 07:28:06.5", dt.datetime(2026, 11, 21, 7, 28, 7)),  # noqa: DTZ001
    "datetime2_4": ("datetime2(4)", "9999-12-31 23:59:59.9999", dt.datetime(9999, 12, 31, 23, 59, 59, 999900)),  # noqa: DTZ001
    "char": ("char(5)", "é", "é    "),
    "varchar": ("varchar(10)", "plain", "plain"),
    "varchar_empty": ("varchar(10)", "", ""),
    "varchar_max": ("varchar(max)", "x" * 20_000, "x" * 20_000),
    "text": ("text", "text", "text"),
    "nchar": ("nchar(4)", "漢字", "漢字  "),
    "nvarchar": ("nvarchar(20)", "Zoë 🚗", "Zoë 🚗"),
    "nvarchar_max": ("nvarchar(max)", "é" * 70_000, "é" * 70_000),
    "ntext": ("ntext", "длинный", "длинный"),
    "binary": ("binary(4)", b"\1\2", b"\1\2\0\0"),
    "varbinary": ("varbinary(8000)", b"\0\xff" * 4000, b"\0\xff" * 4000),
    "varbinary_empty": ("varbinary(5)", b"", b""),
    "varbinary_max": ("varbinary(max)", bytes(range(256)) * 400, bytes(range(256)) * 400),
    "image": ("image", b"\1\2\3", b"\1\2\3"),
    "uniqueidentifier": ("uniqueidentifier", GUID, str(GUID).upper()),
    "xml": ("xml", '<a b="1">ü</a>', '<a b="1">ü</a>'),
    "sysname": ("sysname", "name", "name"),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_parameter_is_stored_captured_and_fetched(client: Client, case: str) -> None:
    declared, given, expected = VALUES[case]
    name = client.table(f"ID int PRIMARY KEY, V {declared} NULL", capture=True)
    client.run(f"INSERT INTO {name} VALUES (1, ?), (2, NULL)", given)
    assert client.rows(f"SELECT V FROM {name} ORDER BY ID") == [(expected,), (None,)]
    assert client.changes(f"dbo_{name}", "V") == [(expected,), (None,)]


@pytest.mark.parametrize("case", VALUES)
def test_null_may_be_given_as_a_parameter(client: Client, case: str) -> None:
    name = client.table(f"ID int PRIMARY KEY, V {VALUES[case][0]} NULL")
    client.run(f"INSERT INTO {name} (ID, V) VALUES (?, ?)", 1, None)
    assert client.rows(f"SELECT V FROM {name}") == [(None,)]


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("1", 1),
        ("3000000000", Decimal(3_000_000_000)),
        ("1.50", Decimal("1.50")),
        (".5", Decimal("0.5")),
        ("1e3", 1000.0),
        ("0xABC", b"\x0a\xbc"),
        ("'it''s'", "it's"),
        ("N'漢'", "漢"),
        ("-7 / 2", -3),
        ("7 % -3", 1),
        ("7 / 2.0", Decimal("3.500000")),
        ("CAST(1 AS decimal(10,4)) / 3", Decimal("0.333333333333333")),
        ("1.5 * 2", Decimal("3.0")),
        ("5 ^ 3", 6),
        ("'a' + N'b'", "ab"),
        ("0x01 + 0x02", b"\1\2"),
        ("CONVERT(varchar(30), CAST('2026-11-21T07:28:06.1234567' AS datetime2), 126)", "2026-11-21T07:28:06.1234567"),
        ("CONVERT(varchar(30), CAST('2026-11-21' AS datetime2), 121)", "2026-11-21 00:00:00.0000000"),
        ("CONVERT(varchar(8), CAST('2026-11-21' AS date), 112)", "20261121"),
        ("CAST(CAST('2026-11-21T17:28:06' AS datetime) AS varchar(30))", "Nov 21 2026  5:28PM"),
        ("CONVERT(varchar(20), 0x0AFF, 1)", "0x0AFF"),
        ("CONVERT(varbinary(4), '0x0AFF', 1)", b"\x0a\xff"),
        (
            "CONVERT(varchar(40), CAST('2026-11-21T07:28:06.5+02:00' AS datetimeoffset(1)), 127)",
            "2026-11-21T05:28:06.5Z",
        ),
        ("CAST('/1/2/' AS hierarchyid).ToString()", "/1/2/"),
        ("CAST(CAST('/1/2/' AS hierarchyid) AS varbinary(max))", b"\x5b\x40"),
        ("CAST(CAST('/1.1/' AS hierarchyid) AS varbinary(10))", b"\x62\xc0"),
        ("geometry::Parse('POINT (1 2)').ToString()", "POINT (1 2)"),
        ("geography::Point(47.5, 19, 4326).STAsText()", "POINT (19 47.5)"),
        ("CAST(CAST(12.5 AS money) AS varchar(10))", "12.50"),
        ("CAST(0.1 AS float)", 0.1),
        ("CAST(123.456 AS int)", 123),
        ("TRY_CAST('x' AS int)", None),
        ("CAST(CAST(-1 AS smallint) AS binary(2))", b"\xff\xff"),
        ("CAST('6F9619FF-8B86-D011-B42D-00C04FC964FF' AS binary(16))", b"6F9619FF-8B86-D0"),
    ],
)
def test_an_expression_has_the_value_and_type_that_t_sql_gives_it(client: Client, literal: str, expected: Any) -> None:
    value = client.value(f"SELECT {literal}")
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("number", "expression"),
    [
        (8115, "CAST(300 AS tinyint)"),
        (8115, "CAST(12345 AS decimal(4, 0))"),
        (245, "CAST('abc' AS int)"),
        (241, "CAST('abc' AS date)"),
        (242, "CAST('2026-02-30' AS datetime)"),
        (8134, "1 / 0"),
        (8169, "CAST('abc' AS uniqueidentifier)"),
        (529, "CAST(CAST('2026-11-21' AS date) AS int)"),
        (8114, "CAST('abc' AS decimal(5, 2))"),
        (6522, "CAST('1/2' AS hierarchyid)"),
        (8115, "2147483647 + 1"),
    ],
)
def test_a_value_that_a_type_cannot_hold_is_an_error(client: Client, number: int, expression: str) -> None:
    client.fails(number, f"SELECT {expression}")


def test_a_text_that_is_too_long_is_refused_by_a_column_and_cut_by_a_cast(client: Client) -> None:
    name = client.table("V varchar(3)")
    client.fails(2628, f"INSERT INTO {name} VALUES ('abcd')")
    client.run(f"INSERT INTO {name} VALUES ('abc   '), (CAST('abcd' AS varchar(2)))")
    assert client.rows(f"SELECT V FROM {name}") == [("abc",), ("ab",)]


def test_texts_are_measured_in_utf_16_units(client: Client) -> None:
    name = client.table("V nvarchar(4)")
    client.fails(2628, f"INSERT INTO {name} VALUES (N'🚗🚗🚗')")
    client.run(f"INSERT INTO {name} VALUES (N'🚗🚗')")
    sql = f"SELECT V, LEN(V), SUBSTRING(V, 3, 2), RIGHT(V, 2), CAST(V AS nvarchar(2)), CAST(V AS nchar(5)) FROM {name}"
    assert client.rows(sql) == [("🚗🚗", 4, "🚗", "🚗", "🚗", "🚗🚗 ")]


def test_seven_digits_and_offsets_reach_the_client(client: Client) -> None:
    name = client.table("ID int PRIMARY KEY, T time(7), M datetime2(7), O datetimeoffset(7)", capture=True)
    client.run(
        f"INSERT INTO {name} VALUES (1, '07:28:06.1234567',"
        " '2026-11-21T07:28:06.1234567', '2026-11-21T07:28:06.1234567-03:30')"
    )
    client.connection.add_output_converter(-155, lambda raw: struct.unpack("<6hI2h", raw))
    sql = f"SELECT CONVERT(varchar(16), T), CONVERT(varchar(27), M, 126), CONVERT(varchar(34), O, 126), O FROM {name}"
    text = ("07:28:06.1234567", "2026-11-21T07:28:06.1234567", "2026-11-21T07:28:06.1234567-03:30")
    raw = (2026, 11, 21, 7, 28, 6, 123456700, -3, -30)
    assert client.rows(sql) == [(*text, raw)]
    assert client.changes(f"dbo_{name}", "CONVERT(varchar(34), O, 126)") == [(text[2],)]


@pytest.mark.parametrize(
    ("literal", "base", "shown"),
    [
        ("42", "int", "42"),
        ("N'Zoë'", "nvarchar", "Zoë"),
        ("CAST(1.50 AS decimal(10,2))", "decimal", "1.50"),
        ("CAST('2026-11-21' AS date)", "date", "2026-11-21"),
        ("CAST('2026-11-21T07:28:06.1234567' AS datetime2(7))", "datetime2", "2026-11-21 07:28:06.1234567"),
        ("CAST('6F9619FF-8B86-D011-B42D-00C04FC964FF' AS uniqueidentifier)", "uniqueidentifier", str(GUID).upper()),
        ("CAST(5 AS money)", "money", "5.00"),
        ("CAST(1 AS bit)", "bit", "1"),
        ("CAST(0.5 AS float)", "float", "0.5"),
    ],
)
def test_a_variant_knows_its_type(client: Client, literal: str, base: str, shown: str) -> None:
    name = client.table("ID int PRIMARY KEY, V sql_variant", capture=True)
    client.run(f"INSERT INTO {name} VALUES (1, {literal})")
    expression = "CAST(SQL_VARIANT_PROPERTY(V, 'BaseType') AS nvarchar(128)), CAST(V AS nvarchar(4000))"
    assert client.changes(f"dbo_{name}", expression) == [(base, shown)]


def test_variants_and_clr_types_travel_as_what_they_are(client: Client) -> None:
    with pytest.raises(pyodbc.ProgrammingError, match="not yet supported"):
        client.value("SELECT CAST(1 AS sql_variant)")
    client.connection.add_output_converter(-151, bytes)
    assert client.value("SELECT CAST('/1/' AS hierarchyid)") == b"\x58"
    assert len(client.value("SELECT geometry::Parse('POINT (1 2)')")) == 22


def test_the_catalog_says_how_columns_were_declared(client: Client) -> None:
    name = client.table(
        "A decimal(10,2), B nvarchar(5), C varchar(max), D time(3), E sysname, F rowversion, G hierarchyid"
    )
    sql = """SELECT c.name, t.name, c.max_length, c.precision, c.scale FROM sys.columns AS c
             JOIN sys.types AS t ON t.user_type_id = c.user_type_id WHERE c.object_id = OBJECT_ID(?)
             ORDER BY c.column_id"""
    assert client.rows(sql, name) == [
        ("A", "decimal", 9, 10, 2),
        ("B", "nvarchar", 10, 0, 0),
        ("C", "varchar", -1, 0, 0),
        ("D", "time", 4, 12, 3),
        ("E", "nvarchar", 256, 0, 0),
        ("F", "timestamp", 8, 0, 0),
        ("G", "hierarchyid", 892, 0, 0),
    ]
