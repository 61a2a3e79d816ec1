"""Events into runs of changes that each fill one pack, by bytes."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared import naming, pack, rejected
from shared.claim_check import body_within
from shared.errors import RejectedError
from shared.events import ChangeEvent, Message, PackedChange, Position, StreamState
from shared.ports import ClaimStore, Format

MARGIN_BYTES = 4 * 1024
"""What a message needs beside its body: at worst four names of 128 three-byte characters and four ids of 128."""


@dataclass(slots=True)
class Run:
    """Consecutive changes that go into one pack, the position after the last, and events that have no form."""

    last: Position
    changes: list[PackedChange] = field(default_factory=list)
    rejected: list[tuple[ChangeEvent, str]] = field(default_factory=list)


class Packing:
    """Encodes events and cuts them into runs.

    A run's pack stays within `max_message_bytes` and `max_changes`, except that the events of one position stay
    together. A body too large for any message is stored aside first.
    """

    def __init__(self, form: Format, claims: ClaimStore, *, max_message_bytes: int, max_changes: int) -> None:
        self._form = form
        self._claims = claims
        self._limit = max_message_bytes - MARGIN_BYTES
        self._max_changes = max_changes

    async def runs(self, state: StreamState, events: Sequence[ChangeEvent]) -> AsyncIterator[Run]:
        """Yield the runs of `events`, in order; nothing is encoded ahead of the run that is taken.

        Raises:
            TransientError: the claim store is away.
        """
        topic = naming.topic(state.stream)
        positions = (state.position, *{event.position for event in events})
        room = self._limit - pack.header_bytes_bound(state.stream, *positions)
        run: Run | None = None
        filled = 0
        for event in events:
            packed, reason = await self._encoded(event, state.incarnation, topic, room)
            size = pack.line_bytes(packed) if packed is not None else 0
            full = run is not None and (filled + size > room or len(run.changes) >= self._max_changes)
            if run is not None and full and event.position != run.last:
                yield run
                run = None
            if run is None:
                run, filled = Run(event.position), 0
            run.last = event.position
            filled += size
            if packed is not None:
                run.changes.append(packed)
            else:
                run.rejected.append((event, reason))
        if run is not None:
            yield run

    async def kept(self, state: StreamState, event: ChangeEvent, reason: str, *, at: datetime) -> Message:
        """Return the message that keeps an event without a form, as far as it can be shown, for the rejected queue.

        Raises:
            TransientError: the claim store is away.
        """
        event_id = naming.event_id(event.stream, state.incarnation, event.position, event.n)
        row = {"before": event.before, "after": event.after, "commit_time": event.commit_time}
        body = json.dumps(row, default=repr).encode()
        return await rejected.message(
            event.stream, event.position, event_id, body, reason=reason, op=event.op, at=at, claims=self._claims
        )

    async def _encoded(
        self, event: ChangeEvent, incarnation: int, topic: str, room: int
    ) -> tuple[PackedChange | None, str]:
        event_id = naming.event_id(event.stream, incarnation, event.position, event.n)
        line = PackedChange(event.position, event.op, event_id, b"")
        limit = room - pack.line_bytes(line)
        try:
            body = await body_within(limit, event, event_id, topic, form=self._form, claims=self._claims)
        except RejectedError as why:
            return None, why.message
        return PackedChange(event.position, event.op, event_id, body), ""
