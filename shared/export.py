"""All that is stored of streams as text, to be kept or carried elsewhere: one JSON object per line.

    {"sluice":"state","v":1,"taken_at":"2026-11-21T07:28:06Z"}
    {"stream":"sql1/TestDB/dbo/Persons","state":{…},"marks":[{…}],"beside":[{"entity":{…},"blobs":{"…":"<base64>"}}]}
    {"entity":{…}}
    {"end":2}

The first line says the form, the last one how many lines lie between them: a text that was cut off is noticed. A stream
has its state, its marks, and what else is stored under its name; what belongs to no stream has a line of its own.
Entities are written as Table Storage shows them, `"chain":"1795246086123","chain@odata.type":"Edm.Int64"`, the blobs
that they name beside them.

Source:
    https://learn.microsoft.com/rest/api/storageservices/payload-format-for-table-service-operations
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from shared.errors import ConfigError
from shared.events import Stream

VERSION = 1

type Entity = dict[str, str | int | float | bool]
"""In the JSON of Table Storage; every type that JSON does not have is named."""


class Beside(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An entity that is neither state nor mark, and the blobs that it names."""

    entity: Entity
    blobs: dict[str, bytes] = {}


class StreamCopy(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """All that is stored of one stream."""

    stream: Stream
    state: Entity | None = None
    marks: tuple[Entity, ...] = ()
    beside: tuple[Beside, ...] = ()


class Copy(msgspec.Struct, frozen=True):
    """All that is stored; `taken_at` is UTC, `2026-11-21T07:28:06Z`."""

    taken_at: str
    streams: tuple[StreamCopy, ...]
    others: tuple[Beside, ...] = ()


class _Header(msgspec.Struct, frozen=True):
    sluice: Literal["state"]
    v: int
    taken_at: str


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    end: int


class _Line(msgspec.Struct, frozen=True):
    stream: str = ""
    entity: msgspec.Raw = msgspec.Raw()


def lines(copy: Copy) -> Iterator[bytes]:
    """Return the text, line by line, each with its line end; the same copy makes the same text."""
    between = sorted(copy.streams, key=lambda each: each.stream), sorted(copy.others, key=_key)
    for value in (_Header("state", VERSION, copy.taken_at), *between[0], *between[1]):
        yield msgspec.json.encode(value, order="deterministic") + b"\n"
    yield msgspec.json.encode(_End(len(copy.streams) + len(copy.others))) + b"\n"


def parse(text: Iterable[bytes]) -> Copy:
    """Return what a text says.

    Raises:
        ConfigError: it is none, it was cut off, or a newer release wrote it.
    """
    numbered = [(number, line) for number, line in enumerate(text, 1) if line.strip()]
    if len(numbered) < 2:
        raise _not_one(1, "it is empty or cut off")
    (_, first), *between, (last_number, last) = numbered
    header = _header(first)
    streams: list[StreamCopy] = []
    others: list[Beside] = []
    for number, line in between:
        if _decoded(line, _Line, number).stream:
            streams.append(_decoded(line, StreamCopy, number))
        else:
            others.append(_decoded(line, Beside, number))
    if _decoded(last, _End, last_number).end != len(between):
        raise _not_one(last_number, f"{len(between)} lines lie before it")
    if len({each.stream for each in streams}) < len(streams):
        raise _not_one(last_number, "a stream is there twice")
    return Copy(header.taken_at, tuple(streams), tuple(others))


def _header(line: bytes) -> _Header:
    header = _decoded(line, _Header, 1)
    if header.v > VERSION:
        reason = f"a newer release wrote this state, in form {header.v}; this one reads forms up to {VERSION}"
        raise ConfigError(reason, hint="import it with that release")
    return header


def _decoded[T](line: bytes, form: type[T], number: int) -> T:
    try:
        return msgspec.json.decode(line, type=form)
    except msgspec.MsgspecError as why:
        raise _not_one(number, str(why)) from why


def _not_one(number: int, why: str) -> ConfigError:
    hint = "give a whole file that `sluice state export` wrote"
    return ConfigError(f"this is no exported state: {why}", where=f"line {number}", hint=hint)


def _key(other: Beside) -> tuple[str, str]:
    return str(other.entity.get("PartitionKey")), str(other.entity.get("RowKey"))
