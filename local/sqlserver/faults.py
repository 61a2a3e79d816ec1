"""Faults on request, and the count of statements: what tests switch from outside through the control port."""

import itertools
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.sqlserver.errors import SqlError

_LISTED = 50
_TURN_S = 0.02


@dataclass(slots=True)
class _Rule:
    """A fault for the statements that match: the n-th for a pause, the next `count` for an error."""

    match: re.Pattern[str]
    count: int
    error: SqlError | None = None
    when: str = "before"


@dataclass(slots=True)
class _Pause:
    number: int
    sql: str
    resumed: threading.Event = field(default_factory=threading.Event)


class Faults:
    """Thread-safe: connections ask, the control port sets."""

    def __init__(self, *, recovery: bool) -> None:
        self.recovery = recovery
        self.stopping = False
        self._delay_s = 0.0
        self._cut_after: int | None = None
        self._refuse_until = 0.0
        self._lock = threading.Lock()
        self._errors: list[_Rule] = []
        self._pauses: list[_Rule] = []
        self._paused: dict[int, _Pause] = {}
        self._numbers = itertools.count(1)
        self._count = 0
        self._texts: deque[str] = deque(maxlen=_LISTED)

    def state(self) -> dict[str, Any]:
        """Return the count of statements, the last texts, and what is paused."""
        with self._lock:
            paused = [{"id": pause.number, "sql": pause.sql} for pause in self._paused.values()]
            return {"statements": self._count, "last": list(self._texts), "paused": paused}

    def reset_counts(self) -> None:
        """Start counting again."""
        with self._lock:
            self._count = 0
            self._texts.clear()

    def delay(self, seconds: float) -> None:
        """Make every statement wait before it runs."""
        self._delay_s = seconds

    def cut_after(self, rows: int | None) -> None:
        """Cut the next connection that has sent so many rows of one result."""
        self._cut_after = rows

    def refuse(self, seconds: float) -> None:
        """Refuse new connections for a while."""
        self._refuse_until = time.monotonic() + seconds

    @property
    def refusing(self) -> bool:
        """Whether new connections are refused now."""
        return time.monotonic() < self._refuse_until

    def fail(self, match: str, error: SqlError, count: int) -> None:
        """Answer the next `count` statements that match with an error instead of running them."""
        with self._lock:
            self._errors.append(_Rule(re.compile(match, re.IGNORECASE | re.DOTALL), count, error))

    def pause(self, match: str, after: int, when: str) -> None:
        """Hold the n-th statement that matches, before it runs or before its answer leaves."""
        if when not in {"before", "after"}:
            message = f"pause when: before or after, not {when}"
            raise ValueError(message)
        with self._lock:
            self._pauses.append(_Rule(re.compile(match, re.IGNORECASE | re.DOTALL), after, None, when))

    def resume(self, which: int | str) -> None:
        """Let a paused statement go on, or all of them; `all` forgets pauses that have not happened."""
        with self._lock:
            if which == "all":
                self._pauses.clear()
            chosen = list(self._paused.values()) if which == "all" else [self._paused[int(which)]]
        for pause in chosen:
            pause.resumed.set()

    def cuts(self, rows: int) -> bool:
        """Whether the connection that has sent so many rows is to be cut now."""
        with self._lock:
            if self._cut_after is None or rows < self._cut_after:
                return False
            self._cut_after = None
            return True

    def before(self, sql: str, check: Callable[[], None]) -> None:
        """Count a statement and apply the faults that come before it."""
        with self._lock:
            self._count += 1
            self._texts.append(sql)
        self._wait(threading.Event(), self._delay_s, check)
        self._hold(sql, "before", check)
        error = self._matching_error(sql)
        if error is not None:
            raise error

    def holds(self, sql: str) -> bool:
        """Whether the answer of a statement may have to wait, and must not leave in parts."""
        with self._lock:
            return any(rule.when == "after" and rule.match.search(sql) for rule in self._pauses)

    def after(self, sql: str, check: Callable[[], None]) -> None:
        """Apply the faults that come between a statement and its answer."""
        self._hold(sql, "after", check)

    def _matching_error(self, sql: str) -> SqlError | None:
        with self._lock:
            for rule in self._errors:
                if rule.match.search(sql):
                    rule.count -= 1
                    if not rule.count:
                        self._errors.remove(rule)
                    return rule.error
        return None

    def _hold(self, sql: str, when: str, check: Callable[[], None]) -> None:
        with self._lock:
            pause = self._due_pause(sql, when)
            if pause is None:
                return
            self._paused[pause.number] = pause
        try:
            self._wait(pause.resumed, None, check)
        finally:
            with self._lock:
                del self._paused[pause.number]

    def _due_pause(self, sql: str, when: str) -> _Pause | None:
        for rule in self._pauses:
            if rule.when == when and rule.match.search(sql):
                rule.count -= 1
                if not rule.count:
                    self._pauses.remove(rule)
                    return _Pause(next(self._numbers), sql)
        return None

    def _wait(self, event: threading.Event, seconds: float | None, check: Callable[[], None]) -> None:
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            check()
            if event.wait(_TURN_S if end is None else min(_TURN_S, max(end - time.monotonic(), 0))):
                return
