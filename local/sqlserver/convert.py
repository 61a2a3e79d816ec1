"""Conversions between types, on the values as SQLite holds them.

https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql
"""

import struct
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from functools import cache
from typing import Any
from uuid import UUID

from local.sqlserver import clr, temporal
from local.sqlserver.errors import SqlError, cannot_convert, overflow
from local.sqlserver.sqltypes import MAX, WIDE, Family, SqlType
from local.sqlserver.tds.values import cut, pack_variant, pack_wide, units, unpack_variant, unpack_wide

type Conversion = Callable[[Any], Any]
type Factory = Callable[[SqlType, SqlType, int | None], Conversion]
_EXACT = Context(prec=80, rounding=ROUND_HALF_UP)
_SINGLE = struct.Struct("<f")
_MONEY = {"money": Decimal(2**63), "smallmoney": Decimal(2**31)}


@cache
def conversion(source: SqlType, target: SqlType, style: int | None = None, *, cast: bool = False) -> Conversion | None:
    """Return the function that turns a value that is not NULL into one of `target`, or None when it stays as it is.

    A text or binary value that is too long is cut inside CAST and CONVERT, and refused (2628) elsewhere.

    Raises:
        SqlError: 529 when no such conversion exists.
    """
    if source == target or _widens(source, target):
        return None
    factory = _FACTORIES.get((source.family, target.family))
    if factory is None:
        raise cannot_convert(source.name, target.name)
    convert = factory(source, target, style)
    if target.family not in {Family.TEXT, Family.BINARY}:
        return convert
    if _fits(source, target):
        return None if convert is _same else convert
    fit = (_shape if cast else _limit)(target)
    return fit if convert is _same else lambda value: fit(convert(value))


def _widens(source: SqlType, target: SqlType) -> bool:
    if source.family is not Family.INTEGER or target.family is not Family.INTEGER or target.name == "bit":
        return False
    return target.bounds[0] <= source.bounds[0] and source.bounds[1] <= target.bounds[1]


def _fits(source: SqlType, target: SqlType) -> bool:
    if target.name in {"char", "varchar", "text"} and source.name in WIDE:
        return False
    if target.name in {"char", "nchar", "binary", "timestamp"}:
        return (source.name, source.length) == (target.name, target.length)
    if target.length == MAX or target.name in {"text", "ntext", "image"}:
        return True
    return source.family is target.family and 0 < source.length <= target.length


def _limit(target: SqlType) -> Conversion:
    shape = _shape(target)

    def limited(value: Any) -> Any:
        if isinstance(value, str):
            lost, shown = cut(value, target.length, 2**31).strip(" "), value
        else:
            lost, shown = value[target.length :].strip(b"\0"), ""
        if target.length > 0 and lost:
            text = f"String or binary data would be truncated. Truncated value: '{shown[: target.length]}'."
            raise SqlError(2628, text)
        return shape(value)

    return limited


def _shape(target: SqlType) -> Conversion:
    length = target.length if target.length > 0 else 2**31
    if target.name in {"binary", "timestamp"}:
        size = target.length or 8
        return lambda value: value[:size].ljust(size, b"\0")
    if target.name == "nchar":
        return lambda value: (short := cut(value, 0, length)) + " " * (length - units(short))
    if target.name == "char":
        return lambda value: _narrow(value)[:length].ljust(length)
    if target.name in {"varchar", "text"}:
        return lambda value: _narrow(value)[:length]
    if target.family is Family.BINARY:
        return lambda value: value[:length]
    return lambda value: cut(value, 0, length)


def _narrow(value: str) -> str:
    return value if value.isascii() else value.encode("cp1252", "replace").decode("cp1252")


def _same(value: Any) -> Any:
    return value


def _keep(_source: SqlType, _target: SqlType, _style: int | None) -> Conversion:
    return _same


