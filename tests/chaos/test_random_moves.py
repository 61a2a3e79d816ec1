"""State that is carried elsewhere, or back, at a random moment of a random schedule."""

import asyncio

import pytest

from shared import chain
from shared.events import Mark, Saved, StreamState
from tests.chaos.schedules import QUEUE, STREAM, Schedule

SCHEDULES, PORTIONS = 600, 6


class Moving(Schedule):
    """A schedule in which copies are taken, and each may later be imported: here, or where nothing is known."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.copies: list[tuple[StreamState, dict[str, Mark]]] = []
        self.moves = 0

    async def _turn(self, *, calm: bool) -> None:
        chance = self.rng.random()
        saved = self.account.states.get(STREAM)
        if not calm and saved is not None:
            if chance < 0.03:
                self.copies.append((saved.value, self._marks()))
            elif chance > 0.98 and self.copies:
                self._move(elsewhere=self.rng.random() < 0.3)
        await super()._turn(calm=calm)

    def _marks(self) -> dict[str, Mark]:
        return {to: mark.value for (_, to), mark in self.account.marks.items()}

    def _move(self, *, elsewhere: bool) -> None:
        """Import a copy: over what is there, or into an account and a queue that are empty."""
        state, marks = self.rng.choice(self.copies)
        if elsewhere:
            self.account.states.clear()
            self.account.marks.clear()
            self.lost += len(self.bus.kept[QUEUE])
            self.bus.kept[QUEUE].clear()
        there = self.account.states.get(STREAM)
        instead = there.value if there else None
        fresh, carried = chain.imported(
            state, self._marks() | marks, tuple(self.topics), instead=instead, now=self.clock.now()
        )
        self.account.states[STREAM] = Saved(fresh, self.account.next_version())
        for name, mark in carried.items():
            self.account.marks[STREAM, name] = Saved(mark, self.account.next_version())
        self.account.control = self.account.next_version()
        behind = all(mark.replay < fresh.replay for mark in carried.values())
        self.rewinds = [(fresh.replay, fresh.position)] if behind else []
        self.moves += 1
        self.lost += 1  # the new chain is no repair


@pytest.mark.timeout(120)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_no_import_at_any_moment_loses_or_reorders_a_change(portion):
    moves = 0
    for seed in range(portion, SCHEDULES, PORTIONS):
        schedule = Moving(seed)
        try:
            asyncio.run(schedule.run())
        except AssertionError as why:
            pytest.fail(f"seed {seed}: {why}")
        moves += schedule.moves
    assert moves > SCHEDULES / PORTIONS
