"""The data types: names, sizes, catalog numbers, precedence, and how SQLite holds each value.

| held as | types |
|---|---|
| INTEGER | integers, bit; date (days since 0001-01-01); time, smalldatetime, datetime, datetime2 (100 ns ticks) |
| REAL | float, real |
| TEXT | characters, xml; decimal and money (canonical digits, collation DEC); uniqueidentifier (collation GUID) |
| BLOB | binary, rowversion, CLR types, sql_variant (wire form), datetimeoffset (UTC ticks i64, minutes i16) |
"""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from local.sqlserver.errors import SqlError

MAX = -1


class Family(Enum):
    """Types that share a representation and a set of operators."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    TEXT = "text"
    BINARY = "binary"
    DATE = "date"
    TIME = "time"
    MOMENT = "moment"
    OFFSET = "offset"
    GUID = "guid"
    VARIANT = "variant"
    CLR = "clr"


@dataclass(frozen=True, slots=True)
class _Kind:
    family: Family
    number: int
    size: int
    precision: int = 0
    scale: int = 0


# Highest precedence first: https://learn.microsoft.com/sql/t-sql/data-types/data-type-precedence-transact-sql
_KINDS = {
    "hierarchyid": _Kind(Family.CLR, 240, 892),
    "geometry": _Kind(Family.CLR, 240, MAX),
    "geography": _Kind(Family.CLR, 240, MAX),
    "sql_variant": _Kind(Family.VARIANT, 98, 8016),
    "xml": _Kind(Family.TEXT, 241, MAX),
    "datetimeoffset": _Kind(Family.OFFSET, 43, 10, 34, 7),
    "datetime2": _Kind(Family.MOMENT, 42, 8, 27, 7),
    "datetime": _Kind(Family.MOMENT, 61, 8, 23, 3),
    "smalldatetime": _Kind(Family.MOMENT, 58, 4, 16),
    "date": _Kind(Family.DATE, 40, 3, 10),
    "time": _Kind(Family.TIME, 41, 5, 16, 7),
    "float": _Kind(Family.FLOAT, 62, 8, 53),
    "real": _Kind(Family.FLOAT, 59, 4, 24),
    "decimal": _Kind(Family.DECIMAL, 106, 9, 18),
    "numeric": _Kind(Family.DECIMAL, 108, 9, 18),
    "money": _Kind(Family.DECIMAL, 60, 8, 19, 4),
    "smallmoney": _Kind(Family.DECIMAL, 122, 4, 10, 4),
    "bigint": _Kind(Family.INTEGER, 127, 8, 19),
    "int": _Kind(Family.INTEGER, 56, 4, 10),
    "smallint": _Kind(Family.INTEGER, 52, 2, 5),
    "tinyint": _Kind(Family.INTEGER, 48, 1, 3),
    "bit": _Kind(Family.INTEGER, 104, 1, 1),
    "ntext": _Kind(Family.TEXT, 99, 16),
    "text": _Kind(Family.TEXT, 35, 16),
    "image": _Kind(Family.BINARY, 34, 16),
    "timestamp": _Kind(Family.BINARY, 189, 8),
    "uniqueidentifier": _Kind(Family.GUID, 36, 16),
    "nvarchar": _Kind(Family.TEXT, 231, 0),
    "nchar": _Kind(Family.TEXT, 239, 0),
    "varchar": _Kind(Family.TEXT, 167, 0),
    "char": _Kind(Family.TEXT, 175, 0),
    "varbinary": _Kind(Family.BINARY, 165, 0),
    "binary": _Kind(Family.BINARY, 173, 0),
}
_PRECEDENCE = {name: rank for rank, name in enumerate(_KINDS)}
_USER_NUMBERS = {"hierarchyid": 128, "geometry": 129, "geography": 130, "sysname": 256}
_SYNONYMS = {"rowversion": "timestamp", "integer": "int", "dec": "decimal", "character": "char"}
_SIZED = {"char": 8000, "varchar": 8000, "nchar": 4000, "nvarchar": 4000, "binary": 8000, "varbinary": 8000}
_INTEGERS = {
    "bit": (0, 1),
    "tinyint": (0, 255),
    "smallint": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}
WIDE = frozenset({"nvarchar", "nchar", "ntext", "xml"})


@dataclass(frozen=True)
class SqlType:
    """A type with its size: `length` in characters or bytes (MAX for max), `precision` and `scale` where they apply."""

    name: str
    length: int = 0
    precision: int = 0
    scale: int = 0

    @cached_property
    def family(self) -> Family:
        """Which family of types this is."""
        return _KINDS[self.name].family

    @property
    def rank(self) -> int:
        """Precedence: the lower rank wins when two types meet."""
        return _PRECEDENCE[self.name]

    @property
    def number(self) -> int:
        """`system_type_id` of the catalog."""
        return _KINDS[self.name].number

    @property
    def user_number(self) -> int:
        """`user_type_id` of the catalog."""
        return _USER_NUMBERS.get(self.name, self.number)

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest value of an integer type."""
        return _INTEGERS[self.name]

    @property
    def is_lob(self) -> bool:
        """Whether change data capture leaves an unchanged value of this type out."""
        return (self.length == MAX and self.name in _SIZED) or self.name in {"text", "ntext", "image", "xml"}

    @property
    def max_length(self) -> int:
        """`max_length` of the catalog, in bytes."""
        if self.name in _SIZED:
            return self.length if self.length == MAX else self.length * (2 if self.name in WIDE else 1)
        if self.family is Family.DECIMAL and self.name in {"decimal", "numeric"}:
            return _decimal_size(self.precision)
        if self.name in {"time", "datetime2", "datetimeoffset"}:
            return _KINDS[self.name].size - (0 if self.scale > 4 else 1 if self.scale > 2 else 2)
        return _KINDS[self.name].size

    def __str__(self) -> str:
        if self.name in _SIZED:
            return f"{self.name}({'max' if self.length == MAX else self.length})"
        if self.name in {"decimal", "numeric"}:
            return f"{self.name}({self.precision},{self.scale})"
        if self.name in {"time", "datetime2", "datetimeoffset"}:
            return f"{self.name}({self.scale})"
        return self.name


