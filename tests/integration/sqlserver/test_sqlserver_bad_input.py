"""What goes wrong between the source and a server: the server makes the fault, and the driver reports it."""

import asyncio
import re
import socket
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from shared.errors import ConfigError, PositionLostError, TransientError
from shared.events import Position
from shared.sources.sqlserver.source import open_source
from tests.integration.sqlserver.server import LIVE, Server, capture, started, unique

NOWHERE = Position("")
PERSONS = "ID int NOT NULL PRIMARY KEY, Name nvarchar(100) NULL"
PASSWORD = "Wr0ng;pass}word"


def altered(server: Server, **keys: str) -> str:
    """Return the connection string with some of its keys replaced."""
    odbc = server.odbc
    for key, value in keys.items():
        odbc = re.sub(rf"(?i)(^|;){key}=(\{{[^}}]*\}}|[^;]*)", "", odbc)
        odbc += f";{key}={{{value.replace('}', '}}')}}}"
    return odbc


async def refused(server: Server, odbc: str, **changes: Any) -> ConfigError:
    settings = replace(server.settings("Persons"), odbc=odbc, **changes)
    async with open_source(settings) as source:
        with pytest.raises(ConfigError) as told:
            await source.discover()
    return told.value


async def test_a_wrong_password_is_said_without_telling_it(server: Server) -> None:
    fault = await refused(server, altered(server, PWD=PASSWORD))

    assert "Login failed for user" in fault.message
    assert "password" in fault.hint
    assert PASSWORD not in "".join(traceback.format_exception(fault))


async def test_an_unknown_database_is_named(server: Server) -> None:
    fault = await refused(server, altered(server, Database="Nowhere"))

    assert "Nowhere" in fault.message
    assert "database" in fault.hint


