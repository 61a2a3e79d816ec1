"""What was observed, written down before it is told: it makes a source that keeps no history readable like any other.

An observer sees the present only. Here the changes since it last looked are saved in the stream's journal, with what to
compare with next time, before anything of them is sent; so they can be read again after a crash or a repair. They
leave the journal only below the place where a repair would begin.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from shared import chain, memo
from shared.errors import ConfigError, PositionLostError, StaleError
from shared.events import Batch, ChangeEvent, FoundStream, Journal, Memo, Observation, Position, Saved, Stream
from shared.ports import JournalStore, Observer, StateStore

ITEMS_AT_HAND = 20_000
"""Items of the streams that changed last are kept decoded, so many in all; the others are compressed."""

LATEST: Final = Position("-")
"""Where a stream begins that is told without its first snapshot: behind the very beginning, before every position."""


class JournaledSource:
    """The source that an observer and its journals make together; one per source and process.

    With `start` "latest" the streams of the very first look begin without a snapshot, and one whose state went missing
    where its journal ends.
    """

    def __init__(
        self, name: str, observer: Observer, *, journals: JournalStore, states: StateStore, start: str = "earliest"
    ) -> None:
        self._name = name
        self._observer = observer
        self._journals = journals
        self._states = states
        self._start = start
        self._without_snapshot: frozenset[Stream] | None = None
        self._is_loaded = False
        self._kept: dict[Stream, Saved[Journal]] = {}
        self._at_hand: dict[Stream, Mapping[str, Any]] = {}
        self._count_at_hand = 0
        self._unfinished: set[Stream] = set()
        self._told: dict[Stream, Position] = {}

    async def discover(self) -> tuple[Sequence[FoundStream], Sequence[ConfigError]]:
        """Return what the observer finds, given the streams that have a journal."""
        kept = await self._load()
        is_new = not kept
        found, problems = await self._observer.discover(kept.keys())
        if self._start == "latest":
            if self._without_snapshot is None:  # what appears later is a change, also while nobody looked
                self._without_snapshot = frozenset(each.stream for each in found if is_new)
            found = [replace(each, first=self._first(kept.get(each.stream), each.stream)) for each in found]
        return found, problems

    def _first(self, saved: Saved[Journal] | None, stream: Stream) -> Position:
        return LATEST if saved is None and stream in (self._without_snapshot or ()) else _last(saved)

    async def probe(self, after: Mapping[Stream, Position]) -> frozenset[Stream]:
        """Return the streams that may have changed, or whose journal holds something after the position.

        And those whose journal ends before it, once: another process has written meanwhile. A stream that nobody asked
        for may be among them: discovery has not found it yet.
        """
        if not after:
            return frozenset()
        kept = await self._load()
        changed = await self._observer.probe(after.keys())
        elsewhere = {
            stream
            for stream, position in after.items()
            if (last := _last(kept.get(stream))) > position or (last < position != self._told.get(stream))
        }
        return changed | elsewhere | (self._unfinished & after.keys())

    async def read(self, stream: Stream, after: Position, limit: int) -> Batch:
        """Return what the journal holds after `after`; when that is nothing, look, and write down what changed."""
        kept = await self._load()
        while True:
            saved, journal = _journal(kept, stream)
            events = () if after < journal.base else _after(journal, after)
            is_lost = "" < after < journal.base
            try:
                if is_lost or (events and self._told.get(stream) != after):  # it is read again: is it from an import?
                    await self._check_kept(stream)
                if is_lost:
                    raise _lost(stream, after, journal)
                if not events:
                    self._unfinished.add(stream)  # what the observer told and nobody wrote down is asked for again
                    events = await self._look(saved, journal, after)
                    self._unfinished.discard(stream)
            except StaleError:
                self._unfinished.add(stream)
                await self._find(stream)
                continue
            taken = events[: max(limit, 1)]
            self._told[stream] = taken[-1].position if taken else after
            return Batch(taken, self._told[stream], more=len(taken) < len(events))

    async def check(self, stream: Stream, after: Position) -> None:
        """See that reading can go on after `after`, a position that somebody typed; looks at nothing.

        Raises:
            PositionLostError: the stream was not that far yet, or what follows was delivered and is kept no longer.
        """
        _, journal = _journal(await self._load(), stream)
        if "" < after < journal.base:
            raise _lost(stream, after, journal)
        told = {journal.base, journal.last, *(event.position for event in memo.events_of(journal.outbox))}
        state = (await self._states.find(stream)).state
        if after and after not in told and (state is None or after != state.value.position):
            reason = f"it was observed up to {journal.last or 'nothing'}, which {after} is not among"
            raise PositionLostError(stream, reason, hint="give a position that `sluice status` or the log has shown")

    async def _look(self, saved: Saved[Journal] | None, journal: Journal, after: Position) -> Sequence[ChangeEvent]:
        """Observe the stream; once its changes are in the journal, return all that it then holds after `after`.

        From before what the journal holds, there is nothing but the present to begin with: a snapshot. It does not say
        what vanished, so it follows the changes of the same look.
        """
        again = after < journal.base
        before = self._memo(journal) if saved is not None else None
        above = max(after, journal.last)
        above = Position("") if above == LATEST else above
        seen = await self._observer.observe(journal.stream, before, above, snapshot=again)
        if saved is None and after == LATEST:
            seen, journal = replace(seen, events=()), replace(journal, base=LATEST, last=LATEST)
        if before is not None and not seen.events and not again:
            await self._check_kept(journal.stream)
            return ()
        fresh = await self._written(journal, before, seen, again=again)
        stored = await self._journals.save(Saved(fresh, saved.etag if saved is not None else None))
        self._kept[journal.stream] = stored
        self._keep_at_hand(journal.stream, seen.memo.items)
        return _after(stored.value, after) if again else seen.events or ()

    async def _written(self, journal: Journal, before: Memo | None, seen: Observation, *, again: bool) -> Journal:
        """Return the journal with what was seen in it, less what every destination has."""
        held = memo.events_of(journal.outbox)
        base = Position("") if again else journal.base
        if held and not again:
            limit = min(await self._needed_after(journal.stream, base), journal.last)
            held, base = [event for event in held if event.position > limit], max(base, limit)
        items, known = seen.memo.items, before.items if before is not None else {}
        changed = [key for key in items.keys() | known.keys() if items.get(key) != known.get(key)]
        fresh = replace(
            journal,
            base=base,
            last=seen.events[-1].position if seen.events else journal.last,
            head=msgspec.json.encode(seen.memo.head).decode(),
            outbox=memo.outbox([*held, *seen.events]),
            memo=memo.parts_of(items, journal.memo if before is not None else (), changed),
        )
        gone = _blobs(journal) - _blobs(fresh)
        return replace(fresh, dropped=(*journal.dropped, *sorted(gone)))

    async def _needed_after(self, stream: Stream, base: Position) -> Position:
        """Return the position after which a repair would read again; `base` when that is not known."""
        record = await self._states.find(stream)
        if record.state is None or not record.state.value.destinations:
            return base
        marks = {name: saved.value for name, saved in record.marks.items()}
        state = record.state.value
        return min(state.position, chain.restart(state, marks, state.destinations))

    def _memo(self, journal: Journal) -> Memo:
        items = self._at_hand.get(journal.stream)
        return Memo(msgspec.json.decode(journal.head), memo.items_of(journal.memo) if items is None else items)

    def _keep_at_hand(self, stream: Stream, items: Mapping[str, Any]) -> None:
        self._forget_items(stream)
        self._at_hand[stream] = items
        self._count_at_hand += len(items)
        while len(self._at_hand) > 1 and self._count_at_hand > ITEMS_AT_HAND:
            self._forget_items(next(iter(self._at_hand)))

    def _forget_items(self, stream: Stream) -> None:
        self._count_at_hand -= len(self._at_hand.pop(stream, ()))

    async def _load(self) -> dict[Stream, Saved[Journal]]:
        """Return the journals by stream, read at the first call."""
        if not self._is_loaded:
            for saved in await self._journals.load(self._name):
                self._kept.setdefault(saved.value.stream, saved)
            self._is_loaded = True
        return self._kept

    async def _check_kept(self, stream: Stream) -> None:
        """See that the journal at hand is the newest one.

        Raises:
            StaleError: another process has told something meanwhile, which may be undone by now; or an older
                journal was imported.
        """
        kept = self._kept[stream]
        if await self._journals.find(stream, kept) is not kept:
            msg = f"the journal of {stream} was changed by somebody else"
            raise StaleError(msg, hint="read it again")

    async def _find(self, stream: Stream) -> None:
        """Read a journal that somebody else wrote meanwhile."""
        self._forget_items(stream)
        found = await self._journals.find(stream)
        if found is not None:
            self._kept[stream] = found
        else:
            self._kept.pop(stream, None)


def _journal(kept: Mapping[Stream, Saved[Journal]], stream: Stream) -> tuple[Saved[Journal] | None, Journal]:
    """Return a journal as it was stored, if it was; and what is in it."""
    saved = kept.get(stream)
    return saved, saved.value if saved is not None else Journal(stream)


def _after(journal: Journal, after: Position) -> Sequence[ChangeEvent]:
    if journal.last <= after:
        return ()
    return [event for event in memo.events_of(journal.outbox) if event.position > after]


def _last(saved: Saved[Journal] | None) -> Position:
    return saved.value.last if saved is not None else Position("")


def _blobs(journal: Journal) -> set[str]:
    return {part.blob for part in (journal.outbox, *journal.memo) if part.blob}


def _lost(stream: Stream, after: Position, journal: Journal) -> PositionLostError:
    reason = f"what was observed up to {journal.base} was delivered and is kept no longer; the position is {after}"
    hint = (
        f"take a snapshot of what is there now and go on from it: sluice resume {shlex.quote(stream)} --from earliest"
    )
    return PositionLostError(stream, reason, hint=hint)
