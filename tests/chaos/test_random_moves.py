"""State that is carried elsewhere, or back, at a random moment of a random schedule."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared import chain, naming
from shared.events import Journal, Mark, Memo, Message, Observation, Position, Saved, Stream, StreamState
from shared.journal import JournaledSource
from shared.ports import Source
from shared.stores.memory import MemoryJournalStore, MemoryStateStore
from tests.chaos.schedules import QUEUE, Schedule
from tests.chaos.test_random_observations import Observed
from tests.unit.registry import WEB, RegistryObserver, Rows

SCHEDULES, PORTIONS = 600, 6


class Moving(Schedule):
    """A schedule in which copies are taken, and each may later be imported: here, or where nothing is known."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.copies: list[tuple[StreamState, dict[str, Mark], Journal | None]] = []
        self.moves = 0

    async def _turn(self, *, calm: bool) -> None:
        chance = self.rng.random()
        saved = self.account.states.get(self.stream)
        if not calm and saved is not None:
            if chance < 0.03:
                journal = self.account.journals.get(self._journal)
                self.copies.append((saved.value, self._marks(), journal.value if journal else None))
            elif chance > 0.98 and self.copies:
                self._move(elsewhere=self.rng.random() < 0.3)
        await super()._turn(calm=calm)

    @property
    def _journal(self) -> str:
        return f"journal of {self.stream}"

    def _marks(self) -> dict[str, Mark]:
        return {to: mark.value for (_, to), mark in self.account.marks.items()}

    def _move(self, *, elsewhere: bool) -> None:
        """Import a copy: over what is there, or into an account and a queue that are empty."""
        state, marks, journal = self.rng.choice(self.copies)
        if elsewhere:
            self.account.states.clear()
            self.account.marks.clear()
            self.account.journals.clear()
            self.lost += len(self.bus.kept[QUEUE])
            self.bus.kept[QUEUE].clear()
        there = self.account.states.get(self.stream)
        instead = there.value if there else None
        fresh, carried = chain.imported(
            state, self._marks() | marks, tuple(self.topics), instead=instead, now=self.clock.now()
        )
        self.account.states[self.stream] = Saved(fresh, self.account.next_version())
        for name, mark in carried.items():
            self.account.marks[self.stream, name] = Saved(mark, self.account.next_version())
        if journal is not None:
            value = replace(journal, head="{}", dropped=())
            self.account.journals[self._journal] = Saved(value, self.account.next_version())
        self.account.control = self.account.next_version()
        behind = all(mark.replay < fresh.replay for mark in carried.values())
        self.rewinds = [(fresh.replay, fresh.position)] if behind else []
        self.moves += 1
        self.lost += 1  # the new chain is no repair


class NumberingAnew(RegistryObserver):
    """An observer that gives no position twice, also after an import."""

    async def observe(
        self, stream: Stream, memo: Memo | None, after: Position, *, snapshot: bool = False
    ) -> Observation:
        if memo is not None and not memo.head:
            self._registry.version += 1
        return await super().observe(stream, memo, after, snapshot=snapshot)


class MovingObserved(Moving, Observed):
    """Such a schedule over a registry that keeps no history: a copy has the journal as well."""

    def open_source(self) -> Source:
        journals, states = MemoryJournalStore(self.account), MemoryStateStore(self.account)
        return JournaledSource(naming.parts(WEB)[0], NumberingAnew(self.registry), journals=journals, states=states)

    def check(self, name: str, arrived: Sequence[Message]) -> None:
        picture: Rows = {}
        bodies: dict[str, bytes] = {}
        for message in arrived:
            event_id = str(message.properties["event_id"])
            if event_id in bodies:
                assert bodies[event_id] == message.body, f"{name}: {event_id} is the id of two changes"
                continue
            bodies[event_id] = message.body
            row = json.loads(message.body)["data"]
            if message.subject == "d":
                picture.pop(row["ID"], None)
            else:
                picture[row["ID"]] = row
        there = self.registry.rows[WEB]
        left = picture.keys() - there.keys() if self.moves else ()  # it came after a copy, and went before its import
        assert {key: row for key, row in picture.items() if key not in left} == there, f"{name} has another picture"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", [Moving, MovingObserved])
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_no_import_at_any_moment_loses_or_reorders_a_change(portion, kind):
    moves = 0
    for seed in range(portion, SCHEDULES, PORTIONS):
        schedule = kind(seed)
        try:
            asyncio.run(schedule.run())
        except AssertionError as why:
            pytest.fail(f"seed {seed}: {why}")
        moves += schedule.moves
    assert moves > SCHEDULES / PORTIONS
