from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import ConfigError, PositionLostError
from shared.events import Position, Stream
from shared.sources.sqlserver.odbc import GoneError
from shared.sources.sqlserver.position import after, before, encode
from shared.sources.sqlserver.source import SqlServerSource
from tests.unit.sources.sqlserver.twin import CaptureInstance, Database, lsn

PERSONS = Stream("sql1/TestDB/dbo/Persons")
START = encode(before(lsn(1)))


async def rows(source: SqlServerSource, position: Position = START) -> list[dict[str, Any] | None]:
    read = []
    while (batch := await source.read(PERSONS, position, 2)).events:
        read += [event.after for event in batch.events]
        position = batch.position
    return read


async def test_an_idle_probe_over_a_thousand_tables_is_one_statement():
    database = Database(*(f"T{number}" for number in range(1000)))
    source = database.source()
    found, _ = await source.discover()
    database.commit((2, 1, "a"), table="T7")
    at = {entry.stream: entry.first for entry in found}
    database.counted()

    assert await source.probe(at) == {"sql1/TestDB/dbo/T7"}
    assert database.counted() == {"scan": 1, "places": 2}
    for _ in range(3):
        assert await source.probe(at) == {"sql1/TestDB/dbo/T7"}
        assert database.counted() == {"scan": 1}


async def test_a_probe_of_nothing_is_no_statement():
    database = Database("Persons")

    assert await database.source().probe({}) == frozenset()
    assert database.statements == []


async def test_a_probe_names_a_stream_whose_page_was_cut_inside_a_transaction():
    database = Database("Persons")
    source = database.source()
    database.commit((2, 1, "a"), (2, 2, "b"), (2, 3, "c"))
    events = (await source.read(PERSONS, START, 10)).events

    assert await source.probe({PERSONS: events[1].position}) == {PERSONS}
    assert await source.probe({PERSONS: events[2].position}) == frozenset()


async def test_a_probe_sees_a_capture_instance_that_appeared_since():
    database = Database("Persons")
    source = database.source()
    database.commit((2, 1, "a", "x"))
    end = (await source.read(PERSONS, START, 10)).position
    assert await source.probe({PERSONS: end}) == frozenset()
    with_a_new_column(database)()
    old = database.instances.pop(0)
    database.commit((2, 2, "b", "Oslo"))
    database.instances.insert(0, old)  # which does not record a change of the new column

    assert await source.probe({PERSONS: end}) == {PERSONS}
    assert await rows(source, end) == [{"ID": 2, "Name": "b", "City": "Oslo"}]


async def test_a_value_that_cannot_be_shown_holds_its_own_stream_and_is_not_told():
    database = Database("Cars", "Persons")
    source = database.source()
    database.instances[1].columns = (("ID", "int", 4), ("Price", "decimal", 9))
    database.commit((2, 1, "hunter2"))
    database.commit((2, 1, "a"), table="Cars")

    with pytest.raises(ConfigError, match=r"Persons: a change after .* cannot be shown: ValueError") as raised:
        await source.read(PERSONS, START, 10)

    assert "hunter2" not in str(raised.value)
    cars = Stream("sql1/TestDB/dbo/Cars")
    assert [event.after for event in (await source.read(cars, START, 10)).events] == [{"ID": 1, "Name": "a"}]


async def test_a_probe_names_a_stream_whose_position_is_another_source_s():
    source = Database("Persons").source()

    assert await source.probe({PERSONS: Position("42")}) == {PERSONS}


async def test_a_probe_names_every_stream_it_could_not_ask():
    database = Database("Cars", "Persons")
    source = database.source()
    at = {entry.stream: entry.first for entry in (await source.discover())[0]}
    database.commit((2, 1, "a"))
    del database.instances[0]

    assert await source.probe(at) == set(at)
    with pytest.raises(ConfigError, match="not captured"):
        await source.read(Stream("sql1/TestDB/dbo/Cars"), START, 10)
    assert await rows(source) == [{"ID": 1, "Name": "a"}]


async def test_a_page_is_three_statements():
    database = Database("Persons")
    source = database.source()
    database.commit(*((2, number, "a") for number in range(5)))
    await source.read(PERSONS, START, 2)
    database.statements.clear()

    await source.read(PERSONS, START, 2)

    assert len(database.statements) == 3


