"""Values on the wire, without their length: how each type packs and unpacks.

https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/f79bb5b8-5919-439a-a696-48064b78b091
"""

import struct
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

from local.sqlserver import temporal
from local.sqlserver.errors import cannot_convert, overflow
from local.sqlserver.sqltypes import WIDE, Family, SqlType

type Codec = Callable[[Any], Any]
COLLATION = bytes.fromhex("0904d00034")  # SQL_Latin1_General_CP1_CI_AS
INTEGER_FORMATS = {"tinyint": "B", "bit": "B", "smallint": "h", "int": "i", "bigint": "q"}


@cache
def packer(kind: SqlType) -> Codec:
    """Return the function that packs a value that is not NULL; SqlError 8115 when the type does not hold it."""
    if kind.family is Family.INTEGER:
        return _struct_packer(INTEGER_FORMATS[kind.name], kind)
    if kind.family is Family.FLOAT:
        return _struct_packer("f" if kind.name == "real" else "d", kind)
    if kind.family is Family.TEXT:
        return pack_wide if kind.name in WIDE else (lambda value: value.encode("cp1252", "replace"))
    if kind.family in _PACKERS:
        return _PACKERS[kind.family](kind)
    return _same


@cache
def unpacker(kind: SqlType) -> Codec:
    """Return the function that reads a value that is not NULL."""
    if kind.family is Family.INTEGER:
        return lambda data: int.from_bytes(data, "little", signed=kind.name not in {"tinyint", "bit"})
    if kind.family is Family.FLOAT:
        return lambda data: struct.unpack("<d" if len(data) == 8 else "<f", data)[0]
    if kind.family is Family.TEXT:
        return unpack_wide if kind.name in WIDE else (lambda data: data.decode("cp1252", "replace"))
    if kind.family in _UNPACKERS:
        return _UNPACKERS[kind.family](kind)
    return _same


# SQLite keeps UTF-8, which has no unpaired surrogates: they are kept as the last 2048 private characters of Unicode.
_PRIVATE = 0x10F800
_KEPT = {0xD800 + n: _PRIVATE + n for n in range(2048)}
_SHOWN = {kept: surrogate for surrogate, kept in _KEPT.items()}


def pack_wide(value: str) -> bytes:
    """Return UTF-16, unpaired surrogates as they came."""
    if value.isascii() or max(value) < chr(_PRIVATE):
        return value.encode("utf-16-le")
    return value.translate(_SHOWN).encode("utf-16-le", "surrogatepass")


def unpack_wide(data: bytes) -> str:
    """Read UTF-16, unpaired surrogates too."""
    try:
        return data.decode("utf-16-le")
    except UnicodeDecodeError:
        return data.decode("utf-16-le", "surrogatepass").translate(_KEPT)


def units(value: str) -> int:
    """Return the length of a text as SQL Server counts it: in UTF-16 units."""
    return len(value) if value.isascii() or max(value) < "\U00010000" else len(pack_wide(value)) // 2


def cut(value: str, start: int, end: int) -> str:
    """Return a part of a text, its place counted in UTF-16 units; it may begin or end with half a character."""
    if value.isascii() or max(value) < "\U00010000":
        return value[start:end]
    return unpack_wide(pack_wide(value)[2 * start : 2 * end])


def character(number: int) -> str | None:
    """Return NCHAR(number): one UTF-16 unit, or a character beyond the first plane."""
    return chr(_KEPT.get(number, number)) if 0 <= number <= 0x10FFFF else None


def _same(value: Any) -> Any:
    return value


def _struct_packer(code: str, kind: SqlType) -> Codec:
    pack = struct.Struct("<" + code).pack

    def packed(value: Any) -> bytes:
        try:
            return pack(value)
        except (struct.error, OverflowError) as why:
            raise overflow(kind.name) from why

    return packed


def decimal_width(precision: int) -> int:
    """Return the bytes of a decimal's magnitude."""
    return 4 if precision <= 9 else 8 if precision <= 19 else 12 if precision <= 28 else 16


