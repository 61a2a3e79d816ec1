"""SQLite functions behind T-SQL's operators and functions that depend on their arguments alone."""

import math
import re
import uuid
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal, DivisionByZero, InvalidOperation
from functools import lru_cache
from typing import Any

import apsw

from local.sqlserver import clr, temporal
from local.sqlserver.convert import conversion, to_decimal
from local.sqlserver.errors import SqlError
from local.sqlserver.sql.scope import CONVERSIONS
from local.sqlserver.sqltypes import INT, OFFSET, VARIANT, Family, SqlType, declared, nvarchar
from local.sqlserver.tds.values import character, cut, scaled, units, unpack_variant

_EXACT = Context(prec=100, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero])
_UNITS = {
    "week": 7 * temporal.DAY, "day": temporal.DAY, "dayofyear": temporal.DAY, "weekday": temporal.DAY,
    "hour": 60 * temporal.MINUTE, "minute": temporal.MINUTE, "second": temporal.SECOND,
    "millisecond": temporal.SECOND // 1000, "microsecond": temporal.SECOND // 1_000_000,
}  # fmt: skip


def _null_aware(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*values: Any) -> Any:
        return None if None in values else function(*values)

    return called


def _convert(number: Any, value: Any) -> Any:
    return None if value is None else CONVERSIONS[number](value)


def _try_convert(number: Any, value: Any) -> Any:
    try:
        return _convert(number, value)
    except SqlError:
        return None


def division_by_zero() -> SqlError:
    """Return error 8134."""
    return SqlError(8134, "Divide by zero error encountered.")


def _int_div(left: int, right: int) -> int:
    if right == 0:
        raise division_by_zero()
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _int_mod(left: int, right: int) -> int:
    return left - right * _int_div(left, right)


def _float_div(left: float, right: float) -> float:
    if right == 0:
        raise division_by_zero()
    return left / right


def _dec_math(operator: str, left: Any, right: Any, precision: int, scale: int) -> str:
    first, second = Decimal(left), Decimal(right)
    if operator in {"/", "%"} and second == 0:
        raise division_by_zero()
    operations = {
        "+": _EXACT.add,
        "-": _EXACT.subtract,
        "*": _EXACT.multiply,
        "/": _EXACT.divide,
        "%": _EXACT.remainder,
    }
    return to_decimal(SqlType("decimal", 0, precision, scale))(operations[operator](first, second))


def _dec_minus(value: str) -> str:
    return value[1:] if value.startswith("-") else value if not Decimal(value) else "-" + value


def _bin_join(left: bytes, right: bytes) -> bytes:
    return left + right


@lru_cache(maxsize=1000)
def _like_pattern(pattern: str, escape: str | None) -> re.Pattern[str]:
    parts, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        if escape and char == escape and at + 1 < len(pattern):
            at += 1
            parts.append(re.escape(pattern[at]))
        elif char == "%":
            parts.append(".*")
        elif char == "_":
            parts.append(".")
        elif char == "[" and "]" in pattern[at + 1 :]:
            end = pattern.index("]", at + 1)
            inside = pattern[at + 1 : end].replace("\\", r"\\").replace("[", r"\[")
            parts.append(f"[{inside}]")
            at = end
        else:
            parts.append(re.escape(char))
        at += 1
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def _tsql_like(value: str, pattern: str, escape: str | None = None) -> int:
    return int(_like_pattern(pattern, escape).fullmatch(value) is not None)


def _substring(value: Any, start: int, length: int) -> Any:
    if length < 0:
        raise SqlError(537, "Invalid length parameter passed to the LEFT or SUBSTRING function.", state=3)
    first, end = max(start - 1, 0), max(start - 1 + length, 0)
    return value[first:end] if isinstance(value, bytes) else cut(value, first, end)


def _right(value: str, length: int) -> str:
    size = units(value)
    return cut(value, max(size - length, 0), size)


def _replace(value: str, old: str, new: str) -> str:
    return re.sub(re.escape(old), lambda _: new, value, flags=re.IGNORECASE) if old else value


def _char_index(what: Any, where: Any, start: Any = None) -> int | None:
    if what is None or where is None:
        return None
    return int(where.casefold().find(what.casefold(), max((start or 1) - 1, 0))) + 1


