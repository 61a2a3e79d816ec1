"""Takes the messages of a session queue: many sessions at once, the messages of each one by one, in order.

The rules are those of the Functions host's Service Bus trigger with sessions, so that the same queue can be worked off
by either. Source: azure-sdk-for-net, ServiceBusSessionProcessor and SessionReceiverManager.
"""

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    ServiceBusServerBusyError,
    SessionLockLostError,
)

from shared.clock import SystemClock
from shared.deliver import Incoming
from shared.ports import Clock
from shared.schedule import backoff

type Callback = Callable[[ServiceBusReceivedMessage], Awaitable[None]]

MAX_SESSIONS = 48
SESSION_IDLE = timedelta(seconds=1)
MAX_AUTO_LOCK_RENEWAL = timedelta(days=1)

ACCEPT_WAIT_S = 60.0  # how long the broker looks for a session before it says that there is none
ANSWER_S = 15.0  # how much longer than asked for a broker may take before it counts as away
SETTLE_S = 20.0
CLOSE_S = 5.0
SLICE_S = 1.0  # a receive under way is waited for, so this is how long a drain may wait for an idle session
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0

_log = logging.getLogger("sluice.pump")


def incoming(message: ServiceBusReceivedMessage) -> Incoming:
    """Return the message as deliver takes it, its properties as a Functions host hands them over."""
    properties = message.application_properties or {}
    return Incoming(
        body=b"".join(message.body),
        content_type=message.content_type or "",
        id=message.message_id or "",
        session=message.session_id or "",
        subject=message.subject or "",
        correlation_id=message.correlation_id,
        properties={str(_plain(name)): _plain(value) for name, value in properties.items()},
    )


def _plain(value: object) -> str | float | None:
    """Return a property as JSON has it; the SDK gives texts as bytes."""
    match value:
        case bytes():
            return value.decode("utf-8", "replace")
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case str() | int() | float() | None:
            return value
        case _:
            return str(value)


