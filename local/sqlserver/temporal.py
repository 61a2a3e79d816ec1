"""Dates and times: days and 100 ns ticks since 0001-01-01, their texts, and the rounding of each type."""

import re
import struct
from calendar import monthrange
from datetime import UTC, date, datetime

from local.sqlserver.errors import SqlError
from local.sqlserver.sqltypes import SqlType

SECOND = 10_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
UNITS = (10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1)  # ticks of the last digit, by number of digits
LAST_DAY = date.max.toordinal() - 1
EPOCH_1900 = date(1900, 1, 1).toordinal() - 1
EPOCH_1753 = date(1753, 1, 1).toordinal() - 1
_OFFSET = struct.Struct(">qh")
_ISO = re.compile(
    r"\s*(?:(\d{4})-?(\d\d)-?(\d\d))?(?:(?:^|[T ]|(?<=\d)\s)\s*(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?"
    r"\s*(Z|[+-]\d\d:\d\d)?\s*",
    re.IGNORECASE,
)


def parse(text: str) -> tuple[int, int | None]:
    """Read an ISO date, time or both: local ticks (date 1900-01-01 when missing) and the offset in minutes, if any.

    Raises:
        SqlError: 241 when it is not one; formats that depend on SET DATEFORMAT are not known here.
    """
    found = _ISO.fullmatch(text)
    if found is None or (found[1] is None and found[4] is None and text.strip()):
        raise _unreadable()
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() - 1 if year else EPOCH_1900
    except ValueError as why:
        raise _out_of_range() from why
    clock = (int(hour or 0), int(minute or 0), int(second or 0))
    if clock[0] > 23 or clock[1] > 59 or clock[2] > 59:
        raise _out_of_range()
    ticks = days * DAY + (clock[0] * 3600 + clock[1] * 60 + clock[2]) * SECOND
    if fraction:
        ticks += (int(fraction.ljust(9, "0")) + 50) // 100
    return ticks, None if zone is None else _minutes(zone)


def _minutes(zone: str) -> int:
    if zone in {"Z", "z"}:
        return 0
    size = int(zone[1:3]) * 60 + int(zone[4:6])
    if size > 14 * 60:
        raise _out_of_range()
    return -size if zone[0] == "-" else size


def _unreadable() -> SqlError:
    return SqlError(241, "Conversion failed when converting date and/or time from character string.")


def _out_of_range() -> SqlError:
    text = "The conversion of a varchar data type to a datetime data type resulted in an out-of-range value."
    return SqlError(242, text, state=3)


