"""The first verb: read what was committed after the saved position, send it to the ingest queue, then save.

Send first, save second, at most one unacknowledged pack per stream: a crash anywhere repeats changes and never skips
one. Streams run side by side; within a stream everything is in order.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import batched

from shared import schedule
from shared.checkpoint import Checkpoint
from shared.errors import ConfigError, LeaseError, PositionLostError, SluiceError, StaleError, TransientError
from shared.events import FoundStream, Saved, Stream
from shared.forward import Forward
from shared.held import Held, Shard
from shared.ports import Clock, Control, Lease, Source
from shared.settings.model import CaptureSettings

log = logging.getLogger("sluice.capture")

STREAMS_AT_ONCE = 16
"""Streams that are read and sent side by side: a few more than a source has connections, so that neither waits."""
MARKS_EVERY_S = 0.5
"""How often, in seconds, the marks of unconfirmed streams are read while a tick lingers."""
PATIENCE_S = 2.0
"""How long, in seconds, a tick lingers for destinations that a stream is too far ahead of, after their last step."""
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 60.0
"""How long a stream or a source that failed is left alone, in seconds."""
LOOK_AGAIN_S = 60.0
"""How soon, in seconds, a source is looked at again when some of its streams could not be found."""


@dataclass(slots=True)
class SourceInUse:
    """A source that capture reads, and how it is doing; shards of one process share it.

    `deadline_s` bounds one look at it and one round over its streams.
    """

    source: Source
    deadline_s: float
    page: int
    found: Sequence[FoundStream] = ()
    problems: Sequence[ConfigError] = ()
    look_at: float = float("-inf")
    failures: int = 0
    left_alone_until: float = float("-inf")


@dataclass(slots=True)
class _Part:
    """One source's part of a tick: its streams go their own way, so that no source waits for another."""

    name: str
    source: SourceInUse
    busy: bool = False
    loaded: Sequence[FoundStream] = ()
    marks_read_at: float = float("-inf")
    marks_moved_at: float = float("-inf")


