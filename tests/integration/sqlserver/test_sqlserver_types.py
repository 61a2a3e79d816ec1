"""Every type that change data capture can capture, from the server through the driver to JSON."""

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest

from shared.events import ChangeEvent, Position
from shared.sources.sqlserver.source import open_source
from tests.integration.sqlserver.server import Server, capture, unique

TYPES: dict[str, tuple[str, str, Any]] = {
    "bit": ("bit", "1", True),
    "tinyint": ("tinyint", "255", 255),
    "smallint": ("smallint", "-32768", -32768),
    "int": ("int", "-2147483648", -2147483648),
    "bigint": ("bigint", "9223372036854775807", 9223372036854775807),
    "decimal": (
        "decimal(38,18)",
        "-12345678901234567890.000000000000000001",
        "-12345678901234567890.000000000000000001",
    ),
    "zero": ("decimal(20,10)", "0", "0.0000000000"),
    "numeric": ("numeric(5,2)", "0.5", "0.50"),
    "money": ("money", "-922337203685477.5808", "-922337203685477.5808"),
    "smallmoney": ("smallmoney", "0.1", "0.1000"),
    "float": ("float", "1.7976931348623157E308", 1.7976931348623157e308),
    "real": ("real", "0.1", 0.1),
    "date": ("date", "'0001-01-01'", "0001-01-01"),
    "time7": ("time(7)", "'07:28:06.1234567'", "07:28:06.1234567"),
    "time0": ("time(0)", "'23:59:59'", "23:59:59.0000000"),
    "datetime": ("datetime", "'2026-11-21T07:28:06.123'", "2026-11-21T07:28:06.1230000"),
    "datetime_tick": ("datetime", "'1753-01-01T00:00:00.997'", "1753-01-01T00:00:00.9970000"),
    "smalldatetime": ("smalldatetime", "'2026-11-21T07:28:00'", "2026-11-21T07:28:00.0000000"),
    "datetime2": ("datetime2(7)", "'2026-11-21T07:28:06.1234567'", "2026-11-21T07:28:06.1234567"),
    "datetime2_early": ("datetime2(7)", "'0001-01-01T00:00:00'", "0001-01-01T00:00:00.0000000"),
    "datetime2_late": ("datetime2(7)", "'9999-12-31T23:59:59.9999999'", "9999-12-31T23:59:59.9999999"),
    "datetime2_short": ("datetime2(3)", "'2026-11-21T07:28:06.123'", "2026-11-21T07:28:06.1230000"),
    "offset": ("datetimeoffset(7)", "'2026-11-21T07:28:06.1234567+07:00'", "2026-11-21T07:28:06.1234567+07:00"),
    "offset_behind": ("datetimeoffset(0)", "'2026-11-21T07:28:06-03:30'", "2026-11-21T07:28:06.0000000-03:30"),
    "char": ("char(5)", "'ab'", "ab   "),
    "varchar": ("varchar(20)", "'Zoë'", "Zoë"),
    "varchar_max": ("varchar(max)", "REPLICATE(CONVERT(varchar(max), 'x'), 9000)", "x" * 9000),
    "text": ("text", "'long text'", "long text"),
    "nchar": ("nchar(4)", "N'漢字'", "漢字  "),
    "nvarchar": ("nvarchar(20)", "N'Zoë 🚗 \"\\'", 'Zoë 🚗 "\\'),
    "nvarchar_empty": ("nvarchar(20)", "N''", ""),
    "nvarchar_max": ("nvarchar(max)", "REPLICATE(CONVERT(nvarchar(max), N'é'), 5000)", "é" * 5000),
    "ntext": ("ntext", "N'длинный'", "длинный"),
    "binary": ("binary(4)", "0x0102", b64encode(bytes.fromhex("01020000")).decode()),
    "varbinary": ("varbinary(8)", "0x00FF", "AP8="),
    "varbinary_empty": ("varbinary(8)", "0x", ""),
    "varbinary_max": ("varbinary(max)", "CONVERT(varbinary(max), 0xABCD)", "q80="),
    "image": ("image", "0x010203", "AQID"),
    "uniqueidentifier": (
        "uniqueidentifier",
        "'6F9619FF-8B86-D011-B42D-00C04FC964FF'",
        "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    ),
    "xml": ("xml", "N'<a b=\"1\">ü</a>'", '<a b="1">ü</a>'),
    "hierarchyid": ("hierarchyid", "CONVERT(hierarchyid, '/1/')", "WA=="),
    "null": ("int", "NULL", None),
}

VARIANTS: dict[str, tuple[str, str | None]] = {
    "bit": ("CONVERT(bit, 1)", "1"),
    "int": ("42", "42"),
    "bigint": ("CONVERT(bigint, 9223372036854775807)", "9223372036854775807"),
    "decimal": ("CONVERT(decimal(38,10), 1.5)", "1.5000000000"),
    "money": ("CONVERT(money, 12.34)", "12.3400"),
    "float": ("CONVERT(float, 0.1)", "1.0000000000000001e-001"),
    "nvarchar": ("N'Zoë 🚗'", "Zoë 🚗"),
    "varchar": ("'plain'", "plain"),
    "varbinary": ("0x00ff", "0x00FF"),
    "date": ("CONVERT(date, '2026-11-21')", "2026-11-21"),
    "time": ("CONVERT(time(7), '07:28:06.1234567')", "07:28:06.1234567"),
    "datetime": ("CONVERT(datetime, '2026-11-21T07:28:06.123')", "2026-11-21T07:28:06.1230000"),
    "smalldatetime": ("CONVERT(smalldatetime, '2026-11-21T07:28:00')", "2026-11-21T07:28:00.0000000"),
    "datetime2": ("CONVERT(datetime2(7), '2026-11-21T07:28:06.1234567')", "2026-11-21T07:28:06.1234567"),
    "offset": (
        "CONVERT(datetimeoffset(7), '2026-11-21T07:28:06.1234567+07:00')",
        "2026-11-21T07:28:06.1234567+07:00",
    ),
    "guid": (
        "CONVERT(uniqueidentifier, '6F9619FF-8B86-D011-B42D-00C04FC964FF')",
        "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    ),
    "null": ("NULL", None),
}


async def events_of(server: Server, name: str, rows: int, **changes: Any) -> list[ChangeEvent]:
    await server.captured(f"dbo_{name}", rows)
    settings = server.settings(name, **changes)
    async with open_source(settings) as source:
        batch = await source.read(server.stream(settings, name), Position(""), 100)
    return list(batch.events)


def json_of(values: dict[str, Any] | None) -> Any:
    return json.loads(msgspec.json.encode(values))


async def test_every_type_is_shown_exactly(server: Server) -> None:
    name = unique("Types")
    columns = ", ".join(f"[{column}] {declared} NULL" for column, (declared, _, _) in TYPES.items())
    capture(server, name, f"ID int NOT NULL PRIMARY KEY, {columns}")
    values = ", ".join(literal for _, literal, _ in TYPES.values())
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, {values})")

    (event,) = await events_of(server, name, 1)

    assert json_of(event.after) == {"ID": 1, **{column: shown for column, (_, _, shown) in TYPES.items()}}
    assert event.unavailable == ()


async def test_a_deleted_row_has_every_value_that_the_server_records(server: Server) -> None:
    name = unique("Types")
    columns = ", ".join(f"[{column}] {declared} NULL" for column, (declared, _, _) in TYPES.items())
    capture(server, name, f"ID int NOT NULL PRIMARY KEY, {columns}")
    values = ", ".join(literal for _, literal, _ in TYPES.values())
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, {values})", f"DELETE FROM dbo.[{name}]")

    _, event = await events_of(server, name, 2)

    unrecorded = {"text", "ntext", "image"}
    assert json_of(event.before) == {
        "ID": 1,
        **{column: shown for column, (_, _, shown) in TYPES.items() if column not in unrecorded},
    }
    assert set(event.unavailable) == unrecorded


