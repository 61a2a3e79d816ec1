"""What can be made to go wrong with requests: refused, delayed, cut, held, answered in part."""

import asyncio
import itertools
import random
import re
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from local.consul.errors import ConsulError

_REFUSALS = {
    429: "rate limit exceeded, try again later or against a different server",
    500: "rpc error making call: EOF",
    503: "rate limit exceeded for operation that can only be performed by the leader, try again later",
}


class Cut(Exception):  # noqa: N818 - what is to be done, not what went wrong
    """End the connection instead of an answer."""


@dataclass(slots=True)
class _Rule:
    """A fault for requests whose `METHOD /path?query` matches; `count` of them, or all until it is cleared."""

    match: re.Pattern[str]
    count: int | None

    def meets(self, target: str) -> bool:
        """Whether this request is one of those; counts it."""
        if self.count == 0 or not self.match.search(target):
            return False
        if self.count is not None:
            self.count -= 1
        return True


@dataclass(slots=True)
class _Refusal(_Rule):
    status: int
    text: str
    retry_after_s: float | None


@dataclass(slots=True)
class _Part(_Rule):
    percent: float


@dataclass(slots=True)
class _Pause:
    match: re.Pattern[str]
    nth: int
    when: str


@dataclass(slots=True)
class _Paused:
    number: int
    target: str
    when: str
    drop: bool = False
    resumed: asyncio.Event = field(default_factory=asyncio.Event)


class Faults:
    """The faults of requests that are set, and the requests that are held."""

    def __init__(self) -> None:
        self._refusals: list[_Refusal] = []
        self._cuts: list[_Rule] = []
        self._parts: list[_Part] = []
        self._delays: list[tuple[re.Pattern[str], float]] = []
        self._pauses: list[_Pause] = []
        self._held: dict[int, _Paused] = {}
        self._numbers = itertools.count(1)

    @property
    def is_partial(self) -> bool:
        """Whether some answer is to be cut short."""
        return any(part.count != 0 for part in self._parts)

    async def before(self, target: str) -> None:
        """Do to a request what comes before its answer is made.

        Raises:
            ConsulError: it is refused.
            Cut: its connection is to end.
        """
        delay_s = max((seconds for match, seconds in self._delays if match.search(target)), default=0.0)
        if delay_s:
            await asyncio.sleep(delay_s)
        await self._hold(target, "before")
        if any(cut.meets(target) for cut in self._cuts):
            raise Cut
        for refusal in self._refusals:
            if refusal.meets(target):
                raise ConsulError(refusal.status, refusal.text, refusal.retry_after_s)

    async def after(self, target: str) -> None:
        """Do to a request what comes between its answer and the client.

        Raises:
            Cut: its connection is to end.
        """
        await self._hold(target, "after")

    def part(self, request: web.Request, value: Any) -> Any:
        """Return an answer, or what a partial one leaves of it."""
        target = f"{request.method} {request.path_qs}"
        for part in self._parts:
            if part.meets(target):
                return _left(value, part.percent)
        return value

    def refuse(self, given: dict[str, Any]) -> None:
        """Answer requests with an error: `status`, `text`, `retry_after_s`."""
        known(given, {"match", "count", "status", "text", "retry_after_s"})
        status = int(given.get("status", 429))
        text = given.get("text", _REFUSALS.get(status, "refused on purpose"))
        self._refusals.append(_Refusal(*_whom(given, None), status, text, given.get("retry_after_s")))

    def cut(self, given: dict[str, Any]) -> None:
        """End the connection of requests instead of answering."""
        known(given, {"match", "count"})
        self._cuts.append(_Rule(*_whom(given, 1)))

    def shorten(self, given: dict[str, Any]) -> None:
        """Leave `percent` of the rows out of an answer, that looks whole otherwise."""
        known(given, {"match", "count", "percent"})
        percent = float(given["percent"])
        if not 0 < percent <= 100:
            message = f"partial: a percentage above 0 and up to 100, not {percent:g}"
            raise ValueError(message)
        self._parts.append(_Part(*_whom(given, 1), percent))

    def delay(self, seconds: float, match: str) -> None:
        """Delay requests; 0 ends it."""
        pattern = re.compile(match)
        self._delays = [(other, value) for other, value in self._delays if other.pattern != match]
        if seconds > 0:
            self._delays.append((pattern, seconds))

    def pause(self, given: dict[str, Any]) -> None:
        """Hold the n-th request that matches, before it is looked at or after its answer is made."""
        known(given, {"match", "after", "when"})
        when, nth = given.get("when", "before"), int(given.get("after", 1))
        if when not in {"before", "after"} or nth < 1:
            message = f"pause: when before or after, after >= 1, not {when}, {nth}"
            raise ValueError(message)
        self._pauses.append(_Pause(re.compile(given["match"]), nth, when))

    def resume(self, which: int | str, *, drop: bool) -> None:
        """Let a held request go on, or cut its connection; `all` forgets pauses that have not happened."""
        if which == "all":
            self._pauses.clear()
        elif int(which) not in self._held:
            message = f"no request {which} is paused"
            raise ValueError(message)
        for paused in list(self._held.values()) if which == "all" else [self._held[int(which)]]:
            paused.drop = drop
            paused.resumed.set()

    def paused(self) -> list[dict[str, Any]]:
        """Return the held requests as `GET /state` shows them."""
        return [{"id": one.number, "request": one.target, "when": one.when} for one in self._held.values()]

    def end(self) -> None:
        """Forget every fault; what is held goes on."""
        for faults in (self._refusals, self._cuts, self._parts, self._delays):
            faults.clear()
        self.resume("all", drop=False)

    async def _hold(self, target: str, when: str) -> None:
        if not self._is_due(target, when):
            return
        paused = _Paused(next(self._numbers), target, when)
        self._held[paused.number] = paused
        try:
            await paused.resumed.wait()
        finally:
            del self._held[paused.number]
        if paused.drop:
            raise Cut

    def _is_due(self, target: str, when: str) -> bool:
        for pause in self._pauses:
            if pause.when == when and pause.match.search(target):
                pause.nth -= 1
                if not pause.nth:
                    self._pauses.remove(pause)
                    return True
        return False


def known(given: dict[str, Any], names: set[str]) -> None:
    """Refuse what a fault does not know.

    Raises:
        ValueError: with what it knows.
    """
    if unknown := given.keys() - names:
        message = f"{', '.join(sorted(unknown))} is not known, {', '.join(sorted(names))} is"
        raise ValueError(message)


def _whom(given: dict[str, Any], count: int | None) -> tuple[re.Pattern[str], int | None]:
    number = given.get("count", count)
    return re.compile(given.get("match", "")), None if number is None else int(number)


def _left(value: Any, percent: float) -> Any:
    """Return what is left of a list or an object; the same rows each time."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    chosen = random.Random(0)
    gone = set(chosen.sample(range(len(keys)), round(len(keys) * percent / 100)))
    left = [key for at, key in enumerate(keys) if at not in gone]
    return {key: value[key] for key in left} if isinstance(value, dict) else [value[at] for at in left]
