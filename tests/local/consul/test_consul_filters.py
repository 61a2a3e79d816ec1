"""Filter expressions."""

from typing import Any
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def populate(consul, node: str, name: str) -> None:
    await consul.register(node, name, ID="a", Tags=["v1", "http"], Meta={"env": "prod"}, Port=80, status="passing")
    await consul.register(node, name, ID="b", Tags=["v2"], Meta={"env": "test", "team.x": "y"}, status="critical")
    await consul.register(node, name, ID="c", Address="10.9.8.7")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('Service.ID == "a"', "a"),
        ("Service.ID != a", "bc"),
        ('Service.Meta.env == "prod"', "a"),
        ('Service.Meta.env != "prod"', "bc"),
        ('Service.Meta["team.x"] == y', "b"),
        ('"env" in Service.Meta', "ab"),
        ('"v2" in Service.Tags', "b"),
        ('"v2" not in Service.Tags', "ac"),
        ('Service.Tags contains "http"', "a"),
        ("Service.Tags is empty", "c"),
        ("Service.Tags is not empty", "ab"),
        ("Service.Port == 80", "a"),
        ('Service.Address matches "^10[.]"', "c"),
        ('Service.Address not matches "^10[.]"', "ab"),
        ('Checks.Status == "critical"', "b"),
        ("Checks is empty", "c"),
        ('Service.ID == "a" or Service.ID == "b" and "v1" in Service.Tags', "a"),
        ('(Service.ID == "a" or Service.ID == "b") and not "v1" in Service.Tags', "b"),
        ("Service.ID == `c`", "c"),
    ],
)
async def test_instances_are_chosen_by_what_they_are(consul, node, name, expression, expected):
    await populate(consul, node, name)

    answer = await consul.get(f"/health/service/{name}?filter={quote(expression)}")

    assert "".join(sorted(entry["Service"]["ID"] for entry in answer.value)) == expected


async def test_every_list_has_selectors_of_its_own(consul, node, name):
    await populate(consul, node, name)

    async def chosen(path: str, expression: str) -> Any:
        return (await consul.get(f"{path}?filter={quote(expression)}")).value

    of_name = f'ServiceName == "{name}"'
    assert (await chosen("/catalog/services", f"{of_name} and ServiceMeta.env == prod"))[name] == ["http", "v1"]
    assert [row["ServiceID"] for row in await chosen(f"/catalog/service/{name}", "ServicePort == 80")] == ["a"]
    assert [row["Node"] for row in await chosen("/catalog/nodes", f'Node == "{node}"')] == [node]
    states = await chosen("/health/state/any", f"{of_name} and Status != passing")
    assert [check["ServiceID"] for check in states] == ["b"]
    assert [check["ServiceID"] for check in await chosen(f"/health/node/{node}", "Status == passing")] == ["a"]


@pytest.mark.parametrize(
    "expression",
    ["Service.Colour == red", "ServiceName == x", "Service.ID ==", "Service.Port matches x", "(Service.ID == a", "="],
)
async def test_an_expression_that_is_not_understood_is_refused(consul, node, name, expression):
    await consul.register(node, name)

    answer = await consul.ask("GET", f"/health/service/{name}?filter={quote(expression)}")

    assert answer.status == 500
    assert "Failed to create boolean expression evaluator" in answer.text
