from typing import Any

import msgspec
import pytest

from shared.sources.consul.coarse import CATALOG, CRITICAL, NODES, Coarse, Kind, Subject


def learned(kind: Kind, *answers: Any) -> frozenset[Subject]:
    """Return whom the last of these answers concerns."""
    coarse, found = Coarse(kind), frozenset[Subject]()
    for index, answer in enumerate(answers, 1):
        found = coarse.learn(index, msgspec.convert(answer, kind.shape))
    assert coarse.index == len(answers)
    return found


def check(service: str, check_id: str = "up", node: str = "n1", **more: Any) -> dict[str, Any]:
    return {"Node": node, "CheckID": check_id, "ServiceID": service, "ServiceName": service} | more


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({}, {}, set()),
        ({"web": ["a", "b"]}, {"web": ["b", "a"]}, set()),
        ({"web": None}, {"web": []}, set()),
        ({}, {"web": []}, {"web"}),
        ({"web": []}, {}, {"web"}),
        ({"web": ["a"], "db": []}, {"web": ["b"], "db": []}, {"web"}),
    ],
)
def test_a_catalog_names_services_that_came_went_or_have_other_tags(before, after, changed):
    assert learned(CATALOG, before, after) == {Subject(name) for name in changed}


def test_checks_name_the_service_whose_check_fails_and_no_longer_fails():
    assert learned(CRITICAL, [], [check("web")]) == {Subject("web")}
    assert learned(CRITICAL, [check("web"), check("db")], [check("db")]) == {Subject("web")}


def test_what_a_check_prints_concerns_nobody():
    one, other = check("web", Output="1", ModifyIndex=1), check("web", Output="2", ModifyIndex=2)
    assert learned(CRITICAL, [one], [other]) == frozenset()


def test_a_check_of_a_node_concerns_the_node():
    whole = {"Node": "n1", "CheckID": "serfHealth", "ServiceID": "", "ServiceName": ""}
    assert learned(CRITICAL, [], [whole]) == {Subject(node="n1")}


def test_checks_of_one_name_on_two_nodes_are_two():
    assert learned(CRITICAL, [check("web", node="n1")], [check("web", node="n2")]) == {Subject("web")}


def test_a_node_that_was_modified_is_named():
    before = [{"Node": "n1", "ModifyIndex": 1}, {"Node": "n2", "ModifyIndex": 1}]
    after = [{"Node": "n1", "ModifyIndex": 5}, {"Node": "n3", "ModifyIndex": 5}]
    assert learned(NODES, before, after) == {Subject(node=node) for node in ("n1", "n2", "n3")}


def test_a_watch_that_forgot_begins_again():
    coarse = Coarse(CATALOG)
    coarse.learn(7, {"web": []})
    coarse.forget()
    assert coarse.index == 0
    assert coarse.learn(3, {"web": []}) == {Subject("web")}
