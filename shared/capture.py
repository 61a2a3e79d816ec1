"""The first verb: read what was committed after the saved position, send it to the ingest queue, then save.

Send first, save second, at most one unacknowledged pack per stream: a crash anywhere repeats changes and never skips
one. Streams run side by side; within a stream everything is in order.
"""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

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
    """A source that capture reads, and how it is doing. `deadline_s` bounds its part of one round."""

    source: Source
    deadline_s: float
    page: int
    found: Sequence[FoundStream] = ()
    problems: Sequence[ConfigError] = ()
    look_at: float = float("-inf")
    failures: int = 0
    left_alone_until: float = float("-inf")


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
        self._sources = sources
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
        self._marks_read_at = self._marks_moved_at = float("-inf")

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
        self._lease_lost = False
        keeper = asyncio.create_task(self._keep_lease())
        try:
            await self._load(fresh=fresh)
            await self._linger()
        finally:
            keeper.cancel()

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

    async def _load(self, *, fresh: bool) -> None:
        version = await self._control.version()  # before the states: whoever rings after this is heard next time
        found_others = [await self._look_at(name, source) for name, source in self._sources.items()]
        if fresh or version != self._version or any(found_others):
            found = {entry.stream: (name, entry) for name, source in self._sources.items() for entry in source.found}
            self._version = None
            self._held = await self._shard.load(found)
            self._version = version
            self._marks_read_at = float("-inf")

    async def _look_at(self, name: str, source: SourceInUse) -> bool:
        """Look which streams a source has: once, then now and then while some are missing. True if they changed."""
        now = self._clock.monotonic()
        if now < source.look_at:
            return False
        before = {entry.stream for entry in source.found}
        try:
            async with asyncio.timeout(source.deadline_s):
                source.found, source.problems = await source.source.discover()
        except (TransientError, ConfigError, TimeoutError) as why:
            self._leave_source_alone(name, source, why)
            source.look_at = source.left_alone_until
            return False
        source.failures = 0
        source.look_at = now + LOOK_AGAIN_S if source.problems else float("inf")
        for problem in source.problems:
            log.error("stream not captured", extra={"source": name, "reason": str(problem)})
        return {entry.stream for entry in source.found} != before

    async def _linger(self) -> None:
        ends = self._clock.monotonic() + self._settings.linger_s
        while True:
            for stale in [held for held in self._held.values() if held.stale]:
                self._held[stale.found.stream] = await self._again(stale)
            async with asyncio.TaskGroup() as rounds:
                moved = [rounds.create_task(self._round(n, s, ends)) for n, s in self._sources.items()]
            await self._settle()
            await self._save_intervals()
            busy = any(task.result() for task in moved) or self._is_worth_waiting()
            if not busy or self._lease_lost or self._clock.monotonic() >= ends:
                return
            await self._clock.sleep(self._settings.linger_poll_s)

    async def _again(self, stale: Held) -> Held:
        try:
            return await self._shard.again(stale)
        except ConfigError as why:
            self._leave_stream_alone(stale, why)
            return stale

    def _is_worth_waiting(self) -> bool:
        """Whether a stream waits for destinations that are getting on."""
        waiting = any(self._forward.is_far_ahead(held) and not held.stale for held in self._held.values())
        return waiting and self._clock.monotonic() < self._marks_moved_at + PATIENCE_S

    async def _round(self, name: str, source: SourceInUse, ends: float) -> bool:
        """Look once at every due stream of one source; True when something was sent."""
        due = [held for held in self._held.values() if held.source == name and self._is_due(held)]
        if not due or self._clock.monotonic() < source.left_alone_until:
            return False
        at_once = asyncio.Semaphore(STREAMS_AT_ONCE)
        try:
            async with asyncio.timeout(source.deadline_s):
                changed = await source.source.probe({held.state.stream: held.state.position for held in due})
                worth = [h for h in due if h.state.stream in changed or self._forward.is_long_quiet(h)]
                async with asyncio.TaskGroup() as streams:
                    moved = [streams.create_task(self._advance(held, source, ends, at_once)) for held in worth]
        except (TransientError, ConfigError, TimeoutError) as why:
            self._leave_source_alone(name, source, why)
            return False
        source.failures = 0
        for held in due:
            if held.state.stream not in changed and not held.stale:
                self._quiet(held)
        return any(task.result() for task in moved)

    def _is_due(self, held: Held) -> bool:
        """Whether to look at the stream now: not paused, parked, left alone or too far ahead, and its turn has come."""
        state, now = held.state, self._clock.now()
        if state.status != "running" or (state.not_before is not None and now < state.not_before):
            return False
        if held.stale or self._forward.is_far_ahead(held) or self._clock.monotonic() < held.left_alone_until:
            return False
        return held.active or now >= held.due_at

    def _quiet(self, held: Held) -> None:
        """Look less often at a stream that was found quiet again; right after activity only its turn is set."""
        found, now = held.found, self._clock.now()
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
            try:
                try:
                    held.active = await self._forward.move(
                        held,
                        source.source,
                        source.page,
                        go_on=lambda: not self._lease_lost and self._clock.monotonic() < ends,
                    )
                except PositionLostError as why:
                    await self._forward.halt(held, str(why))
                    return False
            except StaleError as why:
                log.info("stream read again", extra={"stream": held.state.stream, "reason": why.message})
                return True
            except SluiceError as why:
                self._leave_stream_alone(held, why)
                return False
        held.failures = 0
        return held.active

    async def _settle(self) -> None:
        """See how far deliver is; send a probe where something that was sent has not arrived for long."""
        now = self._clock.monotonic()
        waiting = [held for held in self._held.values() if not held.confirmed and not held.stale]
        if not waiting or now < self._marks_read_at + MARKS_EVERY_S:
            return
        self._marks_read_at = now
        if await self._shard.see_marks(waiting):
            self._marks_moved_at = now
        for held in waiting:
            if held.confirmed or held.stale or held.state.status != "running" or now < held.probe_at:
                continue
            fresh = self._held[held.found.stream] = await self._again(held)
            if fresh is not held:
                continue
            try:
                await self._forward.probe(held)
            except TransientError as why:
                self._leave_stream_alone(held, why)

    async def _save_intervals(self) -> None:
        """Save the intervals that changed, together; losing one only means looking sooner."""
        changed = [held for held in self._held.values() if held.unsaved_interval and not held.stale]
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

    def _leave_source_alone(self, name: str, source: SourceInUse, why: Exception) -> None:
        source.failures += 1
        wait = schedule.backoff(source.failures, FIRST_BACKOFF_S, LONGEST_BACKOFF_S, _jitter())
        source.left_alone_until = self._clock.monotonic() + wait
        source.problems = [why] if isinstance(why, ConfigError) else source.problems
        reason = str(why) or f"no answer within {source.deadline_s:g} s"
        log.error("source left alone", extra={"source": name, "for_s": round(wait, 1), "reason": reason})


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads retries, guards nothing