def _pack_decimal(kind: SqlType) -> Codec:
    if kind.name in {"money", "smallmoney"}:
        return _pack_money(kind)
    width = decimal_width(kind.precision)

    def packed(value: str) -> bytes:
        number = int(value.replace(".", ""))
        try:
            return (b"\1" if number >= 0 else b"\0") + abs(number).to_bytes(width, "little")
        except OverflowError as why:
            raise overflow(kind.name) from why

    return packed


def _pack_money(kind: SqlType) -> Codec:
    if kind.name == "smallmoney":
        return lambda value: struct.pack("<i", int(value.replace(".", "")))

    def packed(value: str) -> bytes:
        number = int(value.replace(".", ""))
        return struct.pack("<iI", number >> 32, number & 0xFFFFFFFF)

    return packed


def _unpack_decimal(kind: SqlType) -> Codec:
    if kind.name in {"money", "smallmoney"}:
        return lambda data: scaled(_money(data), 4)
    return lambda data: scaled(int.from_bytes(data[1:], "little") * (1 if data[0] else -1), kind.scale)


def _money(data: bytes) -> int:
    if len(data) == 4:
        return int.from_bytes(data, "little", signed=True)
    high, low = struct.unpack("<iI", data)
    return int(high << 32 | low)


def scaled(number: int, scale: int) -> str:
    """Return the canonical digits of `number` / 10^scale."""
    if not scale:
        return str(number)
    digits = str(abs(number)).rjust(scale + 1, "0")
    return f"{'-' if number < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def time_width(scale: int) -> int:
    """Return the bytes of a time of so many digits."""
    return 3 if scale <= 2 else 4 if scale <= 4 else 5


