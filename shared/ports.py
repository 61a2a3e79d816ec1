"""The seams: what a source, a sink, a store and a clock owe their callers. Kinds of each pass one conformance suite."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from shared.errors import ConfigError, StaleError
from shared.events import (
    Batch,
    ChangeEvent,
    ClaimCheck,
    FoundStream,
    Journal,
    Mark,
    Memo,
    Message,
    Observation,
    Position,
    Record,
    Saved,
    Stream,
    StreamState,
)
from shared.topics import FoundTopic, Label, Placement


class Source(Protocol):
    """Reads the streams of one source; safe to call for several streams at once."""

    async def discover(self) -> tuple[Sequence[FoundStream], Sequence[ConfigError]]:
        """Look at the source: the configured streams that can be read, and a problem for each that cannot.

        Raises:
            TransientError: the source cannot be reached.
            ConfigError: nothing of the source can be read (credentials, change capture off).
        """
        ...

    async def probe(self, after: Mapping[Stream, Position]) -> frozenset[Stream]:
        """Return which of these streams hold events after the given position; no IO when none is given.

        A stream with events is never left out; one without may be named.

        Raises:
            TransientError: the source cannot be reached.
            ConfigError: the source refuses.
        """
        ...

    async def read(self, stream: Stream, after: Position, limit: int) -> Batch:
        """Return about `limit` events after `after`, exclusive, in commit order.

        Reading again with the batch's position yields the next event and never the same one. Events of one position
        are never split over batches, even beyond `limit`.

        Raises:
            PositionLostError: the source no longer holds everything after `after`.
            TransientError: the source cannot be reached.
            ConfigError: the source refuses.
        """
        ...


class Observer(Protocol):
    """Looks at the present of something that keeps no history; what it saw is kept in journals."""

    async def discover(self, known: Collection[Stream]) -> tuple[Sequence[FoundStream], Sequence[ConfigError]]:
        """Look at the source: the streams that can be observed, and a problem for each that cannot.

        `known` are its streams that have a journal: one whose subject is gone meanwhile is found all the same when the
        configuration still selects it, since that it is gone has to be told.

        Raises:
            TransientError: the source cannot be reached.
            ConfigError: nothing of the source can be read (credentials).
        """
        ...

    async def probe(self, streams: Collection[Stream]) -> frozenset[Stream]:
        """Return which of these streams may have changed since they were last observed by this object.

        One that has changed is never left out; one that was never observed counts as changed. A stream that is not
        among `streams` may be named: when nobody knows it, the source is to be discovered again.

        Raises:
            TransientError: the source cannot be reached.
            ConfigError: the source refuses.
        """
        ...

    async def observe(
        self, stream: Stream, memo: Memo | None, after: Position, *, snapshot: bool = False
    ) -> Observation:
        """Compare the present with `memo`; without one, everything there is is new: a snapshot, `r`.

        With `snapshot`, one of all that is then remembered follows the changes, from the same look. Positions of the
        events lie above `after` and ascend, one event each. The events applied to the memo's items give the items of
        the new memo.

        Raises:
            PositionLostError: `after` is no position of this source.
            TransientError: the source cannot be reached, or its answer cannot be trusted yet.
            ConfigError: the source refuses.
        """
        ...


class Format(Protocol):
    """Turns changes into message bodies: UTF-8, in one line, without tabs."""

    def encode(self, event: ChangeEvent, event_id: str, topic: str) -> bytes:
        """Return the body.

        Raises:
            RejectedError: a value has no form in this format.
        """
        ...

    def claimed(self, event: ChangeEvent, event_id: str, topic: str, claim: ClaimCheck) -> bytes:
        """Return the body that stands in for one that was stored aside."""
        ...


class Sink(Protocol):
    """Makes messages durable somewhere."""

    async def send(self, to: str, messages: Sequence[Message]) -> None:
        """Make all messages durable at `to`, keeping the order of each session, or raise.

        After an error any prefix may be durable: sending again repeats messages under the same ids. Calls for
        different `to` run side by side.

        Raises:
            TransientError: the destination is away, missing, full, busy or refuses us.
            RejectedError: one of the messages can never be accepted; when only one was given, it is that one.
        """
        ...

    async def close(self) -> None:
        """Release connections; idempotent."""
        ...


class StateStore(Protocol):
    """Keeps one record per stream; every write is conditional on the etag that was read."""

    async def load(self, bucket: int) -> Sequence[Record]:
        """Return every record of one bucket (0 to 15), in one query.

        Raises:
            TransientError: the store is away.
            ConfigError: a record was written by a newer release, or the store refuses.
        """
        ...

    async def find(self, stream: Stream) -> Record:
        """Return what is stored of one stream; its state is None when there is none.

        Raises:
            TransientError: the store is away.
            ConfigError: the record was written by a newer release, or the store refuses.
        """
        ...

    async def save(self, states: Sequence[Saved[StreamState]]) -> Sequence[Saved[StreamState] | StaleError]:
        """Write states of different streams (etag None: create), grouped per bucket; one outcome each, in order.

        A refused write that turns out to be one's own earlier success counts as written.

        Raises:
            TransientError: the store is away; any of the states may have been written.
        """
        ...


class MarkStore(Protocol):
    """Keeps one mark per stream and destination."""

    async def read(self, stream: Stream, destination: str) -> Saved[Mark] | None:
        """Return the mark, None when nothing was delivered there yet.

        Raises:
            TransientError: the store is away.
        """
        ...

    async def write(self, stream: Stream, destination: str, mark: Saved[Mark]) -> Saved[Mark]:
        """Write the mark if it still has the given etag (None: if there is none); return it with its new etag.

        Raises:
            StaleError: somebody else wrote it; look again.
            TransientError: the store is away; it may have been written.
        """
        ...


class JournalStore(Protocol):
    """Keeps one journal per stream of a source that keeps no history; every write is conditional on the etag."""

    async def load(self, source: str) -> Sequence[Saved[Journal]]:
        """Return the journals of all streams of one source.

        Raises:
            TransientError: the store is away.
            ConfigError: a journal was written by a newer release, or the store refuses.
        """
        ...

    async def find(self, stream: Stream, known: Saved[Journal] | None = None) -> Saved[Journal] | None:
        """Return one journal, None when there is none; `known` itself if it is the newest, at the cost of its etag.

        Raises:
            TransientError: the store is away.
            ConfigError: it was written by a newer release, or the store refuses.
        """
        ...

    async def save(self, journal: Saved[Journal]) -> Saved[Journal]:
        """Write the journal if it still has its etag (None: if there is none); return it as stored.

        Parts that are stored aside already are not written again. Once the journal is durable, the blobs it dropped are
        deleted.

        Raises:
            StaleError: somebody else wrote it; look again.
            TransientError: the store is away; it may have been written.
        """
        ...


class Control(Protocol):
    """The bell beside the states: a touched version tells every capture to load them again."""

    async def version(self) -> str:
        """Return an opaque version that differs after every touch.

        Raises:
            TransientError: the store is away.
        """
        ...

    async def touch(self) -> None:
        """Change the version.

        Raises:
            TransientError: the store is away.
        """
        ...


class Lease(Protocol):
    """The expiring right to advance a shard's streams; it saves double work, etags keep the promise."""

    async def hold(self) -> bool:
        """Renew the lease, or take it; True when it was not held without a break since the last call.

        Raises:
            LeaseError: another process holds it.
            TransientError: the store is away.
        """
        ...

    async def release(self) -> None:
        """Give the lease back if it is held; never raises for a lost one."""
        ...


