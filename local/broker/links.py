"""The broker's ends of the clients' links: an `Intake` takes transfers, an `Outlet` delivers messages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from local.broker import codec, performatives
from local.broker.codec import CodecError, raw_items, raw_pairs
from local.broker.conditions import AmqpError, argument_error, decode_error, not_implemented, too_large
from local.broker.faults import Request
from local.broker.lanes import Lane, Stored
from local.broker.message import BATCH_FORMAT, parse, parse_batch
from local.broker.namespace import Entity
from local.broker.performatives import ACCEPTED, ACCEPTED_STATE, MODIFIED, REJECTED, RELEASED, RELEASED_STATE
from local.broker.queues import Queue
from local.broker.sessions import Session

if TYPE_CHECKING:
    from local.broker.channel import Channel

CREDIT = 1000
MAX_BATCH_MESSAGES = 4500
_DEFERRED = "deferred messages"


@dataclass(frozen=True, slots=True)
class TransferFrame:
    """What a transfer frame says of its delivery; a frame after the first may leave it out."""

    delivery: int | None
    message_format: int | None
    settled: bool | None
    more: bool | None
    aborted: bool


class Link:
    """One end of a link; `path` is the entity's."""

    def __init__(self, channel: "Channel", handle: int, path: str) -> None:
        self.channel = channel
        self.handle = handle
        self.path = path
        self.is_closed = False

    def flow(self, *, count: int | None, credit: int | None, drain: bool, echo: bool) -> None:  # noqa: ARG002
        """Take the client's flow."""
        if echo:
            self.channel.flow()

    def transfer(self, frame: TransferFrame, payload: bytes) -> None:
        """Take a transfer frame."""

    def resumed(self) -> None:
        """Go on after a pause, or when there is room on the wire again."""

    def closed(self) -> None:
        """The link is no more."""
        self.is_closed = True

    def end(self, problem: AmqpError) -> None:
        """Detach the link with a reason."""
        self.channel.forget(self)
        self.closed()
        self.channel.write(performatives.detach(self.handle, problem))

    def cut(self) -> None:
        """End the connection without a word."""
        self.channel.connection.abort()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery that has arrived whole."""

    number: int
    message_format: int
    settled: bool
    data: bytes


class Intake(Link):
    """Puts the frames of a client's deliveries together and keeps its credit up."""

    def __init__(
        self, channel: "Channel", handle: int, path: str, receive: Callable[["Intake", Delivery], None]
    ) -> None:
        super().__init__(channel, handle, path)
        self._receive = receive
        self._first: TransferFrame | None = None
        self._parts: list[bytes] = []
        self._count = 0
        self._credit = 0

    def open(self) -> None:
        """Grant the first credit."""
        self._top_up()

    def transfer(self, frame: TransferFrame, payload: bytes) -> None:
        """Collect; hand the delivery on with its last frame."""
        first = self._first = self._first or frame
        self._parts.append(payload)
        if frame.more and not frame.aborted:
            return
        parts, self._parts, self._first = self._parts, [], None
        self._count = (self._count + 1) & 0xFFFFFFFF
        self._credit -= 1
        if self._credit < CREDIT // 2:
            self._top_up()
        if not frame.aborted:
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            settled = bool(first.settled or frame.settled)
            self._receive(self, Delivery(first.delivery or 0, first.message_format or 0, settled, data))

    def flow(self, *, count: int | None, credit: int | None, drain: bool, echo: bool) -> None:  # noqa: ARG002
        """Answer an echo with the credit."""
        if echo:
            self._top_up()

    def outcome(self, delivery: Delivery, problem: AmqpError | None) -> None:
        """Tell the client whether the delivery was accepted."""
        if self.is_closed or delivery.settled:
            return
        state = ACCEPTED_STATE if problem is None else performatives.rejected(problem)
        self.channel.settle(delivery.number, state, receiver=True)

    def _top_up(self) -> None:
        self._credit = CREDIT
        self.channel.flow((self.handle, self._count, CREDIT))


def store_in(entity: Entity, intake: Intake, delivery: Delivery) -> None:
    """Enqueue a delivery of one message or a batch, and answer it."""
    broker = intake.channel.broker
    broker.traffic.transfers_received += 1
    is_batch = delivery.message_format == BATCH_FORMAT
    limit = entity.settings.max_batch_bytes if is_batch else entity.settings.max_message_bytes

    def apply() -> AmqpError | None:
        try:
            broker.faults.check("send", entity.path)
            if len(delivery.data) > limit:
                return too_large(delivery.number, len(delivery.data), limit)
            messages = parse_batch(delivery.data) if is_batch else [parse(delivery.data)]
            if len(messages) > MAX_BATCH_MESSAGES:
                return argument_error(f"A batch holds up to {MAX_BATCH_MESSAGES} messages, not {len(messages)}.")
            entity.send(messages)
        except AmqpError as problem:
            return problem
        except CodecError as why:
            return decode_error(str(why))
        return None

    def answer(problem: AmqpError | None) -> None:
        intake.outcome(delivery, problem)
        if problem is not None and problem.condition == "amqp:link:message-size-exceeded" and not intake.is_closed:
            intake.end(problem)  # as the service does

    broker.faults.run(Request("send", entity.path, intake, apply, answer))


