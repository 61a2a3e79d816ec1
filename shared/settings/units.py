"""Durations, sizes and shares with their units."""

import re

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"B": 1, "KB": 1024, "KIB": 1024, "MB": 1024**2, "MIB": 1024**2, "GB": 1024**3, "GIB": 1024**3}

_DURATION_PART = re.compile(r"(\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+", re.ASCII)
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([KMG]i?B|B)", re.ASCII | re.IGNORECASE)
_SHARE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*(%?)", re.ASCII)


def seconds(text: str) -> float:
    """Return a Go duration, `5s`, `1m30s`, `100ms`, in seconds.

    Raises:
        ValueError: it is none, or negative; the message is a hint.

    Source:
        https://pkg.go.dev/time#ParseDuration
    """
    if text == "0":
        return 0.0
    if not _DURATION.fullmatch(text):
        message = 'a duration is written "100ms", "5s", "1m30s" or "2h"'
        raise ValueError(message)
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def size(text: str) -> int:
    """Return a size, `256KB`, `1MB`, in bytes; KB and KiB are both 1,024 bytes, as the broker counts.

    Raises:
        ValueError: it is none; the message is a hint.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        message = 'a size is written "512B", "256KB" or "1MB"'
        raise ValueError(message)
    return int(float(found[1]) * _BYTES[found[2].upper()])


def share(text: str) -> float:
    """Return a share of a whole, `30%` or `0.3`, as a number.

    Raises:
        ValueError: it is none; the message is a hint.
    """
    found = _SHARE.fullmatch(text)
    if not found:
        message = 'a share is written "30%" or 0.3'
        raise ValueError(message)
    return float(found[1]) / 100 if found[2] else float(found[1])
