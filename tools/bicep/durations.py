"""Durations in ISO 8601, as templates write them, and the ranges that Service Bus allows.

Source:
    https://learn.microsoft.com/azure/templates/microsoft.servicebus/namespaces/queues
"""

import re
from datetime import timedelta

_FORM = re.compile(r"P(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_LONGEST = timedelta(days=10_675_199, hours=2, minutes=48, seconds=5.477_581)

RANGES = {
    "lockDuration": (timedelta(seconds=5), timedelta(minutes=5)),
    "autoDeleteOnIdle": (timedelta(minutes=5), _LONGEST),
    "duplicateDetectionHistoryTimeWindow": (timedelta(seconds=20), timedelta(days=7)),
    "defaultMessageTimeToLive": (timedelta(seconds=1), _LONGEST),
}


def duration(text: str) -> timedelta | None:
    """Return how long `P1DT2H3M4.5S` is, None when it is no such text; months and years have no length."""
    found = _FORM.fullmatch(text)
    if not found or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def fault(name: str, text: str) -> str | None:
    """Return what is wrong with the duration of a property, None when nothing is."""
    found = duration(text)
    if found is None:
        return f"{text!r} is no duration: write PT1M, PT1H or P14D"
    low, high = RANGES.get(name, (timedelta(0), _LONGEST))
    return None if low <= found <= high else f"{text!r} is not between {low} and {high}"
