"""The second verb: forward one pack to every destination, in order, then mark how far each destination got.

A pack that shows that one before it went missing begins a repair; a destination that cannot take a pack for long parks
the stream. Either way the source sends again, and the pack at hand is done with.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any

import msgspec

from shared import chain, naming, pack, rejected, routing
from shared.errors import ConfigError, RejectedError, StaleError, TransientError
from shared.events import Mark, Message, PackedChange, Position, Record, Saved, Stream
from shared.formats.dstream import commit_time
from shared.pack import Pack, PackHeader
from shared.ports import ClaimStore, Clock, Control, MarkStore, Sink, StateStore
from shared.retry import hold
from shared.settings.model import DeliverSettings

log = logging.getLogger("sluice.deliver")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message of the ingest queue as the trigger hands it over; `properties` are its application properties."""

    body: bytes
    content_type: str = ""
    id: str = ""
    session: str = ""
    subject: str = ""
    correlation_id: str | None = None
    properties: Mapping[str, Any] | None = None


LONGEST_S = 570.0
"""How long one message may take, in seconds: less than `functionTimeout`, beyond which the host ends the process."""


class _Outcome(Enum):
    DONE = "done"
    NEW_CHAIN = "new chain"


class Deliver:
    """Delivers packs of many streams.

    `sinks` are the destinations, by the name that their marks carry; `origin` names what a message is about.
    """

    def __init__(
        self,
        *,
        sinks: Mapping[str, Sink],
        rejected_sink: Sink,
        rejected_queue: str,
        states: StateStore,
        marks: MarkStore,
        control: Control,
        claims: ClaimStore,
        origin: routing.Origin,
        settings: DeliverSettings,
        clock: Clock,
    ) -> None:
        self._sinks = sinks
        self._origin = origin
        self._rejected_sink = rejected_sink
        self._rejected_queue = rejected_queue
        self._states = states
        self._marks = marks
        self._control = control
        self._claims = claims
        self._settings = settings
        self._clock = clock
        self._given_up: set[tuple[str, str]] = set()

    async def deliver(self, incoming: Incoming) -> None:
        """Deliver one message; when this returns, it may be completed.

        Raises:
            TransientError: the state store stayed away, a newer release wrote the pack, or all of it took too long: the
                message must come again.
        """
        try:
            async with asyncio.timeout(LONGEST_S):
                await self._deliver(incoming)
        except TimeoutError as why:
            msg = f"not delivered within {LONGEST_S:g} s"
            raise TransientError(msg, hint="topic and state store are both slow or away: look at both") from why

    async def _deliver(self, incoming: Incoming) -> None:
        try:
            whole = await self._held(lambda: _decoded(incoming.body))
        except RejectedError as why:
            await self._deliver_other(incoming, why)
            return
        to = naming.topic(whole.header.stream)
        for destination in sorted(self._sinks, key=lambda name: (name, to) in self._given_up):  # the others go first
            if await self._deliver_to(destination, whole) is _Outcome.NEW_CHAIN:
                return

    async def _deliver_to(self, destination: str, whole: Pack) -> _Outcome:
        header = whole.header
        while True:
            stored = await self._held(lambda: self._marks.read(header.stream, destination))
            saved = stored or Saved(chain.NO_MARK)
            if header.chain < saved.value.chain:
                return _Outcome.DONE  # a newer chain covers it
            base = chain.base_of(header, saved.value)
            if base is None:
                if stored is None and await self._let_join(header.stream, destination):
                    continue
                await self._begin_chain(header, destination, "a pack before it went missing")
                return _Outcome.NEW_CHAIN
            changes = [change for change in whole.changes if change.position > base]
            try:
                await self._forward(destination, header, changes)
            except TransientError as why:
                await self._begin_chain(header, destination, str(why), park=True)
                return _Outcome.NEW_CHAIN
            try:
                await self._mark(destination, header, saved, base)
            except StaleError:
                continue  # somebody delivers beside us: look again
            self._log_batch(destination, whole, len(changes))
            return _Outcome.DONE

    async def _let_join(self, stream: Stream, destination: str) -> bool:
        """Do what capture does for a destination configured later, when a pack gets here before capture's next tick.

        Otherwise the missing mark would set the stream back to the start of its chain. True: look at the mark again.
        """
        record = await self._held(partial(self._find, stream))
        marks = {name: saved.value for name, saved in record.marks.items()}
        lowest = chain.lowest(marks, self._destinations) or chain.lowest(marks, marks)
        if record.state is None or destination in record.state.value.destinations or lowest is None:
            return False
        with suppress(StaleError):
            await self._held(lambda: self._marks.write(stream, destination, Saved(lowest)))
        return True

    async def _forward(self, destination: str, header: PackHeader, changes: list[PackedChange]) -> None:
        """Make the changes durable at the destination, within the hold budget; none is skipped.

        A destination that could not be reached for a whole budget gets one attempt a pack until it is back.
        """
        if not changes:
            return
        messages = routing.messages(header.stream, changes, header.replay, self._origin)
        to = naming.topic(header.stream)
        sink = self._sinks[destination]
        positions = [change.position for change in changes]
        budget = 0.0 if (destination, to) in self._given_up else self._settings.hold_s
        try:
            await hold(
                lambda: self._send(sink, to, header.stream, messages, positions), budget_s=budget, clock=self._clock
            )
        except TransientError:
            self._given_up.add((destination, to))
            raise
        self._given_up.discard((destination, to))

    async def _send(
        self, sink: Sink, to: str, stream: Stream, messages: Sequence[Message], positions: Sequence[Position]
    ) -> None:
        try:
            await sink.send(to, messages)
        except RejectedError:
            for message, position in zip(messages, positions, strict=True):
                await self._send_one(sink, to, stream, message, position)

    async def _send_one(self, sink: Sink, to: str, stream: Stream, message: Message, position: Position) -> None:
        try:
            await sink.send(to, [message])
        except RejectedError as why:
            event_id = str(message.properties.get("event_id", message.id))
            extra = {"stream": stream, "event_id": event_id, "reason": why.message}
            log.error("event rejected", extra=extra)  # noqa: TRY400 - the event is at fault, not the code
            await self._reject(stream, position, event_id, message.body, reason=why.message, op=message.subject)

    async def _reject(
        self, stream: Stream, position: Position, event_id: str, body: bytes, *, reason: str, op: str
    ) -> None:
        now = self._clock.now()
        kept = await rejected.message(
            stream, position, event_id, body, reason=reason, op=op, at=now, claims=self._claims
        )
        await self._rejected_sink.send(self._rejected_queue, [kept])

    async def _mark(self, destination: str, header: PackHeader, saved: Saved[Mark], base: Position) -> None:
        mark = chain.advanced(header, saved.value, base)
        if mark is None:
            return
        await self._held(lambda: self._marks.write(header.stream, destination, Saved(mark, saved.etag)))

    async def _begin_chain(self, header: PackHeader, destination: str, reason: str, *, park: bool = False) -> None:
        """Have the source send again from where the destinations are; insisted on until a newer chain stands."""
        while True:
            record = await self._held(partial(self._find, header.stream))
            if record.state is None or record.state.value.chain > header.chain:
                return  # begun already; a state that went missing is created on a newer chain
            state = record.state.value
            marks = {name: saved.value for name, saved in record.marks.items()}
            joined = [name for name in self._destinations if name in state.destinations or name in marks]
            start = chain.restart(state, marks, joined or self._destinations)
            if park:
                fresh = chain.parked(
                    state,
                    header,
                    start,
                    why=reason,
                    now=self._clock.now(),
                    park_s=self._settings.park_s,
                    max_park_s=self._settings.max_park_s,
                )
            else:
                fresh = chain.repaired(state, header, start, now=self._clock.now())
            outcome = (await self._held(partial(self._states.save, [Saved(fresh, record.state.etag)])))[0]
            if isinstance(outcome, Saved):
                break
        extra = {"stream": header.stream, "destination": destination, "chain": fresh.chain, "from": start}
        if fresh.status != state.status:
            log.error("stream halted", extra=extra | {"reason": fresh.reason})
        else:
            log.warning("stream parked" if park else "stream repaired", extra=extra | {"reason": reason})
        await self._held(self._control.touch)

    @property
    def _destinations(self) -> Collection[str]:
        return self._sinks.keys()

    async def _deliver_other(self, incoming: Incoming, why: RejectedError) -> None:
        """Forward a plain DStream message with all its properties; keep anything else in the rejected queue."""
        stream, destination = Stream(incoming.session), _dstream_destination(incoming.body)
        if destination and incoming.content_type != pack.CONTENT_TYPE:
            message = Message(
                id=incoming.id,
                session=incoming.session,
                subject=incoming.subject,
                content_type=incoming.content_type,
                body=incoming.body,
                properties=incoming.properties or {},
                correlation_id=incoming.correlation_id,
            )
            for sink in self._sinks.values():
                await self._held(partial(self._send_one, sink, destination, stream, message, Position("")))
            return
        log.error("message rejected", extra={"session": incoming.session, "id": incoming.id, "reason": why.message})
        reject = partial(self._reject, stream, Position(""), "", incoming.body, reason=why.message, op=incoming.subject)
        await self._held(reject)

    async def _find(self, stream: Stream) -> Record:
        """Return what is stored of the stream; what a newer release wrote is waited for, as if the store were away."""
        try:
            return await self._states.find(stream)
        except ConfigError as why:
            raise TransientError(why.message, lasting=True, hint=why.hint) from why

    async def _held[T](self, action: Callable[[], Awaitable[T]]) -> T:
        """Try a step that must not be given up until the budget for the stores ends."""
        return await hold(action, budget_s=self._settings.store_hold_s, clock=self._clock, stubborn=True)

    def _log_batch(self, destination: str, whole: Pack, count: int) -> None:
        header = whole.header
        lag_s = _lag_s(whole.changes[-1].body, self._clock.now()) if whole.changes else 0.0
        extra = {"stream": header.stream, "destination": destination, "count": count}
        log.info("delivered", extra=extra | {"after": header.after, "last": header.last, "lag_s": lag_s})


async def _decoded(body: bytes) -> Pack:
    return pack.decode(body)


def _lag_s(body: bytes, now: datetime) -> float:
    """Return how long ago the change was committed; 0 when its body does not say, in whatever way."""
    try:
        return round((now - datetime.fromisoformat(commit_time(body))).total_seconds(), 3)
    except (ValueError, TypeError):
        return 0.0


def _dstream_destination(body: bytes) -> str:
    """Return the topic that a plain DStream message names, "" when it is none."""
    try:
        message = msgspec.json.decode(body)
        destination = message["metadata"]["Destination"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return ""
    return destination if isinstance(destination, str) else ""