class Outlet(Link):
    """Delivers the messages of a lane; `settled` is receive-and-delete."""

    def __init__(self, channel: "Channel", handle: int, queue: Queue, lane: Lane, *, settled: bool) -> None:
        super().__init__(channel, handle, queue.path)
        self.owner: object = channel.connection
        self._queue = queue
        self._lane = lane
        self._settled = settled
        self._count = 0
        self._credit = 0
        self._drains = False
        self._is_offered = False

    @property
    def wants(self) -> bool:
        """Whether a message can be offered now."""
        return self._credit > 0 and not self._is_offered and not self.is_closed and self.channel.has_room

    def offer(self) -> None:
        """Take the next message, now or when a pause ends."""
        self._is_offered = True
        self.channel.broker.faults.run(Request("receive", self.path, self, self._take, self._deliver))

    def lost(self, problem: AmqpError) -> None:
        """End the link: its session is lost."""
        if not self.is_closed:
            self.end(problem)

    def flow(self, *, count: int | None, credit: int | None, drain: bool, echo: bool) -> None:
        """Deliver as much as the client now has credit for; a drain uses up the rest."""
        self._credit = ((count or 0) + (credit or 0) - self._count) & 0xFFFFFFFF
        if self._credit >= 2**31:
            self._credit = 0  # the client took credit back that was in use already
        self._drains = drain
        self.resumed()
        if echo and not drain:
            self.channel.flow((self.handle, self._count, self._credit), available=self._lane.active)

    def resumed(self) -> None:
        """Deliver what there is credit and room for."""
        if self.is_closed:
            return
        self._queue.offer(self._lane)
        if self._drains and not self._is_offered and self.channel.has_room:
            self._count, self._credit, self._drains = (self._count + self._credit) & 0xFFFFFFFF, 0, False
            self.channel.flow((self.handle, self._count, 0), drain=True)

    def closed(self) -> None:
        """Leave the lane; message locks go on until they expire, the lock of a session ends with its link."""
        super().closed()
        if self in self._lane.receivers:
            self._lane.receivers.remove(self)
        if isinstance(self._lane, Session) and self._lane.receiver is self and self._queue.sessions is not None:
            self._queue.sessions.release(self._lane)

    def settle(self, delivery: int, token: bytes, state: bytes, *, answered: bool) -> None:
        """Apply the client's outcome of a delivery, and answer it unless the client did not ask."""
        outcome = codec.decode(state)[0]
        code = None if outcome is None else outcome.descriptor

        def answer(problem: AmqpError | None) -> None:
            if answered and not self.is_closed:
                reply = _echo(code) if problem is None else performatives.rejected(problem)
                self.channel.settle(delivery, reply, receiver=False)

        apply = partial(self._settled_with, code, token, state)
        self.channel.broker.faults.run(Request("settle", self.path, self, apply, answer))

    def _settled_with(self, code: int | None, token: bytes, state: bytes) -> AmqpError | None:
        try:
            if code == ACCEPTED:
                self._queue.complete(token)
            elif code == RELEASED:
                self._queue.release(token)
            elif code == REJECTED:
                reason, description, changes = _dead_letter_reason(state)
                self._queue.dead_letter(token, reason, description, changes)
            elif code == MODIFIED:
                items = [*raw_items(state), codec.NULL, codec.NULL, codec.NULL]
                if codec.decode(items[1])[0]:
                    raise not_implemented(_DEFERRED)
                self._queue.abandon(token, application_properties(raw_pairs(items[2])))
            else:
                what = f"the outcome {code}"
                raise not_implemented(what)
        except AmqpError as problem:
            return problem
        return None

    def _take(self) -> Stored | None:
        return None if self.is_closed else self._queue.take(self._lane, locked=not self._settled)

    def _deliver(self, stored: Stored | None) -> None:
        self._is_offered = False
        if stored is None or self.is_closed:
            return
        self._credit -= 1
        self._count = (self._count + 1) & 0xFFFFFFFF
        self.channel.broker.traffic.transfers_sent += 1
        tag = stored.token or stored.sequence_number.to_bytes(16)
        number = self.channel.transfer(self.handle, tag, self._queue.encoded(stored), settled=self._settled)
        if not self._settled:
            self.channel.unsettled[number] = (self, stored.token)


def application_properties(raw: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return properties to modify with keys as application properties have them: text."""
    return {codec.string(str(codec.decode(key)[0])): value for key, value in raw.items()}


def _echo(code: int | None) -> bytes:
    known = {ACCEPTED: ACCEPTED_STATE, RELEASED: RELEASED_STATE}
    return known.get(code or ACCEPTED, codec.described(code or ACCEPTED, codec.EMPTY_LIST))


def _dead_letter_reason(state: bytes) -> tuple[str, str, dict[bytes, bytes]]:
    """Return why a client dead-letters a message, and the properties it adds."""
    error = [*raw_items(state), codec.NULL][0]
    condition, description, info = "", "", {}
    if error != codec.NULL:
        items: list[Any] = [*raw_items(error), codec.NULL, codec.NULL, codec.NULL]
        condition, description = (codec.decode(item)[0] or "" for item in items[:2])
        info = application_properties(raw_pairs(items[2]))
    reason = info.pop(codec.string("DeadLetterReason"), codec.string(condition))
    described = info.pop(codec.string("DeadLetterErrorDescription"), codec.string(description))
    return codec.decode(reason)[0] or "", codec.decode(described)[0] or "", info
