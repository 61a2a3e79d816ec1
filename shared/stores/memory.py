"""Stores that keep all in this process: twins of Azure Storage with its etags and leases, and faults on demand."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from shared import naming
from shared.errors import ConfigError, LeaseError, RejectedError, StaleError, TransientError
from shared.events import ClaimCheck, Journal, Mark, Record, Saved, Stream, StreamState
from shared.ports import Clock


@dataclass(frozen=True, slots=True)
class _Write:
    """What one stored version came from, so that its own writer knows it again."""

    writer: object
    base: str | None


@dataclass(slots=True)
class _Held:
    """Who holds a lease, until when on the clock's monotonic scale."""

    holder: object
    until: float


async def _give_way(_call: str) -> None:
    await asyncio.sleep(0)


@dataclass(slots=True)
class MemoryAccount:
    """What one storage account holds, shared by every store opened on it, and the faults it has been told to show.

    Faults: while `away`, every call raises TransientError and does nothing. The next `lost_answers` writes are done and
    raise TransientError all the same. Streams in `newer` were written by a later release. Clearing `leases` takes them
    away from their holders, as deleting their container does.

    `step` is awaited with the name of a call (`save`, `write`, …) before each read or write and with `<name> done`
    after each write: a scheduler lets others in there, or raises what it likes. By default it gives way once.
    `calls` counts calls by name; `claims` are keyed by `<container>/<blob>`.
    """

    away: bool = False
    lost_answers: int = 0
    newer: set[Stream] = field(default_factory=set)
    step: Callable[[str], Awaitable[None]] = _give_way
    calls: Counter[str] = field(default_factory=Counter)
    states: dict[Stream, Saved[StreamState]] = field(default_factory=dict)
    marks: dict[tuple[Stream, str], Saved[Mark]] = field(default_factory=dict)
    claims: dict[str, bytes] = field(default_factory=dict)
    journals: dict[str, Saved[Journal]] = field(default_factory=dict)
    leases: dict[str, _Held] = field(default_factory=dict)
    control: str = ""
    _writes: dict[str | tuple[Stream, str], _Write] = field(default_factory=dict)
    _versions: int = 0

    async def begin(self, call: str) -> None:
        """Let others in, then fail if the account is away."""
        await self.step(call)
        self._reach()

    async def end(self, call: str) -> None:
        """Let others in after a write, then fail if its answer is to be lost."""
        await self.step(f"{call} done")
        if self.lost_answers > 0:
            self.lost_answers -= 1
            reason = f"the answer to {call} was lost"
            raise TransientError(reason)
        self._reach()

    def next_version(self) -> str:
        """Return an etag that was never used before."""
        self._versions += 1
        return f'W/"{self._versions}"'

    def put[K: (Stream, str, tuple[Stream, str]), V](
        self, kept: dict[K, Saved[V]], key: K, wanted: Saved[V], writer: object
    ) -> Saved[V] | StaleError:
        """Write a value if its stored version is still the given one, or already is this very write."""
        found = kept.get(key)
        if (found.etag if found else None) == wanted.etag:
            kept[key] = Saved(wanted.value, self.next_version())
            self._writes[key] = _Write(writer, wanted.etag)
            return kept[key]
        if found and found.value == wanted.value and self._writes.get(key) == _Write(writer, wanted.etag):
            return found
        return StaleError(f"what is stored of {key} was changed by somebody else", hint="read it again")

    def _reach(self) -> None:
        if self.away:
            reason = "the storage account is away"
            raise TransientError(reason)


def _newer(stream: Stream) -> ConfigError:
    return ConfigError(
        f"what is stored of stream {stream} was written by a newer release", hint="deploy that release again"
    )


class MemoryStateStore:
    """One writer's view of an account's states; a second one is a second process."""

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account

    async def load(self, bucket: int) -> Sequence[Record]:
        """Return every record of one bucket that this release can read."""
        self._account.calls["load"] += 1
        await self._account.begin("load")
        streams = {*self._account.states, *(stream for stream, _ in self._account.marks)} - self._account.newer
        return [self._record(stream) for stream in sorted(streams) if naming.bucket(stream) == bucket]

    async def find(self, stream: Stream) -> Record:
        """Return what is stored of one stream.

        Raises:
            ConfigError: it was written by a newer release.
        """
        self._account.calls["find"] += 1
        await self._account.begin("find")
        if stream in self._account.newer:
            raise _newer(stream)
        return self._record(stream)

    async def save(self, states: Sequence[Saved[StreamState]]) -> Sequence[Saved[StreamState] | StaleError]:
        """Write states one after the other; a fault in between leaves the later ones unwritten."""
        self._account.calls["save"] += 1
        outcomes: list[Saved[StreamState] | StaleError] = []
        for state in states:
            stream = state.value.stream
            await self._account.begin("save")
            if stream in self._account.newer:
                outcomes.append(StaleError(_newer(stream).message, hint="read it again"))
            else:
                outcomes.append(self._account.put(self._account.states, stream, state, self))
        await self._account.end("save")
        return outcomes

    def _record(self, stream: Stream) -> Record:
        marks = {to: mark for (of, to), mark in self._account.marks.items() if of == stream}
        return Record(stream, self._account.states.get(stream), marks)


