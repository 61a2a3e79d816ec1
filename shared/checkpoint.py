"""Saves of many streams, gathered: whoever saves while a write is under way goes with the next one."""

import asyncio

from shared import naming
from shared.errors import StaleError, TransientError
from shared.events import Saved, StreamState
from shared.ports import Clock, StateStore
from shared.retry import hold

SAVE_BUDGET_S = 20.0
"""How long a save is tried again; nothing more of its stream is sent meanwhile."""


class Checkpoint:
    """Groups the saves of streams that run side by side, one write per bucket at a time."""

    def __init__(self, states: StateStore, clock: Clock) -> None:
        self._states = states
        self._clock = clock
        self._locks = [asyncio.Lock() for _ in range(naming.BUCKETS)]
        self._waiting: list[list[_Pending]] = [[] for _ in range(naming.BUCKETS)]

    async def save(self, state: Saved[StreamState]) -> Saved[StreamState]:
        """Write one state under its etag; return it with the new one.

        Raises:
            StaleError: somebody else wrote the stream: read it again and go on from there.
            TransientError: the store stayed away; whether the state was written is not known.
        """
        bucket = naming.bucket(state.value.stream)
        mine = _Pending(state)
        self._waiting[bucket].append(mine)
        try:
            async with self._locks[bucket]:
                await asyncio.sleep(0)  # whoever saves in the same turn goes along
                if mine.outcome is None:
                    await self._write(bucket)
        finally:
            if mine in self._waiting[bucket]:  # cancelled before its turn came
                self._waiting[bucket].remove(mine)
        if isinstance(mine.outcome, Saved):
            return mine.outcome
        raise mine.outcome or TransientError("the save was interrupted")

    async def _write(self, bucket: int) -> None:
        together, self._waiting[bucket] = self._waiting[bucket], []
        states = [pending.state for pending in together]
        try:
            outcomes = await hold(lambda: self._states.save(states), budget_s=SAVE_BUDGET_S, clock=self._clock)
        except TransientError as why:
            for pending in together:
                pending.outcome = why
            return
        except asyncio.CancelledError:  # of whoever wrote for all: the next one writes again, and the store knows it
            self._waiting[bucket][:0] = together
            raise
        for pending, outcome in zip(together, outcomes, strict=True):
            pending.outcome = outcome


class _Pending:
    def __init__(self, state: Saved[StreamState]) -> None:
        self.state = state
        self.outcome: Saved[StreamState] | StaleError | TransientError | None = None
