r"""The wire form of a batch on the ingest queue: UTF-8 text, a JSON header line, then one line per change.

    {"v":1,"stream":"…","chain":1,"start":false,"replay":0,"after":"…","last":"…","count":2}
    <position>\t<op>\t<event_id>\t<body>
    <position>\t<op>\t<event_id>\t<body>

Lines are joined by one newline and none follows the last. Bodies are JSON in one line, which nobody here parses.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, cast, get_args

import msgspec

from shared.errors import RejectedError, TransientError
from shared.events import Op, PackedChange, Position, Stream

VERSION = 1
CONTENT_TYPE = "application/vnd.sluice.pack"

_OPS = {op.encode(): op for op in get_args(Op)}
_MAX_NUMBER = 2**63 - 1

type _Natural = Annotated[int, msgspec.Meta(ge=0, le=_MAX_NUMBER)]


@dataclass(frozen=True, slots=True)
class PackHeader:
    """What a pack says of itself: it goes from `after`, exclusive, to `last`, inclusive; `start` opens its chain."""

    stream: Stream
    chain: int
    start: bool
    replay: int
    after: Position
    last: Position
    count: int


@dataclass(frozen=True, slots=True)
class Pack:
    """A decoded pack, its changes in commit order; an empty one moves or probes a quiet stream."""

    header: PackHeader
    changes: Sequence[PackedChange]


class PackVersionError(TransientError):
    """A pack of a newer release: to be held until that release runs here, never rejected."""


class _Version(msgspec.Struct):
    v: Annotated[int, msgspec.Meta(ge=1)]


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    stream: Annotated[str, msgspec.Meta(min_length=1)]
    chain: _Natural
    start: bool
    replay: _Natural
    after: str
    last: str
    count: _Natural


_encoder = msgspec.json.Encoder()
_version = msgspec.json.Decoder(_Version)
_header = msgspec.json.Decoder(_Header)


def encode(header: PackHeader, changes: Sequence[PackedChange]) -> bytes:
    """Return the pack's bytes.

    Raises:
        ValueError: the header does not describe the changes, or a field holds a tab or newline.
    """
    if header.count != len(changes):
        message = f"the header counts {header.count} changes, there are {len(changes)}"
        raise ValueError(message)
    body = b"\n".join([_encode_header(header), *map(_encode_change, changes)])
    if body.count(b"\n") != len(changes) or any("\t" in change.position + change.event_id for change in changes):
        message = "a newline in a change, or a tab in its position or event id, would break the pack"
        raise ValueError(message)
    return body


def decode(body: bytes) -> Pack:
    """Return the pack that `body` holds.

    Raises:
        RejectedError: it is not a pack, or contradicts itself; the message says where.
        PackVersionError: it was written by a newer release.
    """
    try:
        body.decode()
    except UnicodeDecodeError as error:
        message = f"pack: not UTF-8 at byte {error.start}"
        raise RejectedError(message) from error
    first, *lines = body.split(b"\n")
    header = _decode_header(first)
    if len(lines) != header.count:
        message = f"pack: the header counts {header.count} changes, there are {len(lines)}"
        raise RejectedError(message)
    changes = [_decode_change(number, line) for number, line in enumerate(lines, start=1)]
    _check_order(header, changes)
    return Pack(header, changes)


def line_bytes(change: PackedChange) -> int:
    """Return how many bytes one more change adds to a pack, its newline included."""
    return 1 + len(_encode_change(change))


def header_bytes_bound(stream: Stream, *positions: Position) -> int:
    """Return the most bytes the header takes in any pack of `stream` that begins and ends at one of `positions`."""
    longest = max(positions, key=lambda position: len(_encoder.encode(position)), default=Position(""))
    n = _MAX_NUMBER
    return len(_encode_header(PackHeader(stream, n, start=False, replay=n, after=longest, last=longest, count=n)))


def message_id(body: bytes) -> str:
    """Return the id of the message that carries this pack: a repeat of the same bytes has the same id."""
    return hashlib.sha256(body).hexdigest()


def _encode_header(header: PackHeader) -> bytes:
    return _encoder.encode(
        _Header(
            v=VERSION,
            stream=header.stream,
            chain=header.chain,
            start=header.start,
            replay=header.replay,
            after=header.after,
            last=header.last,
            count=header.count,
        )
    )


def _decode_header(line: bytes) -> PackHeader:
    try:
        version = _version.decode(line).v
        if version > VERSION:
            message = f"pack: version {version}, this release reads {VERSION}"
            raise PackVersionError(
                message, lasting=True, hint="finish the roll-out: the release that wrote the pack can read it"
            )
        header = _header.decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        message = f"pack: bad header: {error}"
        raise RejectedError(message) from error
    return PackHeader(
        stream=Stream(header.stream),
        chain=header.chain,
        start=header.start,
        replay=header.replay,
        after=Position(header.after),
        last=Position(header.last),
        count=header.count,
    )


def _encode_change(change: PackedChange) -> bytes:
    return b"%b\t%b\t%b\t%b" % (change.position.encode(), change.op.encode(), change.event_id.encode(), change.body)


def _decode_change(number: int, line: bytes) -> PackedChange:
    fields = line.split(b"\t", 3)
    if len(fields) != 4 or not all(fields):
        message = f"pack: change {number} lacks a field"
        raise RejectedError(message)
    position, op, event_id, body = fields
    if op not in _OPS:
        message = f"pack: change {number} has the unknown op {op.decode()!r}"
        raise RejectedError(message)
    return PackedChange(Position(position.decode()), cast(Op, _OPS[op]), event_id.decode(), body)


def _check_order(header: PackHeader, changes: Sequence[PackedChange]) -> None:
    """Refuse positions that do not ascend within (after, last]; events of one position may follow one another."""
    if header.last < header.after:
        message = "pack: it ends before it begins"
        raise RejectedError(message)
    if not changes:
        return
    if changes[0].position <= header.after or changes[-1].position > header.last:
        message = "pack: a change lies outside of what the header says"
        raise RejectedError(message)
    if any(left.position > right.position for left, right in pairwise(changes)):
        message = "pack: the changes are out of order"
        raise RejectedError(message)
