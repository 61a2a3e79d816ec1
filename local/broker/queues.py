"""A queue, a subscription or a dead-letter queue: messages, their locks, and what becomes of them.

             send            take             complete, receive-and-delete
    (sender) ────► ACTIVE ─────────► LOCKED ─────────────────────────────► (gone)
                     ▲  │              │
                     │  │ expired      ├─ release, session closed: back, not counted
                     │  ▼              ├─ abandon, lock expired: back, delivery count + 1
                     │ gone or         └─ dead-letter, or counted too often: dead-letter queue
                     │ dead-letter queue
                     └──── to its place by sequence number

Source:
    https://learn.microsoft.com/azure/service-bus-messaging/message-transfers-locks-settlement
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-dead-letter-queues
"""

import heapq
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from local.broker import codec
from local.broker.clock import Alarm, now_ms
from local.broker.conditions import message_lock_lost, not_allowed
from local.broker.entity import Counts, Duplicates, Settings, check_change, check_sendable
from local.broker.lanes import Lane, State, Stored
from local.broker.message import Message, render
from local.broker.sessions import Session, Sessions

_REASON = codec.string("DeadLetterReason")
_DESCRIPTION = codec.string("DeadLetterErrorDescription")
_NONE: Mapping[bytes, bytes] = {}