def _row_count(value: Any) -> int:
    if value is None or value < 0:
        text = "A TOP or FETCH clause contains an invalid value."
        raise SqlError(1014, text, 15)
    return int(value)


def _number_function(integer: Callable[[Any], Any], exact: Callable[[Decimal], Decimal]) -> Callable[..., Any]:
    def applied(family: str, value: Any) -> Any:
        if family == Family.DECIMAL.value:
            places = len(value.partition(".")[2])
            return scaled(int(exact(Decimal(value)).scaleb(places).to_integral_value()), places)
        return float(integer(value)) if family == Family.FLOAT.value else integer(value)

    return applied


def _round(family: str, value: Any, digits: int) -> Any:
    exact = Decimal(repr(value) if isinstance(value, float) else value)
    rounded = exact.quantize(Decimal(1).scaleb(-digits), context=_EXACT) if digits < 30 else exact
    if family == Family.INTEGER.value:
        return int(rounded)
    if family == Family.FLOAT.value:
        return float(rounded)
    places = len(value.partition(".")[2])
    return scaled(int(rounded.scaleb(places)), places)


def _date_add(part: str, count: int, value: Any, name: str, scale: int) -> Any:
    kind = declared(name, (scale,)) if name in {"time", "datetime2", "datetimeoffset"} else declared(name)
    if kind.family is Family.OFFSET:
        utc, minutes = temporal.unpack_offset(value)
        return temporal.pack_offset(
            _moved(part, count, utc + minutes * temporal.MINUTE) - minutes * temporal.MINUTE, minutes
        )
    if kind.family is Family.DATE:
        return _moved(part, count, value * temporal.DAY) // temporal.DAY
    if kind.family is Family.TIME:
        return temporal.round_time(_moved(part, count, value), kind.scale)
    return temporal.round_moment(_moved(part, count, value), kind)


def _moved(part: str, count: int, ticks: int) -> int:
    if part in {"year", "quarter", "month"}:
        months = count * {"year": 12, "quarter": 3, "month": 1}[part]
        days, clock = divmod(ticks, temporal.DAY)
        return temporal.add_months(days, months) * temporal.DAY + clock
    step = count // 100 if part == "nanosecond" else count * _UNITS[part]
    if not 0 <= ticks + step < (temporal.LAST_DAY + 1) * temporal.DAY:
        raise SqlError(517, "Adding a value to a 'datetime2' column caused an overflow.")
    return ticks + step


def _date_part(part: str, value: bytes) -> int:
    utc, minutes = temporal.unpack_offset(value)
    if part == "tzoffset":
        return minutes
    return temporal.part_of(part, utc + minutes * temporal.MINUTE)


def _date_diff(part: str, first: bytes, second: bytes) -> int:
    early, late = temporal.unpack_offset(first)[0], temporal.unpack_offset(second)[0]
    if part in {"year", "quarter", "month"}:
        months = [temporal.part_of("year", at) * 12 + temporal.part_of("month", at) - 1 for at in (early, late)]
        size = {"year": 12, "quarter": 3, "month": 1}[part]
        return months[1] // size - months[0] // size
    if part == "nanosecond":
        return (late - early) * 100
    unit = _UNITS[part]
    shift = temporal.DAY if part == "week" else 0  # weeks begin on Sunday; 0001-01-01 was a Monday
    return (late + shift) // unit - (early + shift) // unit


def _switch_offset(value: bytes, zone: str) -> bytes:
    sample = conversion(nvarchar(40), OFFSET)
    assert sample is not None
    return temporal.pack_offset(
        temporal.unpack_offset(value)[0], temporal.unpack_offset(sample(f"2000-01-01 00:00:00 {zone}"))[1]
    )


