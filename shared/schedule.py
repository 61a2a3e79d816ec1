"""When a stream is looked at next: pure, in seconds and UTC."""

import math
from datetime import datetime, timedelta


def quieter(interval_s: float, poll_interval_s: float, max_poll_interval_s: float) -> float:
    """Return the interval after one more quiet look: doubled, from `poll_interval_s` up to `max_poll_interval_s`."""
    return min(max(interval_s, poll_interval_s / 2) * 2, max_poll_interval_s)


def due(anchor: datetime, interval_s: float, now: datetime) -> datetime:
    """Return the first `anchor` + k x `interval_s`, k >= 1, that is not before `now`.

    Counted from the anchor, so that a stream keeps its turn over a restart and two do not drift into step.
    """
    if interval_s <= 0:
        return now
    turns = max(1, math.ceil((now - anchor).total_seconds() / interval_s))
    return anchor + timedelta(seconds=turns * interval_s)


def backoff(failures: int, base_s: float, max_s: float, jitter: float) -> float:
    """Return the wait after the `failures`-th failure in a row (1-based), in seconds.

    `base_s` doubled each time up to `max_s`, then cut by up to half by `jitter` (0 to 1), so that those who failed
    together do not return together.
    """
    return min(base_s * 2.0 ** min(failures - 1, 30), max_s) * (1 - jitter / 2)
