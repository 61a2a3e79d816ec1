"""How states and marks look in the table: entities, their keys, and the version of their form."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from azure.data.tables import EdmType, EntityProperty

from shared import naming
from shared.errors import ConfigError
from shared.events import Journal, Mark, Part, Position, Saved, Stream, StreamState

type Entity = dict[str, Any]

VERSION = 1
"""Of the form that is written. Every entity says its own as `v`; a higher one is never read as if it were this."""


def partition(bucket: int) -> str:
    """Return the PartitionKey of a bucket."""
    return f"b{bucket:02d}"


def prefix(stream: Stream) -> str:
    """Return what the RowKeys of a stream begin with, and no others; at most 129 characters."""
    return f"{naming.bounded_id(naming.row_key(stream))}:"


def state_key(stream: Stream) -> tuple[str, str]:
    """Return PartitionKey and RowKey of a stream's state."""
    return partition(naming.bucket(stream)), f"{prefix(stream)}s"


def mark_key(stream: Stream, destination: str) -> tuple[str, str]:
    """Return PartitionKey and RowKey of a stream's mark at a destination."""
    return partition(naming.bucket(stream)), f"{prefix(stream)}m:{naming.bounded_id(naming.row_key(destination))}"


def state_entity(state: Saved[StreamState], writer: str) -> Entity:
    """Return the form of a state; `writer` tells whose write it is, and which."""
    return _entity(state_key(state.value.stream), state, writer)


def mark_entity(stream: Stream, destination: str, mark: Saved[Mark], writer: str) -> Entity:
    """Return the form of a mark; `writer` tells whose write it is, and which."""
    return _entity(mark_key(stream, destination), mark, writer, stream=stream, destination=destination)


def journal_partition(bucket: int) -> str:
    """Return the PartitionKey of a bucket's journals, which reading its states leaves alone."""
    return f"j{bucket:02d}"


def journal_key(stream: Stream) -> tuple[str, str]:
    """Return PartitionKey and RowKey of a stream's journal."""
    return journal_partition(naming.bucket(stream)), f"{prefix(stream)}j"


def journal_entity(journal: Saved[Journal], writer: str) -> Entity:
    """Return the form of a journal: a property per part that is not stored aside, and the names of those that are."""
    value = journal.value
    parts = (value.outbox, *value.memo)
    inline = {f"p{index:03d}": part.data for index, part in enumerate(parts) if not part.blob}
    blobs = msgspec.json.encode([part.blob for part in parts]).decode()
    said = (writer, journal.etag, value.base, value.last, value.head, blobs, *inline.values())
    nonce = hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:32]
    return {
        "PartitionKey": journal_key(value.stream)[0],
        "RowKey": journal_key(value.stream)[1],
        "v": VERSION,
        "writer": nonce,
        "source": naming.parts(value.stream)[0],
        "stream": value.stream,
        "base": value.base,
        "last": value.last,
        "head": value.head,
        "dropped": msgspec.json.encode(value.dropped).decode(),
        "blobs": blobs,
        **inline,
    }


def journal_of(entity: Mapping[str, Any]) -> Journal:
    """Return the journal an entity holds; of a part stored aside, only its name.

    Raises:
        ConfigError: a newer release wrote it, or it is damaged.
    """
    with _readable(entity):
        blobs = msgspec.json.decode(entity["blobs"], type=list[str])
        outbox, *memo = (Part(b"" if blob else entity[f"p{n:03d}"], blob) for n, blob in enumerate(blobs))
        return Journal(
            Stream(entity["stream"]),
            Position(entity["base"]),
            Position(entity["last"]),
            head=entity["head"],
            outbox=outbox,
            memo=tuple(memo),
            dropped=msgspec.json.decode(entity["dropped"], type=tuple[str, ...]),
        )


def state_of(entity: Mapping[str, Any]) -> StreamState:
    """Return the state an entity holds.

    Raises:
        ConfigError: a newer release wrote it, or it is damaged.
    """
    return _value(entity, StreamState)


def mark_of(entity: Mapping[str, Any]) -> Mark:
    """Return the mark an entity holds.

    Raises:
        ConfigError: a newer release wrote it, or it is damaged.
    """
    return _value(entity, Mark)


def _entity(key: tuple[str, str], saved: Saved[StreamState] | Saved[Mark], writer: str, **of: str) -> Entity:
    fields = msgspec.to_builtins(saved.value, builtin_types=(datetime,))
    values = {name: _stored(value) for name, value in fields.items() if value is not None}
    nonce = hashlib.sha256(msgspec.json.encode((writer, saved.etag, fields))).hexdigest()[:32]
    return {"PartitionKey": key[0], "RowKey": key[1], "v": VERSION, "writer": nonce, **of, **values}


def _stored(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case int():
            return EntityProperty(value, EdmType.INT64)  # a chain is milliseconds: the default would be 32 bits
        case tuple():
            return msgspec.json.encode(value).decode()
        case _:
            return value


def _value[T: (StreamState, Mark)](entity: Mapping[str, Any], form: type[T]) -> T:
    with _readable(entity):
        values = {name: value.value if isinstance(value, EntityProperty) else value for name, value in entity.items()}
        if "destinations" in values:
            values["destinations"] = msgspec.json.decode(values["destinations"])
        return msgspec.convert(values, form)


@contextmanager
def _readable(entity: Mapping[str, Any]) -> Iterator[None]:
    """Refuse a form that a newer release wrote; say of a damaged one where it is."""
    stream = entity.get("stream") or f"{entity.get('PartitionKey')}/{entity.get('RowKey')}"
    version = entity.get("v")
    if isinstance(version, int) and version > VERSION:
        reason = f"stream {stream} is held: a newer release wrote what is stored of it, in form {version}"
        raise ConfigError(reason, hint=f"deploy that release again; this one reads forms up to {VERSION}")
    try:
        msgspec.convert(version, Literal[1])
        yield
    except (msgspec.MsgspecError, TypeError, KeyError, ValueError) as why:
        reason = f"stream {stream} is held: what is stored of it cannot be read: {why}"
        raise ConfigError(reason, hint=f"mend the entity {entity.get('RowKey')}, or delete it") from why
