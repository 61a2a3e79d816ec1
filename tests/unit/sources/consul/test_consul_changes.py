import random
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared import naming
from shared.events import ChangeEvent
from shared.sources.consul.changes import Change, applied, between, events, seen
from shared.sources.consul.position import Place, encode
from shared.sources.consul.rows import Rows, catalog, instances
from tests.unit.sources.consul.catalogs import Answer, answers, catalogs, instance, reordered

WEB = naming.stream("consul1", "dc1", "service", "web")
CATALOG = naming.stream("consul1", "dc1", "catalog")
NOW = datetime(2026, 11, 21, 7, 28, 6, 123_456, UTC)


def rows(*answer: dict[str, object]) -> Rows:
    return instances(answer, "dc1")


def told(old: Rows, new: Rows) -> list[tuple[str, str]]:
    return [(change.event, change.key) for change in between(old, new)]


def made(changes: list[Change]) -> list[ChangeEvent]:
    return events(WEB, changes, Place(5, 7, 2), NOW)


def test_the_first_sight_is_a_snapshot():
    found = rows(instance("node-2"), instance("node-1"))

    assert [(change.event, change.op, change.key, change.before) for change in seen(found)] == [
        ("instance_seen", "r", "node-1/web-1", None),
        ("instance_seen", "r", "node-2/web-1", None),
    ]
    assert applied({}, seen(found)) == found
    assert [change.event for change in seen(catalog({"web": []}, "dc1"))] == ["service_seen"]


def test_removed_comes_before_added_and_added_before_changed_each_by_key():
    old = rows(*(instance("n1", service_id) for service_id in ("gone-3", "gone-1", "gone-2", "same", "y", "x")))
    new = rows(
        *(instance("n1", service_id, Port=81) for service_id in ("y", "x")),
        *(instance("n1", service_id) for service_id in ("new-2", "new-1", "same")),
    )

    assert told(old, new) == [
        ("instance_removed", "n1/gone-1"),
        ("instance_removed", "n1/gone-2"),
        ("instance_removed", "n1/gone-3"),
        ("instance_added", "n1/new-1"),
        ("instance_added", "n1/new-2"),
        ("instance_changed", "n1/x"),
        ("instance_changed", "n1/y"),
    ]


def test_services_come_go_and_change_their_tags():
    old = catalog({"gone": [], "web": ["blue"], "same": ["blue"]}, "dc1")
    new = catalog({"new": [], "web": ["green"], "same": ["blue"]}, "dc1")

    gone, fresh, changed = between(old, new)

    assert (gone.event, gone.op, gone.key, gone.after) == ("service_deregistered", "d", "gone", None)
    assert (fresh.event, fresh.op, fresh.key, fresh.before) == ("service_registered", "c", "new", None)
    assert (changed.event, changed.op, changed.key, changed.changed) == ("service_changed", "u", "web", ("Tags",))


def test_every_field_is_told_with_old_and_new():
    old = rows(instance())
    new = rows(instance(Address="192.168.0.1", Port=81, Tags=["green"], Meta={"team": "x"}, node_address="10.0.0.2"))

    (change,) = between(old, new)

    assert change.changed == ("Address", "Port", "Tags", "Meta", "NodeAddress")
    assert (change.before, change.after) == (old["node-1/web-1"], new["node-1/web-1"])


def test_weights_are_a_field():
    other = instance()
    other["Service"]["Weights"] = {"Passing": 10, "Warning": 1}

    (change,) = between(rows(instance()), rows(other))

    assert (change.event, change.changed) == ("instance_changed", ("Weights",))


def test_health_is_told_per_check_with_the_sum_before_and_after():
    old = rows(instance(checks={"serfHealth": "passing", "disk": "warning", "old": "passing"}))
    new = rows(instance(checks={"serfHealth": "critical", "disk": "warning", "new": "passing"}))

    (change,) = between(old, new)

    assert (change.event, change.op, change.changed) == ("health_changed", "u", ("Status", "Checks"))
    assert change.details == {
        "Checks": {"new": [None, "passing"], "old": ["passing", None], "serfHealth": ["passing", "critical"]},
        "Status": ["warning", "critical"],
    }


def test_a_check_that_leaves_the_sum_alone_is_told():
    old = rows(instance(checks={"a": "critical", "b": "passing"}))
    new = rows(instance(checks={"a": "critical", "b": "warning"}))

    (change,) = between(old, new)

    assert change.changed == ("Checks",)
    assert change.details == {"Checks": {"b": ["passing", "warning"]}, "Status": ["critical", "critical"]}


def test_fields_and_health_are_two_changes_one_upon_the_other():
    old, new = rows(instance()), rows(instance(Port=81, checks={"serfHealth": "critical"}))

    fields, health = between(old, new)

    assert (fields.event, health.event) == ("instance_changed", "health_changed")
    assert fields.before == old["node-1/web-1"]
    assert fields.after == health.before == old["node-1/web-1"] | {"Port": 81}
    assert health.after == new["node-1/web-1"]
    assert fields.after is not None
    assert list(fields.after) == list(new["node-1/web-1"]), "the columns keep their order"


