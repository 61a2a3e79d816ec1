"""The same random schedules over a registry that keeps no history: nothing that was seen is lost, and each once."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from shared import memo, naming
from shared.events import Message, Position
from shared.journal import JournaledSource
from shared.ports import Source
from shared.stores.memory import MemoryJournalStore, MemoryStateStore
from tests.chaos.schedules import Schedule
from tests.unit.registry import WEB, Registry, RegistryObserver, Rows

SCHEDULES, PORTIONS = 600, 6
NAMES = "abcde"
MOVES = 6


class Observed(Schedule):
    """A schedule whose source is observed: each process has its own observer, and the account keeps the journal."""

    stream = WEB

    def __init__(self, seed: int) -> None:
        self.registry = Registry(WEB)
        super().__init__(seed)
        self.registry.move = self.move
        self.moved = 0

    def open_source(self) -> Source:
        journals, states = MemoryJournalStore(self.account), MemoryStateStore(self.account)
        observer = RegistryObserver(self.registry)
        return JournaledSource(naming.parts(WEB)[0], observer, journals=journals, states=states)

    def change(self, count: int) -> None:
        for _ in range(count):
            self.committed += 1
            key = self.rng.choice(NAMES)
            if key in self.registry.rows[WEB] and self.rng.random() < 0.5:
                self.registry.remove(key)
            else:
                self.registry.put(key, Version=self.committed)

    def move(self) -> None:
        """Let the registry change between two looks of one read."""
        if self.moved < MOVES and self.rng.random() < 0.2:
            self.moved += 1
            self.change(1)

    def pass_by(self) -> None:
        self.registry.version += 1

    def places(self) -> Sequence[Position]:
        return [Position("")]

    def end(self) -> Position | None:
        saved = self.account.journals.get(f"journal of {WEB}")
        if saved is None:
            return None
        return saved.value.last if memo.items_of(saved.value.memo) == self.registry.rows[WEB] else None

    def check(self, name: str, arrived: Sequence[Message]) -> None:
        picture: Rows = {}
        known: set[str] = set()
        for message in arrived:
            event_id = str(message.properties["event_id"])
            if event_id in known:
                continue
            known.add(event_id)
            told = json.loads(message.body)
            row, key = told["data"], told["data"]["ID"]
            if message.subject == "d":
                assert picture.pop(key) == row, f"{name}: {event_id} removes what was not there"
            elif message.subject == "u":
                assert picture[key] == told["before"], f"{name}: {event_id} changes what was not there"
                picture[key] = row
            else:
                assert message.subject == "r" or key not in picture, f"{name}: {event_id} adds what was there"
                picture[key] = row
        assert picture == self.registry.rows[WEB], f"{name} has another picture"
        if self.rewinds:
            replay, _ = self.rewinds[-1]
            again = {json.loads(m.body)["data"]["ID"] for m in arrived if m.id.endswith(f".r{replay}")}
            assert self.registry.rows[WEB].keys() <= again, f"{name} did not get a snapshot again"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_whoever_applies_what_arrives_has_the_picture_that_is_there(portion):
    for seed in range(portion, SCHEDULES, PORTIONS):
        try:
            asyncio.run(Observed(seed).run())
        except AssertionError as why:
            pytest.fail(f"seed {seed}: {why}")
