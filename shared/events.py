"""The values that travel: changes, batches, packed changes, messages, and what is remembered of a stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NewType

import msgspec

Stream = NewType("Stream", str)
"""`<source>/<part>/…`, case kept, made by `naming.stream`: for SQL Server `<source>/<database>/<schema>/<table>`."""

Position = NewType("Position", str)
"""Resume token in its text form, which sorts as the position does; "" comes before every position of every source."""

Op = Literal["c", "u", "d", "r"]
"""Create, update, delete, or read (a snapshot)."""


class ChangeEvent(msgspec.Struct, frozen=True, gc=False):
    """One committed change of one row.

    `before` and `after` hold JSON-ready values by column name in column order: before is None for `c` and `r`, after is
    None for `d`. `changed` names the columns of an update whose value changed. `unavailable` names columns whose value
    the source did not record (an unchanged large value): they are absent from `before` and `after`, not null.
    `commit_time` is UTC, `2026-11-21T07:28:06.1230000Z`; a source that does not know it says when it saw the change.
    `facts` are the source's own coordinates, `origin` names what was changed, both in the order in which the message
    shows them. `n` numbers the events that share one position.
    """

    stream: Stream
    op: Op
    position: Position
    key: tuple[str, ...]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    commit_time: str
    facts: dict[str, Any]
    changed: tuple[str, ...] | None = None
    unavailable: tuple[str, ...] = ()
    n: int | None = None
    origin: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive events of one stream in commit order, and the position after the last of them.

    Without events, `position` is how far the source was found to hold nothing new. `more` says that reading again at
    once will bring further events.
    """

    events: Sequence[ChangeEvent]
    position: Position
    more: bool = False


@dataclass(frozen=True, slots=True)
class FoundStream:
    """A stream that a source can read, as discovery found it.

    `first` is the position after which a stream that has no saved state begins. `retention_s` is how long the source
    keeps a change, in seconds: a quiet position must advance well within it.
    """

    stream: Stream
    first: Position
    poll_interval_s: float
    max_poll_interval_s: float
    retention_s: float


@dataclass(frozen=True, slots=True)
class PackedChange:
    """One encoded change, as a line of a pack and as the body of its message; `body` is UTF-8 JSON in one line."""

    position: Position
    op: Op
    event_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """What a sink makes durable, its body already encoded; messages of one `session` keep their order."""

    id: str
    session: str
    subject: str
    content_type: str
    body: bytes
    properties: Mapping[str, str | int | float | None] = field(default_factory=dict)
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class StreamState:
    """What survives between captures of one stream; every write is conditional on the etag.

    `repairs` and `parks` count those since the last progress, `repaired` all repairs there ever were. `reason` says why
    the stream is not running, or what was last done about it. `interval_s` is the adaptive poll interval and `anchor`
    when it was set: the stream is due at `anchor` + k x `interval_s`, and at once without an anchor. `moved_at` is when
    the position last moved. `destinations` are those the stream had when they were last looked at: one that is not
    among them is new.
    """

    stream: Stream
    position: Position
    chain: int
    chain_start: Position
    replay: int = 0
    incarnation: int = 0
    not_before: datetime | None = None
    repairs: int = 0
    parks: int = 0
    repaired: int = 0
    interval_s: float = 0.0
    anchor: datetime | None = None
    moved_at: datetime | None = None
    status: Literal["running", "paused", "halted"] = "running"
    reason: str = ""
    destinations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to which chain and position a stream is delivered to one destination."""

    chain: int = 0
    position: Position = Position("")
    replay: int = 0


@dataclass(frozen=True, slots=True)
class Saved[T]:
    """A stored value and the etag of the version that was read or written; etag None means: not stored yet."""

    value: T
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """All that is stored of one stream: its state, if any, and its marks by destination."""

    stream: Stream
    state: Saved[StreamState] | None
    marks: Mapping[str, Saved[Mark]]


@dataclass(frozen=True, slots=True)
class Memo:
    """What is remembered of a stream whose source keeps no history.

    `items` has the last known value of each item by its key, JSON-ready; `head` is the source's own: how far it saw.
    """

    head: Mapping[str, Any]
    items: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """The changes between a memo and the present, positions ascending, and the memo that has them."""

    events: Sequence[ChangeEvent]
    memo: Memo


@dataclass(frozen=True, slots=True)
class Part:
    """A compressed piece of a journal; `blob` names where it is stored, "" when it is not stored aside."""

    data: bytes = field(repr=False)
    blob: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """What a stream was seen to go through, and what is remembered of it.

    `outbox` holds the events after `base` up to `last`; `memo` the items, spread over its parts by the hash of their
    keys, and `head` beside them as JSON. `dropped` names blobs that this version no longer refers to.
    """

    stream: Stream
    base: Position = Position("")
    last: Position = Position("")
    head: str = ""
    outbox: Part = Part(b"")
    memo: tuple[Part, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClaimCheck:
    """Reference to a body stored aside; `sha256` in lower-case hex, `bytes` its length."""

    container: str
    blob: str
    bytes: int
    sha256: str
