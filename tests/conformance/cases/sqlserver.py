"""SQL Server through its driver: tables of their own for each test, on one server."""

import asyncio
import functools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager

from shared.events import Position, Stream
from shared.settings.model import SqlServerSettings
from shared.sources.scripted import Change
from shared.sources.sqlserver.source import SqlServerSource, open_source
from tests.conformance.source_suite import Database
from tests.integration.sqlserver.server import Server, capture, started, unique

_server = functools.cache(lambda running: running.enter_context(started()))
_ROWS = {"c": 1, "d": 1, "u": 2}


class SqlServerDatabase:
    keeps_history = True

    def __init__(self, server: Server, settings: SqlServerSettings, source: SqlServerSource) -> None:
        self.server = server
        self.source = source
        self.names = [table.name for table in settings.tables]
        first, second, third = (server.stream(settings, name) for name in self.names)
        self.streams = first, second, third
        self.tables = dict(zip(self.streams, self.names, strict=True))
        self.captured = dict.fromkeys(self.streams, 0)

    async def commit(self, changes: Mapping[Stream, Sequence[Change]]) -> None:
        statements = [_statement(self.tables[stream], change) for stream, made in changes.items() for change in made]
        await asyncio.to_thread(self.server.run, *statements)
        for stream, made in changes.items():
            self.captured[stream] += sum(_ROWS[change.op] for change in made)
            await self.server.captured(f"dbo_{self.tables[stream]}", self.captured[stream])

    async def clean_up(self, stream: Stream) -> None:
        instance = f"dbo_{self.tables[stream]}"
        await asyncio.to_thread(
            self.server.execute,
            "DECLARE @newest binary(10) = sys.fn_cdc_get_max_lsn();"
            f" EXEC sys.sp_cdc_cleanup_change_table @capture_instance = N'{instance}', @low_water_mark = @newest",
        )
        [(self.captured[stream],)] = self.server.run(f"SELECT COUNT(*) FROM [cdc].[{instance}_CT]")

    async def go_back(self, stream: Stream) -> Position:
        return Position("ff" * 10 + "-00000001-" + "00" * 10 + "-2")


def _statement(table: str, change: Change) -> tuple[object, ...]:
    match change:
        case Change(op="c", after={"ID": number, "Name": name}):
            return f"INSERT INTO dbo.[{table}] (ID, Name) VALUES (?, ?)", number, name
        case Change(op="u", before={"ID": number}, after={"Name": name}):
            return f"UPDATE dbo.[{table}] SET Name = ? WHERE ID = ?", name, number
        case Change(op="d", before={"ID": number}):
            return f"DELETE FROM dbo.[{table}] WHERE ID = ?", number
        case _:
            raise AssertionError(change)


@asynccontextmanager
async def database(running: ExitStack) -> AsyncIterator[Database]:
    server = _server(running)
    names = [unique(name) for name in ("Persons", "Cars", "Quiet")]
    for name in names:
        capture(server, name, "ID int NOT NULL PRIMARY KEY, Name nvarchar(100) NULL")
    settings = server.settings(*names)
    async with open_source(settings) as source:
        yield SqlServerDatabase(server, settings, source)
