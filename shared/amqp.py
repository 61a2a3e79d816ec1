"""Messages as AMQP 1.0 bytes, and batches of them through the official SDK's sender.

The SDK needs about 150 us for a message, most of it spent on encoding it twice in pure Python. `encode` makes the same
bytes in about 4 us. `transfer` puts them into a batch that the SDK created, so connection, authentication, retry and
acknowledgement stay the SDK's. That touches two private names of `ServiceBusMessageBatch`, here and nowhere else:
`_message[5]`, the list of encoded messages, and `_count`. `supported` compares a batch filled here with one filled by
the SDK; where they differ, `transfer` is to be called with `encoded=False` and uses the public interface alone.

Sources:
    https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-messaging-v1.0-os.html (sections 3.2.2 to 3.2.6)
    https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-types-v1.0-os.html (section 1.6)
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide
"""

import logging
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

from shared.errors import ConfigError, RejectedError
from shared.events import Message
from shared.identity import credential
from shared.settings.model import AzureSettings

log = logging.getLogger("sluice.amqp")

TESTED_SDK = "7.15.0"
"""The release of azure-servicebus whose batches `transfer` is known to fill rightly."""

MAX_BATCH_MESSAGES = 4_500
"""What Service Bus takes in one batch: https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas."""

_SECTION_BYTES = 8  # at most, around each message of a batch

BATCH_MARGIN = 2_048
"""Bytes of a batch around its messages: the SDK repeats the first one's id and twice its session, 128 characters each,
of four bytes at most, and leaves them out of its own sum of sizes."""

_ANNOTATIONS, _PROPERTIES, _APPLICATION_PROPERTIES, _DATA = (b"\x00\x53" + code for code in b"r s t u".split())
_PARTITION_KEY = b"\xa3\x13x-opt-partition-key"
_NULL = b"\x40"
_PROPERTY_FIELDS = 13
_SMALL = 256
_SHORT_TEXT = tuple(b"\xa1" + size.to_bytes(1) for size in range(_SMALL))


class Namespace:
    """The SDK's client of one namespace and the credential it was given; `options` are the client's.

    Raises:
        ConfigError: the connection is malformed.
    """

    def __init__(self, connection: AzureSettings, **options: Any) -> None:
        self._stack = AsyncExitStack()
        try:
            if connection.connection_string:
                self.client = ServiceBusClient.from_connection_string(connection.connection_string, **options)
            else:
                identity = credential(connection)
                self._stack.push_async_callback(identity.close)
                self.client = ServiceBusClient(connection.address, identity, **options)
        except ValueError:
            reason = "the connection of Service Bus is missing or malformed"
            hint = "give Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…, or fullyQualifiedNamespace"
            raise ConfigError(reason, where="ServiceBus", hint=hint) from None  # it may quote the key
        self._stack.push_async_callback(self.client.close)

    async def close(self) -> None:
        """Close the client and the credential; idempotent."""
        await self._stack.aclose()


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """Consecutive messages of one session that go in one transfer, each with its AMQP bytes."""

    messages: Sequence[Message]
    encoded: Sequence[bytes]

    def halves(self) -> tuple["EncodedBatch", "EncodedBatch"]:
        """Return the earlier and the later half of at least two messages."""
        middle = len(self.messages) // 2
        return (
            EncodedBatch(self.messages[:middle], self.encoded[:middle]),
            EncodedBatch(self.messages[middle:], self.encoded[middle:]),
        )


def encode(message: Message) -> bytes:
    """Return the message as the SDK would encode it, with its session as partition key.

    Raises:
        RejectedError: a text is not Unicode (a content type not ASCII), or an integer does not fit 64 bits.
    """
    try:
        identity = _text(message.id)
        fields = _fields(message.subject, message.correlation_id, message.content_type, message.session)
        properties = _compound(b"\xc0", b"\xd0", _PROPERTY_FIELDS, identity + fields)
        return b"".join(
            (
                _annotations(message.session),
                _PROPERTIES,
                properties,
                _application_properties(message.properties),
                _DATA,
                _sized(b"\xa0", b"\xb0", message.body),
                message.body,
            )
        )
    except (UnicodeEncodeError, OverflowError) as why:
        reason = f"message {message.id!a} cannot be encoded: {why}"
        raise RejectedError(reason) from why


def batches(messages: Sequence[Message], limit: int) -> Iterator[EncodedBatch]:
    """Cut messages into batches of one session, of at most `limit` bytes and 4,500 messages, in order.

    A message that alone is beyond the limit comes alone: a large-message entity takes it outside of a batch. Nothing
    is encoded ahead of the batch that is taken.

    Raises:
        RejectedError: a message cannot be encoded; it comes alone, after those before it were yielded.
    """
    room = limit - BATCH_MARGIN
    first, filled, encoded = 0, 0, list[bytes]()
    for index, message in enumerate(messages):
        try:
            item = encode(message)
        except RejectedError:
            if encoded:
                yield EncodedBatch(messages[first:index], encoded)
            raise
        size = len(item) + _SECTION_BYTES
        full = filled + size > room or len(encoded) == MAX_BATCH_MESSAGES
        if encoded and (full or message.session != messages[first].session):
            yield EncodedBatch(messages[first:index], encoded)
            first, filled, encoded = index, 0, []
        encoded.append(item)
        filled += size
    if encoded:
        yield EncodedBatch(messages[first:], encoded)


