"""What waits for the triggers of an app: timers and queues."""

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Any

from azure.core.exceptions import AzureError

from local.host.errors import FunctionError, HostError
from local.host.host_json import HostOptions
from local.host.servicebus import ServiceBusTrigger
from local.host.settings import Settings
from local.host.timer import Storage, Timer
from local.host.waiting import set_within
from local.host.worker import Function, Worker

RESTART_S = 5.0

_log = logging.getLogger("Host")


class Listeners:
    """The timers and queue triggers of a host; `errors` says, by function, why one was not started."""

    def __init__(self, worker: Worker, settings: Settings, options: HostOptions) -> None:
        self.errors: dict[str, str] = {}
        self._worker = worker
        self._settings = settings
        self._options = options
        self._stop = asyncio.Event()
        self._listeners: dict[str, Timer | ServiceBusTrigger] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def prepare(self, functions: Sequence[Function], storage: Storage | None) -> None:
        """Read the triggers; as in Azure, a function with a bad setting is in error and the others run.

        Raises:
            HostError: every function is in error, or one needs what this host does not do.
        """
        for function in functions:
            try:
                if function.kind == "timerTrigger":
                    self._listeners[function.name] = Timer(self._worker, function, self._settings, storage)
                elif function.kind == "serviceBusTrigger":
                    self._listeners[function.name] = ServiceBusTrigger(
                        self._worker, function, self._settings, self._options.service_bus
                    )
            except FunctionError as why:
                self.errors[function.name] = str(why)
                _log.error("The '%s' function is in error: %s", function.name, why)
        if functions and len(self.errors) == len(functions):
            message = "; ".join(f"the '{name}' function is in error: {why}" for name, why in self.errors.items())
            raise HostError(message)

    def start(self) -> None:
        """Listen."""
        for name, listener in self._listeners.items():
            task = asyncio.create_task(self._listen(name, listener), name=name)
            task.add_done_callback(_end_process_if_it_died)
            self._tasks.append(task)

    def next_occurrences(self) -> dict[str, str | None]:
        """Return when each timer fires next; None while it waits for its lock."""
        return {
            name: each.next.isoformat() if each.next else None
            for name, each in self._listeners.items()
            if isinstance(each, Timer)
        }

    async def drain(self) -> None:
        """Listen no more; invocations under way are finished and settled."""
        self._stop.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _listen(self, name: str, listener: Timer | ServiceBusTrigger) -> None:
        while not self._stop.is_set():
            try:
                await listener.run(self._stop)
            except AzureError as why:
                _log.error("The listener for 'Functions.%s' is started again: %s", name, why)
                await set_within(self._stop, RESTART_S)


def _end_process_if_it_died(task: asyncio.Task[Any]) -> None:
    """A host without one of its listeners would look healthy and do nothing."""
    if not task.cancelled() and (why := task.exception()) is not None:
        _log.critical("The listener for 'Functions.%s' died", task.get_name(), exc_info=why)
        logging.shutdown()
        os._exit(1)
