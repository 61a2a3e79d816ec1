"""Blocking queries that are held open in the background, each in a task that asks again for ever."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from shared import schedule
from shared.errors import SluiceError, TransientError
from shared.ports import Clock
from shared.sources.consul.reads import Bucket

type Ask = Callable[[bool], Awaitable[None]]
"""Asks once; given False, without waiting: whether all is well again after a failure is to be known at once."""

RATE: Final = 1.0
BURST: Final = 5.0
"""Answers per second that one blocking query may have, and how many of them at once: some return all the time."""
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 60.0


class Queries:
    """The tasks of one datacenter: some for good, and up to `most` others of which the least used one ends."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._lasting: dict[str, asyncio.Task[None]] = {}
        self._hot: OrderedDict[str, asyncio.Task[None]] = OrderedDict()
        self._ending: set[asyncio.Task[None]] = set()
        self._failures: dict[str, SluiceError] = {}

    def hold(self, name: str, ask: Ask) -> None:
        """Do `ask` again and again, unless that is done already."""
        if name not in self._lasting:
            self._lasting[name] = asyncio.create_task(self._repeat(name, ask))

    def hold_hot(self, name: str, ask: Ask) -> None:
        """Do the same for a service that changes often, in the place of the one that has not changed for longest."""
        if not self._lasting or not self._most:
            return
        if name not in self._hot:
            if len(self._hot) >= self._most:
                self._hot.popitem(last=False)[1].cancel()
            self._hot[name] = asyncio.create_task(self._repeat(f"service {name}", ask))
        self._hot.move_to_end(name)

    def renew(self) -> None:
        """End every query but the one that calls this: for an index that fell they would wait in vain.

        They are to be held anew; a service that changes often has its own again after its next change.
        """
        current = asyncio.current_task()
        self._failures.clear()
        for held in (self._lasting, self._hot):
            for name in [name for name, task in held.items() if task is not current]:
                task = held.pop(name)
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    def check(self) -> None:
        """Say what goes wrong at present.

        Raises:
            TransientError: Consul cannot be reached.
            ConfigError: it refuses.
        """
        for task in (*self._lasting.values(), *self._hot.values()):
            if task.done() and not task.cancelled():
                task.result()  # none ends by itself: this is a bug
        for why in self._failures.values():
            raise why

    async def close(self) -> None:
        """End every task."""
        tasks = [*self._lasting.values(), *self._hot.values(), *self._ending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, name: str, ask: Ask) -> None:
        pace, failures = Bucket(RATE, BURST, self._clock), 0
        try:
            while True:
                await pace.take()
                try:
                    await ask(not failures)
                except SluiceError as why:
                    self._failures[name] = why
                    failures += 1
                    jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
                    wait_s = schedule.backoff(failures, FIRST_BACKOFF_S, LONGEST_BACKOFF_S, jitter)
                    await self._clock.sleep(max(wait_s, _asked_for(why)))
                else:
                    failures = 0
                    self._failures.pop(name, None)
        finally:
            self._failures.pop(name, None)


def _asked_for(why: SluiceError) -> float:
    """Return for how long Consul wants to be left alone, in seconds."""
    return why.retry_after or 0.0 if isinstance(why, TransientError) else 0.0
