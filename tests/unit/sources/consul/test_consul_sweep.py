"""Which services a sweep asks, where something wakes it all the time and where nothing does."""

from typing import Any, cast

import pytest

from shared.clock import ManualClock
from shared.events import Stream
from shared.settings.model import ConsulSettings
from shared.sources.consul.marks import Marks
from shared.sources.consul.reads import Reads
from shared.sources.consul.sweep import WHOLE_EVERY_S, Sweep

SERVICES, RATE = 1_000, 100.0
NAMES = [f"s{number:04}" for number in range(SERVICES)]
SETTINGS = ConsulSettings("registry", "http://127.0.0.1", requests_per_second=RATE, connections=4)


class Indexes:
    """The indexes of all services, at the agreed rate."""

    def __init__(self, clock: ManualClock) -> None:
        self.of = dict.fromkeys(NAMES, 7)
        self.asked = 0
        self._clock = clock

    async def index(self, _: str, name: str) -> int:
        await self._clock.advance(1 / RATE)
        self.asked += 1
        return self.of[name]


def made(clock: ManualClock) -> tuple[Sweep, Marks, Indexes]:
    marks, indexes = Marks(Stream("catalog"), Stream), Indexes(clock)
    marks.select({name: Stream(name) for name in NAMES})
    for number, service in enumerate(marks.services.values()):
        service.index, service.changed_at = 7, float(number)
        marks.read(service.stream, service.name, marks.get(service.stream), 7)
    return Sweep("dc1", marks, SETTINGS, cast("Reads", cast("Any", indexes)), clock), marks, indexes


@pytest.mark.parametrize(("is_busy", "most"), [(False, SERVICES), (True, 4 * SERVICES)])
async def test_a_change_of_a_service_that_never_changed_is_found_however_often_others_wake_it(is_busy, most):
    clock = ManualClock()
    sweep, marks, indexes = made(clock)
    indexes.of[NAMES[0]] = 8
    sweep.want(8)
    while not marks.among([Stream(NAMES[0])]) and indexes.asked <= most:
        if is_busy:
            sweep.want()
        await sweep.run()
        await clock.advance(0.1)
    assert indexes.asked <= most


@pytest.mark.parametrize("is_busy", [False, True])
async def test_once_a_day_every_service_is_read(is_busy):
    clock = ManualClock()
    sweep, marks, _ = made(clock)
    await clock.advance(WHOLE_EVERY_S)
    until = clock.monotonic() + 3 * SERVICES / RATE / 0.05
    while len(marks.among(map(Stream, NAMES))) < SERVICES and clock.monotonic() < until:
        if is_busy:
            sweep.want()
        await sweep.run()
        await clock.advance(1.0)
    assert len(marks.among(map(Stream, NAMES))) == SERVICES
