import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import TransientError
from shared.sources.consul.rows import aggregate, catalog, instance_key, instances
from tests.unit.sources.consul.catalogs import CHECK_IDS, NAMES, STATUSES, answers, catalogs, instance, reordered


def test_an_instance_is_a_row_with_all_that_is_compared():
    checks = {"service:web": "warning", "serfHealth": "passing"}
    answer = [instance(checks=checks, Address="192.168.0.1", Tags=["b", "a", "b"], Meta={"version": "2", "team": "x"})]

    assert instances(answer, "dc1") == {
        "node-1/web-1": {
            "Datacenter": "dc1",
            "Node": "node-1",
            "ServiceID": "web-1",
            "ServiceName": "web",
            "Address": "192.168.0.1",
            "Port": 80,
            "Tags": ["a", "b"],
            "Meta": {"team": "x", "version": "2"},
            "Weights": {"Passing": 1, "Warning": 1},
            "NodeAddress": "10.0.0.1",
            "Status": "warning",
            "Checks": {"serfHealth": "passing", "service:web": "warning"},
        }
    }


def test_an_instance_without_an_address_has_that_of_its_node():
    (row,) = instances([instance(Address="", node_address="10.0.0.9")], "dc1").values()

    assert (row["Address"], row["NodeAddress"]) == ("10.0.0.9", "10.0.0.9")


def test_what_consul_leaves_empty_is_empty():
    bare = {"Node": {"Node": "n", "Address": "a"}, "Service": {"ID": "i", "Service": "web", "Tags": None, "Meta": None}}

    (row,) = instances([bare | {"Checks": None}], "dc1").values()

    assert (row["Port"], row["Tags"], row["Meta"], row["Weights"]) == (0, [], {}, {})
    assert (row["Status"], row["Checks"]) == ("passing", {})


def test_a_service_is_a_row_with_its_tags_as_a_set():
    assert catalog({"web": ["b", "a", "b"], "db": []}, "dc1") == {
        "web": {"Datacenter": "dc1", "ServiceName": "web", "Tags": ["a", "b"]},
        "db": {"Datacenter": "dc1", "ServiceName": "db", "Tags": []},
    }


def test_a_known_row_of_the_catalog_is_not_built_again():
    known = catalog({"web": ["a", "b"], "db": ["a"]}, "dc1")

    rows = catalog({"web": ["b", "a"], "db": ["b"]}, "dc1", known)

    assert rows["web"] is known["web"]
    assert rows["db"] == {"Datacenter": "dc1", "ServiceName": "db", "Tags": ["b"]}


@given(catalogs(), catalogs())
def test_known_rows_save_work_and_change_nothing(answer, before):
    assert catalog(answer, "dc1", catalog(before, "dc1")) == catalog(answer, "dc1")


def test_the_same_service_id_on_two_nodes_is_two_instances():
    assert len(instances([instance("node-1", "web"), instance("node-2", "web")], "dc1")) == 2


@example(("a", "b/c"), ("a/b", "c"))
@example(("/", "a"), ("%2F", "a"))
@given(st.tuples(st.text() | NAMES, st.text() | NAMES), st.tuples(st.text() | NAMES, st.text() | NAMES))
def test_different_instances_have_different_keys(one, other):
    assert (instance_key(*one) == instance_key(*other)) == (one == other)


@given(answers(), st.randoms(use_true_random=False))
def test_the_order_of_instances_checks_tags_and_meta_is_no_matter(answer, shuffle: random.Random):
    assert instances(reordered(answer, shuffle), "dc1") == instances(answer, "dc1")


@pytest.mark.parametrize(
    ("status", "checks"),
    [
        ("passing", {}),
        ("passing", {"serfHealth": "passing", "service:web": "passing"}),
        ("warning", {"serfHealth": "passing", "service:web": "warning"}),
        ("critical", {"disk": "warning", "service:web": "critical"}),
        ("critical", {"serfHealth": "critical", "service:web": "passing"}),
        ("maintenance", {"serfHealth": "critical", "_node_maintenance": "critical"}),
        ("maintenance", {"_service_maintenance:web": "critical"}),
        ("critical", {"_service_maintenance": "critical"}),
        ("", {"serfHealth": "passing", "service:web": "unknown"}),
        ("", {"_node_maintenance": "critical", "service:web": ""}),
    ],
)
def test_the_health_is_that_of_the_worst_check_of_instance_or_node(status, checks):
    assert aggregate(checks) == status


@given(st.dictionaries(CHECK_IDS, STATUSES))
def test_one_passing_check_does_not_heal_an_instance(checks):
    assert aggregate(checks | {"another": "passing"}) == aggregate(checks)


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "try later"},
        [{"Node": {"Node": "n"}}],
        [{"Node": {"Node": "n"}, "Service": {"ID": "i", "Service": "web", "Port": "80"}}],
        [{"Node": {"Node": "n"}, "Service": {"ID": "i", "Service": "web"}, "Checks": [{"Status": "passing"}]}],
        None,
    ],
)
def test_what_is_no_answer_about_a_service_is_not_taken_for_an_empty_one(answer):
    with pytest.raises(TransientError, match="not one of Consul's"):
        instances(answer, "dc1")
