"""What the source reads from a server, through the driver."""

import asyncio
from datetime import timedelta

import pytest

from shared.errors import ConfigError, PositionLostError
from shared.events import ChangeEvent, Position, Stream
from shared.sources.sqlserver.source import SqlServerSource, open_source
from tests.integration.sqlserver.server import Server, capture, enable_table, unique

NOWHERE = Position("")
PERSONS = "ID int NOT NULL PRIMARY KEY, Name nvarchar(100) NULL"


async def everything(source: SqlServerSource, stream: Stream, limit: int = 100) -> list[ChangeEvent]:
    events: list[ChangeEvent] = []
    position = NOWHERE
    while (batch := await source.read(stream, position, limit)).events:
        events += batch.events
        position = batch.position
    return events


async def test_an_event_carries_the_server_s_own_coordinates(server: Server) -> None:
    name = unique("Persons")
    capture(server, name, PERSONS)
    server.run(
        f"INSERT INTO dbo.[{name}] VALUES (1, N'a')",
        f"UPDATE dbo.[{name}] SET Name = N'b'",
        f"DELETE FROM dbo.[{name}]",
    )
    await server.captured(f"dbo_{name}", 4)
    columns = "[__$start_lsn], [__$seqval], [__$command_id], [__$operation]"
    rows = server.run(
        f"SELECT {columns} FROM [cdc].[dbo_{name}_CT] ORDER BY [__$start_lsn], [__$command_id], [__$seqval],"
        " [__$operation]"
    )
    settings = server.settings(name)

    async with open_source(settings) as source:
        events = await everything(source, server.stream(settings, name))

    assert [event.facts for event in events] == [
        {"LSN": lsn.hex(), "Seq": seq.hex(), "CommandID": command, "OperationID": operation}
        for lsn, seq, command, operation in rows
        if operation != 3
    ]
    assert [event.facts["OperationID"] for event in events] == [2, 4, 1]


async def test_the_commit_time_is_the_server_s_in_utc(server: Server) -> None:
    name = unique("Persons")
    capture(server, name, PERSONS)
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, N'a')")
    await server.captured(f"dbo_{name}", 1)
    [(local, ahead_min)] = server.run(
        "SELECT MAX(m.tran_end_time), DATEPART(TZOFFSET, SYSDATETIMEOFFSET())"
        f" FROM cdc.lsn_time_mapping AS m WHERE m.start_lsn = (SELECT MAX([__$start_lsn]) FROM [cdc].[dbo_{name}_CT])"
    )
    settings = server.settings(name)

    async with open_source(settings) as source:
        (event,) = await everything(source, server.stream(settings, name))

    utc = local - timedelta(minutes=ahead_min)
    assert event.commit_time == f"{utc.isoformat(timespec='milliseconds')}0000Z"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("we]ird na?me", "a]b?c d"),
        ("O'Neil", "{braces}"),
        ("Größe.Maß", "100%"),
        ("select", "from"),
        ("tab\tle", "__$x"),
        ('quo"te', "semi;colon --"),
    ],
)
async def test_any_legal_name_is_read(server: Server, name: str, column: str) -> None:
    name = unique(name)
    capture(server, name, f"ID int NOT NULL PRIMARY KEY, [{column.replace(']', ']]')}] nvarchar(20)")
    server.execute(f"INSERT INTO dbo.[{name.replace(']', ']]')}] VALUES (1, N'a')")
    await server.captured(f"dbo_{name}", 1)
    settings = server.settings(name)

    async with open_source(settings) as source:
        (found,), problems = await source.discover()
        (event,) = await everything(source, found.stream)
        changed = await source.probe({found.stream: found.first})

    assert problems == ()
    assert event.after == {"ID": 1, column: "a"}
    assert changed == {found.stream}


async def test_the_changed_columns_of_a_wide_table_are_the_right_ones(server: Server) -> None:
    name = unique("Wide")
    columns = [f"c{number}" for number in range(1, 21)]
    capture(server, name, f"ID int NOT NULL PRIMARY KEY, {', '.join(f'{column} int' for column in columns)}")
    server.execute(
        f"INSERT INTO dbo.[{name}] (ID) VALUES (1)",
        *(f"UPDATE dbo.[{name}] SET {column} = 7" for column in columns),
        f"UPDATE dbo.[{name}] SET c1 = 8, c9 = 8, c20 = 8",
    )
    await server.captured(f"dbo_{name}", 43)
    settings = server.settings(name)

    async with open_source(settings) as source:
        events = await everything(source, server.stream(settings, name))

    assert [event.changed for event in events[1:]] == [*((column,) for column in columns), ("c1", "c9", "c20")]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_an_update_of_the_key_is_a_delete_and_an_insert_in_that_order(server: Server, limit: int) -> None:
    name = unique("Persons")
    capture(server, name, PERSONS)
    server.execute(
        f"INSERT INTO dbo.[{name}] VALUES (1, N'a'), (2, N'b')",
        f"UPDATE dbo.[{name}] SET ID = 3 WHERE ID = 1",
        f"UPDATE dbo.[{name}] SET ID = ID + 10",
    )
    await server.captured(f"dbo_{name}", 8)
    settings = server.settings(name)

    async with open_source(settings) as source:
        events = await everything(source, server.stream(settings, name), limit)

    rows: dict[int, str] = {}
    for event in events:
        if event.before is not None:
            assert rows.pop(event.before["ID"]) == event.before["Name"]
        if event.after is not None:
            assert event.after["ID"] not in rows
            rows[event.after["ID"]] = event.after["Name"]
    assert rows == {13: "a", 12: "b"}
    assert sorted(event.op for event in events) == ["c"] * 5 + ["d"] * 3


