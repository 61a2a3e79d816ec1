"""Service Bus queues and topics as a sink, through the official SDK's senders; and a look at dead-lettered messages.

Sources:
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-messaging-exceptions-latest
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
"""

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from azure.core.exceptions import ClientAuthenticationError
from azure.servicebus import ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusSender
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusError,
    ServiceBusQuotaExceededError,
    ServiceBusServerBusyError,
)

from shared import amqp
from shared.errors import RejectedError, TransientError
from shared.events import Message
from shared.ports import Sink
from shared.settings.model import AzureSettings, OutputSettings, Settings

MAX_SENDERS = 100
"""Senders that are open at most: each has a connection of its own, and an instance has few sockets to give."""

ATTEMPT_S = 15.0
"""How long one attempt of the SDK may take, in seconds: opening a link, or waiting for an acknowledgement."""

RETRIES = 1
RETRY_WAIT_S = 0.1
"""The SDK repeats once, at once: that mends a link that the service closed while it was idle (after ten minutes).
Every further attempt is for whoever holds the messages to decide, who knows the budget."""

_OPTIONS: dict[str, Any] = {
    "retry_total": RETRIES,
    "retry_mode": "fixed",
    "retry_backoff_factor": RETRY_WAIT_S,
    "try_timeout": ATTEMPT_S,
}

MAX_LOOK = 100

_SYNC = "`sluice topics sync` creates the topics of all streams, as the timer sync_topics does"
_BUSY_WAIT = re.compile(r"wait (\d+) seconds")


def open_sink(output: OutputSettings, settings: Settings) -> "ServiceBusSink":
    """Return the sink of an output whose topics are all in one namespace."""
    [connection] = output.namespaces.values()
    return ServiceBusSink(connection, max_message_bytes=settings.capture.max_message_bytes)


class ServiceBusSink:
    """Sends to queues and topics of one namespace, to different ones side by side, to each in order.

    Senders are kept open for the next time, at most `max_senders`: the least recently used one makes room. A batch is
    filled up to `max_message_bytes`, or to what the entity takes if that is less. `encoded` None means: as far as the
    installed SDK supports it.
    """

    def __init__(
        self,
        connection: AzureSettings,
        *,
        max_message_bytes: int,
        max_senders: int = MAX_SENDERS,
        encoded: bool | None = None,
    ) -> None:
        self._namespace = amqp.Namespace(connection, **_OPTIONS)
        self._max_message_bytes = max_message_bytes
        self._max_senders = max_senders
        self._encoded = amqp.supported() if encoded is None else encoded
        self._idle: OrderedDict[str, _OpenSender] = OrderedDict()
        self._open = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(max_senders)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def send(self, to: str, messages: Sequence[Message]) -> None:
        """Send the messages and wait until the service has accepted all of them.

        Calls for one entity take turns: the SDK's sender is not made for two at once.

        Raises:
            TransientError: the entity is away, missing, disabled, full, busy or refuses us; the hint names the remedy.
            RejectedError: one of the messages is larger than the entity takes, or cannot be encoded; those before it
                are durable.
        """
        if not messages:
            return
        lock = self._locks.setdefault(to, asyncio.Lock())
        with _translated(to, "Azure Service Bus Data Sender"):
            async with lock, self._slots:
                limit = await self._limit(to)
                for batch in amqp.batches(messages, limit):
                    await self._transfer(to, batch)

    async def close(self) -> None:
        """Close all senders and the credential; idempotent. No send may be under way."""
        while self._idle:
            self._close_oldest()
        await asyncio.gather(*self._closing)
        await self._namespace.close()

    async def _limit(self, to: str) -> int:
        async with self._sender(to) as sender:
            return min(self._max_message_bytes, sender.limit)

    async def _transfer(self, to: str, batch: amqp.EncodedBatch) -> None:
        """Send one batch; one that is too large goes in halves, so that all before the culprit still arrive."""
        try:
            async with self._sender(to) as sender:
                await amqp.transfer(sender.sender, batch, encoded=self._encoded)
        except MessageSizeExceededError as why:
            if len(batch.messages) == 1:
                message = batch.messages[0]
                reason = f"message {message.id} of {len(batch.encoded[0])} bytes is larger than {to} takes"
                raise RejectedError(reason, hint="store large bodies aside: lower capture.max_message_size") from why
            for half in batch.halves():
                await self._transfer(to, half)

    @contextlib.asynccontextmanager
    async def _sender(self, to: str) -> AsyncIterator["_OpenSender"]:
        """Lend the sender of an entity: while lent it is not idle, so nobody closes it; one that failed is not kept."""
        sender = self._idle.pop(to, None)
        if sender is None:
            while self._open >= self._max_senders:
                self._close_oldest()
            sender = await self._opened(to)
        try:
            yield sender
        except ServiceBusServerBusyError:  # the link is in order
            self._idle[to] = sender
            raise
        except BaseException:  # also a cancelled send: its delivery is still pending on the link
            self._discard(sender)
            raise
        self._idle[to] = sender

    async def _opened(self, to: str) -> "_OpenSender":
        self._open += 1
        # A topic's sender differs from a queue's by nothing but its name.
        sender = self._namespace.client.get_queue_sender(to)
        try:
            batch = await sender.create_message_batch()  # opens the link, and knows what it takes
        except BaseException:
            self._open -= 1
            raise
        return _OpenSender(sender, batch.max_size_in_bytes)

    def _close_oldest(self) -> None:
        _, sender = self._idle.popitem(last=False)
        self._discard(sender)

    def _discard(self, sender: "_OpenSender") -> None:
        """Close the sender in the background: the SDK takes up to a second for it."""
        self._open -= 1
        closing = asyncio.create_task(_close(sender.sender))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class SpreadSink:
    """Sends to topics that are spread over several namespaces, by the name of each; `placed` looks up a topic's.

    A topic never moves, so it is looked up once.
    """

    def __init__(self, namespaces: Mapping[str, Sink], placed: Callable[[str], Awaitable[str | None]]) -> None:
        self._namespaces = namespaces
        self._placed = placed
        self._known: dict[str, Sink] = {}

    async def send(self, to: str, messages: Sequence[Message]) -> None:
        """Send the messages and wait until the service has accepted all of them.

        Raises:
            TransientError: the topic was not placed yet; or it is away, missing, disabled, full, busy or refuses us.
            RejectedError: one of the messages can never be accepted; those before it are durable.
        """
        if not messages:
            return
        if to not in self._known:
            self._known[to] = await self._look_up(to)
        await self._known[to].send(to, messages)

    async def close(self) -> None:
        """Close the senders of every namespace; idempotent. No send may be under way."""
        await asyncio.gather(*(each.close() for each in self._namespaces.values()))

    async def _look_up(self, to: str) -> Sink:
        namespace = await self._placed(to)
        if namespace is None:
            reason = f"topic {to} is in no namespace yet"
            raise TransientError(reason, lasting=True, hint=_SYNC)
        if namespace not in self._namespaces:
            reason = f"topic {to} is in {namespace}, which is not listed"
            hint = f"add {namespace} to the connections of the output: a topic never moves"
            raise TransientError(reason, lasting=True, hint=hint)
        return self._namespaces[namespace]