def _data_length(code: str, value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    return len(value.encode("utf-16-le", "surrogatepass")) if code == "wide" else len(value)


def _variant_property(value: bytes, name: str) -> bytes | None:
    kind, _ = unpack_variant(value)
    found: dict[str, tuple[SqlType, Any]] = {
        "basetype": (nvarchar(128), kind.name),
        "precision": (INT, kind.precision),
        "scale": (INT, kind.scale),
        "maxlength": (INT, kind.max_length),
        "totalbytes": (INT, len(value)),
    }
    if name.lower() not in found:
        return None
    source, held = found[name.lower()]
    step = conversion(source, VARIANT)
    assert step is not None
    return bytes(step(held))


def _clr_point(kind: str, x: Any, y: Any, srid: int) -> bytes:
    return clr.point_bytes(kind, float(x), float(y), srid)


def _clr_srid(value: bytes, srid: int) -> bytes:
    return srid.to_bytes(4, "little", signed=True) + value[4:]


class _DecimalTotal:
    """SUM and AVG of decimals, exact."""

    def __init__(self, average: bool) -> None:  # noqa: FBT001 - one of two aggregates
        self.total = Decimal(0)
        self.count = 0
        self.scale = 0
        self.average = average


def _add_decimal(context: _DecimalTotal, value: str | None, scale: int) -> None:
    context.scale = scale
    if value is not None:
        context.total = _EXACT.add(context.total, Decimal(value))
        context.count += 1


def _decimal_total(context: _DecimalTotal) -> str | None:
    if not context.count:
        return None
    result = _EXACT.divide(context.total, Decimal(context.count)) if context.average else context.total
    return to_decimal(SqlType("decimal", 0, 38, context.scale))(result)


def _sum_factory() -> tuple[Any, ...]:
    return _DecimalTotal(average=False), _add_decimal, _decimal_total


def _average_factory() -> tuple[Any, ...]:
    return _DecimalTotal(average=True), _add_decimal, _decimal_total


def _compare(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _compare_text(left: str, right: str) -> int:
    return _compare(left.rstrip(" ").casefold(), right.rstrip(" ").casefold())


def _compare_decimal(left: str, right: str) -> int:
    return _compare(Decimal(left), Decimal(right))


@lru_cache(maxsize=10_000)
def _guid_key(value: str) -> bytes:
    data = uuid.UUID(value).bytes_le
    return data[10:] + data[8:10] + data[6:8] + data[4:6] + data[:4]


def _compare_guid(left: str, right: str) -> int:
    return _compare(_guid_key(left), _guid_key(right))


_PURE: dict[str, Callable[..., Any]] = {
    "int_div": _int_div,
    "int_mod": _int_mod,
    "int_xor": lambda left, right: left ^ right,
    "float_div": _float_div,
    "dec_math": _dec_math,
    "dec_minus": _dec_minus,
    "bin_join": _bin_join,
    "tsql_like": _tsql_like,
    "text_length": lambda value: units(value.rstrip(" ")),
    "tsql_upper": str.upper,
    "tsql_lower": str.lower,
    "substring_of": _substring,
    "right_of": _right,
    "reversed_text": lambda value: value[::-1],
    "replaced": _replace,
    "replicated": lambda value, count: value * max(count, 0),
    "absolute": _number_function(abs, abs),
    "sign_of": _number_function(lambda value: (value > 0) - (value < 0), lambda value: Decimal(_compare(value, 0))),
    "floored": _number_function(math.floor, lambda value: value.to_integral_value(ROUND_FLOOR)),
    "ceiled": _number_function(math.ceil, lambda value: value.to_integral_value(ROUND_CEILING)),
    "rounded": _round,
    "date_add": _date_add,
    "date_part": _date_part,
    "date_diff": _date_diff,
    "switch_offset": _switch_offset,
    "data_length": _data_length,
    "variant_property": _variant_property,
    "character": character,
    "clr_point": _clr_point,
    "clr_srid": _clr_srid,
}


_OF_NULL: dict[str, Callable[..., Any]] = {
    "cv": _convert,
    "try_cv": _try_convert,
    "char_index": _char_index,
    "row_count": _row_count,
}


def register(connection: apsw.Connection) -> None:
    """Give a connection the pure functions, the aggregates and the collations."""
    connection.create_collation("CI", _compare_text)
    connection.create_collation("DEC", _compare_decimal)
    connection.create_collation("GUID", _compare_guid)
    for name, function in _PURE.items():
        connection.create_scalar_function(name, _null_aware(function), deterministic=True)
    for name, function in _OF_NULL.items():
        connection.create_scalar_function(name, function, deterministic=True)
    connection.create_aggregate_function("dec_sum", _sum_factory)
    connection.create_aggregate_function("dec_avg", _average_factory)
