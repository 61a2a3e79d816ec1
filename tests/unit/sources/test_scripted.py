from shared.events import Position, Stream
from shared.sources.scripted import ScriptedSource, delete, insert, update

PERSONS = Stream("sql1/TestDB/dbo/Persons")
CARS = Stream("sql1/TestDB/dbo/Cars")


async def test_one_transaction_over_two_streams_has_one_lsn():
    source = ScriptedSource(PERSONS, CARS)

    source.commit_all({PERSONS: [insert({"ID": 1}), delete({"ID": 1})], CARS: [insert({"ID": 2})]})

    persons, cars = source.events(PERSONS), source.events(CARS)
    assert [event.op for event in persons] == ["c", "d"]
    assert {event.facts["LSN"] for event in (*persons, *cars)} == {"00000000000000000001"}


async def test_an_update_names_the_columns_that_differ():
    source = ScriptedSource()

    (event,) = source.commit(PERSONS, update({"ID": 1, "Name": "a"}, {"ID": 1, "Name": "b"}))

    assert event.changed == ("Name",)
    assert event.commit_time == "2026-11-21T07:28:06.0000000Z"


async def test_a_transaction_elsewhere_moves_the_quiet_position():
    source = ScriptedSource(PERSONS, CARS)

    source.commit(CARS, insert({"ID": 1}))

    assert (await source.read(PERSONS, Position(""), 10)).position == "0000000001-999999"
