"""A source in memory."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager

from shared import naming
from shared.events import Position, Stream
from shared.sources.scripted import Change, ScriptedSource, insert
from tests.conformance.source_suite import NOWHERE, Database, row


class ScriptedDatabase:
    keeps_history = True

    def __init__(self) -> None:
        self.streams = (
            naming.stream("sql1", "TestDB", "dbo", "Persons"),
            naming.stream("sql1", "TestDB", "dbo", "Cars"),
            naming.stream("sql1", "TestDB", "dbo", "Quiet"),
        )
        self.source = ScriptedSource(*self.streams)
        self.transactions = 0

    async def commit(self, changes: Mapping[Stream, Sequence[Change]]) -> None:
        self.source.commit_all(changes)
        self.transactions += 1

    async def clean_up(self, stream: Stream) -> None:
        self.source.clean_up(stream)

    async def go_back(self, stream: Stream) -> Position:
        self.source.commit(stream, insert(row(99)))
        beyond = (await self.source.read(stream, NOWHERE, 1000)).position
        self.source.restore(self.transactions)
        return beyond


@asynccontextmanager
async def database(running: ExitStack) -> AsyncIterator[Database]:
    yield ScriptedDatabase()