class Capture:
    """Advances the streams of one shard, a tick at a time; one tick runs at a time."""

    def __init__(
        self,
        *,
        sources: Mapping[str, SourceInUse],
        shard: Shard,
        forward: Forward,
        checkpoint: Checkpoint,
        control: Control,
        lease: Lease,
        settings: CaptureSettings,
        clock: Clock,
    ) -> None:
        self._parts = [_Part(name, source) for name, source in sources.items()]
        self._shard = shard
        self._forward = forward
        self._checkpoint = checkpoint
        self._control = control
        self._lease = lease
        self._settings = settings
        self._clock = clock
        self._held: dict[Stream, Held] = {}
        self._version: str | None = None
        self._lease_lost = False
        self._all_quiet = asyncio.Event()

    @property
    def held(self) -> Mapping[Stream, Held]:
        """The streams this shard advances, as last read or written."""
        return self._held

    async def tick(self) -> None:
        """Advance every due stream, and go on while changes keep arriving, within the linger budget.

        Steps aside without an error when another process holds the lease.

        Raises:
            TransientError: the state store is away.
        """
        try:
            fresh = await self._lease.hold()
        except LeaseError as why:
            log.debug("stepped aside", extra={"reason": str(why)})
            self._version = None
            return
        if fresh:
            self._version = None
        self._lease_lost = False
        keeper = asyncio.create_task(self._keep_lease())
        try:
            await self._load()
            await self._advance_all()
        finally:
            keeper.cancel()
            if self._lease_lost:  # whoever holds it now may have looked before the last write of this tick
                with contextlib.suppress(TransientError):
                    await self._control.touch()

    async def _keep_lease(self) -> None:
        while True:
            await self._clock.sleep(self._settings.lease_s / 3)
            try:
                lost = await self._lease.hold()
            except LeaseError:
                lost = True
            except TransientError:
                continue  # it is still ours until it expires; the next tick finds out
            if lost:
                self._lease_lost, self._version = True, None

    async def _load(self) -> None:
        """Read the states again when the bell was rung, or the lease was not held without a break."""
        version = await self._control.version()  # before the states: whoever rings after this is heard next time
        if version != self._version:
            self._version = None
            looked_at = [part.source.found for part in self._parts]  # another shard may look at a source meanwhile
            found = {stream: each for part in self._parts for stream, each in _found(part).items()}
            self._held = await self._shard.load(found, self._held)
            for part, loaded in zip(self._parts, looked_at, strict=True):
                part.loaded, part.marks_read_at = loaded, float("-inf")
            self._version = None if self._lease_lost else version

    async def _advance_all(self) -> None:
        """Give every source its part of the tick, side by side.

        Raises:
            TransientError: the state store is away.
        """
        ends = self._clock.monotonic() + self._settings.linger_s
        for part in self._parts:
            self._note(part, busy=True)
        async with asyncio.TaskGroup() as tasks:
            parts = [tasks.create_task(self._work(part, ends)) for part in self._parts]
        for task in parts:
            if (why := task.result()) is not None:
                raise why

    async def _work(self, part: _Part, ends: float) -> TransientError | None:
        """Go on with one source until all are quiet or the time is over; return why its states cannot be reached."""
        try:
            while True:
                await self._look_at(part)
                busy = await self._turn(part, ends)
                self._note(part, busy=busy and self._clock.monotonic() < ends)
                if self._lease_lost or self._all_quiet.is_set():
                    return None
                await self._nap()
        except TransientError as why:
            return why
        finally:
            self._note(part, busy=False)

    def _note(self, part: _Part, *, busy: bool) -> None:
        part.busy = busy
        if any(each.busy for each in self._parts):
            self._all_quiet.clear()
        else:
            self._all_quiet.set()

    async def _nap(self) -> None:
        """Wait a moment before looking again; not when all have become quiet meanwhile."""
        nap = asyncio.create_task(self._clock.sleep(self._settings.linger_poll_s))
        quiet = asyncio.create_task(self._all_quiet.wait())
        try:
            await asyncio.wait((nap, quiet), return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            quiet.cancel()

    async def _turn(self, part: _Part, ends: float) -> bool:
        """Look once at all that is due; True when it is worth looking again at once."""
        if self._lease_lost:
            return False
        for stale in self._of(part):
            if stale.stale and self._clock.monotonic() >= stale.left_alone_until:
                await self._again(stale)
        moved = await self._round(part, ends)
        is_ahead = any(self._forward.is_far_ahead(held) and not held.stale for held in self._of(part))
        await self._settle(part)
        await self._save_intervals(part)
        return moved or (is_ahead and self._clock.monotonic() < part.marks_moved_at + PATIENCE_S)

    def _of(self, part: _Part) -> list[Held]:
        return [held for held in self._held.values() if held.source == part.name]

    async def _look_at(self, part: _Part) -> None:
        """Look which streams a source has: once, then now and then while some are missing; hold those that are new."""
        source, now = part.source, self._clock.monotonic()
        if now >= source.look_at:
            try:
                async with asyncio.timeout(source.deadline_s):
                    source.found, source.problems = await source.source.discover()
            except (TransientError, ConfigError, TimeoutError) as why:
                self._leave_source_alone(part, why)
                source.look_at = source.left_alone_until
                return
            source.failures = 0
            source.look_at = now + LOOK_AGAIN_S if source.problems else float("inf")
            for problem in source.problems:
                log.error("stream not captured", extra={"source": part.name, "reason": str(problem)})
        looked_at = source.found
        if looked_at is not part.loaded:
            found, known = _found(part), {entry.stream for entry in part.loaded}
            new = {stream: entry for stream, entry in found.items() if stream not in known}
            fresh = await self._shard.load(new, self._held) if new else {}
            kept = {stream: held for stream, held in self._held.items() if held.source != part.name or stream in found}
            self._held, part.loaded = kept | fresh, looked_at

    async def _again(self, stale: Held) -> Held:
        try:
            fresh = self._held[stale.found.stream] = await self._shard.again(stale)
        except ConfigError as why:
            self._leave_stream_alone(stale, why)
            return stale
        return fresh

    async def _round(self, part: _Part, ends: float) -> bool:
        """Look once at every due stream of one source; True when something was sent, or there is more to look at."""
        source, now, at = part.source, self._clock.now(), self._clock.monotonic()
        due = [held for held in self._of(part) if self._is_due(held, now, at)]
        if not due or at < source.left_alone_until:
            return False
        at_once = asyncio.Semaphore(STREAMS_AT_ONCE)
        try:
            async with asyncio.timeout(source.deadline_s):
                changed = await source.source.probe({held.state.stream: held.state.position for held in due})
                if not changed <= {entry.stream for entry in source.found}:
                    source.look_at = self._clock.monotonic()  # a stream that discovery does not know yet
                worth = [h for h in due if h.state.stream in changed or self._forward.is_long_quiet(h)]
                async with asyncio.TaskGroup() as streams:
                    moved = {
                        held.state.stream: streams.create_task(self._advance(held, source, ends, at_once))
                        for held in worth
                    }
        except (TransientError, ConfigError, TimeoutError) as why:
            self._leave_source_alone(part, why)
            return False
        source.failures = 0
        active = {stream for stream, task in moved.items() if task.result()}
        now, at = self._clock.now(), self._clock.monotonic()
        for held in due:
            if held.state.stream not in active and not held.stale and at >= held.left_alone_until:
                self._quiet(held, now)
        return bool(active) or at >= source.look_at

    def _is_due(self, held: Held, now: datetime, at: float) -> bool:
        """Whether to look at the stream now: not paused, parked, left alone or too far ahead, and its turn has come.

        There may be very many: `at`, the monotonic time of `now`, is asked for once.
        """
        if not (held.active or now >= held.due_at) or held.stale or at < held.left_alone_until:
            return False
        state = held.state
        if state.status != "running" or (state.not_before is not None and now < state.not_before):
            return False
        return not self._forward.is_far_ahead(held)

    def _quiet(self, held: Held, now: datetime) -> None:
        """Look less often at a stream that was found quiet again; right after activity only its turn is set."""
        found = held.found
        if held.active:
            held.active = False
            held.due_at = now + timedelta(seconds=found.poll_interval_s)
            return
        interval = schedule.quieter(held.state.interval_s, found.poll_interval_s, found.max_poll_interval_s)
        if interval != held.state.interval_s:
            held.saved = replace(held.saved, value=replace(held.state, interval_s=interval, anchor=now))
            held.unsaved_interval = True
        held.due_at = schedule.due(held.state.anchor or now, interval, now + timedelta(milliseconds=1))

    async def _advance(self, held: Held, source: SourceInUse, ends: float, at_once: asyncio.Semaphore) -> bool:
        """Bring one stream forward; True when a pack was sent. Its errors are its own."""
        async with at_once:
            if self._lease_lost:
                return False
            try:
                try:
                    moved = await self._forward.move(
                        held,
                        source.source,
                        source.page,
                        go_on=lambda: not self._lease_lost and self._clock.monotonic() < ends,
                    )
                except PositionLostError as why:
                    await self._forward.halt(held, str(why).removeprefix(f"{why.stream}: "))
                    await self._control.touch()
                    return False
            except StaleError as why:
                log.info("stream read again", extra={"stream": held.state.stream, "reason": why.message})
                return True
            except SluiceError as why:
                self._leave_stream_alone(held, why)
                return False
        held.failures = 0
        held.active = held.active or moved
        return moved

    async def _settle(self, part: _Part) -> None:
        """See how far deliver is; send a probe where something that was sent has not arrived for long."""
        now = self._clock.monotonic()
        waiting = [h for h in self._of(part) if not h.confirmed and not h.stale and h.state.status == "running"]
        if not waiting or now < part.marks_read_at + MARKS_EVERY_S:
            return
        part.marks_read_at = now
        if await self._shard.see_marks(waiting):
            part.marks_moved_at = now
        missing = [h for h in waiting if not h.confirmed and not h.stale and now >= max(h.probe_at, h.left_alone_until)]
        for some in batched(missing, STREAMS_AT_ONCE, strict=False):
            async with asyncio.TaskGroup() as probes:
                for held in some:
                    probes.create_task(self._probe(held))

    async def _probe(self, held: Held) -> None:
        try:
            if await self._again(held) is held and self._clock.monotonic() >= held.left_alone_until:
                await self._forward.probe(held)
        except SluiceError as why:
            self._leave_stream_alone(held, why)

    async def _save_intervals(self, part: _Part) -> None:
        """Save the intervals that changed, together; losing one only means looking sooner."""
        changed = [held for held in self._of(part) if held.unsaved_interval and not held.stale]
        saves = (self._checkpoint.save(held.saved) for held in changed)
        for held, outcome in zip(changed, await asyncio.gather(*saves, return_exceptions=True), strict=True):
            held.unsaved_interval = False
            if isinstance(outcome, Saved):
                held.saved = outcome
            elif isinstance(outcome, StaleError | TransientError):
                held.stale = True
            else:
                raise outcome

    def _leave_stream_alone(self, held: Held, why: SluiceError) -> None:
        held.failures += 1
        wait = schedule.backoff(held.failures, FIRST_BACKOFF_S, LONGEST_BACKOFF_S, _jitter())
        held.left_alone_until = self._clock.monotonic() + wait
        extra = {"stream": held.state.stream, "for_s": round(wait, 1), "reason": str(why)}
        log.warning("stream left alone", extra=extra)

    def _leave_source_alone(self, part: _Part, why: Exception) -> None:
        source = part.source
        source.failures += 1
        wait = schedule.backoff(source.failures, FIRST_BACKOFF_S, LONGEST_BACKOFF_S, _jitter())
        source.left_alone_until = self._clock.monotonic() + wait
        source.problems = [why] if isinstance(why, ConfigError) else source.problems
        reason = str(why) or f"no answer within {source.deadline_s:g} s"
        log.error("source left alone", extra={"source": part.name, "for_s": round(wait, 1), "reason": reason})


def _found(part: _Part) -> dict[Stream, tuple[str, FoundStream]]:
    return {entry.stream: (part.name, entry) for entry in part.source.found}


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads retries, guards nothing