async def test_a_server_that_is_away_is_tried_again(server: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        odbc = altered(server, Server=f"127.0.0.1,{taken.getsockname()[1]}")
        settings = replace(server.settings("Persons"), odbc=odbc, query_timeout_s=1.0)
        async with open_source(settings) as source:
            for call in (source.discover(), source.probe({server.stream(settings, "Persons"): NOWHERE})):
                with pytest.raises(TransientError, match="reachable"):
                    await call


async def test_a_table_that_does_not_exist_is_named_and_the_others_are_read(server: Server) -> None:
    name = unique("Persons")
    capture(server, name, PERSONS)

    async with open_source(server.settings(name, "Missing")) as source:
        (found,), (problem,) = await source.discover()

    assert found.stream.endswith(name)
    assert "table dbo.Missing: there is no such table" in problem.message


async def test_a_table_that_is_not_captured_comes_with_the_statement_that_captures_it(server: Server) -> None:
    name = unique("Plain")
    server.execute(f"CREATE TABLE dbo.[{name}] ({PERSONS})")

    async with open_source(server.settings(name)) as source:
        found, (problem,) = await source.discover()
        assert found == []

        server.execute(problem.hint)

        (entry,), problems = await source.discover()
    assert (entry.stream, problems) == (server.stream(server.settings(), name), ())


@pytest.fixture(scope="module")
def alone() -> Iterator[Server]:
    """A server of its own, whose capture and logins a test may change."""
    if LIVE:
        pytest.skip("changes a whole server: unset SLUICE_TEST_SQLSERVER")
    with started() as server:
        yield server


async def test_change_capture_that_is_off_comes_with_the_statement_that_switches_it_on(alone: Server) -> None:
    alone.execute("EXEC sys.sp_cdc_disable_db")

    fault = await refused(alone, alone.odbc)

    assert "change data capture is off in database TestDB" in fault.message
    assert fault.hint.startswith("EXEC sys.sp_cdc_enable_db")
    alone.execute("EXEC sys.sp_cdc_enable_db")


async def test_a_login_that_may_not_read_changes_is_told_the_grant(alone: Server) -> None:
    name = unique("Persons")
    capture(alone, name, PERSONS)
    alone.execute(
        f"INSERT INTO dbo.[{name}] VALUES (1, N'a')",
        "CREATE LOGIN reader WITH PASSWORD = N'Read3r!pass'",
        "CREATE USER reader FOR LOGIN reader",
    )
    await alone.captured(f"dbo_{name}", 1)
    odbc = altered(alone, UID="reader", PWD="Read3r!pass")
    settings = replace(alone.settings(name), odbc=odbc)
    stream = alone.stream(settings, name)

    fault = await refused(alone, odbc)
    assert fault.hint == "GRANT SELECT ON SCHEMA::cdc TO [reader]"

    alone.execute(fault.hint)
    async with open_source(settings) as source:
        found, (unseen,) = await source.discover()
        assert found == []
        grant = unseen.hint.removeprefix("correct the name, or ")
        assert grant == f"GRANT VIEW DEFINITION ON [dbo].[{name}] TO [reader]"

        alone.execute(grant)
        (entry,), problems = await source.discover()
        assert (entry.stream, problems, entry.retention_s) == (stream, (), 259_200.0)
        assert len((await source.read(stream, NOWHERE, 10)).events) == 1

        alone.execute(f"DENY SELECT ON [cdc].[dbo_{name}_CT] TO reader")
        for call in (source.read(stream, NOWHERE, 10), source.read(stream, NOWHERE, 10)):
            with pytest.raises(ConfigError, match="GRANT SELECT ON SCHEMA::cdc TO"):
                await call
        assert await source.probe({stream: NOWHERE}) == {stream}
        found, (denied,) = await source.discover()
        assert denied.hint == "GRANT SELECT ON SCHEMA::cdc TO [reader]"


async def test_a_login_without_a_user_in_the_database_is_told_what_to_create(alone: Server) -> None:
    alone.execute("CREATE LOGIN stranger WITH PASSWORD = N'Str4nger!pass'")

    fault = await refused(alone, altered(alone, UID="stranger", PWD="Str4nger!pass"))

    assert "TestDB" in fault.message
    assert "CREATE USER [stranger] FOR LOGIN [stranger]" in fault.hint


@pytest.mark.parametrize(
    ("number", "fault"), [(1205, TransientError), (40501, TransientError), (229, ConfigError), (916, ConfigError)]
)
async def test_an_error_in_the_middle_of_the_work_is_told_by_its_number(
    alone: Server, number: int, fault: type[Exception]
) -> None:
    name = unique("Persons")
    capture(alone, name, PERSONS)
    alone.execute(f"INSERT INTO dbo.[{name}] VALUES (1, N'a')")
    await alone.captured(f"dbo_{name}", 1)
    settings = alone.settings(name)
    stream = alone.stream(settings, name)
    async with open_source(settings) as source:
        alone.switch({"error": {"match": name, "number": number}})

        with pytest.raises(fault, match=str(number)):
            await source.read(stream, NOWHERE, 10)
        assert len((await source.read(stream, NOWHERE, 10)).events) == 1


@pytest.mark.parametrize("recovery", [True, False])
async def test_killed_connections_are_replaced(alone: Server, recovery: bool) -> None:
    name = unique("Persons")
    capture(alone, name, PERSONS)
    alone.switch({"recovery": recovery})
    settings = alone.settings(name, connections=1)
    stream = alone.stream(settings, name)
    async with open_source(settings) as source:
        await source.read(stream, NOWHERE, 10)

        alone.switch({"kill": "all"})

        with suppress(TransientError):  # where it is recovered, the driver connects again by itself
            await source.read(stream, NOWHERE, 10)
        assert (await source.read(stream, NOWHERE, 10)).events == ()


async def test_a_connection_that_is_cut_in_the_middle_of_a_page_loses_nothing(alone: Server) -> None:
    name = unique("Persons")
    capture(alone, name, PERSONS)
    alone.execute(f"INSERT INTO dbo.[{name}] VALUES {', '.join(f"({number}, N'x')" for number in range(900))}")
    await alone.captured(f"dbo_{name}", 900)
    settings = alone.settings(name)
    stream = alone.stream(settings, name)
    async with open_source(settings) as source:
        alone.switch({"kill_mid_result": 500})
        with pytest.raises(TransientError):
            await source.read(stream, NOWHERE, 1_000)

        batch = await source.read(stream, NOWHERE, 1_000)

    assert [event.after["ID"] for event in batch.events if event.after] == list(range(900))


async def test_a_statement_that_takes_too_long_is_given_up(alone: Server) -> None:
    name = unique("Persons")
    capture(alone, name, PERSONS)
    settings = alone.settings(name, query_timeout_s=1.0)
    stream = alone.stream(settings, name)
    async with open_source(settings) as source:
        await source.read(stream, NOWHERE, 10)
        alone.switch({"pause": {"match": "lsn_time_mapping"}})

        with pytest.raises(TransientError, match="timeout"):
            await source.read(stream, NOWHERE, 10)

        alone.resume()
        assert (await source.read(stream, NOWHERE, 10)).events == ()


async def test_clean_up_between_the_page_and_the_check_loses_nothing_silently(alone: Server) -> None:
    name = unique("Persons")
    capture(alone, name, PERSONS)
    alone.execute(*(f"INSERT INTO dbo.[{name}] VALUES ({number}, N'x')" for number in range(3)))
    await alone.captured(f"dbo_{name}", 3)
    settings = alone.settings(name)
    stream = alone.stream(settings, name)
    async with open_source(settings) as source:
        first = (await source.read(stream, NOWHERE, 1)).position
        alone.switch({"pause": {"match": "c.source_object_id = ", "when": "before"}})
        reading = asyncio.create_task(source.read(stream, first, 10))
        held = await alone.paused()
        alone.switch({"cleanup": {}})
        alone.switch({"resume": held})

        with pytest.raises(PositionLostError, match="sluice resume"):
            await reading


async def test_an_idle_probe_is_one_statement_on_the_wire(alone: Server) -> None:
    names = [unique("Idle") for _ in range(60)]
    for name in names:
        capture(alone, name, PERSONS)
    alone.execute(f"INSERT INTO dbo.[{names[7]}] VALUES (1, N'a')")
    await alone.captured(f"dbo_{names[7]}", 1)
    settings = alone.settings(*names)
    async with open_source(settings) as source:
        at = {entry.stream: entry.first for entry in (await source.discover())[0]}
        assert await source.probe(at) == {alone.stream(settings, names[7])}
        alone.switch({"reset_counts": True})

        assert await source.probe(at) == {alone.stream(settings, names[7])}

        assert alone.state()["statements"] == 1


async def test_closing_stops_a_statement_that_hangs(alone: Server) -> None:
    name = unique("Persons")
    capture(alone, name, PERSONS)
    settings = alone.settings(name)
    async with open_source(settings) as source:
        await source.discover()
        alone.switch({"pause": {"match": "is_cdc_enabled"}})
        hanging = asyncio.create_task(source.discover())
        await alone.paused()
    with pytest.raises(TransientError):
        await hanging
    alone.resume()
