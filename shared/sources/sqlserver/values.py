"""What each SQL Server type becomes in JSON: how it is selected, and how the driver's value is shown.

| SQL Server | JSON |
|---|---|
| `bit` | boolean |
| `tinyint smallint int bigint` | number |
| `float real` | number; a `real` with the fewest digits that name it |
| `decimal numeric money smallmoney` | string, all digits of its scale |
| `char varchar text nchar nvarchar ntext xml json` | string |
| `binary varbinary image rowversion` | bytes (base64) |
| `hierarchyid geometry geography` | bytes (base64) of its serialization |
| `uniqueidentifier` | string, lower case |
| `date` | `2026-11-21` |
| `time` | `07:28:06.1234567` |
| `datetime smalldatetime datetime2` | `2026-11-21T07:28:06.1234567`, seven digits whatever its scale |
| `datetimeoffset` | `2026-11-21T07:28:06.1234567+07:00` |
| `sql_variant` | string: dates, times and GUIDs as above, `0x…` for binary, 17 digits for floats, else by CONVERT |

Source:
    https://learn.microsoft.com/sql/relational-databases/track-changes/about-change-data-capture-sql-server
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal

type Convert = Callable[[Any], Any]

SQL_TYPE_TIMESTAMP: Final = 93
SQL_SS_TIME2: Final = -154
SQL_SS_TIMESTAMPOFFSET: Final = -155

_PLAIN = frozenset({"bit", "tinyint", "smallint", "int", "bigint", "float"})
_PLAIN |= {"char", "varchar", "text", "nchar", "nvarchar", "ntext", "xml", "json"}
_PLAIN |= {"binary", "varbinary", "image", "timestamp"}
_PLAIN |= {"datetime", "smalldatetime", "datetime2", "time", "datetimeoffset"}
_SERIALIZED = frozenset({"hierarchyid", "geometry", "geography"})
_NEVER_BEFORE = frozenset({"text", "ntext", "image"})
_OFF_ROW = frozenset({"xml", "json", "geometry", "geography"})
_MAX = -1

_DATETIME2 = struct.Struct("<hHHHHHI")
_DATETIME = struct.Struct("<iI")
_SMALLDATETIME = struct.Struct("<HH")
_EPOCH = datetime(1900, 1, 1)  # noqa: DTZ001 - the server's local time
_TIME = struct.Struct("<HHHxxI")
_OFFSET = struct.Struct("<hHHHHHIhh")

# Style 121, as 126 leaves out a fraction that is zero.
_VARIANT = (
    "CASE CONVERT(nvarchar(128), SQL_VARIANT_PROPERTY({0}, N'BaseType'))"
    " WHEN N'binary' THEN CONVERT(nvarchar(max), CONVERT(varbinary(8000), {0}), 1)"
    " WHEN N'varbinary' THEN CONVERT(nvarchar(max), CONVERT(varbinary(8000), {0}), 1)"
    " WHEN N'float' THEN CONVERT(nvarchar(50), CONVERT(float, {0}), 3)"
    " WHEN N'real' THEN CONVERT(nvarchar(50), CONVERT(real, {0}), 3)"
    " WHEN N'money' THEN CONVERT(nvarchar(50), CONVERT(money, {0}), 2)"
    " WHEN N'smallmoney' THEN CONVERT(nvarchar(50), CONVERT(money, {0}), 2)"
    " WHEN N'date' THEN CONVERT(nvarchar(50), CONVERT(date, {0}), 23)"
    " WHEN N'time' THEN CONVERT(nvarchar(50), CONVERT(time(7), {0}), 121)"
    " WHEN N'datetime' THEN REPLACE(CONVERT(nvarchar(50), CONVERT(datetime2(3), {0}), 121), N' ', N'T') + N'0000'"
    " WHEN N'smalldatetime' THEN REPLACE(CONVERT(nvarchar(50), CONVERT(datetime2(7), {0}), 121), N' ', N'T')"
    " WHEN N'datetime2' THEN REPLACE(CONVERT(nvarchar(50), CONVERT(datetime2(7), {0}), 121), N' ', N'T')"
    " WHEN N'datetimeoffset' THEN REPLACE(REPLACE(REPLACE(CONVERT(nvarchar(50), CONVERT(datetimeoffset(7), {0}), 121),"
    " N' +', N'+'), N' -', N'-'), N' ', N'T')"
    " WHEN N'uniqueidentifier' THEN LOWER(CONVERT(nvarchar(36), CONVERT(uniqueidentifier, {0})))"
    " ELSE CONVERT(nvarchar(max), CONVERT(nvarchar(4000), {0})) END"
)


@dataclass(frozen=True, slots=True)
class Column:
    """A captured column as its change table has it. `ordinal` is its bit in the update mask, from 1.

    `max_length` is in bytes, -1 for `(max)`. The server never records the value of a `computed` column.
    """

    name: str
    ordinal: int
    type: str
    max_length: int = 0
    computed: bool = False

    @property
    def is_large(self) -> bool:
        """Whether an update that leaves the value alone records NULL in its place."""
        return self.max_length == _MAX or self.type in _NEVER_BEFORE or self.type in _OFF_ROW

    @property
    def has_no_before(self) -> bool:
        """Whether the server never records the value before a change, nor that of a deleted row."""
        return self.type in _NEVER_BEFORE


def select(column: Column, quoted: str) -> str:
    """Return the expression that reads the column `quoted` in a form that the driver can fetch without loss.

    Raises:
        ValueError: the type is not known.
    """
    if column.type in _SERIALIZED:
        return f"CAST({quoted} AS varbinary(max))"
    if column.type == "sql_variant":
        return _VARIANT.format(quoted)
    if column.type in _PLAIN or column.type in _CONVERTED:
        return quoted
    msg = f"column {column.name} has the type {column.type}, which cannot be read"
    raise ValueError(msg)


def conversion(column: Column, values: Literal["typed", "string"]) -> Convert | None:
    """Return what makes the driver's value (never None) the one that JSON shows; None when it is that already.

    With "string", numbers and booleans become their JSON text.
    """
    if values == "string":
        return _STRINGS.get(column.type, _CONVERTED.get(column.type))
    return _CONVERTED.get(column.type)


def datetime_text(raw: bytes) -> str:
    """Show what the driver returns for a date and time: its own conversion would cut the seventh digit.

    16 bytes: a SQL_TIMESTAMP_STRUCT (`datetime2`). 8: days since 1900 and 300ths of a second (`datetime`), which the
    server shows in milliseconds. 4: days and minutes (`smalldatetime`).
    """
    if len(raw) == _DATETIME2.size:
        year, month, day, hour, minute, second, nanoseconds = _DATETIME2.unpack(raw)
        return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds // 100:07}"
    return _coarse_datetime_text(raw)


@lru_cache(4096)
def _coarse_datetime_text(raw: bytes) -> str:
    if len(raw) == _DATETIME.size:
        days, ticks = _DATETIME.unpack(raw)
        moment = _EPOCH + timedelta(days=days, milliseconds=(ticks * 10 + 1) // 3)
    else:
        days, minutes = _SMALLDATETIME.unpack(raw)
        moment = _EPOCH + timedelta(days=days, minutes=minutes)
    return f"{moment.isoformat(timespec='milliseconds')}0000"


def time_text(raw: bytes) -> str:
    """Show a SQL_SS_TIME2_STRUCT."""
    hour, minute, second, nanoseconds = _TIME.unpack(raw)
    return f"{hour:02}:{minute:02}:{second:02}.{nanoseconds // 100:07}"


def offset_text(raw: bytes) -> str:
    """Show a SQL_SS_TIMESTAMPOFFSET_STRUCT, local time and its offset; both parts of the offset have its sign."""
    year, month, day, hour, minute, second, nanoseconds, ahead_h, ahead_m = _OFFSET.unpack(raw)
    sign = "-" if ahead_h < 0 or ahead_m < 0 else "+"
    return (
        f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds // 100:07}"
        f"{sign}{abs(ahead_h):02}:{abs(ahead_m):02}"
    )


OUTPUT_CONVERTERS: Final = {
    SQL_TYPE_TIMESTAMP: datetime_text,
    SQL_SS_TIME2: time_text,
    SQL_SS_TIMESTAMPOFFSET: offset_text,
}
"""What a connection does with the driver's structures, by ODBC type."""


def _decimal(value: Decimal) -> str:
    return format(value, "f")


def _real(value: float) -> float:
    """Return the double with the fewest digits that is the same single-precision number."""
    packed = struct.pack("<f", value)
    for digits in (6, 7, 8):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", short) == packed:
                return short
        except OverflowError:  # rounded up beyond the greatest single
            continue
    return float(f"{value:.9g}")


def _date(value: date) -> str:
    return value.isoformat()


def _bit(value: bool) -> str:  # noqa: FBT001 - the value of a column
    return "true" if value else "false"


def _real_string(value: float) -> str:
    return repr(_real(value))


_CONVERTED: dict[str, Convert] = {
    "decimal": _decimal,
    "numeric": _decimal,
    "money": _decimal,
    "smallmoney": _decimal,
    "real": _real,
    "uniqueidentifier": str.lower,
    "date": _date,
}
_STRINGS: dict[str, Convert] = {
    "bit": _bit,
    "tinyint": str,
    "smallint": str,
    "int": str,
    "bigint": str,
    "float": repr,
    "real": _real_string,
}
