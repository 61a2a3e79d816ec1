"""One stream brought forward: read a batch, send a pack, then save where it ends; again until it is caught up."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import inf

from shared import naming, pack
from shared.checkpoint import Checkpoint
from shared.events import Batch, ChangeEvent, Message, PackedChange, Position, Saved, StreamState
from shared.held import Held
from shared.packing import Packing, Run
from shared.ports import Clock, Sink, Source
from shared.settings.model import CaptureSettings

log = logging.getLogger("sluice.capture")

QUIET_PART = 10
"""A quiet position moves on once per so many parts of its source's retention, lest clean-up pass it."""


class Forward:
    """Moves streams; `ingest` takes their packs at `queue`, and events that have no form at `rejected_queue`."""

    def __init__(
        self,
        *,
        ingest: Sink,
        queue: str,
        rejected_queue: str,
        packing: Packing,
        checkpoint: Checkpoint,
        settings: CaptureSettings,
        clock: Clock,
    ) -> None:
        self._ingest = ingest
        self._queue = queue
        self._rejected_queue = rejected_queue
        self._packing = packing
        self._checkpoint = checkpoint
        self._settings = settings
        self._clock = clock

    async def move(self, held: Held, source: Source, page: int, *, go_on: Callable[[], bool]) -> bool:
        """Send what the source holds after the position, in order; True when something was sent.

        Stops when the stream is caught up, is too far ahead of its destinations, or `go_on`, asked after each pack,
        says no.

        Raises:
            StaleError: somebody else changed the stream; it must be read again.
            PositionLostError: the source no longer holds what follows.
            TransientError: source, queue or store is away; the stream must be read again when its save may have failed.
            ConfigError: the source or a store refuses.
        """
        stream, moved = held.state.stream, False
        batch = await source.read(stream, held.state.position, page)
        while batch.events:
            moved = True
            if not batch.more:
                await self._send_batch(held, batch, go_on)
                return moved
            following = asyncio.create_task(source.read(stream, batch.position, page))  # while this page is sent
            try:
                await self._send_batch(held, batch, go_on)
                if held.state.position != batch.position or self.is_far_ahead(held) or not go_on():
                    return moved
                batch = await following
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
        if self.is_long_quiet(held):
            held.looked_at = self._clock.now()
            if batch.position > held.state.position:
                await self._send_and_save(held, Run(batch.position))
        return moved

    async def probe(self, held: Held) -> None:
        """Send an empty pack at the saved position: being last, it shows that one before it went missing.

        Raises:
            TransientError: the queue is away.
        """
        await self._send(held.state, held.state.position, ())
        log.info("probe sent", extra={"stream": held.state.stream, "position": held.state.position})
        held.probe_wait = min(held.probe_wait * 2, self._settings.max_probe_after_s)
        held.probe_at = self._clock.monotonic() + held.probe_wait

    async def halt(self, held: Held, reason: str) -> None:
        """Write down that the stream must not be read any further, and why.

        Raises:
            StaleError: somebody else changed the stream; it must be read again.
            TransientError: the store is away.
        """
        await self._save(held, replace(held.state, status="halted", reason=reason))
        log.error("stream halted", extra={"stream": held.state.stream, "reason": reason})

    def is_far_ahead(self, held: Held) -> bool:
        """Whether as many packs are under way as are allowed, or an unknown number."""
        return held.adrift or len(held.trail) >= self._settings.ahead

    def is_long_quiet(self, held: Held) -> bool:
        """Whether the position has not moved for so long that it should, even without a change."""
        if held.found.retention_s == inf:
            return False  # nothing is cleaned up
        since = max(filter(None, (held.state.moved_at, held.looked_at)), default=None)
        return since is None or (self._clock.now() - since).total_seconds() > held.found.retention_s / QUIET_PART

    async def _send_batch(self, held: Held, batch: Batch, go_on: Callable[[], bool]) -> None:
        after, count = held.state.position, 0
        try:
            async for run in self._packing.runs(held.state, batch.events):
                await self._send_and_save(held, run)
                count += len(run.changes)
                if self.is_far_ahead(held) or not go_on():
                    break
        finally:
            if held.state.position > after:
                self._log_batch(held.state, after, count, batch.events[-1].commit_time)

    def _log_batch(self, state: StreamState, after: Position, count: int, commit_time: str) -> None:
        now = self._clock.now()
        committed = datetime.fromisoformat(commit_time) if commit_time else now
        lag_s = round((now - committed).total_seconds(), 3)
        extra = {"stream": state.stream, "count": count, "after": after, "last": state.position, "lag_s": lag_s}
        log.info("captured", extra=extra)

    async def _send_and_save(self, held: Held, run: Run) -> None:
        """Send one pack that follows the saved position; once the queue has it, save where it ends."""
        if run.rejected:
            await self._reject(held.state, run.rejected)
        await self._send(held.state, run.last, run.changes)
        now = self._clock.now()
        held.probe_wait = self._settings.probe_after_s
        held.probe_at = self._clock.monotonic() + held.probe_wait
        state = replace(held.state, position=run.last, moved_at=now, not_before=None)
        if run.changes or run.rejected:  # an empty pack is no activity
            state = replace(state, interval_s=held.found.poll_interval_s, anchor=now)
            held.due_at = now + timedelta(seconds=state.interval_s)
        await self._save(held, state)
        held.confirmed = False
        held.trail.append(run.last)

    async def _save(self, held: Held, state: StreamState) -> None:
        held.stale = True  # until the save is known to have happened
        held.saved = await self._checkpoint.save(Saved(state, held.saved.etag))
        held.stale = held.unsaved_interval = False

    async def _send(self, state: StreamState, last: Position, changes: Sequence[PackedChange]) -> None:
        header = pack.PackHeader(
            stream=state.stream,
            chain=state.chain,
            start=state.position == state.chain_start,
            replay=state.replay,
            after=state.position,
            last=last,
            count=len(changes),
        )
        body = pack.encode(header, changes)
        message = Message(
            id=pack.message_id(body),
            session=naming.session(state.stream),
            subject="pack",
            content_type=pack.CONTENT_TYPE,
            body=body,
        )
        await self._ingest.send(self._queue, [message])

    async def _reject(self, state: StreamState, events: Sequence[tuple[ChangeEvent, str]]) -> None:
        for event, reason in events:
            log.error("event rejected", extra={"stream": event.stream, "position": event.position, "reason": reason})
        now = self._clock.now()
        messages = [await self._packing.kept(state, event, reason, at=now) for event, reason in events]
        await self._ingest.send(self._rejected_queue, messages)