async def test_tables_of_other_schemas_are_read(server: Server) -> None:
    schema, name = unique("sales"), unique("Orders")
    server.execute(f"CREATE SCHEMA [{schema}]")
    capture(server, name, PERSONS, schema)
    server.execute(f"INSERT INTO [{schema}].[{name}] VALUES (1, N'a')")
    await server.captured(f"{schema}_{name}", 1)
    settings = server.settings((schema, name))

    async with open_source(settings) as source:
        events = await everything(source, server.stream(settings, name, schema))

    assert [event.after for event in events] == [{"ID": 1, "Name": "a"}]


async def test_a_new_capture_instance_takes_over_where_it_begins(server: Server) -> None:
    name = unique("Persons")
    capture(server, name, PERSONS)
    server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, N'a'), (2, N'b')")
    settings = server.settings(name)
    stream = server.stream(settings, name)
    async with open_source(settings) as source:
        await server.captured(f"dbo_{name}", 2)
        first = await source.read(stream, NOWHERE, 1)

        server.execute(f"ALTER TABLE dbo.[{name}] ADD City nvarchar(20) NULL")
        enable_table(server, name, capture_instance=f"{name}_2")
        server.execute(f"INSERT INTO dbo.[{name}] VALUES (3, N'c', N'Oslo')")
        await server.captured(f"{name}_2", 1)
        await server.captured(f"dbo_{name}", 3)

        assert stream in await source.probe({stream: first.position})
        events = await everything(source, stream)
        server.execute(
            f"EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'{name}',"
            f" @capture_instance = N'dbo_{name}'"
        )
        server.execute(f"INSERT INTO dbo.[{name}] VALUES (4, N'd', N'Rome')")
        await server.captured(f"{name}_2", 2)
        rest = await source.read(stream, events[-1].position, 100)
        with pytest.raises(PositionLostError, match="sluice resume"):
            await source.read(stream, first.position, 100)

    assert [event.after for event in events] == [
        {"ID": 1, "Name": "a"},
        {"ID": 2, "Name": "b"},
        {"ID": 3, "Name": "c", "City": "Oslo"},
    ]
    assert [event.after for event in rest.events] == [{"ID": 4, "Name": "d", "City": "Rome"}]


async def test_a_table_whose_capture_ends_while_it_is_read_is_a_setting_to_fix(server: Server) -> None:
    name = unique("Persons")
    capture(server, name, PERSONS)
    settings = server.settings(name)
    stream = server.stream(settings, name)
    async with open_source(settings) as source:
        await source.read(stream, NOWHERE, 10)
        server.execute(
            f"EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'{name}',"
            " @capture_instance = N'all'"
        )

        with pytest.raises(ConfigError, match="sp_cdc_enable_table"):
            await source.read(stream, NOWHERE, 10)


async def test_one_transaction_of_ten_thousand_rows_is_read_page_by_page(server: Server) -> None:
    name = unique("Many")
    capture(server, name, PERSONS)
    thousands = (range(first, first + 1000) for first in range(1, 10_001, 1000))
    server.run(
        *(f"INSERT INTO dbo.[{name}] VALUES {', '.join(f"({number}, N'x')" for number in part)}" for part in thousands)
    )
    await server.captured(f"dbo_{name}", 10_000)
    settings = server.settings(name)

    async with open_source(settings) as source:
        events = await everything(source, server.stream(settings, name), 3_000)

    assert [event.after["ID"] for event in events if event.after] == list(range(1, 10_001))
    assert len({event.facts["LSN"] for event in events}) == 1


async def test_streams_share_the_configured_connections(server: Server) -> None:
    names = [unique("Busy") for _ in range(6)]
    for name in names:
        capture(server, name, PERSONS)
        server.execute(f"INSERT INTO dbo.[{name}] VALUES (1, N'{name}')")
        await server.captured(f"dbo_{name}", 1)
    settings = server.settings(*names, connections=2)

    async with open_source(settings) as source:
        read = await asyncio.gather(*(everything(source, server.stream(settings, name)) for name in names))

    assert [[event.after for event in events] for events in read] == [[{"ID": 1, "Name": name}] for name in names]
