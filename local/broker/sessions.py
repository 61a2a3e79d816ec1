"""Service Bus sessions: one receiver at a time holds a session, and takes its messages in order.

Source:
    https://learn.microsoft.com/azure/service-bus-messaging/message-sessions
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Protocol

from local.broker.clock import now_ms
from local.broker.conditions import session_cannot_be_locked, session_lock_lost
from local.broker.lanes import Lane, Receiver, Stored


class Session(Lane):
    """One session: its messages, its state, and who holds it."""

    def __init__(self, session_id: str) -> None:
        super().__init__()
        self.session_id = session_id
        self.state: bytes | None = None
        self.state_updated_ms = 0
        self.receiver: Receiver | None = None
        self.locked_until_ms = 0
        self.taken: dict[bytes, Stored] = {}


class Waiter(Protocol):
    """A receiver that waits for the next session that becomes available."""

    def granted(self, session: Session) -> Receiver:
        """Begin to receive the session."""
        ...


class Sessions:
    """The sessions of an entity; those without a receiver are granted in the order in which they became available."""

    def __init__(self, lock_ms: int, give_back: Callable[[Stored, bool], None], watch: Callable[[int], None]) -> None:
        """`give_back` returns a message to its lane, counting the delivery or not; `watch` is told when a lock ends."""
        self._lock_ms = lock_ms
        self._give_back = give_back
        self._watch = watch
        self._known: dict[str, Session] = {}
        self._available: OrderedDict[str, Session] = OrderedDict()
        self._held: OrderedDict[str, Session] = OrderedDict()
        self._waiting: deque[Waiter] = deque()

    def __iter__(self) -> Iterator[Session]:
        return iter(self._known.values())

    def of(self, session_id: str) -> Session:
        """Return the session, new if nothing is known of it."""
        session = self._known.get(session_id)
        if session is None:
            session = self._known[session_id] = Session(session_id)
        return session

    def offer(self, session: Session) -> None:
        """Give a session with messages to its receiver, to who waits for one, or remember that it is available."""
        if session.receiver is not None:
            session.pump()
        elif session.active:
            self._available[session.session_id] = session
            while self._waiting and self._available:
                self._grant_next(self._waiting.popleft())
        else:
            self._available.pop(session.session_id, None)
            self._forget_if_empty(session)

    def accept(self, session_id: str, waiter: Waiter) -> None:
        """Grant the session now.

        Raises:
            AmqpError: another receiver holds it.
        """
        session = self.of(session_id)
        if session.receiver is not None:
            raise session_cannot_be_locked(session_id)
        self._available.pop(session_id, None)
        self._grant(session, waiter)

    def accept_next(self, waiter: Waiter) -> None:
        """Grant the next available session, now or when there is one."""
        if self._available:
            self._grant_next(waiter)
        else:
            self._waiting.append(waiter)

    def stop_waiting(self, waiter: Waiter) -> None:
        """Forget a waiter."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def renew(self, session_id: str, owner: object) -> int:
        """Extend the lock; return until when it is held.

        Raises:
            AmqpError: the owner does not hold the session.
        """
        session = self.held(session_id, owner)
        session.locked_until_ms = now_ms() + self._lock_ms
        self._held.move_to_end(session_id)
        for stored in session.taken.values():
            stored.locked_until_ms = session.locked_until_ms
        return session.locked_until_ms

    def held(self, session_id: str, owner: object) -> Session:
        """Return the session if the owner holds it.

        Raises:
            AmqpError: it does not.
        """
        session = self._held.get(session_id)
        if session is None or session.receiver is None or session.receiver.owner is not owner:
            raise session_lock_lost(session_id)
        return session

    def release(self, session: Session, *, counted: bool = False) -> None:
        """End the lock; unsettled messages come back, without counting a delivery unless the lock expired."""
        self._held.pop(session.session_id, None)
        session.receiver = None
        session.receivers.clear()
        taken, session.taken = session.taken, {}
        for stored in taken.values():
            self._give_back(stored, counted)
        self.offer(session)

    def expire(self, now: int) -> None:
        """Take the sessions whose locks have ended from their receivers."""
        while self._held and (session := next(iter(self._held.values()))).locked_until_ms <= now:
            receiver = session.receiver
            self.release(session, counted=True)
            if receiver is not None:
                receiver.lost(session_lock_lost(session.session_id))
        if self._held:
            self._watch(next(iter(self._held.values())).locked_until_ms)

    def set_state(self, session: Session, state: bytes | None) -> None:
        """Keep the state of a session; None removes it."""
        session.state, session.state_updated_ms = state, now_ms()

    def _grant_next(self, waiter: Waiter) -> None:
        self._grant(self._available.popitem(last=False)[1], waiter)

    def _grant(self, session: Session, waiter: Waiter) -> None:
        session.locked_until_ms = now_ms() + self._lock_ms
        self._held[session.session_id] = session
        self._watch(session.locked_until_ms)
        session.receiver = waiter.granted(session)
        session.receivers.append(session.receiver)

    def _forget_if_empty(self, session: Session) -> None:
        if session.receiver is None and not session.active and not session.taken and session.state is None:
            self._known.pop(session.session_id, None)