@pytest.mark.parametrize("base", VARIANTS)
async def test_a_variant_is_shown_as_text_that_names_its_value(server: Server, base: str) -> None:
    literal, shown = VARIANTS[base]
    name = unique("Variants")
    capture(server, name, "ID int NOT NULL PRIMARY KEY, Value sql_variant NULL")
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, {literal})")

    (event,) = await events_of(server, name, 1)

    assert event.after == {"ID": 1, "Value": shown}


async def test_spatial_values_are_their_serialization(server: Server) -> None:
    name = unique("Places")
    capture(server, name, "ID int NOT NULL PRIMARY KEY, Flat geometry NULL, Round geography NULL")
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, geometry::Point(1, 2, 0), geography::Point(47.5, 19.0, 4326))")
    [(flat, round_)] = server.run(
        f"SELECT CAST(Flat AS varbinary(max)), CAST(Round AS varbinary(max)) FROM dbo.[{name}]"
    )

    (event,) = await events_of(server, name, 1)

    assert event.after == {"ID": 1, "Flat": flat, "Round": round_}
    assert len(flat) == len(round_) == 22


async def test_a_row_version_is_its_eight_bytes_and_a_computed_column_is_unavailable(server: Server) -> None:
    name = unique("Versions")
    capture(server, name, "ID int NOT NULL PRIMARY KEY, Version rowversion, Twice AS ID * 2")
    server.execute(f"INSERT INTO dbo.[{name}] (ID) VALUES (1)")
    [(version,)] = server.run(f"SELECT CONVERT(binary(8), Version) FROM dbo.[{name}]")

    (event,) = await events_of(server, name, 1)

    assert event.after == {"ID": 1, "Version": version}
    assert event.unavailable == ("Twice",)