def round_moment(ticks: int, kind: SqlType) -> int:
    """Round ticks to what a datetime, smalldatetime or datetime2(n) column holds.

    Raises:
        SqlError: 242 when the type does not reach that far.
    """
    if kind.name == "datetime":
        ticks = thirds_to_ticks(ticks_to_thirds(ticks))
        low, high = EPOCH_1753, LAST_DAY
    elif kind.name == "smalldatetime":
        ticks = (ticks + MINUTE // 2) // MINUTE * MINUTE
        low, high = EPOCH_1900, EPOCH_1900 + 65535
    else:
        rounded = round_ticks(ticks, kind.scale)
        return rounded if rounded // DAY <= LAST_DAY else rounded - UNITS[kind.scale]
    if not low <= ticks // DAY <= high:
        raise _out_of_range()
    return ticks


def round_time(ticks: int, scale: int) -> int:
    """Round a time of day to so many digits; past midnight it starts again."""
    return round_ticks(ticks, scale) % DAY


def round_ticks(ticks: int, scale: int) -> int:
    """Round half up to so many digits of a second."""
    unit = UNITS[scale]
    return (ticks + unit // 2) // unit * unit


def ticks_to_thirds(ticks: int) -> int:
    """Return the 1/300 s since 0001-01-01 nearest to `ticks`."""
    return (ticks * 300 + SECOND // 2) // SECOND


def thirds_to_ticks(thirds: int) -> int:
    """Return the ticks of a number of 1/300 s."""
    return (thirds * SECOND + 150) // 300


def pack_offset(utc_ticks: int, minutes: int) -> bytes:
    """Return the stored form of a datetimeoffset: UTC first, so that equal instants share a prefix."""
    return _OFFSET.pack(utc_ticks, minutes)


def unpack_offset(stored: bytes) -> tuple[int, int]:
    """Return UTC ticks and the offset in minutes."""
    utc, minutes = _OFFSET.unpack(stored)
    return utc, minutes


def now() -> tuple[int, int]:
    """Return the current UTC ticks and this server's offset from UTC in minutes."""
    moment = datetime.now(UTC)
    offset = moment.astimezone().utcoffset()
    assert offset is not None
    return ticks_of(moment.replace(tzinfo=None)), int(offset.total_seconds()) // 60


def ticks_of(moment: datetime) -> int:
    """Return the ticks of a naive datetime."""
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    return (moment.toordinal() - 1) * DAY + seconds * SECOND + moment.microsecond * 10


def date_text(days: int) -> str:
    """Return `YYYY-MM-DD`."""
    return date.fromordinal(days + 1).isoformat()


def time_text(ticks: int, digits: int) -> str:
    """Return `HH:MM:SS` and so many digits of the fraction, cut."""
    seconds, fraction = divmod(ticks % DAY, SECOND)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:07d}"[: 9 + digits] if digits else text


def _dotted(ticks: int, digits: int) -> str:
    text = time_text(ticks, digits)
    return text[:8] if digits and ticks % SECOND // UNITS[digits] == 0 else text


def _legacy(ticks: int) -> str:
    day = date.fromordinal(ticks // DAY + 1)
    hour, minute = ticks % DAY // MINUTE // 60, ticks // MINUTE % 60
    return f"{day:%b} {day.day:2d} {day.year:04d} {(hour + 11) % 12 + 1:2d}:{minute:02d}{'PM' if hour >= 12 else 'AM'}"


def moment_text(ticks: int, digits: int, style: int) -> str:
    """Return the text of a date and time in one of the styles of CONVERT.

    Raises:
        SqlError: 281 for a style this server does not know.
    """
    day = date_text(ticks // DAY)
    if style in {0, 100}:
        return _legacy(ticks)
    texts = {
        20: f"{day} {time_text(ticks, 0)}",
        21: f"{day} {time_text(ticks, digits)}",
        23: day,
        25: f"{day} {time_text(ticks, digits)}",
        108: time_text(ticks, 0),
        112: day.replace("-", ""),
        114: f"{time_text(ticks, 0)}:{time_text(ticks, 3)[9:]}",
        120: f"{day} {time_text(ticks, 0)}",
        121: f"{day} {time_text(ticks, digits)}",
        126: f"{day}T{_dotted(ticks, digits)}",
        127: f"{day}T{_dotted(ticks, digits)}",
    }
    if style not in texts:
        raise SqlError(281, f"{style} is not a valid style number when converting from datetime to a character string.")
    return texts[style]


def offset_text(stored: bytes, digits: int, style: int) -> str:
    """Return the text of a datetimeoffset in one of the styles of CONVERT; 127 is UTC with a Z."""
    utc, minutes = unpack_offset(stored)
    if style == 127:
        return moment_text(utc, digits, style) + "Z"
    sign, size = ("-", -minutes) if minutes < 0 else ("+", minutes)
    zone = f"{sign}{size // 60:02d}:{size % 60:02d}"
    local = moment_text(utc + minutes * MINUTE, digits, style)
    return f"{local}{zone}" if style == 126 else f"{local} {zone}"


def add_months(days: int, months: int) -> int:
    """Return a day so many months away, the last of its month where that is shorter."""
    day = date.fromordinal(days + 1)
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not date.min.year <= year <= date.max.year:
        raise SqlError(517, "Adding a value to a 'datetime2' column caused an overflow.")
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1])).toordinal() - 1


def part_of(part: str, ticks: int) -> int:
    """Return one part of a date and time; the week begins on Sunday."""
    day = date.fromordinal(ticks // DAY + 1)
    clock = ticks % DAY
    first = date(day.year, 1, 1)
    parts = {
        "year": day.year,
        "quarter": (day.month + 2) // 3,
        "month": day.month,
        "day": day.day,
        "dayofyear": day.timetuple().tm_yday,
        "weekday": day.isoweekday() % 7 + 1,
        "week": ((day - first).days + first.isoweekday() % 7) // 7 + 1,
        "hour": clock // (60 * MINUTE),
        "minute": clock // MINUTE % 60,
        "second": clock // SECOND % 60,
        "millisecond": clock % SECOND // 10_000,
        "microsecond": clock % SECOND // 10,
        "nanosecond": clock % SECOND * 100,
    }
    return parts[part]
