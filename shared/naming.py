"""Names and ids of streams on every service: pure, and different for different streams."""

import base64
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from shared.events import Position, Stream

BUCKETS = 16
"""Partitions of the state table, fixed for ever: a stream never moves to another one."""

MAX_TOPIC = 260
MAX_ID = 128
MAX_KEY = 512
"""Characters; Table Storage allows 1 KiB of UTF-16 per key."""

_HASH_CHARACTERS = 26  # 130 bits: no two names share them
_ESCAPED = re.compile(r"[^a-z0-9_-]|_(?=x[0-9a-f]+[^a-z0-9-])")
_NO_FIRST_LABEL = re.compile(r"0-|[_-]|$")


def stream(source: str, *parts: str) -> Stream:
    """Join a source's name and the parts of what it reads with `/`; `%` and `/` inside them become `%25` and `%2F`."""
    return Stream("/".join(part.replace("%", "%25").replace("/", "%2F") for part in (source, *parts)))


def parts(stream: Stream) -> tuple[str, ...]:
    """Return what `stream` was made of, the source first."""
    return tuple(part.replace("%2F", "/").replace("%25", "%") for part in stream.split("/"))


def topic(stream: Stream) -> str:
    """Return the default topic: `<source>.<database>.<table>.events`, the schema before the table unless it is dbo.

    Streams of other than four parts: `<part>.<part>….events`. Lower case, so streams that differ only by case share
    one; a three-part stream would share one with a dbo table only under the same source name. What Service Bus forbids,
    and a dot inside a name, is written `_x<hex of the code point>_`. Names over 260 characters end in a hash.

    Source:
        https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftservicebus
    """
    labels = [_label(part.lower()) for part in parts(stream)]
    if len(labels) == 4 and labels[2] == "dbo":
        del labels[2]
    if _NO_FIRST_LABEL.match(labels[0]):  # an entity path starts with a letter or digit
        labels[0] = f"0-{labels[0]}"
    return _bounded(f"{'.'.join(labels)}.events", MAX_TOPIC)


def shared_topics(streams: Iterable[Stream]) -> dict[str, tuple[Stream, ...]]:
    """Return each default topic that several of `streams` claim, with those streams in their order."""
    claims: defaultdict[str, list[Stream]] = defaultdict(list)
    for each in streams:
        claims[topic(each)].append(each)
    return {name: tuple(claimants) for name, claimants in claims.items() if len(claimants) > 1}


def session(stream: Stream) -> str:
    """Return the session id and partition key: the stream, ending in a hash when it is over 128 characters."""
    return bounded_id(stream)


def bounded_id(text: str) -> str:
    """Return `text` as a session or message id: as it is up to 128 characters, else cut and ending in its hash."""
    return _bounded(text, MAX_ID)


def event_id(stream: Stream, incarnation: int, position: Position, n: int | None = None) -> str:
    """Return `<13 base32 characters of sha256(stream)>.<incarnation>.<position>`, and `.<n>` among several events.

    The same change always gets the same id; consumers remove duplicates by it.
    """
    number = "" if n is None else f".{n}"
    return f"{_stream_hash(stream)}.{incarnation}.{position}{number}"


def message_id(event_id: str, replay: int) -> str:
    """Return the event id, marked `.r<replay>` after a rewind so that duplicate detection lets the replay pass."""
    return bounded_id(f"{event_id}.r{replay}" if replay else event_id)


def row_key(*parts: str) -> str:
    """Return a Table Storage key: the parts percent-encoded, joined by `:`, ending in a hash when over 512 characters.

    Source:
        https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
    """
    return _bounded(":".join(quote(part, safe="") for part in parts), MAX_KEY)


def bucket(stream: Stream) -> int:
    """Return the partition of the state table that holds `stream`: 0 to 15, the same on every machine and release."""
    return hashlib.sha256(stream.encode()).digest()[0] % BUCKETS


def _label(name: str) -> str:
    """Write a lower-case name with the characters a, 0, _ and - only, so that no other name is written alike.

    A literal `_x<hex>_` would read as an escape, so its first underscore is escaped too.
    """
    return _ESCAPED.sub(lambda found: f"_x{ord(found.group()):x}_", name)


def _bounded(text: str, limit: int) -> str:
    """Keep `text` up to `limit` UTF-16 units, which is how the services count; cut it and append its hash beyond."""
    units = text.encode("utf-16-le")
    if len(units) <= 2 * limit:
        return text
    kept = units[: 2 * (limit - _HASH_CHARACTERS - 1)].decode("utf-16-le", errors="ignore")
    return f"{kept}.{_hash(text)[:_HASH_CHARACTERS]}"


@lru_cache(maxsize=4096)
def _stream_hash(stream: Stream) -> str:
    return _hash(stream)[:13]


def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()
