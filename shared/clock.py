"""Two clocks: the system's, and one that a test moves by hand."""

import asyncio
import heapq
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the current time, UTC, aware."""
        return datetime.now(UTC)  # noqa: TID251 - this is the clock that everything else is given

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class ManualClock:
    """Time that stands still until it is moved; sleepers wake in the order of their time, then of their arrival.

    `advance` moves it. With `jumps`, it also moves by itself to the next sleeper as soon as nobody has asked this clock
    anything for `turns` turns of the event loop: code over in-memory twins then runs through its waits at once, in the
    same order every time. Without, a sleeper waits for `advance`. `turns` is also how long everybody may go on after a
    sleeper has woken before time moves further.
    """

    def __init__(
        self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), *, jumps: bool = True, turns: int = 20
    ) -> None:
        self._start = start
        self._elapsed = 0.0
        self._jumps = jumps
        self._turns = turns
        self._quiet = 0
        self._watching = False
        self._arrivals = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the current time, UTC, aware."""
        self._quiet = 0
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return the seconds that have passed since the start."""
        self._quiet = 0
        return self._elapsed

    def due(self) -> float | None:
        """Return in how many seconds the next sleeper wakes; None when nobody sleeps."""
        self._drop_cancelled()
        return self._sleepers[0][0] - self._elapsed if self._sleepers else None

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved this far; without a time to wait, give way to others once."""
        self._quiet = 0
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._arrivals += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._arrivals, woken))
        if self._jumps and not self._watching:
            self._watching = True
            loop.call_soon(self._watch, loop.call_soon)
        await woken

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: each sleeper that is due meanwhile wakes at its time and may go on before the next."""
        until = self._elapsed + seconds
        while (due := self.due()) is not None and self._elapsed + due <= until:
            self._wake_next()
            for _ in range(self._turns):
                self._quiet = 0
                await asyncio.sleep(0)
        self._elapsed = until

    def _watch(self, again: Callable[..., object]) -> None:
        self._drop_cancelled()
        if not self._sleepers:
            self._watching = False
            return
        self._quiet += 1
        if self._quiet > self._turns:
            self._quiet = 0
            self._wake_next()
        again(self._watch, again)

    def _wake_next(self) -> None:
        at, _, woken = heapq.heappop(self._sleepers)
        self._elapsed = max(self._elapsed, at)
        woken.set_result(None)

    def _drop_cancelled(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
