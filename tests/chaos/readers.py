"""A process that reads Consul as capture does, over real HTTP, from and to stores that outlive it."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from shared import naming
from shared.errors import PositionLostError, SluiceError
from shared.events import Position, Stream
from shared.journal import JournaledSource
from shared.sources.consul import open_observer
from shared.stores.memory import MemoryJournalStore, MemoryStateStore
from tests.chaos.catalogs import SOURCE

if TYPE_CHECKING:
    from tests.chaos.outages import World


class Reader:
    """One process: its observer, its source, and how far it is with each stream."""

    def __init__(self, world: "World") -> None:
        self.task: asyncio.Task[bool] | None = None
        self.after: dict[Stream, Position] = {}
        self._world = world
        self._stack = AsyncExitStack()
        self._is_blind = True

    async def open(self) -> None:
        world = self._world
        observer = await self._stack.enter_async_context(
            open_observer(world.settings(), resident=world.resident, clock=world.clock)
        )
        journals, states = MemoryJournalStore(world.account), MemoryStateStore(world.account)
        self._source = JournaledSource(SOURCE, observer, journals=journals, states=states)

    async def close(self) -> None:
        await self._stack.aclose()

    async def turn(self) -> bool:
        """Look once at everything; False when something could not be seen."""
        if self._is_blind:
            try:
                found, _ = await self._source.discover()
            except SluiceError:
                return False
            self.after = {each.stream: self.after.get(each.stream, self._world.position(each.stream)) for each in found}
            self._is_blind = False
        return all(await asyncio.gather(self._shard(0), self._shard(1)))

    async def _shard(self, number: int) -> bool:
        mine = {stream: after for stream, after in self.after.items() if naming.bucket(stream) % 2 == number}
        try:
            changed = await self._source.probe(mine)
        except SluiceError:
            return False
        self._is_blind |= not changed <= self.after.keys()
        outcomes = [await self._read(stream) for stream in sorted(changed & mine.keys())]
        return all(outcomes)

    async def _read(self, stream: Stream) -> bool:
        """Tell what there is to read, then save how far that was."""
        more = True
        while more:
            before = self.after[stream]
            try:
                batch = await self._source.read(stream, before, self._world.rng.randint(1, 20))
            except PositionLostError:
                assert before != self._world.position(stream), "what nobody has is gone from the journal"
                batch = None
            except SluiceError:
                return False
            if batch is not None:
                self._world.consumer.take(batch.events)
                await self._world.gate()
            if batch is None or before != self._world.position(stream):  # another process was faster
                self.after[stream] = self._world.position(stream)
            else:
                self.after[stream], more = batch.position, batch.more
                self._world.save(stream, batch.position)
        return True
