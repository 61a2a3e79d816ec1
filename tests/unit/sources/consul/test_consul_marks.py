from shared import naming
from shared.events import Stream
from shared.sources.consul.marks import HOT_AFTER, Marks, Service

CATALOG = naming.stream("c", "dc1", "catalog")


def stream(name: str) -> Stream:
    return naming.stream("c", "dc1", "service", name)


def marks(*names: str) -> Marks:
    """Return marks of a datacenter in which services that begin with `s` are selected; all were read at index 10."""
    made = Marks(CATALOG, lambda name: stream(name) if name.startswith("s") else None)
    made.select({name: stream(name) for name in names})
    for name in names:
        made.read(stream(name), name, made.get(stream(name)), 10)
    made.read(CATALOG, "", made.get(CATALOG), 10)
    return made


def test_what_was_never_read_is_marked_to_be_read_as_it_is_now():
    made = Marks(CATALOG, stream)
    made.select({"s1": stream("s1")})
    assert made.among([CATALOG, stream("s1"), stream("s2")]) == {CATALOG, stream("s1")}
    found = made.get(stream("s1"))
    assert found is not None
    assert found.fresh


def test_what_was_read_is_not_marked():
    assert marks("s1").among([CATALOG, stream("s1")]) == set()


def test_a_mark_says_the_highest_index_that_was_asked_for():
    made = marks("s1")
    for index in (12, 15, 11):
        made.mark_service("s1", index)
    found = made.get(stream("s1"))
    assert found is not None
    assert (found.at_least, found.fresh) == (15, False)


def test_to_read_as_it_is_now_stands_above_an_index():
    made = marks("s1")
    made.mark(stream("s1"))
    made.mark(stream("s1"), 20)
    found = made.get(stream("s1"))
    assert found is not None
    assert (found.at_least, found.fresh) == (20, True)


def test_an_index_at_which_it_was_read_marks_nothing():
    made = marks("s1")
    made.mark_service("s1", 10)
    made.mark_catalog(10)
    assert made.among([CATALOG, stream("s1")]) == set()
    made.mark_catalog(11)
    assert made.among([CATALOG, stream("s1")]) == {CATALOG}


def test_what_is_marked_again_while_it_is_read_stays_marked():
    made = marks("s1")
    made.mark_service("s1", 11)
    seen = made.get(stream("s1"))
    made.mark_service("s1", 12)
    made.read(stream("s1"), "s1", seen, 11)
    assert made.among([stream("s1")]) == {stream("s1")}
    made.read(stream("s1"), "s1", made.get(stream("s1")), 12)
    assert made.among([stream("s1")]) == set()


def test_what_is_marked_while_it_is_read_without_a_mark_stays_marked():
    made = marks("s1")
    made.mark_service("s1", 11)
    made.read(stream("s1"), "s1", None, 10)
    assert made.among([stream("s1")]) == {stream("s1")}


def test_a_selected_service_that_discovery_does_not_know_is_a_stranger_until_it_does():
    made = marks("s1")
    made.mark_service("s2", 11)
    made.mark_service("other", 11)
    assert made.among(()) == {stream("s2")}
    made.select({"s1": stream("s1"), "s2": stream("s2")})
    assert made.strangers == set()
    assert made.among([stream("s1"), stream("s2")]) == {stream("s2")}


def test_a_stranger_that_discovery_did_not_find_is_gone_and_one_that_came_meanwhile_is_not():
    made = marks("s1")
    made.mark_service("s2", 11)
    before = frozenset(made.strangers)
    made.mark_service("s3", 12)
    made.select({"s1": stream("s1")}, before)
    assert made.strangers == {stream("s3")}


def test_a_service_that_is_no_longer_selected_loses_its_mark():
    made = marks("s1", "s2")
    made.mark_service("s1", 11)
    made.select({"s2": stream("s2")})
    assert made.among([stream("s1"), stream("s2")]) == set()


def test_all_are_to_be_read_as_they_are_now_whatever_was_read():
    made = marks("s1")
    made.mark_all()
    assert made.among([CATALOG, stream("s1")]) == {CATALOG, stream("s1")}
    assert made.services["s1"].index == 0


def test_a_service_that_changed_twice_is_hot():
    service = Service("s1", stream("s1"))
    service.changes = HOT_AFTER - 1
    assert not service.is_hot
    service.changes = HOT_AFTER
    assert service.is_hot
