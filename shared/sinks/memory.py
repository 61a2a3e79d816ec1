"""A sink that keeps messages in this process: the twin of a broker, with faults on demand."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.errors import RejectedError, TransientError
from shared.events import Message


@dataclass(slots=True)
class Outage:
    """A destination that cannot be reached: `calls` more sends fail (None: until mended), each after `keep` messages.

    `lasting` is one that waiting a moment does not mend (missing, forbidden, full).
    """

    calls: int | None = None
    keep: int = 0
    lasting: bool = False
    retry_after: float | None = None


class MemorySink:
    """Keeps messages by destination, in the order of their arrival, in `kept`.

    With `detect_duplicates` a destination drops a message whose id it has kept before, as a topic does within its
    window, and counts it in `dropped`. A body longer than `max_message_bytes` is rejected. A send gives way to other
    tasks before every message and never overlaps with another send to the same destination.
    """

    def __init__(self, *, detect_duplicates: bool = False, max_message_bytes: int | None = None) -> None:
        self.kept: defaultdict[str, list[Message]] = defaultdict(list)
        self.dropped: defaultdict[str, int] = defaultdict(int)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._detect_duplicates = detect_duplicates
        self._max_message_bytes = max_message_bytes
        self._ids: defaultdict[str, set[str]] = defaultdict(set)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._outages: dict[str, Outage] = {}
        self._refused: dict[str, Callable[[Message], bool]] = {}

    def away(self, to: str, outage: Outage | None = None) -> None:
        """Make sends to `to` fail with TransientError, by default until `mend`."""
        self._outages[to] = outage or Outage()

    def refuse(self, to: str, which: Callable[[Message], bool]) -> None:
        """Make `to` reject the messages for which `which` is true, until `mend`."""
        self._refused[to] = which

    def mend(self, to: str) -> None:
        """End every fault of `to`."""
        self._outages.pop(to, None)
        self._refused.pop(to, None)

    async def send(self, to: str, messages: Sequence[Message]) -> None:
        """Keep the messages, or fail as scripted with what came before the fault kept.

        Raises:
            TransientError: `to` is away.
            RejectedError: `to` refuses one of the messages, or it is too large.
        """
        async with self._locks[to]:
            self.calls[to] += 1
            outage = self._strike(to)
            for message in messages if outage is None else messages[: outage.keep]:
                await asyncio.sleep(0)
                self._keep(to, message)
        if outage is not None:
            reason = f"destination {to} is {'missing, full or forbidden' if outage.lasting else 'away'}"
            raise TransientError(reason, retry_after=outage.retry_after, lasting=outage.lasting, hint="mend it")

    async def close(self) -> None:
        """Keep everything: there is nothing to release."""

    def _strike(self, to: str) -> Outage | None:
        outage = self._outages.get(to)
        if outage is not None and outage.calls is not None:
            outage.calls -= 1
            if outage.calls <= 0:
                del self._outages[to]
        return outage

    def _keep(self, to: str, message: Message) -> None:
        if self._max_message_bytes is not None and len(message.body) > self._max_message_bytes:
            reason = f"message {message.id} of {len(message.body)} bytes is too large for {to}"
            raise RejectedError(reason)
        refused = self._refused.get(to)
        if refused is not None and refused(message):
            reason = f"{to} refuses message {message.id}"
            raise RejectedError(reason)
        if self._detect_duplicates and message.id in self._ids[to]:
            self.dropped[to] += 1
            return
        self._ids[to].add(message.id)
        self.kept[to].append(message)
