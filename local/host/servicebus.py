"""Service Bus triggers on session queues, one message per invocation.

Source: azure-sdk-for-net, ServiceBusTriggerBindingStrategy; azure-functions-host, GrpcMessageConversionExtensions.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpMessageBodyType

from local.host.errors import FunctionError, HostError
from local.host.host_json import ServiceBusOptions
from local.host.identity import service_bus_client
from local.host.protos import TypedData
from local.host.settings import Settings
from local.host.worker import Function, Worker, setting_of
from shared.pump import SessionPump

NEVER = "9999-12-31T23:59:59.9999999Z"
DEFAULT_CONNECTION = "ServiceBus"


class ServiceBusTrigger:
    """One function on one session queue."""

    def __init__(self, worker: Worker, function: Function, settings: Settings, options: ServiceBusOptions) -> None:
        """Read the trigger.

        Raises:
            HostError: it is of a kind that this host does not do.
            FunctionError: a setting or the connection is missing.
        """
        _refuse(function)
        self._worker = worker
        self._function = function
        self._options = options
        self._binary = str(function.trigger.get("dataType", "")).upper() == "BINARY"
        self._queue = settings.resolve(setting_of(function, "queueName"))
        name = str(function.trigger.get("connection") or DEFAULT_CONNECTION)
        self._client = service_bus_client(name, settings.connection(name))

    async def run(self, stop: asyncio.Event) -> None:
        """Work off the queue until stopped; invocations under way are finished and settled."""
        pump = SessionPump(
            self._client,
            self._queue,
            self._invoke,
            max_sessions=self._options.max_concurrent_sessions,
            session_idle=self._options.session_idle,
            max_auto_lock_renewal=self._options.max_auto_lock_renewal,
        )
        async with self._client:
            await pump.run(stop)

    async def _invoke(self, message: ServiceBusReceivedMessage) -> None:
        body = body_of(message)
        # Without `dataType` the host hands a body over as text, whatever its bytes are (azure-functions-host #3125).
        data = TypedData(bytes=body) if self._binary else TypedData(string=body.decode("utf-8", "replace"))
        reason = f"(null) MessageId={message.message_id}, SequenceNumber={message.sequence_number}"
        await self._worker.invoke(self._function, data, trigger_metadata(message), reason)


def _refuse(function: Function) -> None:
    trigger = function.trigger
    what = None
    if "queueName" not in trigger:
        what = "a topic trigger"
    elif trigger.get("isSessionsEnabled") is not True:
        what = "a Service Bus trigger without sessions"
    elif str(trigger.get("cardinality") or "ONE").upper() != "ONE":
        what = f"cardinality {trigger['cardinality']}"
    elif trigger.get("autoCompleteMessages", True) is not True:
        what = "autoCompleteMessages false"
    if what:
        message = f"function '{function.name}': {what} is not supported by the local host"
        raise HostError(message)


def body_of(message: ServiceBusReceivedMessage) -> bytes:
    """Return the body of a message with data sections.

    Raises:
        FunctionError: the body is an AMQP value or sequence, which the host cannot hand over either.
    """
    if message.body_type is not AmqpMessageBodyType.DATA:
        message_text = f"message {message.message_id}: a body of type {message.body_type.name} is not supported"
        raise FunctionError(message_text)
    parts: Iterable[bytes] = message.body
    return b"".join(parts)


def trigger_metadata(message: ServiceBusReceivedMessage) -> dict[str, TypedData]:
    """Return what the host sends beside the body: strings as they are, everything else as JSON."""
    properties = _text_keys(message.application_properties or {})
    enqueued = _time(message.enqueued_time_utc)
    expires = NEVER if message.expires_at_utc is None else _time(message.expires_at_utc)
    as_json: dict[str, Any] = {
        # .NET counts deliveries from 1, the header of the message from 0.
        "DeliveryCount": (message.delivery_count or 0) + 1,
        "SequenceNumber": message.sequence_number,
        "EnqueuedTimeUtc": enqueued,
        "EnqueuedTime": enqueued,
        "ExpiresAtUtc": expires,
        "ExpiresAt": expires,
        "ApplicationProperties": properties,
        "UserProperties": properties,
    }
    strings = {
        "LockToken": str(message.lock_token),
        "MessageId": message.message_id,
        "ContentType": message.content_type,
        "ReplyTo": message.reply_to,
        "To": message.to,
        "Subject": message.subject,
        "Label": message.subject,
        "CorrelationId": message.correlation_id,
        "SessionId": message.session_id,
        "ReplyToSessionId": message.reply_to_session_id,
        "PartitionKey": message.partition_key,
        "TransactionPartitionKey": message.partition_key,  # as the host has it
        "DeadLetterSource": message.dead_letter_source,
    }
    return {name: TypedData(json=json.dumps(value)) for name, value in as_json.items()} | {
        name: TypedData(string=value) for name, value in strings.items() if value is not None
    }


def _text_keys(properties: Mapping[str | bytes, Any]) -> dict[str, Any]:
    return {_text(name): _plain(value) for name, value in properties.items()}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime):
        return _time(value)
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None