async def test_a_large_value_that_an_update_leaves_alone_is_unavailable(server: Server) -> None:
    name = unique("Bios")
    capture(server, name, "ID int NOT NULL PRIMARY KEY, Name nvarchar(20), Bio nvarchar(max), Doc xml, Note ntext")
    server.execute(
        f"INSERT INTO dbo.[{name}] VALUES (1, N'a', N'long', N'<x/>', N'note')",
        f"UPDATE dbo.[{name}] SET Name = N'b'",
        f"UPDATE dbo.[{name}] SET Bio = N'longer'",
        f"UPDATE dbo.[{name}] SET Bio = NULL, Note = N'new'",
    )

    _, name_changed, bio_changed, bio_gone = await events_of(server, name, 7)

    assert name_changed.changed == ("Name",)
    assert set(name_changed.unavailable) == {"Bio", "Doc", "Note"}
    assert name_changed.before == {"ID": 1, "Name": "a"}
    assert name_changed.after == {"ID": 1, "Name": "b"}
    assert bio_changed.changed == ("Bio",)
    assert bio_changed.before == {"ID": 1, "Name": "b", "Bio": "long"}
    assert bio_changed.after == {"ID": 1, "Name": "b", "Bio": "longer"}
    assert set(bio_gone.changed or ()) == {"Bio", "Note"}
    assert bio_gone.before == {"ID": 1, "Name": "b", "Bio": "longer"}
    assert bio_gone.after == {"ID": 1, "Name": "b", "Bio": None, "Note": "new"}


async def test_an_unpaired_surrogate_is_read_as_it_is(server: Server) -> None:
    name = unique("Surrogates")
    capture(server, name, "ID int NOT NULL PRIMARY KEY, Name nvarchar(20)")
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, NCHAR(55357)), (2, N'Zoë 🚗')")

    one, other = await events_of(server, name, 2)

    assert one.after == {"ID": 1, "Name": "\ud83d"}
    assert other.after == {"ID": 2, "Name": "Zoë 🚗"}


async def test_with_string_values_every_value_is_a_string(server: Server) -> None:
    name = unique("Strings")
    capture(server, name, "ID int NOT NULL PRIMARY KEY, Paid bit, Rate float, At datetime2(7), Price money, Gone int")
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (180, 1, 0.5, '2026-11-21T07:28:06.1234567', 12.34, NULL)")

    (event,) = await events_of(server, name, 1, values="string")

    assert event.after == {
        "ID": "180",
        "Paid": "true",
        "Rate": "0.5",
        "At": "2026-11-21T07:28:06.1234567",
        "Price": "12.3400",
        "Gone": None,
    }