def to_integer(target: SqlType) -> Conversion:
    """Return the range check of an integer type; bit takes everything but 0 as 1."""
    if target.name == "bit":
        return lambda value: int(value != 0)
    low, high = target.bounds

    def checked(value: int) -> int:
        if not low <= value <= high:
            raise overflow(target.name)
        return value

    return checked


def to_decimal(target: SqlType) -> Callable[[Decimal], str]:
    """Return the rounding of a decimal or money type, to its canonical digits."""
    unit = Decimal(1).scaleb(-target.scale)
    limit = (
        _MONEY[target.name].scaleb(-4) if target.name in _MONEY else Decimal(10) ** (target.precision - target.scale)
    )

    def rounded(value: Decimal) -> str:
        if not value.is_finite():
            raise overflow(target.name)
        result = value.quantize(unit, context=_EXACT)
        if not -limit <= result <= limit or (result in {limit, -limit} and target.name not in _MONEY):
            raise overflow(target.name)
        return f"{result or abs(result):f}"

    return rounded


def _number_to_integer(_source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    check = to_integer(target)
    if target.name == "bit":
        return lambda value: check(Decimal(value))
    return lambda value: check(int(Decimal(value)))


def _text_to_integer(source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    check = to_integer(target)

    def read(value: str) -> int:
        word = value.strip()
        if target.name == "bit" and word.lower() in {"true", "false"}:
            return int(word.lower() == "true")
        try:
            return int(check(int(word.replace("_", "x") or "0")))
        except ValueError as why:
            text = f"Conversion failed when converting the {source.name} value '{value}' to data type {target.name}."
            raise SqlError(245, text) from why

    return read


def _binary_to_integer(_source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    if target.name == "bit":
        return lambda value: int(any(value))
    size = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}[target.name]
    return lambda value: int.from_bytes(value[-size:].rjust(size, b"\0"), signed=target.name != "tinyint")


def _to_decimal(source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    rounded = to_decimal(target)

    def read(value: Any) -> str:
        try:
            return rounded(Decimal(value.strip() if isinstance(value, str) else value))
        except InvalidOperation as why:
            text = f"Error converting data type {source.name} to {target.name}."
            raise SqlError(8114, text, state=5) from why

    return read


def _to_float(source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    def read(value: Any) -> float:
        try:
            number = float(value)
        except ValueError as why:
            raise SqlError(8114, f"Error converting data type {source.name} to {target.name}.", state=5) from why
        return _SINGLE.unpack(_SINGLE.pack(number))[0] if target.name == "real" else number

    return read


def _number_to_text(source: SqlType, _target: SqlType, style: int | None) -> Conversion:
    if source.family is Family.FLOAT:
        return lambda value: float_text(value, style or 0, single=source.name == "real")
    if source.name in {"money", "smallmoney"} and (style or 0) == 0:
        return lambda value: f"{Decimal(value).quantize(Decimal('0.01'), context=_EXACT):f}"
    if source.name in {"money", "smallmoney"} and style != 2:
        raise SqlError(281, f"{style} is not a valid style number when converting from money to a character string.")
    return str


def float_text(value: float, style: int, *, single: bool) -> str:
    """Return a float as CONVERT writes it: six digits, or all that are needed to read it back (style 3)."""
    if style in {1, 2, 3}:
        digits = {1: 7, 2: 15, 3: 8 if single else 16}[style]
        return _three_digit_power(f"{value:.{digits}e}")
    if style != 0:
        raise SqlError(281, f"{style} is not a valid style number when converting from float to a character string.")
    text = f"{value:.6g}"
    return _three_digit_power(text) if "e" in text else text


def _three_digit_power(text: str) -> str:
    base, power = text.split("e")
    return f"{base}e{power[0]}{int(power[1:]):03d}"


def _binary_to_text(_source: SqlType, target: SqlType, style: int | None) -> Conversion:
    if style in {1, 2}:
        prefix = "0x" if style == 1 else ""
        return lambda value: prefix + value.hex().upper()
    if style not in {None, 0}:
        raise SqlError(
            281, f"{style} is not a valid style number when converting from varbinary to a character string."
        )
    if target.name in WIDE:
        return lambda value: unpack_wide(value[: len(value) // 2 * 2])
    return lambda value: value.decode("cp1252", "replace")


def _text_to_binary(source: SqlType, _target: SqlType, style: int | None) -> Conversion:
    def unhex(value: str) -> bytes:
        digits = value.removeprefix("0x") if style == 1 else value
        try:
            return bytes.fromhex(digits)
        except ValueError as why:
            raise SqlError(8114, "Error converting data type varchar to varbinary.", state=5) from why

    if style in {1, 2}:
        return unhex
    return pack_wide if source.name in WIDE else (lambda value: value.encode("cp1252", "replace"))


def _integer_to_binary(source: SqlType, _target: SqlType, _style: int | None) -> Conversion:
    size = {"bit": 1, "tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}[source.name]
    return lambda value: (value % 256**size).to_bytes(size)


def _temporal_to_text(source: SqlType, _target: SqlType, style: int | None) -> Conversion:
    if source.family is Family.OFFSET:
        return lambda value: temporal.offset_text(value, source.scale, 121 if style is None else style)
    if source.family is Family.DATE:
        return lambda value: (
            temporal.date_text(value) if style in {None, 20, 21, 23, 120, 121, 126} else _styled_date(value, style)
        )
    if source.family is Family.TIME:
        return lambda value: temporal.time_text(value, source.scale)
    digits = {"datetime": 3, "smalldatetime": 0}.get(source.name, source.scale)
    chosen = (121 if source.name == "datetime2" else 0) if style is None else style
    return lambda value: temporal.moment_text(value, digits, chosen)


def _styled_date(value: int, style: int | None) -> str:
    return temporal.moment_text(value * temporal.DAY, 0, 112 if style == 112 else -1)


def _text_to_temporal(_source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    def read(value: str) -> Any:
        ticks, minutes = temporal.parse(value)
        if target.family is Family.OFFSET:
            rounded = temporal.round_ticks(ticks, target.scale)
            return temporal.pack_offset(rounded - (minutes or 0) * temporal.MINUTE, minutes or 0)
        return _fit_moment(ticks, target)

    return read


def _fit_moment(ticks: int, target: SqlType) -> int:
    if target.family is Family.DATE:
        return ticks // temporal.DAY
    if target.family is Family.TIME:
        return temporal.round_time(ticks % temporal.DAY, target.scale)
    return temporal.round_moment(ticks, target)


def _temporal_to_temporal(source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    if Family.DATE in {source.family, target.family} and Family.TIME in {source.family, target.family}:
        raise cannot_convert(source.name, target.name)

    def local(value: Any) -> tuple[int, int]:
        if source.family is Family.OFFSET:
            utc, minutes = temporal.unpack_offset(value)
            return utc + minutes * temporal.MINUTE, minutes
        if source.family is Family.DATE:
            return value * temporal.DAY, 0
        return value + (temporal.EPOCH_1900 * temporal.DAY if source.family is Family.TIME else 0), 0

    def moved(value: Any) -> Any:
        ticks, minutes = local(value)
        if target.family is Family.OFFSET:
            return temporal.pack_offset(temporal.round_ticks(ticks, target.scale) - minutes * temporal.MINUTE, minutes)
        return _fit_moment(ticks, target)

    return moved


def _text_to_guid(_source: SqlType, _target: SqlType, _style: int | None) -> Conversion:
    def read(value: str) -> str:
        try:
            return str(UUID(value.strip().strip("{}"))).upper()
        except ValueError as why:
            text = "Conversion failed when converting from a character string to uniqueidentifier."
            raise SqlError(8169, text, state=2) from why

    return read


def _guid_to_binary(_source: SqlType, _target: SqlType, _style: int | None) -> Conversion:
    return lambda value: UUID(value).bytes_le


def _binary_to_guid(_source: SqlType, _target: SqlType, _style: int | None) -> Conversion:
    return lambda value: str(UUID(bytes_le=value[:16].ljust(16, b"\0"))).upper()


def _to_variant(source: SqlType, _target: SqlType, _style: int | None) -> Conversion:
    if source.is_lob or source.name in {"timestamp", "hierarchyid", "geometry", "geography"}:
        raise cannot_convert(source.name, "sql_variant")
    return lambda value: pack_variant(source, value)


def _from_variant(_source: SqlType, target: SqlType, style: int | None) -> Conversion:
    def unpack(value: bytes) -> Any:
        base, inner = unpack_variant(value)
        step = conversion(base, target, style, cast=True)
        return inner if step is None else step(inner)

    return unpack


def _text_to_clr(_source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    if target.name == "hierarchyid":
        return clr.hierarchy_bytes
    return lambda value: clr.parse_point(target.name, value)


def _clr_to_text(source: SqlType, _target: SqlType, _style: int | None) -> Conversion:
    if source.name == "hierarchyid":
        return clr.hierarchy_text
    return lambda value: clr.point_text(source.name, value)


def _integer_to_moment(_source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    if target.name not in {"datetime", "smalldatetime"}:
        raise cannot_convert(source="int", target=target.name)
    return lambda value: (temporal.EPOCH_1900 + value) * temporal.DAY


def _text_to_text(source: SqlType, target: SqlType, _style: int | None) -> Conversion:
    return str.rstrip if source.name in {"char", "nchar"} and target.name == "xml" else _same


_TEMPORAL = (Family.DATE, Family.TIME, Family.MOMENT, Family.OFFSET)
_NUMBERS = (Family.INTEGER, Family.DECIMAL, Family.FLOAT)
_FACTORIES: dict[tuple[Family, Family], Factory] = {
    **{(source, Family.INTEGER): _number_to_integer for source in _NUMBERS},
    **{(source, Family.DECIMAL): _to_decimal for source in (*_NUMBERS, Family.TEXT)},
    **{(source, Family.FLOAT): _to_float for source in (*_NUMBERS, Family.TEXT)},
    **{(source, Family.TEXT): _number_to_text for source in _NUMBERS},
    **{(source, Family.TEXT): _temporal_to_text for source in _TEMPORAL},
    **{(Family.TEXT, target): _text_to_temporal for target in _TEMPORAL},
    **{(source, target): _temporal_to_temporal for source in _TEMPORAL for target in _TEMPORAL},
    **{(source, Family.VARIANT): _to_variant for source in Family if source is not Family.VARIANT},
    **{(Family.VARIANT, target): _from_variant for target in Family if target not in {Family.CLR, Family.VARIANT}},
    (Family.TEXT, Family.INTEGER): _text_to_integer,
    (Family.BINARY, Family.INTEGER): _binary_to_integer,
    (Family.INTEGER, Family.BINARY): _integer_to_binary,
    (Family.INTEGER, Family.MOMENT): _integer_to_moment,
    (Family.TEXT, Family.TEXT): _text_to_text,
    (Family.BINARY, Family.BINARY): _keep,
    (Family.BINARY, Family.TEXT): _binary_to_text,
    (Family.TEXT, Family.BINARY): _text_to_binary,
    (Family.TEXT, Family.GUID): _text_to_guid,
    (Family.GUID, Family.TEXT): _keep,
    (Family.GUID, Family.BINARY): _guid_to_binary,
    (Family.BINARY, Family.GUID): _binary_to_guid,
    (Family.TEXT, Family.CLR): _text_to_clr,
    (Family.CLR, Family.TEXT): _clr_to_text,
    (Family.BINARY, Family.CLR): _keep,
    (Family.CLR, Family.BINARY): _keep,
}


def plain(kind: SqlType, value: Any) -> str:
    """Return a value as PRINT and error messages show it."""
    step = conversion(kind, SqlType("nvarchar", MAX))
    return str(value if step is None else step(value))
