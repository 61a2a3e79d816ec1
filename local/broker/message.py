"""Messages as the broker keeps them: what it needs to know is decoded, everything else stays the bytes the client sent.

Source:
    https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-messaging-v1.0-os.html
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from local.broker.codec import (
    EMPTY_LIST,
    FALSE,
    NULL,
    TRUE,
    CodecError,
    Described,
    boolean,
    decode,
    described,
    list_of,
    map_of,
    raw_items,
    raw_pairs,
    skip,
    string,
)

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS = 0x70, 0x71, 0x72
PROPERTIES, APPLICATION_PROPERTIES, DATA, SEQUENCE, VALUE, FOOTER = 0x73, 0x74, 0x75, 0x76, 0x77, 0x78
BATCH_FORMAT = 0x80013700
"""The message format of a transfer whose data sections are each one encoded message."""

_MESSAGE_ID, _GROUP_ID = 0, 10
_NO_PROPERTIES = described(PROPERTIES, EMPTY_LIST)
_BROKER_ANNOTATIONS = frozenset(
    {
        "x-opt-enqueued-time",
        "x-opt-sequence-number",
        "x-opt-enqueue-sequence-number",
        "x-opt-locked-until",
        "x-opt-message-state",
        "x-opt-lock-token",
    }
)
_SCHEDULED = "x-opt-scheduled-enqueue-time"
_UINT_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `bare` are its sections from the properties on, as sent; `annotations` the client's own, encoded."""

    bare: bytes
    message_id: str
    session_id: str | None
    durable: bool = False
    priority: int | None = None
    ttl_ms: int | None = None
    annotations: bytes = b""
    annotation_count: int = 0
    is_scheduled: bool = False

    @property
    def size_bytes(self) -> int:
        """What the message counts against the size of its entity."""
        return len(self.bare) + len(self.annotations)

    def with_properties(self, added: Mapping[bytes, bytes]) -> "Message":
        """Return the message with application properties added or replaced; keys and values come encoded."""
        if not added:
            return self
        before, mine, after = b"", b"", b""
        for code, start, end in sections(self.bare):
            if code == PROPERTIES:
                before += self.bare[start:end]
            elif code == APPLICATION_PROPERTIES:
                mine = self.bare[start:end]
            else:
                after += self.bare[start:end]
        pairs = raw_pairs(mine) | dict(added)
        return replace(self, bare=before + described(APPLICATION_PROPERTIES, map_of(pairs.items())) + after)


def sections(data: bytes) -> list[tuple[int, int, int]]:
    """Return (code, start, end) of each section of an encoded message.

    Raises:
        CodecError: the bytes are not a message.
    """
    found, at, size = [], 0, len(data)
    while at < size:
        if data[at : at + 2] == b"\x00\x53" and size > at + 2:
            code, value = data[at + 2], at + 3
        else:
            descriptor, value = decode(data, at + 1) if data[at] == 0 else (None, at)
            code = descriptor if isinstance(descriptor, int) else -1
        if not HEADER <= code <= FOOTER:
            message = f"no message section begins at byte {at}"
            raise CodecError(message)
        end = skip(data, value)
        found.append((code, at, end))
        at = end
    return found


def parse(data: bytes) -> Message:
    """Read an encoded message; one without a message id is given one, as some clients need it.

    Raises:
        CodecError: the bytes are not a message.
    """
    header: list[Any] = []
    annotations, annotation_count, is_scheduled = b"", 0, False
    properties, rest = b"", []
    for code, start, end in sections(data):
        if code >= APPLICATION_PROPERTIES:
            rest.append(data[start:end])
        elif code == PROPERTIES:
            properties = data[start:end]
        elif code == HEADER:
            header = decode(data, start)[0].value
        elif code == ANNOTATIONS:
            annotations, annotation_count, is_scheduled = _own_annotations(data[start:end])
    fields = decode(properties)[0].value if properties else []
    message_id = fields[_MESSAGE_ID] if fields else None
    if message_id is None:
        message_id = uuid4().hex
        properties = described(PROPERTIES, list_of(string(message_id), *raw_items(properties or _NO_PROPERTIES)[1:]))
    durable, priority, ttl = (*header, None, None, None)[:3]
    return Message(
        b"".join((properties, *rest)),
        str(message_id),
        fields[_GROUP_ID] if len(fields) > _GROUP_ID else None,
        durable=bool(durable),
        priority=priority,
        ttl_ms=ttl,
        annotations=annotations,
        annotation_count=annotation_count,
        is_scheduled=is_scheduled,
    )


