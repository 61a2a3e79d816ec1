"""Which requests are held, delayed or refused."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import unquote

type When = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as rules see it.

    A pattern is searched in `text`: the path with its query, the same decoded, the lease action, and the body of a
    table batch, each on lines of their own.
    """

    method: str
    path: str
    text: str

    @classmethod
    def of(cls, method: str, path: str, lease_action: str, body: bytes) -> Self:
        """Look at a request; `body` counts for table batches alone."""
        batch = body.decode(errors="replace") if path.partition("?")[0].endswith("/$batch") else ""
        return cls(method, path, "\n".join((path, unquote(path), lease_action, batch)))


@dataclass(slots=True)
class Rule:
    """What all faults select requests by: `match` is searched in `Seen.text`, `method` is an HTTP method or `*`."""

    match: str = ""
    method: str = "*"
    _pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        try:
            self._pattern = re.compile(self.match, re.MULTILINE)
        except re.error as why:
            message = f"match {self.match!r} is not a regular expression: {why}"
            raise ValueError(message) from why

    def selects(self, seen: Seen) -> bool:
        """Return whether the request is meant."""
        return self.method in ("*", seen.method) and self._pattern.search(seen.text) is not None


@dataclass(slots=True)
class Pause(Rule):
    """Hold the `after`-th matching request, once: before Azurite gets it, or after it answered."""

    after: int = 1
    when: When = "before"

    def __post_init__(self) -> None:
        Rule.__post_init__(self)
        if self.when not in ("before", "after") or self.after < 1:
            message = f"pause: when is 'before' or 'after' and after is 1 or more, got {self.when!r}, {self.after}"
            raise ValueError(message)


@dataclass(slots=True)
class Fail(Rule):
    """Refuse the next `count` matching requests with `status`; Azurite does not see them."""

    status: int = 503
    count: int = 1


@dataclass(slots=True)
class Delay(Rule):
    """Let every matching request wait `delay_s` seconds before it is forwarded; a later delay replaces it."""

    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """A request that waits to be resumed; the future says whether its connection is to be cut instead."""

    id: int
    seen: Seen
    when: When
    dropped: asyncio.Future[bool]


class Faults:
    """The faults in force and the requests they hold."""

    def __init__(self) -> None:
        self.held: dict[int, Held] = {}
        self._pauses: list[Pause] = []
        self._fails: list[Fail] = []
        self._delay = Delay()
        self._last_id = 0

    def apply(self, fault: dict[str, Any]) -> None:
        """Take one fault or its end; ValueError or TypeError for one that is not understood."""
        match fault:
            case {"pause": dict(rule)} if len(fault) == 1:
                self._pauses.append(Pause(**rule))
            case {"fail": dict(rule)} if len(fault) == 1:
                self._fails.append(Fail(**rule))
            case {"delay_s": int() | float()}:
                self._delay = Delay(**fault)
            case {"resume": int() | "all" as which, **rest} if not rest.keys() - {"drop"}:
                self._resume(which, drop=bool(rest.get("drop")))
            case {"clear": True}:
                self._pauses, self._fails, self._delay = [], [], Delay()
                self._resume("all", drop=False)
            case _:
                message = f"not a fault of this part: {fault}"
                raise ValueError(message)

    async def delay(self, seen: Seen) -> None:
        """Wait as long as the delay in force says."""
        if self._delay.delay_s and self._delay.selects(seen):
            await asyncio.sleep(self._delay.delay_s)

    def failure(self, seen: Seen) -> int | None:
        """Return the status to refuse the request with, None to go on."""
        for rule in self._fails:
            if rule.count > 0 and rule.selects(seen):
                rule.count -= 1
                return rule.status
        return None

    def due(self, seen: Seen) -> list[When]:
        """Count the request for every pause; return where it has to be held."""
        selected = [rule for rule in self._pauses if rule.selects(seen)]
        for rule in selected:
            rule.after -= 1
        self._pauses = [rule for rule in self._pauses if rule.after > 0]
        return [rule.when for rule in selected if rule.after == 0]

    async def hold(self, seen: Seen, when: When) -> bool:
        """Keep the request until it is resumed; return whether to cut its connection."""
        self._last_id += 1
        held = Held(self._last_id, seen, when, asyncio.get_running_loop().create_future())
        self.held[held.id] = held
        try:
            return await held.dropped
        finally:
            self.held.pop(held.id, None)

    def _resume(self, which: int | str, *, drop: bool) -> None:
        if isinstance(which, int) and which not in self.held:
            message = f"no request {which} is held"
            raise ValueError(message)
        for held in list(self.held.values()):
            if which in ("all", held.id):
                del self.held[held.id]
                held.dropped.set_result(drop)
