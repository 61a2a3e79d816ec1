"""Health: which checks an instance has, and which instances pass."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ids(consul, path: str) -> list[str]:
    return sorted(entry["Service"]["ID"] for entry in (await consul.get(path)).value)


async def test_an_instance_comes_with_its_node_and_the_checks_of_both(consul, node, name):
    check = {"CheckID": "disk", "Name": "disk", "Status": "passing"}
    await consul.put("/catalog/register", {"Node": node, "Address": "192.0.2.1", "Check": check})
    await consul.register(node, name, Tags=["a"], status="warning")
    await consul.register(node, f"{name}-other", status="critical")

    [entry] = (await consul.get(f"/health/service/{name}")).value

    assert entry.keys() == {"Node", "Service", "Checks"}
    assert (entry["Node"]["Node"], entry["Service"]["Service"]) == (node, name)
    checks = {one["CheckID"]: one for one in entry["Checks"]}
    assert {key: one["Status"] for key, one in checks.items()} == {"disk": "passing", f"{name}:alive": "warning"}
    alive = checks[f"{name}:alive"]
    assert (alive["Node"], alive["ServiceID"], alive["ServiceName"], alive["ServiceTags"]) == (node, name, name, ["a"])
    assert checks["disk"]["ServiceID"] == ""


async def test_passing_leaves_out_what_has_any_check_that_does_not_pass(consul, node, name):
    for status in ("passing", "warning", "critical"):
        await consul.register(node, name, ID=f"{name}-{status}", status=status)
    await consul.register(node, name, ID=f"{name}-none")

    assert await ids(consul, f"/health/service/{name}?passing") == [f"{name}-none", f"{name}-passing"]
    assert await ids(consul, f"/health/service/{name}?passing=1") == [f"{name}-none", f"{name}-passing"]
    assert len(await ids(consul, f"/health/service/{name}?passing=false")) == 4

    check = {"CheckID": "disk", "Name": "disk", "Status": "critical"}
    await consul.put("/catalog/register", {"Node": node, "Address": "192.0.2.1", "Check": check})
    assert await ids(consul, f"/health/service/{name}?passing") == []


async def test_several_tags_are_all_asked_for(consul, node, name):
    for number, tags in enumerate((["a"], ["a", "b"], ["b"], [])):
        await consul.register(node, name, ID=str(number), Tags=tags)

    assert await ids(consul, f"/health/service/{name}?tag=a&tag=b") == ["1"]
    assert await ids(consul, f"/health/service/{name}?tag=A") == ["0", "1"]
    assert [row["ServiceID"] for row in (await consul.get(f"/catalog/service/{name}?tag=b")).value] == ["1", "2"]


async def test_checks_are_listed_by_state_node_and_service(consul, node, name):
    await consul.register(node, name, ID="good", status="passing")
    await consul.register(node, name, ID="bad", status="critical")

    async def listed(path: str) -> set[str]:
        return {check["CheckID"] for check in (await consul.get(path)).value if check["Node"] == node}

    assert await listed("/health/state/any") == {"good:alive", "bad:alive"}
    assert await listed("/health/state/critical") == {"bad:alive"}
    assert await listed("/health/state/passing") == {"good:alive"}
    assert await listed("/health/state/warning") == set()
    assert await listed(f"/health/node/{node}") == {"good:alive", "bad:alive"}
    assert await listed(f"/health/checks/{name}") == {"good:alive", "bad:alive"}


async def test_a_check_needs_the_instance_it_is_of(consul, node, name):
    check = {"CheckID": "c", "Name": "c", "ServiceID": f"{name}-missing"}
    answer = await consul.ask("PUT", "/catalog/register", {"Node": node, "Address": "192.0.2.1", "Check": check})

    assert answer.status >= 400
    assert "Missing service registration" in answer.text


async def test_a_removed_check_is_gone(consul, node, name):
    await consul.register(node, name, status="critical")
    index = (await consul.get(f"/health/service/{name}")).index

    await consul.deregister(node, CheckID=f"{name}:alive")

    answer = await consul.get(f"/health/service/{name}")
    assert answer.value[0]["Checks"] == []
    assert answer.index > index
