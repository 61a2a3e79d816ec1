"""Timer triggers: when a timer fires, what it is told, and what is remembered between runs of the host.

Source: https://github.com/Azure/azure-webjobs-sdk-extensions, TimerListener.cs and ScheduleMonitor.cs
"""

import asyncio
import json
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from local.host.errors import FunctionError
from local.host.ncrontab import Schedule
from local.host.protos import TypedData
from local.host.settings import Settings
from local.host.waiting import set_within
from local.host.worker import Function, InvocationError, Worker, setting_of

BY_HAND = TypedData(json='{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}')
"""What a timer function is told when an operator runs it."""


@dataclass(frozen=True, slots=True)
class Status:
    """What is stored of a monitored timer: last run, next run, and when that was computed."""

    last: datetime | None
    next: datetime
    updated: datetime

    def to_json(self) -> dict[str, str]:
        """Return the names Azure stores; a timer that never ran has .NET's first date as its last."""
        return {
            "Last": self.last.isoformat() if self.last else "0001-01-01T00:00:00+00:00",
            "Next": self.next.isoformat(),
            "LastUpdated": self.updated.isoformat(),
        }


class Storage(Protocol):
    """Where the host keeps what its instances share."""

    async def load(self, function: str) -> Status | None:
        """Return the stored status of a timer."""
        ...

    async def save(self, function: str, status: Status) -> None:
        """Store the status of a timer."""
        ...

    def lock(self, function: str, stop: asyncio.Event) -> AbstractAsyncContextManager[asyncio.Event]:
        """Hold the one lock of a timer; waits for it. Yields an event that is set once stopped, or the lock is lost."""
        ...


def start_plan(stored: Status | None, schedule: Schedule, now: datetime) -> Status | None:
    """Return the status to store at start, or None when the stored one still holds.

    A schedule that was edited since does not make the timer past due for what it would have missed.
    """
    if stored is None:
        return Status(None, _next(schedule, now), now)
    base = stored.last or stored.updated
    expected = _next(schedule, base)
    if expected == stored.next:
        return None
    if now > expected:
        expected, base = _next(schedule, now), now
    return Status(None, expected, base)


class Timer:
    """One timer function; it never overlaps with itself, and missed occurrences are made up for by one call."""

    def __init__(self, worker: Worker, function: Function, settings: Settings, storage: Storage | None) -> None:
        """Read the trigger.

        Raises:
            FunctionError: the schedule is wrong or has no occurrence.
        """
        text = settings.resolve(setting_of(function, "schedule"))
        try:
            self._schedule = Schedule.parse(text)
        except ValueError as why:
            raise FunctionError(str(why)) from why
        if self._schedule.after(datetime.now(UTC)) is None:
            message = f"the schedule '{text}' never occurs"
            raise FunctionError(message)
        self._worker = worker
        self._function = function
        self._storage = storage
        self._run_on_startup = bool(function.trigger.get("runOnStartup", False))
        monitored = bool(function.trigger.get("useMonitor", True)) and not self._schedule.sub_minute
        self._store = storage if monitored else None
        self.next: datetime | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Fire until stopped; the invocation under way is finished."""
        while not stop.is_set():
            async with self._storage.lock(self._function.name, stop) if self._storage else nullcontext(stop) as end:
                if not end.is_set():
                    await self._tick(end)

    async def _tick(self, end: asyncio.Event) -> None:
        status = await self._begin()
        past_due = status is not None and datetime.now(UTC) > status.next
        self.next = status.next if status else _next(self._schedule, datetime.now(UTC))
        if past_due or self._run_on_startup:
            status = await self._fire(status, past_due=past_due, at=datetime.now(UTC))
        while not end.is_set():
            if await set_within(end, max(0.0, (self.next - datetime.now(UTC)).total_seconds())):
                return
            # The clock may be a little behind the timer: an early wake-up counts as the occurrence itself.
            status = await self._fire(status, past_due=False, at=max(datetime.now(UTC), self.next))

    async def _begin(self) -> Status | None:
        if self._store is None:
            return None
        stored = await self._store.load(self._function.name)
        fresh = start_plan(stored, self._schedule, datetime.now(UTC))
        if fresh is None:
            return stored
        await self._store.save(self._function.name, fresh)
        return fresh

    async def _fire(self, status: Status | None, *, past_due: bool, at: datetime) -> Status | None:
        info = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status.to_json() if status else None,
            "IsPastDue": past_due,
        }
        reason = f"Timer fired at {datetime.now(UTC).isoformat()}"
        with suppress(InvocationError):  # the next occurrence is the retry
            await self._worker.invoke(self._function, TypedData(json=json.dumps(info)), {}, reason)
        self.next = _next(self._schedule, at)
        if self._store is None:
            return None
        status = Status(at, self.next, at)
        await self._store.save(self._function.name, status)
        return status


def _next(schedule: Schedule, moment: datetime) -> datetime:
    found = schedule.after(moment)
    assert found is not None, "a schedule without occurrences was accepted"
    return found