def parse_batch(data: bytes) -> list[Message]:
    """Read a transfer in the batch format: every data section is one message.

    Raises:
        CodecError: the bytes are not a batch, or it is empty.
    """
    messages = [parse(decode(data, start)[0].value) for code, start, _ in sections(data) if code == DATA]
    if not messages:
        text = "received a batch message with no data in it"
        raise CodecError(text)
    return messages


def render(
    message: Message,
    *,
    delivery_count: int,
    sequence_number: int,
    enqueued_sequence_number: int,
    enqueued_ms: int,
    locked_until_ms: int | None,
    ttl_ms: int | None,
) -> bytes:
    """Return the message as it is delivered: times in UTC milliseconds, no lock where nothing is locked."""
    priority = NULL if message.priority is None else bytes((0x50, message.priority))
    ttl = NULL if ttl_ms is None or ttl_ms > _UINT_MAX else struct.pack(">BI", 0x70, max(ttl_ms, 0))
    count = struct.pack(">BI", 0x70, delivery_count)
    head = list_of(boolean(message.durable), priority, ttl, TRUE if delivery_count == 0 else FALSE, count)
    entries = _ANNOTATIONS.pack(
        *(_ENQUEUED, enqueued_ms, _SEQUENCE, sequence_number, _ENQUEUE_SEQUENCE, enqueued_sequence_number, _STATE)
    )
    entry_count = 8 + 2 * message.annotation_count
    if locked_until_ms is not None:
        entries += _LOCKED + struct.pack(">q", locked_until_ms)
        entry_count += 2
    entries += message.annotations
    annotated = struct.pack(">3sBII", b"\x00\x53\x72", 0xD1, len(entries) + 4, entry_count) + entries
    return b"\x00\x53\x70" + head + annotated + message.bare


_ENQUEUED = b"\xa3\x13x-opt-enqueued-time\x83"
_SEQUENCE = b"\xa3\x15x-opt-sequence-number\x81"
_ENQUEUE_SEQUENCE = b"\xa3\x1dx-opt-enqueue-sequence-number\x81"
_STATE = b"\xa3\x13x-opt-message-state\x54\x00"
_LOCKED = b"\xa3\x12x-opt-locked-until\x83"
_ANNOTATIONS = struct.Struct(
    f">{len(_ENQUEUED)}sq{len(_SEQUENCE)}sq{len(_ENQUEUE_SEQUENCE)}sq{len(_STATE)}s",
)


def body(message: Message) -> bytes:
    """Return the bytes of the data sections, or the encoded value of a message that has none."""
    parts = [(code, message.bare[start:end]) for code, start, end in sections(message.bare)]
    data = [decode(piece)[0].value for code, piece in parts if code == DATA]
    return b"".join(data) if data else b"".join(piece for code, piece in parts if code in {SEQUENCE, VALUE})


def section_value(data: bytes, wanted: int) -> Any:
    """Return the decoded value of the first section of a kind, or None."""
    for code, start, _ in sections(data):
        if code == wanted:
            section = decode(data, start)[0]
            assert isinstance(section, Described)
            return section.value
    return None


def _own_annotations(section: bytes) -> tuple[bytes, int, bool]:
    kept, scheduled = {}, False
    for key, value in raw_pairs(section).items():
        name = str(decode(key)[0])
        scheduled = scheduled or (name == _SCHEDULED and value != NULL)
        if name not in _BROKER_ANNOTATIONS and value != NULL:
            kept[key] = value
    return b"".join(key + value for key, value in kept.items()), len(kept), scheduled
