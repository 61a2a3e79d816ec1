"""Durations as Go writes them: `10s`, `5m`, `250ms`, `1h30m`.

https://pkg.go.dev/time#ParseDuration
"""

import re

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)"
_WHOLE = re.compile(rf"[+-]?(?:0|(?:{_PART})+)")


def seconds(text: str) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: it is none.
    """
    if not _WHOLE.fullmatch(text):
        message = f"invalid duration {text!r}"
        raise ValueError(message)
    total = sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(_PART, text))
    return -total if text.startswith("-") else total
