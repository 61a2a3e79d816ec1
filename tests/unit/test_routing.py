"""How changes are addressed at their destinations."""

from shared import naming, routing
from shared.events import PackedChange, Position
from shared.sources.sqlserver import origin
from tests.unit.twins import PERSONS

LSN = "0000003600000b200003"
CHANGE = PackedChange(Position(f"{LSN}-00000001-0000003600000b200002-2"), "c", "hash.0.position", b'{"data":{}}')


def test_a_message_carries_the_change_and_what_subscriptions_may_filter_by():
    (message,) = routing.messages(PERSONS, [CHANGE], 0, origin)

    assert (message.id, message.session, message.subject) == ("hash.0.position", PERSONS, "c")
    assert (message.content_type, message.body) == ("application/json", CHANGE.body)
    assert message.properties == {
        "op": "c",
        "table": "Persons",
        "schema": "dbo",
        "database": "TestDB",
        "lsn": LSN,
        "event_id": "hash.0.position",
    }


def test_a_replay_has_message_ids_of_its_own_and_the_same_event_ids():
    (message,) = routing.messages(PERSONS, [CHANGE], 2, origin)

    assert message.id == "hash.0.position.r2"
    assert message.properties["event_id"] == "hash.0.position"


def test_messages_come_in_the_order_of_the_changes_and_in_one_session():
    changes = [PackedChange(Position(str(n)), "c", f"id-{n}", b"{}") for n in range(5)]

    messages = routing.messages(PERSONS, changes, 0, origin)

    assert [message.id for message in messages] == [f"id-{n}" for n in range(5)]
    assert {message.session for message in messages} == {PERSONS}


def test_where_a_change_comes_from_is_said_by_its_kind_of_source():
    stream = naming.stream("consul1", "dc1", "catalog")

    (message,) = routing.messages(stream, [CHANGE], 0, lambda of, at: {"datacenter": of.split("/")[1], "at": at})

    assert message.properties == {
        "op": "c",
        "datacenter": "dc1",
        "at": CHANGE.position,
        "event_id": "hash.0.position",
    }


def test_a_long_stream_and_a_long_event_id_fit_the_broker_s_128_characters():
    stream = naming.stream("sql1", "d" * 100, "dbo", "t" * 100)
    change = PackedChange(Position("1"), "c", "e" * 300, b"{}")

    (message,) = routing.messages(stream, [change], 1, origin)

    assert len(message.session) <= 128
    assert len(message.id) <= 128
    assert message.properties["event_id"] == "e" * 300