async def test_clean_up_between_the_page_and_the_check_halts_the_stream():
    database = Database("Persons")
    source = database.source()
    for number in range(5):
        database.commit((2, number, "a"))
    database.meanwhile("DECLARE @l", lambda: database.clean_up(4))

    with pytest.raises(PositionLostError, match="the change table holds what follows LSN 00000000000000000004"):
        await source.read(PERSONS, encode(after(lsn(2))), 10)


async def test_clean_up_of_what_was_read_already_is_no_loss():
    database = Database("Persons")
    source = database.source()
    for number in range(5):
        database.commit((2, number, "a"))
    database.meanwhile("DECLARE @l", lambda: database.clean_up(3))

    assert await rows(source, encode(after(lsn(3)))) == [{"ID": 3, "Name": "a"}, {"ID": 4, "Name": "a"}]


async def test_no_position_is_wherever_the_table_begins_by_now():
    database = Database("Persons")
    source = database.source()
    await source.discover()
    for number in range(5):
        database.commit((2, number, "a"))
    database.clean_up(4)

    assert await rows(source, Position("")) == [{"ID": 3, "Name": "a"}, {"ID": 4, "Name": "a"}]


def with_a_new_column(database: Database) -> Callable[[], None]:
    columns = (("ID", "int", 4), ("Name", "nvarchar", 100), ("City", "nvarchar", 100))

    def add() -> None:
        database.instances.append(CaptureInstance("Persons", "dbo_Persons_2", 99, database.scanned + 1, columns))

    return add


async def test_the_old_capture_instance_is_read_to_its_end_and_then_the_new_one():
    database = Database("Persons")
    source = database.source()
    database.commit((2, 1, "a", "x"), (2, 2, "b", "x"), (2, 3, "c", "x"))
    with_a_new_column(database)()
    database.commit((2, 4, "d", "Oslo"))

    assert await rows(source) == [
        {"ID": 1, "Name": "a"},
        {"ID": 2, "Name": "b"},
        {"ID": 3, "Name": "c"},
        {"ID": 4, "Name": "d", "City": "Oslo"},
    ]


async def test_a_capture_instance_that_appears_while_a_page_is_read_is_noticed():
    database = Database("Persons")
    source = database.source()
    database.commit((2, 1, "a", "x"))
    await rows(source)

    def appear() -> None:
        with_a_new_column(database)()
        database.commit((2, 2, "b", "Oslo"))

    database.meanwhile("MAX(m.start_lsn)", appear)

    assert await rows(source) == [{"ID": 1, "Name": "a"}, {"ID": 2, "Name": "b", "City": "Oslo"}]


async def test_an_old_capture_instance_dropped_before_it_was_read_halts_the_stream():
    database = Database("Persons")
    source = database.source()
    database.commit((2, 1, "a", "x"))
    with_a_new_column(database)()
    await source.discover()
    del database.instances[0]

    with pytest.raises(PositionLostError, match="sluice resume sql1/TestDB/dbo/Persons --from earliest"):
        await source.read(PERSONS, START, 10)


async def test_a_capture_instance_that_was_created_anew_is_looked_at_once_more():
    database = Database("Persons")
    source = database.source()
    database.commit((2, 1, "a"))
    position = (await source.read(PERSONS, START, 10)).position
    database.instances[0] = CaptureInstance("Persons", "Persons_anew", 50, 1, rows=database.instances[0].rows)
    database.commit((2, 2, "b"))

    assert await rows(source, position) == [{"ID": 2, "Name": "b"}]


async def test_a_change_table_that_stays_away_is_a_setting_to_fix():
    database = Database("Persons")
    source = database.source()
    database.commit((2, 1, "a"))
    database.instances[0].columns = ()

    with pytest.raises(GoneError, match=r"\[cdc\]\.\[dbo_Persons_CT\]"):
        await source.read(PERSONS, START, 10)


async def test_a_column_whose_type_was_altered_is_read_as_what_it_is_now():
    database = Database("Persons")
    database.instances[0].columns = (("ID", "int", 4), ("Name", "uniqueidentifier", 16))
    source = database.source()
    database.commit((2, 1, "AB"))
    assert await rows(source) == [{"ID": 1, "Name": "ab"}]
    database.instances[0].columns = (("ID", "int", 4), ("Name", "nvarchar", 100))

    assert await rows(source) == [{"ID": 1, "Name": "AB"}]