def _pack_time(kind: SqlType) -> Codec:
    width, unit = time_width(kind.scale), temporal.UNITS[kind.scale]
    return lambda value: (value // unit).to_bytes(width, "little")


def _unpack_time(kind: SqlType) -> Codec:
    unit = temporal.UNITS[kind.scale]
    return lambda data: int.from_bytes(data, "little") * unit


def _pack_date(_kind: SqlType) -> Codec:
    return lambda value: value.to_bytes(3, "little")


def _unpack_date(_kind: SqlType) -> Codec:
    return lambda data: int.from_bytes(data, "little")


def _pack_moment(kind: SqlType) -> Codec:
    if kind.name == "datetime":
        return _pack_datetime
    if kind.name == "smalldatetime":
        return lambda value: struct.pack(
            "<HH", value // temporal.DAY - temporal.EPOCH_1900, value % temporal.DAY // temporal.MINUTE
        )
    width, unit = time_width(kind.scale), temporal.UNITS[kind.scale]

    def packed(value: int) -> bytes:
        days, ticks = divmod(value, temporal.DAY)
        return (ticks // unit).to_bytes(width, "little") + days.to_bytes(3, "little")

    return packed


def _pack_datetime(value: int) -> bytes:
    days, thirds = divmod(temporal.ticks_to_thirds(value), 86_400 * 300)
    return struct.pack("<iI", days - temporal.EPOCH_1900, thirds)


def _unpack_moment(kind: SqlType) -> Codec:
    if kind.name == "datetime":
        return _unpack_datetime
    if kind.name == "smalldatetime":
        return _unpack_smalldatetime
    unit = temporal.UNITS[kind.scale]
    return lambda data: int.from_bytes(data[-3:], "little") * temporal.DAY + int.from_bytes(data[:-3], "little") * unit


def _unpack_datetime(data: bytes) -> int:
    days, thirds = struct.unpack("<iI", data)
    return temporal.thirds_to_ticks((days + temporal.EPOCH_1900) * 86_400 * 300 + thirds)


def _unpack_smalldatetime(data: bytes) -> int:
    days, minutes = struct.unpack("<HH", data)
    return int((days + temporal.EPOCH_1900) * temporal.DAY + minutes * temporal.MINUTE)


def _pack_offset(kind: SqlType) -> Codec:
    moment = _pack_moment(SqlType("datetime2", 0, 0, kind.scale))

    def packed(value: bytes) -> bytes:
        utc, minutes = temporal.unpack_offset(value)
        return bytes(moment(utc)) + minutes.to_bytes(2, "little", signed=True)

    return packed


def _unpack_offset(kind: SqlType) -> Codec:
    moment = _unpack_moment(SqlType("datetime2", 0, 0, kind.scale))
    return lambda data: temporal.pack_offset(moment(data[:-2]), int.from_bytes(data[-2:], "little", signed=True))


def _pack_guid(_kind: SqlType) -> Codec:
    return lambda value: UUID(value).bytes_le


def _unpack_guid(_kind: SqlType) -> Codec:
    return lambda data: str(UUID(bytes_le=data)).upper()


_PACKERS: dict[Family, Callable[[SqlType], Codec]] = {
    Family.DECIMAL: _pack_decimal,
    Family.DATE: _pack_date,
    Family.TIME: _pack_time,
    Family.MOMENT: _pack_moment,
    Family.OFFSET: _pack_offset,
    Family.GUID: _pack_guid,
}
_UNPACKERS: dict[Family, Callable[[SqlType], Codec]] = {
    Family.DECIMAL: _unpack_decimal,
    Family.DATE: _unpack_date,
    Family.TIME: _unpack_time,
    Family.MOMENT: _unpack_moment,
    Family.OFFSET: _unpack_offset,
    Family.GUID: _unpack_guid,
}
# Base types of sql_variant: token, bytes of properties.
VARIANT_TOKENS = {
    "tinyint": 0x30, "bit": 0x32, "smallint": 0x34, "int": 0x38, "smalldatetime": 0x3A, "real": 0x3B, "money": 0x3C,
    "datetime": 0x3D, "float": 0x3E, "smallmoney": 0x7A, "bigint": 0x7F, "uniqueidentifier": 0x24, "date": 0x28,
    "time": 0x29, "datetime2": 0x2A, "datetimeoffset": 0x2B, "decimal": 0x6A, "numeric": 0x6C, "varbinary": 0xA5,
    "binary": 0xAD, "varchar": 0xA7, "char": 0xAF, "nvarchar": 0xE7, "nchar": 0xEF,
}  # fmt: skip


def pack_variant(kind: SqlType, value: Any) -> bytes:
    """Return a value with its type, as sql_variant travels."""
    if kind.name not in VARIANT_TOKENS:
        raise cannot_convert(kind.name, "sql_variant")
    if kind.name in {"time", "datetime2", "datetimeoffset"}:
        properties = bytes([kind.scale])
    elif kind.name in {"decimal", "numeric"}:
        properties = bytes([kind.precision, kind.scale])
    elif kind.family is Family.BINARY:
        properties = struct.pack("<H", kind.max_length)
    elif kind.family is Family.TEXT:
        properties = COLLATION + struct.pack("<H", kind.max_length)
    else:
        properties = b""
    return bytes([VARIANT_TOKENS[kind.name], len(properties)]) + properties + bytes(packer(kind)(value))


def unpack_variant(data: bytes) -> tuple[SqlType, Any]:
    """Return the base type and the value of a sql_variant."""
    name = next(name for name, token in VARIANT_TOKENS.items() if token == data[0])
    properties, body = data[2 : 2 + data[1]], data[2 + data[1] :]
    precision = scale = length = 0
    if name in {"time", "datetime2", "datetimeoffset"}:
        scale = properties[0]
    elif name in {"decimal", "numeric"}:
        precision, scale = properties
    elif properties:
        length = int.from_bytes(properties[-2:], "little") // (2 if name in WIDE else 1)
    elif name in {"money", "smallmoney"}:
        precision, scale = (19, 4) if name == "money" else (10, 4)
    kind = SqlType(name, length, precision, scale)
    return kind, unpacker(kind)(body)
