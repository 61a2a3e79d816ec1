"""`sluice monitor sqlserver` against a database: rows as they change, straight from change data capture."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.monitoring import DEADLINE_S, Monitor, monitoring
from tests.integration.sqlserver.server import LIVE, Server, capture, started, unique

COLUMNS = "ID int NOT NULL PRIMARY KEY, Name nvarchar(100) NULL"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started() as running:
        yield running


@pytest.fixture
def name(server: Server) -> str:
    """A captured table."""
    name = unique("Persons")
    capture(server, name, COLUMNS)
    return name


@asynccontextmanager
async def watching(server: Server, *arguments: str) -> AsyncIterator[Monitor]:
    async with monitoring("sqlserver", "-p", "0.1", *arguments, SqlServer=server.odbc) as monitor:
        yield monitor


async def test_rows_are_shown_as_they_change_with_old_and_new(server, name):
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, N'before')")
    await server.captured(f"dbo_{name}", 1)
    async with watching(server, "--table", name) as monitor:
        said = await monitor.until_said("Monitoring")
        assert said.startswith(f"Monitoring dbo.{name} of ")
        assert said.endswith(" from now on")
        server.execute(
            f"INSERT INTO dbo.[{name}] VALUES (2, N'Zoë')",
            f"UPDATE dbo.[{name}] SET Name = NULL WHERE ID = 2",
            f"DELETE FROM dbo.[{name}] WHERE ID = 1",
        )
        lines = await monitor.until(lambda lines: len(lines) == 4)
        assert [line.split()[1] for line in lines[1:]] == ["insert", "update", "delete"]
        assert lines[1].endswith('.events ID=2 Name="Zoë"')
        assert lines[2].endswith('.events ID=2 Name="Zoë" -> null')
        assert lines[3].endswith(".events ID=1")
        assert await monitor.end() == 0
        assert monitor.errors == []


async def test_json_from_the_earliest_change_is_the_bodies_of_the_topics(server, name):
    other = unique("Cars")
    capture(server, other, COLUMNS)
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, N'a')", f"INSERT INTO dbo.[{other}] VALUES (7, N'b')")
    await server.captured(f"dbo_{other}", 1)
    tables = ("--table", name, "--table", f"dbo.{other}")
    async with watching(server, *tables, "--from", "earliest", "--json") as monitor:
        await monitor.until(lambda lines: len(lines) == 2)
        server.execute(f"UPDATE dbo.[{name}] SET Name = N'c'")
        await monitor.until(lambda lines: len(lines) == 3)
        told = {each["metadata"]["TableName"]: each["data"] for each in monitor.objects()[:2]}
        update = monitor.objects()[2]
    assert told == {name: {"ID": 1, "Name": "a"}, other: {"ID": 7, "Name": "b"}}
    assert (update["before"]["Name"], update["data"]["Name"]) == ("a", "c")
    assert update["metadata"]["Changed"] == ["Name"]
    assert update["metadata"]["EventID"]


async def test_more_changes_than_a_page_come_in_their_order(server, name):
    server.execute(
        *(
            f"INSERT INTO dbo.[{name}] VALUES {', '.join(f'({n}, NULL)' for n in range(at, at + 1000))}"
            for at in range(0, 6000, 1000)
        )
    )
    await server.captured(f"dbo_{name}", 6000)
    async with watching(server, "--table", name, "--from", "earliest", "--json") as monitor:
        await monitor.until(lambda lines: len(lines) == 6000)
        assert [each["data"]["ID"] for each in monitor.objects()] == list(range(6000))


@pytest.mark.skipif(bool(LIVE), reason="switches faults of the stand-in")
async def test_a_database_that_is_away_is_said_once_and_nothing_is_missing_afterwards(server, name):
    async with watching(server, "--table", name) as monitor:
        await monitor.until_said("Monitoring")
        server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, N'a')")
        await monitor.until_said("insert")
        busy = {"match": "fn_cdc_get_max_lsn|sys.dm_cdc|lsn", "number": 40613, "count": 2}
        server.switch({"error": busy})
        await monitor.until_told("SQL Server cannot serve now, trying again until it can")
        await monitor.until_told("SQL Server is back after ")
        server.execute(f"INSERT INTO dbo.[{name}] VALUES (2, N'b')")
        lines = await monitor.until(lambda lines: len(lines) == 3)
        assert [line.split()[4] for line in lines[1:]] == ['Name="a"', 'Name="b"']
        assert len([line for line in monitor.errors if "cannot serve" in line]) == 1


async def test_every_table_that_cannot_be_read_is_named_and_nothing_is_printed(server, name):
    bare = unique("Bare")
    server.execute(f"CREATE TABLE dbo.[{bare}] ({COLUMNS})")
    async with watching(server, "--table", name, "--table", "NotThere", "--table", bare) as monitor:
        assert await monitor.ended() == 2
    assert monitor.lines == []
    said = "\n".join(monitor.errors)
    assert "NotThere" in said
    assert bare in said
    assert name not in said


async def test_it_ends_soon_while_the_driver_waits_for_a_server_that_does_not_answer():
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    connected = asyncio.Event()
    async with await asyncio.start_server(silence, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        url = f"sqlserver://sa:hunter2@127.0.0.1:{port}?database=TestDB"
        async with monitoring("sqlserver", "--table", "Persons", "--connection-string", url) as monitor:
            async with asyncio.timeout(DEADLINE_S):
                await connected.wait()
            asked = time.monotonic()
            assert await monitor.end() == 0
            assert time.monotonic() - asked < 10
            assert (monitor.lines, monitor.errors) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "connection", "said"),
    [
        ([], "Server=h;Database=d", "Missing option '--table'"),
        (["--table", "Persons"], "", "Missing option '--connection-string' (env var: 'SqlServer')"),
        (["--table", "a.b.c"], "Server=h;Database=d", "is not the name of a table"),
        (["--table", "Persons"], "Server=h;PWD=hunter2", "names no database"),
        (["--table", "Persons"], "hunter2", "neither a sqlserver:// URL nor an ODBC connection string"),
        (["--table", "Persons", "--from", "yesterday"], "Server=h;Database=d", "is not one of 'earliest', 'latest'"),
    ],
)
async def test_a_wrong_command_line_is_refused_before_anything_is_asked(arguments, connection, said):
    async with monitoring("sqlserver", *arguments, SqlServer=connection) as monitor:
        assert await monitor.ended() == 2
    assert monitor.lines == []
    assert said in " ".join("\n".join(monitor.errors).split())
    assert "hunter2" not in "".join(monitor.errors)
