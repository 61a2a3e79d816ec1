"""Time for the broker: UTC milliseconds, and one alarm per entity."""

import asyncio
import time
from collections.abc import Callable


def now_ms() -> int:
    """Return the time in UTC milliseconds."""
    return time.time_ns() // 1_000_000


class Alarm:
    """Calls once at the earliest time it was set to; a call too early is harmless, a missing one is not.

    One pending timer per entity, however many locks and messages it watches.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._at_ms: int | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at_ms: int) -> None:
        """Ring at the time, unless it rings earlier anyway."""
        if self._at_ms is not None and self._at_ms <= at_ms:
            return
        self.stop()
        self._at_ms = at_ms
        delay_s = max(at_ms - now_ms(), 0) / 1000 + 0.001
        self._handle = asyncio.get_running_loop().call_later(delay_s, self._fire)

    def stop(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._at_ms = None, None

    def _fire(self) -> None:
        self._handle, self._at_ms = None, None
        self._ring()