def test_the_same_service_id_on_two_nodes_is_removed_from_one():
    both = rows(instance("node-1", "web"), instance("node-2", "web"))

    assert told(both, rows(instance("node-1", "web"))) == [("instance_removed", "node-2/web")]


@given(answers(), st.randoms(use_true_random=False))
def test_another_order_or_output_is_no_event(answer, shuffle: random.Random):
    assert between(instances(answer, "dc1"), instances(reordered(answer, shuffle), "dc1")) == []


@given(st.lists(answers(), min_size=1, max_size=5))
def test_the_deltas_of_each_answer_applied_in_order_give_it_exactly(history: list[Answer]):
    items = applied({}, seen(instances(history[0], "dc1")))
    assert items == instances(history[0], "dc1")
    for answer in history[1:]:
        present = instances(answer, "dc1")
        items = replayed(items, between(items, present))
        assert items == present


@given(st.lists(catalogs(), min_size=1, max_size=5))
def test_the_deltas_of_a_catalog_applied_in_order_give_it_exactly(history):
    items: dict[str, dict[str, object]] = {}
    for answer in history:
        present = catalog(answer, "dc1", items)
        items = replayed(items, between(items, present))
        assert items == catalog(answer, "dc1")


@given(st.data(), st.sets(st.integers(0, 5), max_size=2), st.sets(st.integers(0, 5), max_size=2))
def test_rows_that_are_kept_from_look_to_look_hide_nothing(data, gone, changed):
    now = [block for block in range(6) if block not in gone]
    now[data.draw(st.integers(0, 6)) : 0] = data.draw(st.sampled_from([[], [6], [6, 7]]))
    now = data.draw(st.sampled_from([now, now[::-1]]))
    old = {name: {"ServiceName": name, "Tags": []} for name in names(range(6))}
    new = {name: old.get(name, {"ServiceName": name, "Tags": []}) for name in names(now)}
    new |= {name: new[name] | {"Tags": ["other"]} for block in changed if (name := f"{block}-7") in new}

    changes = between(old, new)

    assert applied(old, changes) == new
    assert len({change.key for change in changes}) == len(changes)
    assert all(change.before != change.after for change in changes)


def names(blocks: Iterable[int]) -> list[str]:
    """Return the names of many services, in blocks of consecutive ones."""
    return [f"{block}-{number}" for block in blocks for number in range(50)]


@given(answers(), answers())
def test_each_difference_is_told_once(before, present):
    old, new = instances(before, "dc1"), instances(present, "dc1")

    changes = between(old, new)

    assert {change.key for change in changes} == {key for key in old | new if old.get(key) != new.get(key)}
    assert len({(change.key, change.event) for change in changes}) == len(changes)
    assert all(change.op == "u" or sum(other.key == change.key for other in changes) == 1 for change in changes)
    for change in changes:
        if change.before is not None and change.after is not None:
            assert change.changed == tuple(name for name in change.after if change.before[name] != change.after[name])


@given(answers(), answers())
def test_removals_that_are_held_leave_their_rows_and_hold_up_nothing_else(before, present):
    old, new = instances(before, "dc1"), instances(present, "dc1")

    held = applied(old, (change for change in between(old, new) if change.op != "d"))

    assert held == old | new
    assert applied(held, between(held, new)) == new, "what is told later is no more and no less than what was held"


@given(answers(), answers(), st.integers(0, 5))
def test_events_ascend_one_position_each_and_survive_being_stored(before, present, n):
    old, new = instances(before, "dc1"), instances(present, "dc1")

    made = events(WEB, between(old, new), Place(5, 7, n), NOW)

    assert [event.position for event in made] == [encode(Place(5, 7, n + 1 + each)) for each in range(len(made))]
    assert msgspec.json.decode(msgspec.json.encode(made), type=list[ChangeEvent]) == made


def test_an_event_says_what_happened_where_and_when():
    (event,) = made(between(rows(instance()), rows(instance(checks={"serfHealth": "critical"}))))

    assert event.key == ("Datacenter", "Node", "ServiceID")
    assert event.commit_time == "2026-11-21T07:28:06.1234560Z"
    assert event.position == encode(Place(5, 7, 3))
    assert list(event.facts.items()) == [
        ("Event", "health_changed"),
        ("Epoch", 5),
        ("Index", 7),
        ("Checks", {"serfHealth": ["passing", "critical"]}),
        ("Status", ["passing", "critical"]),
    ]
    assert event.origin == {"Service": "web", "Datacenter": "dc1"}
    assert event.n is None


def test_an_event_of_the_catalog_names_no_service_in_its_origin():
    (event,) = events(CATALOG, between({}, catalog({"web": []}, "dc1")), Place(5, 7, 0), NOW)

    assert event.key == ("Datacenter", "ServiceName")
    assert event.facts == {"Event": "service_registered", "Epoch": 5, "Index": 7}
    assert event.origin == {"Datacenter": "dc1"}


def replayed(items: Rows, changes: list[Change]) -> dict[str, dict[str, object]]:
    """Apply as a consumer does, who insists that what it has is what a change says was there."""
    picture = dict(items)
    for change in changes:
        assert picture.pop(change.key, None) == change.before
        if change.after is not None:
            picture[change.key] = change.after
    return picture
