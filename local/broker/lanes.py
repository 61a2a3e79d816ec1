"""The order in which messages leave an entity, and who may take them."""

import heapq
from collections import deque
from enum import Enum
from typing import Protocol

from local.broker.conditions import AmqpError
from local.broker.message import Message


class State(Enum):
    """Where a stored message is."""

    ACTIVE = "active"
    LOCKED = "locked"
    GONE = "gone"


class Stored:
    """A message in an entity. Its sequence number, and so its place, never changes."""

    __slots__ = (
        "delivery_count",
        "enqueued_ms",
        "enqueued_sequence_number",
        "expires_ms",
        "lane",
        "locked_until_ms",
        "message",
        "sequence_number",
        "size_bytes",
        "state",
        "token",
    )

    def __init__(
        self, message: Message, lane: "Lane", *, numbers: tuple[int, int], times: tuple[int, int | None]
    ) -> None:
        """`numbers` are its own and the one it was first enqueued with, `times` those of enqueuing and of expiry."""
        self.message = message
        self.size_bytes = message.size_bytes
        self.lane = lane
        self.sequence_number, self.enqueued_sequence_number = numbers
        self.enqueued_ms, self.expires_ms = times
        self.delivery_count = 0
        self.locked_until_ms = 0
        self.token = b""
        self.state = State.ACTIVE

    def swap(self, other: "Stored") -> None:
        """Exchange contents with another message; both places stay."""
        for name in ("message", "size_bytes", "enqueued_ms", "expires_ms", "delivery_count"):
            mine = getattr(self, name)
            setattr(self, name, getattr(other, name))
            setattr(other, name, mine)


class Receiver(Protocol):
    """Whoever takes messages from a lane: the broker's end of a client's receiving link."""

    owner: object
    """The connection it belongs to."""

    @property
    def wants(self) -> bool:
        """Whether a message can be offered now: there is credit, and room on the wire."""
        ...

    def offer(self) -> None:
        """Take the next message of the lane, now or later; `wants` is false until it is taken."""
        ...

    def lost(self, problem: AmqpError) -> None:
        """End: the session lock was lost, or the entity is gone."""
        ...


class Lane:
    """Messages in the order of their sequence numbers: all of an entity, or those of one session."""

    def __init__(self) -> None:
        self.active = 0
        self.receivers: deque[Receiver] = deque()
        self._heap: list[tuple[int, Stored]] = []

    def push(self, stored: Stored) -> None:
        """Put a message to its place."""
        stored.state = State.ACTIVE
        self.active += 1
        heapq.heappush(self._heap, (stored.sequence_number, stored))

    def pop(self) -> Stored | None:
        """Take the first active message, or None."""
        while self._heap:
            stored = heapq.heappop(self._heap)[1]
            if stored.state is State.ACTIVE:
                self.active -= 1
                return stored
        return None

    def discard(self, stored: Stored) -> None:
        """Take an active message from wherever it stands; its place in the heap is passed over later."""
        assert stored.state is State.ACTIVE
        stored.state = State.GONE
        self.active -= 1

    def pump(self) -> None:
        """Offer active messages to the receivers, in turn, as long as one wants them."""
        refused = 0
        while self.active and refused < len(self.receivers):
            receiver = self.receivers[0]
            self.receivers.rotate(-1)
            if receiver.wants:
                refused = 0
                receiver.offer()
            else:
                refused += 1