class MemoryMarkStore:
    """One writer's view of an account's marks; a second one is a second process."""

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account

    async def read(self, stream: Stream, destination: str) -> Saved[Mark] | None:
        """Return the mark, None when there is none.

        Raises:
            TransientError: a newer release wrote it: it waits for that release.
        """
        self._account.calls["read"] += 1
        await self._account.begin("read")
        if stream in self._account.newer:
            why = _newer(stream)
            raise TransientError(why.message, lasting=True, hint=why.hint)
        return self._account.marks.get((stream, destination))

    async def write(self, stream: Stream, destination: str, mark: Saved[Mark]) -> Saved[Mark]:
        """Write the mark if it still has the given etag.

        Raises:
            StaleError: it has another.
        """
        self._account.calls["write"] += 1
        await self._account.begin("write")
        if stream in self._account.newer:
            raise StaleError(_newer(stream).message, hint="read it again")
        outcome = self._account.put(self._account.marks, (stream, destination), mark, self)
        await self._account.end("write")
        if isinstance(outcome, StaleError):
            raise outcome
        return outcome


class MemoryJournalStore:
    """One writer's view of an account's journals; a second one is a second process. It stores nothing aside."""

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account

    async def load(self, source: str) -> Sequence[Saved[Journal]]:
        """Return the journals of a source that this release can read."""
        self._account.calls["load journals"] += 1
        await self._account.begin("load journals")
        every = [saved for saved in self._account.journals.values() if saved.value.stream not in self._account.newer]
        return [saved for saved in every if naming.parts(saved.value.stream)[0] == source]

    async def find(self, stream: Stream, known: Saved[Journal] | None = None) -> Saved[Journal] | None:
        """Return one journal, None when there is none; `known` itself if it is the newest.

        Raises:
            ConfigError: it was written by a newer release.
        """
        self._account.calls["find journal"] += 1
        await self._account.begin("find journal")
        if stream in self._account.newer:
            raise _newer(stream)
        found = self._account.journals.get(f"journal of {stream}")
        return known if known is not None and found is not None and found.etag == known.etag else found

    async def save(self, journal: Saved[Journal]) -> Saved[Journal]:
        """Write the journal if it still has its etag.

        Raises:
            StaleError: it has another.
        """
        self._account.calls["save journal"] += 1
        await self._account.begin("save journal")
        if journal.value.stream in self._account.newer:
            raise StaleError(_newer(journal.value.stream).message, hint="read it again")
        key = f"journal of {journal.value.stream}"
        outcome = self._account.put(self._account.journals, key, journal, self)
        await self._account.end("save journal")
        if isinstance(outcome, StaleError):
            raise outcome
        return outcome


class MemoryControl:
    """The bell of an account."""

    def __init__(self, account: MemoryAccount) -> None:
        self._account = account

    async def version(self) -> str:
        """Return the version of the last touch, "" when it was never touched."""
        self._account.calls["version"] += 1
        await self._account.begin("version")
        return self._account.control

    async def touch(self) -> None:
        """Change the version."""
        self._account.calls["touch"] += 1
        await self._account.begin("touch")
        self._account.control = self._account.next_version()
        await self._account.end("touch")


class MemoryLease:
    """One process's hold on a named lease that ends `duration_s` after it was taken or renewed."""

    def __init__(self, account: MemoryAccount, name: str, clock: Clock, duration_s: float = 60.0) -> None:
        self._account = account
        self._name = name
        self._clock = clock
        self._duration_s = duration_s

    async def hold(self) -> bool:
        """Renew the lease, or take it; True when it was not held without a break since the last call.

        Raises:
            LeaseError: another holds it.
        """
        self._account.calls["hold"] += 1
        await self._account.begin("hold")
        now = self._clock.monotonic()
        held = self._account.leases.get(self._name)
        alive = held is not None and held.until > now
        if held and alive and held.holder is not self:
            reason = f"lease {self._name} is held by another process for {held.until - now:.0f} s more"
            raise LeaseError(reason)
        self._account.leases[self._name] = _Held(self, now + self._duration_s)
        return not alive

    async def release(self) -> None:
        """Give the lease back if it is held."""
        self._account.calls["release"] += 1
        held = self._account.leases.get(self._name)
        if held and held.holder is self:
            del self._account.leases[self._name]


class MemoryClaimStore:
    """The bodies of an account that are too large for the broker."""

    def __init__(self, account: MemoryAccount, container: str = "claims") -> None:
        self._account = account
        self._container = container

    async def put(self, event_id: str, body: bytes) -> ClaimCheck:
        """Keep the body under its event's id, replacing an earlier one."""
        self._account.calls["put"] += 1
        await self._account.begin("put")
        self._account.claims[f"{self._container}/{event_id}"] = bytes(body)
        await self._account.end("put")
        return ClaimCheck(self._container, event_id, len(body), hashlib.sha256(body).hexdigest())

    async def get(self, claim: ClaimCheck) -> bytes:
        """Return the body.

        Raises:
            RejectedError: it is gone, or is not the one that was put.
        """
        self._account.calls["get"] += 1
        await self._account.begin("get")
        body = self._account.claims.get(f"{claim.container}/{claim.blob}")
        if body is None:
            reason = f"claim {claim.container}/{claim.blob} is gone"
            raise RejectedError(reason)
        if hashlib.sha256(body).hexdigest() != claim.sha256:
            reason = f"claim {claim.container}/{claim.blob} is not the body that was put"
            raise RejectedError(reason)
        return body