class Queue:
    """One entity that messages are received from; `dead_letters` is None for a dead-letter queue itself."""

    def __init__(self, path: str, settings: Settings, dead_letters: "Queue | None") -> None:
        self.path = path
        self.settings = settings
        self.dead_letters = dead_letters
        self.created_ms = self.updated_ms = now_ms()
        self.counts = Counts()
        self.messages: dict[int, Stored] = {}
        self.locks: OrderedDict[bytes, Stored] = OrderedDict()
        self.alarm = Alarm(self._expire)
        self.lane = Lane()
        self.sessions: Sessions | None = None
        if settings.requires_session:
            self.sessions = Sessions(settings.lock_ms, self._give_back, self.alarm.set)
        window = settings.duplicate_window_ms
        self._duplicates = None if window is None else Duplicates(window)
        self._expiries: list[tuple[int, int]] = []
        self._last_number = 0
        self._stored_bytes = 0

    @property
    def used_bytes(self) -> int:
        """What the entity holds, dead letters included."""
        return self._stored_bytes + (self.dead_letters.used_bytes if self.dead_letters else 0)

    @property
    def active(self) -> int:
        """How many messages wait for a receiver."""
        return len(self.messages) - len(self.locks)

    def close(self) -> None:
        """Wait for no more locks and messages to expire."""
        self.alarm.stop()

    def change(self, settings: Settings) -> None:
        """Give the queue other settings.

        Raises:
            ValueError: one of them cannot be changed.
        """
        check_change(self.settings, settings)
        if self.sessions is not None and settings.lock_ms != self.settings.lock_ms:
            message = "the lock duration of a queue with sessions cannot be changed in the local broker"
            raise ValueError(message)
        self.settings, self.updated_ms = settings, now_ms()
        if self._duplicates is not None and settings.duplicate_window_ms is not None:
            self._duplicates.window_ms = settings.duplicate_window_ms

    def send(self, messages: Sequence[Message]) -> None:
        """Enqueue messages, all or none; duplicates are accepted and dropped.

        Raises:
            AmqpError: with the condition the service gives.
        """
        check_sendable(self.path, self.settings, messages, self.used_bytes)
        now = now_ms()
        fresh = []
        for message in messages:
            self.counts.incoming += 1
            if self._duplicates is not None and self._duplicates.is_repeat(message.message_id, now):
                self.counts.dropped_duplicates += 1
            else:
                fresh.append((message, None))
        self.enqueue(fresh, now)

    def enqueue(self, messages: Iterable[tuple[Message, int | None]], now: int) -> None:
        """Store accepted messages, each with the topic's sequence number if it came through one, and offer them."""
        touched: dict[int, Lane] = {}
        for message, topic_number in messages:
            self._last_number += 1
            numbers = (self._last_number, topic_number or self._last_number)
            lane = self.lane if self.sessions is None else self.sessions.of(message.session_id or "")
            stored = Stored(message, lane, numbers=numbers, times=(now, self._expiry(message, now)))
            self._store(stored)
            if self.sessions is not None and not message.session_id:
                text = "Session enabled entity doesn't allow a message whose session identifier is null."
                lane.discard(stored)
                self.bury(stored, "Session ID is null", text)
            else:
                touched[id(lane)] = lane
        for lane in touched.values():
            self.offer(lane)

    def offer(self, lane: Lane) -> None:
        """Bring a lane's active messages to whoever may receive them."""
        if isinstance(lane, Session) and self.sessions is not None:
            self.sessions.offer(lane)
        else:
            lane.pump()

    def take(self, lane: Lane, *, locked: bool) -> Stored | None:
        """Return the next message of a lane, locked for its receiver or removed; None when there is none."""
        now = now_ms()
        while (stored := lane.pop()) is not None:
            if stored.expires_ms is None or stored.expires_ms > now:
                break
            self._let_expire(stored)
        if stored is None:
            return None
        self.counts.delivered += 1
        if not locked:
            self._remove(stored)
            self.counts.completed += 1
            return stored
        stored.state, stored.token = State.LOCKED, secrets.token_bytes(16)
        self.locks[stored.token] = stored
        if isinstance(lane, Session):
            stored.locked_until_ms = lane.locked_until_ms
            lane.taken[stored.token] = stored
        else:
            stored.locked_until_ms = now + self.settings.lock_ms
            self.alarm.set(stored.locked_until_ms)
        return stored

    def complete(self, token: bytes) -> None:
        """Remove a locked message.

        Raises:
            AmqpError: the lock is lost, as for every settlement.
        """
        self._remove(self._unlock(token))
        self.counts.completed += 1

    def abandon(self, token: bytes, changes: Mapping[bytes, bytes] = _NONE) -> None:
        """Give a locked message back and count the delivery; `changes` go into its application properties."""
        stored = self._unlock(token)
        stored.message = stored.message.with_properties(changes)
        self.counts.abandoned += 1
        self._give_back(stored, counted=True)
        self.offer(stored.lane)

    def release(self, token: bytes) -> None:
        """Give a locked message back as if it had not been delivered."""
        stored = self._unlock(token)
        self._give_back(stored, counted=False)
        self.offer(stored.lane)

    def dead_letter(self, token: bytes, reason: str, description: str, changes: Mapping[bytes, bytes] = _NONE) -> None:
        """Move a locked message to the dead-letter queue."""
        if self.dead_letters is None:
            text = "A message in a dead-letter queue cannot be dead-lettered again."
            raise not_allowed(text)
        stored = self._unlock(token)
        stored.message = stored.message.with_properties(changes)
        self.bury(stored, reason, description)

    def renew(self, token: bytes) -> int:
        """Extend the lock of a message; return until when it is held."""
        stored = self.locks.get(token)
        if stored is None or isinstance(stored.lane, Session):
            raise message_lock_lost()
        stored.locked_until_ms = now_ms() + self.settings.lock_ms
        self.locks.move_to_end(token)
        return stored.locked_until_ms

    def peek(self, first: int, count: int, session_id: str | None) -> list[Stored]:
        """Return up to `count` messages from a sequence number on, locked ones too, in order."""
        wanted = (
            stored
            for stored in self.messages.values()
            if stored.sequence_number >= first and (session_id is None or stored.message.session_id == session_id)
        )
        return heapq.nsmallest(count, wanted, key=lambda stored: stored.sequence_number)

    def encoded(self, stored: Stored) -> bytes:
        """Return a message of this entity as it goes over the wire."""
        return render(
            stored.message,
            delivery_count=stored.delivery_count,
            sequence_number=stored.sequence_number,
            enqueued_sequence_number=stored.enqueued_sequence_number,
            enqueued_ms=stored.enqueued_ms,
            locked_until_ms=stored.locked_until_ms if stored.state is State.LOCKED else None,
            ttl_ms=None if stored.expires_ms is None else stored.expires_ms - stored.enqueued_ms,
        )

    def withdraw(self, stored: Stored) -> None:
        """Take an active message out, as if it had never been sent."""
        stored.lane.discard(stored)
        self._remove(stored)
        self.offer(stored.lane)

    def bury(self, stored: Stored, reason: str, description: str) -> None:
        """Move a message that is neither active nor locked to the dead-letter queue; it keeps its number and time."""
        self._remove(stored)
        if self.dead_letters is None:
            return
        self.counts.dead_lettered += 1
        told = {_REASON: codec.string(reason), _DESCRIPTION: codec.string(description)}
        grave = self.dead_letters
        numbers = (stored.sequence_number, stored.enqueued_sequence_number)
        buried = Stored(
            stored.message.with_properties(told), grave.lane, numbers=numbers, times=(stored.enqueued_ms, None)
        )
        buried.delivery_count = stored.delivery_count
        grave.adopt(buried)

    def adopt(self, buried: Stored) -> None:
        """Store a message that another entity has given up, and offer it."""
        self.counts.incoming += 1
        self._store(buried)
        self.offer(self.lane)

    def _store(self, stored: Stored) -> None:
        self.messages[stored.sequence_number] = stored
        self._stored_bytes += stored.size_bytes
        stored.lane.push(stored)
        if stored.expires_ms is not None:
            if len(self._expiries) > 2 * len(self.messages) + 64:
                self._expiries = [entry for entry in self._expiries if entry[1] in self.messages]
                heapq.heapify(self._expiries)
            heapq.heappush(self._expiries, (stored.expires_ms, stored.sequence_number))
            self.alarm.set(stored.expires_ms)

    def _remove(self, stored: Stored) -> None:
        stored.state = State.GONE
        del self.messages[stored.sequence_number]
        self._stored_bytes -= stored.size_bytes

    def _unlock(self, token: bytes) -> Stored:
        stored = self.locks.pop(token, None)
        if stored is None:
            raise message_lock_lost()
        if isinstance(stored.lane, Session):
            stored.lane.taken.pop(token, None)
        return stored

    def _give_back(self, stored: Stored, counted: bool) -> None:  # noqa: FBT001 - the fact, not a switch
        """Return a message to its place; whoever calls offers the lane afterwards."""
        self.locks.pop(stored.token, None)
        stored.delivery_count += counted
        limit = self.settings.max_delivery_count
        if self.dead_letters is not None and counted and stored.delivery_count >= limit:
            text = f"Message could not be consumed after {stored.delivery_count} delivery attempts."
            self.bury(stored, "MaxDeliveryCountExceeded", text)
        elif stored.expires_ms is not None and stored.expires_ms <= now_ms():
            self._let_expire(stored)
        else:
            stored.lane.push(stored)

    def _expiry(self, message: Message, now: int) -> int | None:
        limits = [limit for limit in (message.ttl_ms, self.settings.ttl_ms) if limit is not None]
        return now + min(limits) if limits else None

    def _let_expire(self, stored: Stored) -> None:
        self.counts.expired += 1
        if self.settings.dead_letter_expired:
            self.bury(stored, "TTLExpiredException", "The message expired and was dead lettered.")
        else:
            self._remove(stored)

    def _expire(self) -> None:
        """Act on every lock and every message whose time has come, and set the alarm for the next."""
        now = now_ms()
        if self.sessions is not None:
            self.sessions.expire(now)
        else:
            self._expire_locks(now)
        while self._expiries and self._expiries[0][0] <= now:
            stored = self.messages.get(heapq.heappop(self._expiries)[1])
            if stored is not None and stored.state is State.ACTIVE:
                stored.lane.discard(stored)
                self._let_expire(stored)
                self.offer(stored.lane)
        if self._expiries:
            self.alarm.set(self._expiries[0][0])

    def _expire_locks(self, now: int) -> None:
        # Every lock lasts equally long and a renewed one goes to the end, so the first ends first.
        lost = False
        while self.locks and (stored := next(iter(self.locks.values()))).locked_until_ms <= now:
            lost = True
            self._give_back(stored, counted=True)
        if self.locks:
            self.alarm.set(next(iter(self.locks.values())).locked_until_ms)
        if lost:
            self.offer(self.lane)
