"""Looks in which something is missing: what is believed of them, and when to look again."""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared import naming, schedule
from shared.errors import ConfigError
from shared.events import Memo, Stream
from shared.ports import Clock
from shared.settings.model import ConsulSettings
from shared.sources.consul import removals
from shared.sources.consul.http import Answer
from shared.sources.consul.reads import Reads
from shared.sources.consul.rows import Rows

log = logging.getLogger("sluice.consul")

FIRST_LOOK_AGAIN_S, LONGEST_LOOK_AGAIN_S = 1.0, 60.0
"""How soon a stream whose removals are held is looked at again: at first, and at last."""
LONGEST_INCOMPLETE_S: Final = 900.0
"""How soon at last one is of which an answer was incomplete and nothing is held: the token may see more by then."""


@dataclass(frozen=True, slots=True)
class Look:
    """One answer about a stream, and its rows."""

    answer: Answer[Any]
    rows: Rows


@dataclass(frozen=True, slots=True)
class _Again:
    """When to look at a stream again, whatever is marked, and how many times it was looked at so."""

    times: int
    at: float


class Holding:
    """The removals that are held, by stream."""

    def __init__(self, settings: ConsulSettings, reads: Reads, clock: Clock) -> None:
        self._settings = settings
        self._reads = reads
        self._clock = clock
        self._held: dict[Stream, ConfigError] = {}
        self._again: dict[Stream, _Again] = {}

    @property
    def problems(self) -> Sequence[ConfigError]:
        """What is held, a problem for each stream."""
        return [*self._held.values()]

    def due(self, streams: Collection[Stream]) -> set[Stream]:
        """Return those of `streams` that are to be looked at again by now."""
        now = self._clock.monotonic()
        return {stream for stream, again in self._again.items() if now >= again.at and stream in streams}

    async def silence(self, answer: Answer[Any]) -> str:
        """Return why Consul would not say that it left something out; "" when it would, or when that is accepted.

        Raises:
            TransientError: it cannot be reached.
        """
        if self._settings.accept_filtered or not answer.denied_by_default:
            return ""
        return removals.SILENCE if await self._reads.is_nobody() else ""

    async def believed(self, stream: Stream, look: Look, memo: Memo, look_again: Callable[[], Awaitable[Look]]) -> Look:
        """Return a look in which everything that is gone is really gone: what is doubted stays as it was.

        `look_again` looks with `consistent`, at which the leader makes sure that it is the leader.

        Raises:
            TransientError: the second look failed.
            ConfigError: Consul refuses it.
        """
        known, settings = memo.items, self._settings
        missing = known.keys() - look.rows.keys()
        silent = await self.silence(look.answer) if missing else ""
        doubted = silent or removals.doubt(len(missing), len(known), look.answer, settings)
        if not doubted:
            self._release(stream)
            return look
        second = await look_again()
        denied = silent or removals.denial(missing, known.keys() - second.rows.keys(), second.answer, settings)
        if not (denied or second.rows or settings.accept_filtered or await self._shows_services(stream)):
            denied = removals.NOTHING
        if denied:
            self._hold(stream, len(missing), denied)
            return Look(look.answer, {**look.rows, **{key: known[key] for key in missing}})
        gone = len(known.keys() - second.rows.keys())
        if gone > 1:  # one alone is no mass
            log.warning("removals confirmed", extra={"stream": stream, "count": gone, "reason": doubted})
        self._release(stream)
        return second

    def look_again(self, stream: Stream, look: Look) -> None:
        """See when to look at a stream again of which not all is known, sooner while removals are held."""
        before = self._again.pop(stream, None)
        is_held = stream in self._held
        if is_held or removals.incomplete(look.answer, self._settings):
            times = before.times + 1 if before is not None else 1
            longest_s = LONGEST_LOOK_AGAIN_S if is_held else LONGEST_INCOMPLETE_S
            wait_s = schedule.backoff(times, FIRST_LOOK_AGAIN_S, longest_s, 0.0)
            self._again[stream] = _Again(times, self._clock.monotonic() + wait_s)

    async def _shows_services(self, stream: Stream) -> bool:
        return bool((await self._reads.catalog(naming.parts(stream)[1], mode="consistent")).data)

    def _hold(self, stream: Stream, count: int, reason: str) -> None:
        hint = (
            "see to the source's token and its policy; if they are gone for good, set accept_filtered or "
            "hold_removals_over"
        )
        before = self._held.get(stream)
        problem = ConfigError(f"{count} removals are held: {reason}", where=stream, hint=hint)
        if before is None or before.message != problem.message:
            log.error("removals held", extra={"stream": stream, "count": count, "reason": reason, "hint": hint})
        self._held[stream] = problem

    def _release(self, stream: Stream) -> None:
        if self._held.pop(stream, None) is not None:
            log.info("removals no longer held", extra={"stream": stream})
