"""What can be made to go wrong, and the gate every request passes so that it can be slowed or paused there."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from local.broker.conditions import AmqpError, server_busy
from local.broker.sas import path_of

KINDS = frozenset({"send", "settle", "receive", "manage", "administer"})


class Origin(Protocol):
    """The link a request came over."""

    def cut(self) -> None:
        """End the connection without a word."""
        ...

    def resumed(self) -> None:
        """Go on after a pause."""
        ...


@dataclass(frozen=True, slots=True)
class Request[T]:
    """Something a client asked for: `apply` does it, `answer` tells the client."""

    on: str
    entity: str
    origin: Origin
    apply: Callable[[], T]
    answer: Callable[[T], None]


@dataclass(slots=True)
class _Pause:
    on: str
    entity: str
    when: str
    remaining: int


@dataclass(slots=True)
class _Refusal:
    kinds: frozenset[str]
    entity: str
    remaining: int
    problem: AmqpError


@dataclass(slots=True)
class _Paused:
    number: int
    request: Request[Any]
    when: str
    answer: Callable[[], None]


@dataclass(slots=True)
class _Queue:
    """The requests of one link that wait, in order: behind a paused one, or for their delay to pass."""

    waiting: deque[tuple[float, Request[Any]]] = field(default_factory=deque)
    is_paused: bool = False


class Faults:
    """The faults that are set, and the requests they hold up."""

    def __init__(self) -> None:
        self._pauses: list[_Pause] = []
        self._paused: dict[int, _Paused] = {}
        self._refusals: list[_Refusal] = []
        self._delays: dict[str, float] = {}
        self._queues: dict[Origin, _Queue] = {}
        self._last_number = 0

    def run(self, request: Request[Any]) -> None:
        """Apply a request and answer it: at once, unless a fault delays or pauses it or one before it on the link."""
        if not self._pauses and not self._delays and not self._queues:
            request.answer(request.apply())
            return
        queue = self._queues.get(request.origin)
        # A delivery is the broker's own doing: it can be paused, but no answer to the client is late.
        delay_s = 0.0 if request.on == "receive" else self._delay_s(request.entity)
        if queue is None and not delay_s:
            self._perform(request)
            return
        loop = asyncio.get_running_loop()
        if queue is None:
            queue = self._queues[request.origin] = _Queue()
            loop.call_later(delay_s, self._advance, request.origin)
        queue.waiting.append((loop.time() + delay_s, request))

    def check(self, on: str, entity: str) -> None:
        """Refuse a request of an entity if one of its kind is to be refused.

        Raises:
            AmqpError: the condition that was asked for.
        """
        for refusal in self._refusals:
            if on in refusal.kinds and _matches(refusal.entity, path_of(entity)):
                refusal.remaining -= 1
                if refusal.remaining == 0:
                    self._refusals.remove(refusal)
                raise refusal.problem

    def throttle(self, entity: str, count: int) -> None:
        """Answer the next sends and management requests with server-busy."""
        self._refuse(frozenset({"send", "manage", "administer"}), entity, count, server_busy())

    def refuse(self, entity: str, count: int, problem: AmqpError) -> None:
        """Answer the next sends with an error."""
        self._refuse(frozenset({"send"}), entity, count, problem)

    def delay(self, entity: str, delay_s: float) -> None:
        """Apply and answer every request of clients so much later; 0 ends it."""
        self._delays.pop(path_of(entity), None)
        if delay_s > 0:
            self._delays[path_of(entity)] = delay_s

    def pause(self, on: str, entity: str, after: int, when: str) -> None:
        """Pause the `after`-th request from now on, before it is applied, or after it and before the client is told.

        Raises:
            ValueError: no such kind of request, or no such moment.
        """
        if on not in KINDS or when not in {"before", "after"} or after < 1:
            message = f"a pause is on {sorted(KINDS)}, when before or after, after >= 1, not {on}, {when}, {after}"
            raise ValueError(message)
        self._pauses.append(_Pause(on, path_of(entity), when, after))

    def resume(self, number: int | None, *, drop: bool) -> None:
        """Let a paused request go on, or end its connection and forget it; None is all, and no more pauses.

        Raises:
            ValueError: nothing of that number is paused.
        """
        if number is not None and number not in self._paused:
            message = f"no request {number} is paused"
            raise ValueError(message)
        chosen = list(self._paused) if number is None else [number]
        if number is None:
            self._pauses.clear()
        for paused in [self._paused.pop(one) for one in chosen]:
            origin = paused.request.origin
            if drop:
                self._queues.pop(origin, None)
                origin.cut()
            else:
                queue = self._queues[origin]
                queue.is_paused = False
                paused.answer()
                self._advance(origin)
                origin.resumed()

    def clear(self) -> None:
        """Forget every fault; what is paused or delayed goes on."""
        self._refusals.clear()
        self._delays.clear()
        self.resume(None, drop=False)

    def paused(self) -> list[dict[str, Any]]:
        """Return the paused requests as `GET /state` shows them."""
        return [
            {"id": one.number, "on": one.request.on, "entity": one.request.entity, "when": one.when}
            for one in self._paused.values()
        ]

    def _refuse(self, kinds: frozenset[str], entity: str, count: int, problem: AmqpError) -> None:
        if count > 0:
            self._refusals.append(_Refusal(kinds, path_of(entity), count, problem))

    def _delay_s(self, entity: str) -> float:
        path = path_of(entity)
        return max((delay_s for scope, delay_s in self._delays.items() if _matches(scope, path)), default=0.0)

    def _advance(self, origin: Origin) -> None:
        queue, loop = self._queues.get(origin), asyncio.get_running_loop()
        while queue is not None and queue.waiting and not queue.is_paused:
            due, request = queue.waiting[0]
            if due > loop.time():
                loop.call_at(due, self._advance, origin)
                return
            queue.waiting.popleft()
            self._perform(request)
        if queue is not None and not queue.waiting and not queue.is_paused:
            self._queues.pop(origin, None)

    def _perform(self, request: Request[Any]) -> None:
        pause = self._pause_for(request)
        if pause is None:
            request.answer(request.apply())
        elif pause.when == "before":
            self._hold(request, "before", lambda: request.answer(request.apply()))
        else:
            outcome = request.apply()
            self._hold(request, "after", lambda: request.answer(outcome))

    def _pause_for(self, request: Request[Any]) -> _Pause | None:
        for pause in self._pauses:
            if pause.on == request.on and _matches(pause.entity, path_of(request.entity)):
                pause.remaining -= 1
                if pause.remaining == 0:
                    self._pauses.remove(pause)
                    return pause
        return None

    def _hold(self, request: Request[Any], when: str, answer: Callable[[], None]) -> None:
        self._last_number += 1
        self._paused[self._last_number] = _Paused(self._last_number, request, when, answer)
        self._queues.setdefault(request.origin, _Queue()).is_paused = True


def _matches(scope: str, path: str) -> bool:
    return not scope or scope == path