class ClaimStore(Protocol):
    """Keeps bodies that are too large for the broker."""

    async def put(self, event_id: str, body: bytes) -> ClaimCheck:
        """Store the body under its event's id, replacing an earlier one, durably.

        Raises:
            TransientError: the store is away.
        """
        ...

    async def get(self, claim: ClaimCheck) -> bytes:
        """Return the body.

        Raises:
            TransientError: the store is away.
            RejectedError: it is gone, or is not the one that was put.
        """
        ...


class TopicAdministration(Protocol):
    """Makes and removes the topics of one namespace, at a pace that leaves room for its messages."""

    async def topics(self) -> Sequence[FoundTopic]:
        """Return every topic of the namespace.

        Raises:
            TransientError: the namespace is away, busy or refuses us.
            ConfigError: it has no management API that can be reached.
        """
        ...

    async def make(self, topic: str, label: Label, *, adopt: bool = False) -> None:
        """Bring a topic of ours to be all there, from wherever an earlier attempt has left it; idempotent.

        It takes messages from when it has its subscription. `adopt` takes it over from another owner.

        Raises:
            TransientError: the namespace is away, busy, full or refuses us.
            ConfigError: the topic cannot be made so, or belongs to somebody else.
        """
        ...

    async def delete(self, topic: str) -> None:
        """Delete a topic with all that it holds; one that is gone is no error.

        Raises:
            TransientError: the namespace is away, busy or refuses us.
        """
        ...


class Placements(Protocol):
    """Remembers in which namespace each topic is; a placement is never changed."""

    async def load(self) -> tuple[str, Sequence[Placement]]:
        """Return who we are to topics, "" when that was never decided, and every placement.

        Raises:
            TransientError: the store is away.
            ConfigError: a newer release wrote a placement.
        """
        ...

    async def claim(self) -> str:
        """Return who we are to topics, deciding it at the first call ever.

        Raises:
            TransientError: the store is away.
        """
        ...

    async def place(self, placement: Placement) -> str:
        """Store a placement unless there is one, and return the namespace that is stored.

        Raises:
            TransientError: the store is away.
        """
        ...


class Clock(Protocol):
    """Time, injected so that tests own it."""

    def now(self) -> datetime:
        """Return the current time, UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