class SessionPump:
    """Works off one session queue.

    A message is completed when `callback` returned and abandoned when it raised: it then comes again at once, with its
    delivery count one higher. At most `max_sessions` sessions are held and at most `accepting` (two per core, as in
    Azure) are being accepted at a time; a session without a message for `session_idle` makes room for another. The lock
    of a session is renewed until `max_auto_lock_renewal` after its acceptance, whatever it is doing then.

    Give it a `client` of its own, made with `retry_total=0`: what is worth repeating is repeated here, and the client's
    own waits would keep sessions from being accepted.
    """

    def __init__(
        self,
        client: ServiceBusClient,
        queue: str,
        callback: Callback,
        *,
        max_sessions: int = MAX_SESSIONS,
        session_idle: timedelta = SESSION_IDLE,
        accepting: int | None = None,
        max_auto_lock_renewal: timedelta = MAX_AUTO_LOCK_RENEWAL,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._queue = queue
        self._callback = callback
        self._max_sessions = max_sessions
        self._idle_s = session_idle.total_seconds()
        self._accepting = min(max_sessions, accepting or 2 * (os.process_cpu_count() or 1))
        self._renewal_s = max_auto_lock_renewal.total_seconds()
        self._clock = clock or SystemClock()
        self._failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain: accept no more, let callbacks end, settle, close.

        Survives the absence of the broker, and lost session locks. Cancelling drops the callbacks under way; their
        messages come again.
        """
        slots = asyncio.Semaphore(self._max_sessions)
        async with asyncio.TaskGroup() as tasks:
            acceptors = [tasks.create_task(self._accept_sessions(slots, tasks, stop)) for _ in range(self._accepting)]
            await stop.wait()
            for acceptor in acceptors:
                acceptor.cancel()

    async def _accept_sessions(self, slots: asyncio.Semaphore, tasks: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        while True:
            await slots.acquire()
            receiver = None
            try:
                receiver = await self._accept()
            finally:
                if receiver is None:
                    slots.release()
            if receiver is not None:
                task = tasks.create_task(self._work_off(receiver, stop))
                task.add_done_callback(lambda _: slots.release())

    async def _accept(self) -> ServiceBusReceiver | None:
        """Wait for a session; None when there is none, or, after a pause, when the broker is away."""
        receiver = self._client.get_queue_receiver(
            self._queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=ACCEPT_WAIT_S
        )
        try:
            async with asyncio.timeout(ACCEPT_WAIT_S + ANSWER_S):
                await receiver.__aenter__()
        except OperationTimeoutError:
            return None
        except (ServiceBusError, TimeoutError) as why:
            self._failures += 1
            if self._failures == 1:
                _log.warning("no sessions can be accepted", extra={"queue": self._queue, "error": str(why)})
            jitter = random.random()  # noqa: S311 - spreads attempts, guards nothing
            await self._clock.sleep(backoff(self._failures, FIRST_WAIT_S, LONGEST_WAIT_S, jitter))
            return None
        if self._failures:
            self._failures = 0
            _log.info("sessions are accepted again", extra={"queue": self._queue})
        return receiver

    async def _work_off(self, receiver: ServiceBusReceiver, stop: asyncio.Event) -> None:
        renewal = asyncio.create_task(self._renew(receiver))
        try:
            while (message := await self._receive(receiver, stop)) is not None:
                await self._process(receiver, message)
        except (ServiceBusError, TimeoutError) as why:
            # Whoever accepts the session next goes on with it; a lost settlement has said so itself.
            _log.info("session dropped", extra=self._where(receiver) | {"error": str(why)})
        finally:
            renewal.cancel()
            await _close(receiver)

    async def _receive(self, receiver: ServiceBusReceiver, stop: asyncio.Event) -> ServiceBusReceivedMessage | None:
        """Return the next message of the session, None when it was idle for long enough or the pump is to stop."""
        idle_from = self._clock.monotonic()
        while not stop.is_set():
            left = self._idle_s - (self._clock.monotonic() - idle_from)
            if left <= 0:
                break
            messages = await receiver.receive_messages(max_message_count=1, max_wait_time=min(left, SLICE_S))
            if messages:
                return messages[0]
        return None

    async def _process(self, receiver: ServiceBusReceiver, message: ServiceBusReceivedMessage) -> None:
        settle = receiver.complete_message
        try:
            await self._callback(message)
        except Exception as why:  # noqa: BLE001 - the edge: whatever went wrong, the message must come again
            _log.warning("message abandoned", extra=_facts(message) | {"error": str(why)})
            settle = receiver.abandon_message
        try:
            async with asyncio.timeout(SETTLE_S):
                await self._insist(settle, message)
        except (ServiceBusError, TimeoutError) as why:
            lost = {"settlement": settle.__name__, "error": str(why) or "no answer"}
            _log.error("settlement lost, the message comes again", extra=_facts(message) | lost)
            raise

    async def _insist(
        self, settle: Callable[[ServiceBusReceivedMessage], Awaitable[None]], message: ServiceBusReceivedMessage
    ) -> None:
        failures = 0
        while True:
            try:
                await settle(message)
            except (OperationTimeoutError, ServiceBusServerBusyError):
                failures += 1
                await self._clock.sleep(backoff(failures, FIRST_WAIT_S, LONGEST_WAIT_S, 0))
            else:
                return

    async def _renew(self, receiver: ServiceBusReceiver) -> None:
        """Keep the session locked until that fails for good, which the next settlement then reports."""
        ends = self._clock.monotonic() + self._renewal_s
        while True:
            until = receiver.session.locked_until_utc
            if until is None or (left := (until - self._clock.now()).total_seconds()) <= 0:
                return
            await self._clock.sleep(max(left / 2, FIRST_WAIT_S))
            if self._clock.monotonic() > ends:
                _log.warning("session lock no longer renewed", extra=self._where(receiver))
                return
            try:
                await receiver.session.renew_lock(timeout=ANSWER_S)
            except SessionLockLostError:
                return
            except ServiceBusError as why:
                _log.info("session lock not renewed, trying again", extra=self._where(receiver) | {"error": str(why)})

    def _where(self, receiver: ServiceBusReceiver) -> dict[str, str]:
        return {"queue": self._queue, "session": receiver.session.session_id}


def _facts(message: ServiceBusReceivedMessage) -> dict[str, object]:
    return {
        "message_id": message.message_id,
        "session": message.session_id,
        "sequence_number": message.sequence_number,
        "delivery_count": message.delivery_count,
    }


async def _close(receiver: ServiceBusReceiver) -> None:
    """Give the session back; the broker frees it by itself when the connection is gone."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await receiver.close()
    except Exception as why:  # noqa: BLE001 - closing is not translated: the SDK's transport raises what it likes
        _log.debug("session not closed", extra={"error": repr(why)})