def _decimal_size(precision: int) -> int:
    return 5 if precision <= 9 else 9 if precision <= 19 else 13 if precision <= 28 else 17


def declared(written: str, sizes: tuple[int, ...] = (), *, cast: bool = False) -> SqlType:
    """Return the type a declaration means; inside CAST an unsized character type has 30 characters, elsewhere 1.

    Raises:
        SqlError: 2715 for an unknown name, 131 or 2750 for a size out of range.
    """
    name = _SYNONYMS.get(written.lower(), written.lower())
    if name == "sysname":
        return SqlType("nvarchar", 128)
    if name not in _KINDS:
        raise SqlError(2715, f"Column, parameter, or variable #1: Cannot find data type {written}.", state=6)
    if name in _SIZED:
        return SqlType(name, _length(name, sizes, 30 if cast else 1))
    if name in {"decimal", "numeric"}:
        precision, scale = (*sizes, *((18, 0)[len(sizes) :]))[:2]
        if not (1 <= precision <= 38 and 0 <= scale <= precision):
            raise SqlError(2750, f"Column or parameter #1: Specified column precision {precision} is out of range.")
        return SqlType(name, 0, precision, scale)
    if name in {"time", "datetime2", "datetimeoffset"}:
        return _temporal(name, sizes[0] if sizes else 7)
    if name == "float" and sizes:
        return FLOAT if sizes[0] > 24 else SqlType("real", 0, 24)
    if sizes:
        raise SqlError(2716, f"Column, parameter, or variable #1: Cannot specify a column width on data type {name}.")
    kind = _KINDS[name]
    return SqlType(name, MAX if name == "xml" else 0, kind.precision, kind.scale)


def _length(name: str, sizes: tuple[int, ...], default: int) -> int:
    length = sizes[0] if sizes else default
    if length != MAX and not 1 <= length <= _SIZED[name]:
        text = f"The size ({length}) given to the type '{name}' exceeds the maximum allowed ({_SIZED[name]})."
        raise SqlError(131, text, 15)
    if length == MAX and name in {"char", "nchar", "binary"}:
        raise SqlError(102, "Incorrect syntax near 'max'.", 15)
    return length


def _temporal(name: str, scale: int) -> SqlType:
    if not 0 <= scale <= 7:
        raise SqlError(1002, f"Line 1: Specified scale {scale} is invalid.", 15)
    whole = {"time": 8, "datetime2": 19, "datetimeoffset": 26}[name]
    return SqlType(name, 0, whole + (scale + 1 if scale else 0), scale)


BIT = declared("bit")
TINYINT = declared("tinyint")
INT = declared("int")
BIGINT = declared("bigint")
FLOAT = declared("float")
DATE = declared("date")
DATETIME = declared("datetime")
DATETIME2 = declared("datetime2")
OFFSET = declared("datetimeoffset")
GUID = declared("uniqueidentifier")
SYSNAME = SqlType("nvarchar", 128)
LSN = SqlType("binary", 10)
MASK = SqlType("varbinary", 128)
VARIANT = declared("sql_variant")
TYPE_NAMES = tuple(_KINDS)


def nvarchar(length: int) -> SqlType:
    """Return nvarchar of so many characters, `max` when that is above 4000."""
    return SqlType("nvarchar", length if 0 < length <= 4000 else MAX)


def varbinary(length: int) -> SqlType:
    """Return varbinary of so many bytes, `max` when that is above 8000."""
    return SqlType("varbinary", length if 0 < length <= 8000 else MAX)


def as_decimal(kind: SqlType) -> SqlType:
    """Return the decimal type that holds every value of an integer or decimal type."""
    if kind.name in {"decimal", "numeric"}:
        return kind
    return SqlType("decimal", 0, kind.precision, kind.scale)


def common(left: SqlType, right: SqlType) -> SqlType:
    """Return the type two operands meet in: the higher precedence, sized to hold both."""
    if left == right:
        return left
    high, low = (left, right) if left.rank <= right.rank else (right, left)
    if high.name in _SIZED and low.name in _SIZED and (high.family is low.family):
        return SqlType(high.name, MAX if MAX in (high.length, low.length) else max(high.length, low.length))
    if high.name in {"decimal", "numeric"} and low.family in {Family.DECIMAL, Family.INTEGER}:
        other = as_decimal(low)
        scale = max(high.scale, other.scale)
        whole = max(high.precision - high.scale, other.precision - other.scale)
        return SqlType(high.name, 0, min(38, whole + scale), scale)
    if high.name in {"time", "datetime2", "datetimeoffset"} and high.name == low.name:
        return high if high.scale >= low.scale else low
    return high