async def test_a_fresh_capture_instance_begins_above_what_was_scanned():
    database = Database("Persons")
    source = database.source()
    database.scanned = 3
    database.instances[0].start = 7
    (found,), _ = await source.discover()

    assert found.first == encode(before(lsn(7)))
    assert await source.probe({PERSONS: found.first}) == frozenset()
    assert await source.read(PERSONS, found.first, 10) == await source.read(PERSONS, Position(""), 10)
    database.scanned = 7
    database.commit((2, 1, "a"))
    assert await rows(source, found.first) == [{"ID": 1, "Name": "a"}]


@pytest.mark.parametrize(
    ("start", "first"),
    [("earliest", before(lsn(2))), ("latest", after(lsn(5))), (lsn(4).hex(), before(lsn(4)))],
)
async def test_a_stream_begins_where_it_was_told_to(start, first):
    database = Database("Persons")
    for number in range(5):
        database.commit((2, number, "a"))
    database.clean_up(2)

    (found,), _ = await database.source(start=start).discover()

    assert found.first == encode(first)


async def test_a_database_that_was_never_scanned_holds_nothing():
    database = Database("Persons")
    source = database.source(start="latest")
    (found,), _ = await source.discover()

    assert await source.probe({PERSONS: found.first}) == frozenset()
    assert (await source.read(PERSONS, found.first, 10)).events == ()


async def test_another_source_s_position_halts_the_stream():
    with pytest.raises(PositionLostError, match="'42' is not a SQL Server position"):
        await Database("Persons").source().read(PERSONS, Position("42"), 10)


async def test_a_table_s_name_may_be_configured_in_another_case():
    database = Database("Persons")

    (found,), problems = await database.source("PERSONS").discover()

    assert (found.stream, problems) == (PERSONS, ())


async def test_every_table_that_cannot_be_read_is_a_problem_with_its_remedy():
    database = Database("Persons", "Secret", "Old", "Plain")
    database.instances[1].readable = False
    database.instances[2].key = ("__$start_lsn", "__$seqval", "__$operation")
    del database.instances[3]

    found, problems = await database.source("Persons", "Secret", "Old", "Plain", "Missing").discover()

    assert [entry.stream for entry in found] == [PERSONS]
    secret, old, plain, missing = problems
    assert secret.hint == "GRANT SELECT ON SCHEMA::cdc TO [reader]"
    assert "clustered index of [cdc].[dbo_Old_CT] is not __$start_lsn, __$command_id" in old.message
    assert "sp_cdc_disable_table" in old.hint
    assert plain.hint == (
        "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'Plain', @role_name = NULL"
    )
    assert missing.message == (
        'source "sqlserver" "sql1", table dbo.Missing: there is no such table, or the login cannot see it'
    )


async def test_change_capture_that_is_off_is_a_problem_of_the_whole_source():
    database = Database("Persons")
    database.enabled = False

    source = database.source()
    for call in (source.discover(), source.probe({PERSONS: START}), source.read(PERSONS, START, 10)):
        with pytest.raises(ConfigError, match=r"EXEC sys\.sp_cdc_enable_db"):
            await call


@pytest.mark.parametrize(
    ("jobs", "configured", "retention_s"),
    [
        ((("capture", 0), ("cleanup", 60)), None, 3_600.0),
        ((), None, 259_200.0),
        ((("cleanup", 60),), 7.0, 7.0),
    ],
)
async def test_the_retention_is_configured_or_asked_for_or_three_days(jobs, configured, retention_s):
    database = Database("Persons")
    database.retention = jobs

    (found,), _ = await database.source(retention_s=configured).discover()

    assert found.retention_s == retention_s


@pytest.mark.parametrize("most_rows", [1, 2, 3, 4])
async def test_a_page_of_large_rows_ends_by_their_size_and_cuts_no_update(most_rows):
    database = Database("Persons")
    database.instances[0].columns = (("ID", "int", 4), ("Bio", "nvarchar", -1))
    database.most_rows = most_rows
    source = database.source()
    database.commit((2, 1, "a"), (2, 2, "b"), (2, 3, "c"))
    for instance in database.instances:
        lsn_, command, _, *rest = instance.rows[-1]
        instance.rows += [(lsn_, command, lsn(99), 3, *rest[1:]), (lsn_, command, lsn(99), 4, *rest[1:])]

    batch = await source.read(PERSONS, START, 100)
    read = list(batch.events)
    while batch.more:
        batch = await source.read(PERSONS, batch.position, 100)
        read += batch.events

    assert [event.op for event in read] == ["c", "c", "c", "u"]
    assert read[-1].before is not None
