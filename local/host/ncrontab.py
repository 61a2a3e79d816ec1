"""NCRONTAB, the schedules of timer triggers: `{second} {minute} {hour} {day} {month} {day of week}`, in UTC.

Unlike in cron, the day of the month and the day of the week must both match, Sunday is 0 only, and names may be
shortened to any prefix. Source: https://github.com/atifaziz/NCrontab and
https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, time, timedelta
from typing import Self

HORIZON_YEARS = 48  # the 29th of February on a given weekday can be 40 years away, across 2100

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed expression: the allowed values of each field, ascending."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse five fields (second 0) or six.

        Raises:
            ValueError: the text is not NCRONTAB; the message names the field.
        """
        fields = text.split()
        if len(fields) == len(_FIELDS) - 1:
            fields.insert(0, "0")
        if len(fields) != len(_FIELDS):
            message = f"'{text}' is not an NCRONTAB expression: five or six fields are needed"
            raise ValueError(message)
        return cls(*(_values(field, part) for field, part in zip(_FIELDS, fields, strict=True)))

    @property
    def sub_minute(self) -> bool:
        """Whether it fires more than once a minute, every minute: such timers are not monitored."""
        every = all(
            len(values) == field.high - field.low + 1
            for field, values in zip(
                _FIELDS[1:], (self.minutes, self.hours, self.days, self.months, self.weekdays), strict=True
            )
        )
        return every and len(self.seconds) > 1

    def after(self, moment: datetime) -> datetime | None:
        """Return the first occurrence strictly after the whole second of `moment`; None: there is none."""
        first = moment.replace(microsecond=0) + timedelta(seconds=1)
        for day in self._days_from(first.date()):
            at = self._time_from(first.time() if day == first.date() else time.min)
            if at is not None:
                return datetime.combine(day, at, tzinfo=moment.tzinfo)
        return None

    def _days_from(self, first: date) -> Iterator[date]:
        for year in range(first.year, min(first.year + HORIZON_YEARS, MAXYEAR)):
            for month in self.months:
                length = monthrange(year, month)[1]
                for number in self.days:
                    if number <= length:
                        day = date(year, month, number)
                        if day >= first and day.isoweekday() % 7 in self.weekdays:
                            yield day

    def _time_from(self, first: time) -> time | None:
        for hour in self.hours:
            for minute in self.minutes:
                for second in self.seconds:
                    if (hour, minute, second) >= (first.hour, first.minute, first.second):
                        return time(hour, minute, second)
                    if (hour, minute) < (first.hour, first.minute):
                        break
        return None


def _values(field: _Field, text: str) -> tuple[int, ...]:
    allowed: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        if slash and (not _is_number(step) or int(step) < 1):
            message = f"'{part}' is no value of the {field.name} field: the step must be 1 or more"
            raise ValueError(message)
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = field.low, field.high
        elif dash:
            low, high = sorted((_value(field, first), _value(field, last)))
        else:
            low = _value(field, span)
            high = field.high if slash else low
        allowed.update(range(low, high + 1, int(step or 1)))
    return tuple(sorted(allowed))


def _value(field: _Field, text: str) -> int:
    if _is_number(text):
        number = int(text)
        if field.low <= number <= field.high:
            return number
        message = f"'{text}' is no value of the {field.name} field: {field.low} to {field.high}"
        raise ValueError(message)
    for number, name in enumerate(field.names, field.low):
        if text and name.lower().startswith(text.lower()):
            return number
    message = f"'{text}' is no value of the {field.name} field"
    raise ValueError(message)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
