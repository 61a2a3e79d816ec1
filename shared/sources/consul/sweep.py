"""Asking services for their index, one by one: an index that rose says that something changed, not always what."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from shared.errors import SluiceError
from shared.ports import Clock
from shared.settings.model import ConsulSettings
from shared.sources.consul.marks import Marks, Service
from shared.sources.consul.reads import Reads

SHARE: Final = 0.05
"""The share of the agreed rate that is spent to find what a wake-up may hide behind what it shows."""
URGENT_S: Final = 5.0
LEISURE_S: Final = 1.0
"""How long one run goes on."""
WHOLE_EVERY_S: Final = 86_400.0
"""How often every service is read whatever its index: there are changes that move none."""


class Sweep:
    """Goes over the services of a datacenter, those first that changed last, and those that were not asked for longest.

    A wake-up that shows nothing is urgent, until a service has its index. All else is looked for at leisure: several
    changes may have come in one wake-up. Consul moves the index of the service that a check comes to, not that of the
    one it was taken from: such a service has to be read to be known.

    Source:
        https://github.com/hashicorp/consul/blob/main/agent/consul/state/catalog.go (`ensureCheckTxn`)
    """

    def __init__(self, datacenter: str, marks: Marks, settings: ConsulSettings, reads: Reads, clock: Clock) -> None:
        self._datacenter = datacenter
        self._marks = marks
        self._settings = settings
        self._reads = reads
        self._clock = clock
        self._wanted = 0
        self._done = 0
        self._unexplained = 0
        self._not_before = float("-inf")
        self._whole = 0
        self._whole_at = clock.monotonic()

    def want(self, unexplained: int = 0) -> None:
        """Ask all services once more; urgently, when nothing explains the index `unexplained`."""
        self._wanted += 1
        self._unexplained = max(unexplained, self._unexplained)

    def forget(self) -> None:
        """Want nothing: everything is marked."""
        self._done, self._unexplained, self._whole = self._wanted, 0, 0
        self._whole_at = self._clock.monotonic()

    def due_in(self) -> float | None:
        """Return in how many seconds to go on, None when there is nothing to do."""
        if self._done >= self._wanted or not self._marks.services:
            return None
        return 0 if self._unexplained else max(self._not_before - self._clock.monotonic(), 0)

    async def run(self) -> None:
        """Go on for a few seconds, if there is a need.

        Raises:
            TransientError: Consul cannot be reached.
            ConfigError: it refuses.
        """
        if self._clock.monotonic() >= self._whole_at + WHOLE_EVERY_S:
            self.want()
            self._whole, self._whole_at = self._wanted, self._clock.monotonic()
        if self.due_in() != 0:
            return
        wanted, was_urgent = self._wanted, bool(self._unexplained)
        ends = self._clock.monotonic() + (URGENT_S if was_urgent else LEISURE_S)
        services = self._marks.services.values()
        waiting = [service for service in services if service.asked_in < wanted]
        line, asked, failures = iter(_fairly(waiting)), 0, list[SluiceError]()

        async def take() -> None:
            nonlocal asked
            for service in line:
                try:
                    await self._ask(service)
                except SluiceError as why:
                    failures.append(why)
                asked += 1
                is_over = self._clock.monotonic() >= ends or (was_urgent and not self._unexplained)
                if failures or is_over:
                    return

        await asyncio.gather(*(take() for _ in range(min(self._settings.connections, len(waiting)))))
        rate = self._settings.requests_per_second * SHARE
        self._not_before = max(self._not_before, self._clock.monotonic()) + asked / rate
        if failures:
            raise failures[0]
        if all(service.asked_in >= wanted for service in self._marks.services.values()):
            self._done = wanted
            if self._wanted == wanted:
                self._unexplained = 0

    async def _ask(self, service: Service) -> None:
        wanted = self._wanted  # before asking: what comes while it is asked has to be asked for again
        index = await self._reads.index(self._datacenter, service.name)
        if service.asked_in < self._whole:
            self._marks.mark(service.stream)
        elif index != service.index:
            self._marks.mark(service.stream, index)
        service.asked_in = wanted
        if index >= self._unexplained:
            self._unexplained = 0


def _fairly(services: Sequence[Service]) -> Iterable[Service]:
    """Return each once: by turns the one that changed last and the one that was not asked for longest.

    Where something wakes us all the time, one run never gets far.
    """
    lately = sorted(services, key=lambda service: service.changed_at, reverse=True)
    longest = sorted(services, key=lambda service: service.asked_in)
    return dict.fromkeys(each for pair in zip(lately, longest, strict=True) for each in pair)
