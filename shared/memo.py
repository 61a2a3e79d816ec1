"""How a memo and an outbox are kept small: compressed JSON in parts, of which a change rewrites only its own; pure."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from shared.events import ChangeEvent, Part

PART_BYTES = 16 * 1024
"""A memo is spread over twice as many parts as soon as one is larger, compressed."""
MAX_PARTS = 256

_encoder = msgspec.json.Encoder()
_events = msgspec.json.Decoder(list[ChangeEvent])
_items = msgspec.json.Decoder(dict[str, Any])


def outbox(events: Sequence[ChangeEvent]) -> Part:
    """Return the part that holds these events."""
    return Part(_compressed(events) if events else b"")


def events_of(part: Part) -> list[ChangeEvent]:
    """Return the events that a part holds, in their order."""
    return _events.decode(zlib.decompress(part.data)) if part.data else []


def items_of(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the items that the parts of a memo hold together."""
    items: dict[str, Any] = {}
    for part in parts:
        items |= _items.decode(zlib.decompress(part.data))
    return items


def parts_of(items: Mapping[str, Any], before: Sequence[Part] = (), changed: Collection[str] = ()) -> tuple[Part, ...]:
    """Return the parts that hold `items`.

    Of the parts `before`, those without a key of `changed` (added, removed, or with another value) are kept as they
    are, unless the items need more parts.
    """
    count = len(before) or 1
    kept = dict(enumerate(before))
    for key in changed:
        kept.pop(_place(key, count), None)
    while True:
        contents: dict[int, dict[str, Any]] = {index: {} for index in range(count) if index not in kept}
        for key, value in items.items():
            content = contents.get(_place(key, count))
            if content is not None:
                content[key] = value
        made = {index: Part(_compressed(content)) for index, content in contents.items()}
        if count >= MAX_PARTS or all(len(part.data) <= PART_BYTES for part in made.values()):
            return tuple((kept | made)[index] for index in range(count))
        count, kept = count * 2, {}


def _place(key: str, count: int) -> int:
    return zlib.crc32(key.encode()) % count


def _compressed(value: object) -> bytes:
    return zlib.compress(_encoder.encode(value))