async def transfer(sender: ServiceBusSender, batch: EncodedBatch, *, encoded: bool) -> None:
    """Send the batch in one transfer and wait until the service has accepted it.

    A single message goes outside of a batch, which is what an entity for large messages needs. `encoded` uses the
    messages' own bytes; without it the SDK encodes them again.

    Raises:
        ServiceBusError: as the SDK's sender says; MessageSizeExceededError when the transfer is too large.
    """
    if len(batch.messages) == 1:
        await sender.send_messages(outgoing(batch.messages[0]))
        return
    filled = await sender.create_message_batch()
    if encoded:
        filled.add_message(outgoing(batch.messages[0]))  # it also makes the envelope
        _extend(filled, batch.encoded[1:])
    else:
        for message in batch.messages:
            filled.add_message(outgoing(message))
    await sender.send_messages(filled)


def outgoing(message: Message) -> ServiceBusMessage:
    """Return the message as the SDK's public interface takes it."""
    return ServiceBusMessage(
        message.body,
        message_id=message.id,
        session_id=message.session,
        partition_key=message.session,
        subject=message.subject,
        content_type=message.content_type,
        correlation_id=message.correlation_id,
        application_properties={name: _typed(value) for name, value in message.properties.items()},
    )


@cache
def supported() -> bool:
    """Whether the installed SDK is the tested one and a batch filled here is the one that it would fill itself."""
    same = version("azure-servicebus") == TESTED_SDK and fills_alike()
    if not same:
        log.warning("encoded batches are off: azure-servicebus is not the tested release", extra={"tested": TESTED_SDK})
    return same


def fills_alike() -> bool:
    """Whether a batch that is extended with encoded messages equals one that the SDK filled message by message."""
    samples = [
        Message(f"id{n}", "session", "c", "application/json", b"{}" * n, {"op": "c", "n": n}, "of" if n else None)
        for n in (0, 1, 200)
    ]
    theirs, ours = ServiceBusMessageBatch(), ServiceBusMessageBatch()
    for sample in samples:
        theirs.add_message(outgoing(sample))
    ours.add_message(outgoing(samples[0]))
    try:
        _extend(ours, [encode(sample) for sample in samples[1:]])
    except (AttributeError, LookupError, TypeError):
        return False
    unused = {"_size", "_messages"}  # only for adding more, and for the links of trace spans
    return {name: value for name, value in vars(ours).items() if name not in unused} == {
        name: value for name, value in vars(theirs).items() if name not in unused
    }


def _extend(batch: ServiceBusMessageBatch, encoded: Sequence[bytes]) -> None:
    data: list[bytes] = batch._message[5]  # noqa: SLF001
    data.extend(encoded)
    batch._count += len(encoded)  # noqa: SLF001


def _typed(value: str | float | None) -> Any:
    """Return an integer beyond 32 bits with the AMQP type that the SDK does not choose by itself."""
    is_long = type(value) is int and not -0x80000000 <= value <= 0x7FFFFFFF
    return {"TYPE": "LONG", "VALUE": value} if is_long else value


def _sized(small: bytes, large: bytes, content: bytes) -> bytes:
    size = len(content)
    return small + size.to_bytes(1) if size < _SMALL else large + size.to_bytes(4)


def _compound(small: bytes, large: bytes, count: int, items: bytes) -> bytes:
    size = len(items)
    if size + 1 < _SMALL and count < _SMALL:
        return small + bytes((size + 1, count)) + items
    return large + (size + 4).to_bytes(4) + count.to_bytes(4) + items


def _text(value: str) -> bytes:
    content = value.encode()
    size = len(content)
    return (_SHORT_TEXT[size] if size < _SMALL else b"\xb1" + size.to_bytes(4)) + content


def _symbol(value: str) -> bytes:
    content = value.encode("ascii")
    return _sized(b"\xa3", b"\xb3", content) + content


@lru_cache(1_024)
def _name(value: str) -> bytes:
    return _text(value)


@lru_cache(1_024)
def _annotations(session: str) -> bytes:
    return _ANNOTATIONS + _compound(b"\xc1", b"\xd1", 2, _PARTITION_KEY + _text(session))


@lru_cache(1_024)
def _fields(subject: str, correlation_id: str | None, content_type: str, session: str) -> bytes:
    """Everything of the properties after the message id, which is the same for many messages."""
    correlation = _NULL if correlation_id is None else _text(correlation_id)
    return b"".join(
        (
            _NULL * 2,  # user-id, to
            _text(subject),
            _NULL,  # reply-to
            correlation,
            _symbol(content_type),
            _NULL * 3,  # content-encoding, absolute-expiry-time, creation-time
            _text(session),  # group-id
            _NULL * 2,  # group-sequence, reply-to-group-id
        )
    )


def _application_properties(properties: Mapping[str, str | int | float | None]) -> bytes:
    if not properties:
        return b""
    items = []
    for name, value in properties.items():
        items.append(_name(name))
        items.append(_text(value) if isinstance(value, str) else _number(value))
    return _APPLICATION_PROPERTIES + _compound(b"\xc1", b"\xd1", len(items), b"".join(items))


def _number(value: float | None) -> bytes:
    if value is None:
        return _NULL
    if isinstance(value, float):
        return b"\x82" + struct.pack(">d", value)
    if isinstance(value, bool):
        return b"\x56\x01" if value else b"\x56\x00"
    if -0x80 <= value <= 0x7F:
        return b"\x54" + value.to_bytes(1, signed=True)
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return b"\x71" + value.to_bytes(4, signed=True)
    return b"\x81" + value.to_bytes(8, signed=True)
