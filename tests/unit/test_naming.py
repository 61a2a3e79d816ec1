import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import naming
from shared.events import Position, Stream

NAMES = st.text(max_size=40) | st.text(alphabet="ab.-_/%x05fD ", max_size=12)
PARTS = st.lists(NAMES, max_size=5)
LONG = st.text(alphabet="aB/é😀", min_size=100, max_size=400)
ENTITY_PATH = re.compile(r"[a-z0-9][a-z0-9._-]*[a-z0-9]")


@given(NAMES, PARTS)
def test_a_stream_gives_its_parts_back(source, parts):
    assert naming.parts(naming.stream(source, *parts)) == (source, *parts)


def test_a_stream_of_ordinary_names_reads_as_a_path():
    assert naming.stream("sql1", "TestDB", "dbo", "Persons") == "sql1/TestDB/dbo/Persons"


def test_slashes_and_percents_in_names_are_escaped():
    assert naming.stream("s", "a/b", "50%2F") == "s/a%2Fb/50%252F"


@pytest.mark.parametrize(
    ("stream", "topic"),
    [
        ("sql1/TestDB/dbo/Persons", "sql1.testdb.persons.events"),
        ("sql1/TestDB/DBO/Persons", "sql1.testdb.persons.events"),
        ("sql1/TestDB/sales/Orders", "sql1.testdb.sales.orders.events"),
        ("consul1/catalog", "consul1.catalog.events"),
        ("sql1/TestDB/dbo/order_items", "sql1.testdb.order_items.events"),
        ("sql1/TestDB/dbo/point_x", "sql1.testdb.point_x.events"),
        ("sql1/Test DB/dbo/a.b", "sql1.test_x20_db.a_x2e_b.events"),
        ("sql1/TestDB/dbo/Straße", "sql1.testdb.stra_xdf_e.events"),
        ("sql1/TestDB/dbo/a_x20_b", "sql1.testdb.a_x5f_x20_b.events"),
        ("sql1/TestDB/dbo/a%2Fb", "sql1.testdb.a_x2f_b.events"),
        ("_s/db/dbo/t", "0-_s.db.t.events"),
    ],
)
def test_the_default_topic(stream, topic):
    assert naming.topic(Stream(stream)) == topic


def test_dots_in_names_do_not_make_two_streams_claim_one_topic():
    assert naming.topic(naming.stream("s", "a.b", "dbo", "c")) != naming.topic(naming.stream("s", "a", "dbo", "b.c"))
    assert naming.topic(naming.stream("s", "a", "b", "c")) != naming.topic(naming.stream("s", "a", "dbo", "b.c"))


@given(NAMES, PARTS)
def test_a_topic_is_a_legal_entity_path(source, parts):
    topic = naming.topic(naming.stream(source, *parts))
    assert ENTITY_PATH.fullmatch(topic)
    assert len(topic) <= 260


FOUR = st.tuples(NAMES, NAMES, NAMES | st.just("dbo"), NAMES)


@given(FOUR, FOUR)
def test_two_tables_share_a_topic_only_when_their_names_differ_by_case_alone(left, right):
    same = [name.lower() for name in left] == [name.lower() for name in right]
    assert (naming.topic(naming.stream(*left)) == naming.topic(naming.stream(*right))) == same


@given(NAMES)
def test_a_name_can_be_read_back_from_a_topic(name):
    label = naming.topic(naming.stream("s", name)).removeprefix("s.").removesuffix(".events")
    assert re.sub(r"_x([0-9a-f]+)_", lambda found: chr(int(found[1], 16)), label) == name.lower()


@given(LONG, LONG)
def test_long_topics_are_cut_and_differ_as_the_streams_do(left, right):
    one, two = (naming.topic(naming.stream("s", "db", "x" * 260, name)) for name in (left, right))
    assert len(one) == 260
    assert (one == two) == (left.lower() == right.lower())


def test_streams_that_claim_one_topic_are_found():
    persons, shouted, cars = (naming.stream("s", "db", "dbo", table) for table in ("Persons", "PERSONS", "Cars"))
    assert naming.shared_topics([persons, cars, shouted]) == {"s.db.persons.events": (persons, shouted)}


def test_a_session_is_the_stream():
    assert naming.session(Stream("sql1/TestDB/dbo/Persons")) == "sql1/TestDB/dbo/Persons"


@given(LONG, LONG)
def test_ids_fit_the_broker_and_differ_as_the_texts_do(left, right):
    one, two = naming.bounded_id(left), naming.bounded_id(right)
    assert len(one.encode("utf-16-le")) <= 2 * 128
    assert (one == two) == (left == right)


def test_an_event_id_names_stream_incarnation_and_position():
    stream, position = Stream("sql1/TestDB/dbo/Persons"), Position("0a-00000001-0b-2")
    assert naming.event_id(stream, 0, position) == "65q2shiqvyerx.0.0a-00000001-0b-2"
    assert naming.event_id(stream, 3, position, 7) == "65q2shiqvyerx.3.0a-00000001-0b-2.7"
    assert naming.event_id(Stream("sql1/TestDB/dbo/persons"), 0, position)[:13] != "65q2shiqvyerx"


def test_a_replay_marks_the_message_id():
    assert naming.message_id("e.0.p", 0) == "e.0.p"
    assert naming.message_id("e.0.p", 2) == "e.0.p.r2"
    assert len(naming.message_id("e" * 200, 2)) == 128


@given(PARTS.filter(bool), PARTS.filter(bool))
def test_row_keys_are_legal_and_injective(left, right):
    one, two = naming.row_key(*left), naming.row_key(*right)
    assert re.fullmatch(r"[A-Za-z0-9_.~%:-]{0,512}", one)
    assert (one == two) == (left == right)
    if len(one) < 512:
        assert [unquote(part) for part in one.split(":")] == left


@given(LONG, LONG)
def test_long_row_keys_are_cut_and_differ_as_the_parts_do(left, right):
    one, two = naming.row_key("x" * 600, left), naming.row_key("x" * 600, right)
    assert len(one) == 512
    assert (one == two) == (left == right)


def test_buckets_never_change():
    assert [naming.bucket(Stream(f"sql1/TestDB/dbo/T{n}")) for n in range(5)] == [14, 2, 9, 8, 7]


@given(NAMES)
def test_a_bucket_is_one_of_sixteen(name):
    assert 0 <= naming.bucket(naming.stream(name)) < naming.BUCKETS