class QueueLook:
    """Looks into a queue without taking anything out of it."""

    def __init__(self, connection: AzureSettings) -> None:
        self._namespace = amqp.Namespace(connection, **_OPTIONS)

    async def dead_lettered(self, queue: str) -> int:
        """Return how many messages the queue has dead-lettered; 100 means: at least as many.

        Raises:
            TransientError: the queue is away, missing or refuses us; the hint names the remedy.
        """
        receiver = self._namespace.client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER)
        with _translated(queue, "Azure Service Bus Data Receiver"):
            try:
                return len(await receiver.peek_messages(max_message_count=MAX_LOOK))
            finally:
                await receiver.close()

    async def close(self) -> None:
        """Release the connection; idempotent."""
        await self._namespace.close()


@dataclass(frozen=True, slots=True)
class _OpenSender:
    sender: ServiceBusSender
    limit: int


async def _close(sender: ServiceBusSender) -> None:
    with contextlib.suppress(ServiceBusError, OSError):  # a dead connection cannot be closed politely
        await sender.close()


@contextlib.contextmanager
def _translated(entity: str, role: str) -> Iterator[None]:
    """Turn the SDK's errors into ours, except the one about size, which only the sender of a batch can judge."""
    try:
        yield
    except MessageSizeExceededError:
        raise
    except ServiceBusError as why:
        raise _translation(entity, role, why) from why


def _translation(entity: str, role: str, why: ServiceBusError) -> TransientError:
    match why:
        case MessagingEntityNotFoundError():
            hint = f"create {entity}: {_SYNC}; a queue as the README says"
        case ServiceBusAuthenticationError() | ServiceBusAuthorizationError():
            hint = f"give this identity the role '{role}', or correct the key of the connection string"
        case MessagingEntityDisabledError():
            hint = f"set the status of {entity} to Active; or if it was being made: sluice topics sync"
        case ServiceBusQuotaExceededError():
            hint = f"{entity} or the namespace is at its quota: let consumers catch up, or raise its size"
        case ServiceBusError(inner_exception=ClientAuthenticationError()):
            hint = f"this app's identity gets no token: assign one, with the role '{role}'"
        case _:
            wait = _BUSY_WAIT.search(str(why)) if isinstance(why, ServiceBusServerBusyError) else None
            reason = f"Service Bus cannot serve {entity} now: {why}"
            return TransientError(reason, retry_after=float(wait[1]) if wait else None)
    reason = f"Service Bus refuses {entity}: {why}"
    return TransientError(reason, lasting=True, hint=hint)
