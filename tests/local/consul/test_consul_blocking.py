"""Blocking queries and indexes: what wakes whom, and what does not."""

import asyncio
import time
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHORT_S = 0.3
LATE_S = 5.0
"""By when a query that waits SHORT_S has come back for certain, on a busy machine."""


async def times_out(consul, path: str, index: int) -> None:
    """Check that a query waits for as long as it may, and comes back with the same index."""
    separator = "&" if "?" in path else "?"
    started = time.monotonic()
    answer = await consul.get(f"{path}{separator}index={index}&wait={round(SHORT_S * 1000)}ms")
    lasted = time.monotonic() - started
    assert answer.index == index
    assert SHORT_S <= lasted < LATE_S


async def waiting(consul, path: str) -> tuple[int, "asyncio.Task[Any]"]:
    """Return the index of a path, and a query that waits for the next."""
    separator = "&" if "?" in path else "?"
    index = (await consul.get(path)).index
    return index, asyncio.create_task(consul.get(f"{path}{separator}index={index}&wait=20s"))


async def test_without_an_index_a_query_answers_at_once(consul):
    started = time.monotonic()
    await consul.get("/catalog/services?wait=20s")
    await consul.get("/catalog/services?index=0&wait=20s")
    assert time.monotonic() - started < LATE_S


async def test_a_query_of_an_older_index_answers_at_once(consul, node, name):
    await consul.register(node, name)
    answer = await consul.get(f"/health/service/{name}")

    started = time.monotonic()
    again = await consul.get(f"/health/service/{name}?index={answer.index - 1}&wait=20s")

    assert (again.index, again.value) == (answer.index, answer.value)
    assert time.monotonic() - started < LATE_S


@pytest.mark.parametrize("mode", ["", "?stale", "?consistent"])
async def test_a_quiet_service_keeps_a_query_until_its_time_is_over(consul, node, name, mode):
    await consul.register(node, name)
    path = f"/health/service/{name}{mode}"
    await times_out(consul, path, (await consul.get(path)).index)


async def test_a_new_service_wakes_the_list_of_services(consul, node, name):
    index, query = await waiting(consul, "/catalog/services")
    await consul.register(node, name)

    while name not in (answer := await query).value:  # an answer does not mean that what one waits for has changed
        query = asyncio.create_task(consul.get(f"/catalog/services?index={answer.index}&wait=20s"))
    assert answer.index > index


@pytest.mark.parametrize("change", [{"Tags": ["new"]}, {"Meta": {"a": "b"}}, {"Port": 9}, {"Address": "10.1.1.1"}])
async def test_every_change_of_an_instance_wakes_its_service_and_the_list(consul, node, name, change):
    await consul.register(node, name, Port=1)
    paths = ("/catalog/services", f"/health/service/{name}", f"/catalog/service/{name}")
    queries = [await waiting(consul, path) for path in paths]
    nodes = (await consul.get("/catalog/nodes")).index

    await consul.register(node, name, **{"Port": 1, **change})

    for index, query in queries:
        assert (await query).index > index
    assert (await consul.get("/catalog/nodes")).index > nodes


async def test_registering_the_same_again_changes_no_index(consul, node, name):
    said = {"Tags": ["a"], "Meta": {"b": "c"}, "Port": 80, "status": "passing"}
    await consul.register(node, name, **said)
    index = (await consul.get(f"/health/service/{name}")).index

    await consul.register(node, name, **said)

    await times_out(consul, f"/health/service/{name}", index)


async def test_health_wakes_its_service_and_the_checks_but_not_the_list_of_services(consul, node, name):
    await consul.register(node, name, status="passing")
    before = (await consul.get("/catalog/services")).index
    index, service = await waiting(consul, f"/health/service/{name}")
    any_index, checks = await waiting(consul, "/health/state/any")

    await consul.register(node, name, status="critical")

    answer = await service
    assert answer.index > index
    assert [check["Status"] for check in answer.value[0]["Checks"] if check["ServiceID"]] == ["critical"]
    assert (await checks).index > any_index
    assert (await consul.get("/catalog/services")).index == before


async def test_another_service_does_not_wake_this_one(consul, node, name):
    await consul.register(node, name)
    index = (await consul.get(f"/health/service/{name}")).index

    await consul.register(node, f"{name}-other")

    await times_out(consul, f"/health/service/{name}", index)


async def test_a_check_of_the_node_wakes_every_service_on_it(consul, node, name):
    await consul.register(node, name)
    index, query = await waiting(consul, f"/health/service/{name}")

    check = {"CheckID": "disk", "Name": "disk", "Status": "warning"}
    await consul.put("/catalog/register", {"Node": node, "Address": "192.0.2.1", "Check": check})

    answer = await query
    assert answer.index > index
    assert [check["Status"] for check in answer.value[0]["Checks"]] == ["warning"]


async def test_the_output_of_a_check_alone_wakes_too(consul, node, name):
    await consul.register(node, name, status="passing")
    index, query = await waiting(consul, f"/health/service/{name}")

    check = {"CheckID": f"{name}:alive", "Name": "alive", "Status": "passing", "ServiceID": name, "Output": "still"}
    await consul.put("/catalog/register", {"Node": node, "Address": "192.0.2.1", "Check": check})

    assert (await query).index > index


async def test_an_address_of_a_node_wakes_the_services_on_it(consul, node, name):
    await consul.register(node, name)
    index, query = await waiting(consul, f"/health/service/{name}")

    await consul.put("/catalog/register", {"Node": node, "Address": "192.0.2.99"})

    answer = await query
    assert answer.index > index
    assert answer.value[0]["Node"]["Address"] == "192.0.2.99"


async def test_the_last_instance_that_goes_wakes_and_leaves_a_higher_index(consul, node, name):
    await consul.register(node, name)
    index, query = await waiting(consul, f"/health/service/{name}")

    await consul.deregister(node, ServiceID=name)

    answer = await query
    assert answer.value == []
    assert answer.index > index
    assert (await consul.get(f"/health/service/{name}")).index >= answer.index


async def test_a_service_without_instances_has_the_index_of_the_last_one_that_went(consul, node, name):
    await consul.register(node, name)
    await consul.deregister(node, ServiceID=name)
    index = (await consul.get(f"/health/service/{name}-never")).index

    await consul.register(node, f"{name}-other")
    assert (await consul.get(f"/health/service/{name}-never")).index == index

    await consul.deregister(node, ServiceID=f"{name}-other")
    assert (await consul.get(f"/health/service/{name}-never")).index > index


async def test_an_instance_that_takes_another_name_leaves_the_index_of_its_old_service_as_it_is(consul, node, name):
    await consul.register(node, name, ID=f"{name}-1")
    await consul.register(node, name, ID=f"{name}-2")
    before = await consul.get(f"/health/service/{name}")

    await consul.register(node, f"{name}-other", ID=f"{name}-2")

    after = await consul.get(f"/health/service/{name}")
    assert (len(before.value), len(after.value)) == (2, 1)
    assert after.index == before.index
    assert (await consul.get(f"/health/service/{name}-other")).index > before.index


async def test_a_service_that_is_not_there_yet_is_waited_for(consul, node, name):
    index, query = await waiting(consul, f"/health/service/{name}")

    await consul.register(node, name)

    while not (answer := await query).value:
        query = asyncio.create_task(consul.get(f"/health/service/{name}?index={answer.index}&wait=20s"))
    assert answer.index > index


async def test_a_query_with_an_index_from_the_future_waits_until_its_time_is_over(consul, node, name):
    await consul.register(node, name)
    index = (await consul.get(f"/catalog/service/{name}")).index

    started = time.monotonic()
    answer = await consul.get(f"/catalog/service/{name}?index={index + 10**6}&wait={round(SHORT_S * 1000)}ms")

    assert answer.index == index
    assert SHORT_S <= time.monotonic() - started < LATE_S


async def test_answers_say_how_fresh_they_are(consul):
    for mode, effective in (("", "leader"), ("?stale", "stale"), ("?consistent", "consistent")):
        headers = (await consul.get(f"/catalog/services{mode}")).headers
        assert headers["X-Consul-Effective-Consistency"] == effective
        assert headers["X-Consul-KnownLeader"] == "true"
        assert int(headers["X-Consul-LastContact"]) >= 0
        assert headers["X-Consul-Default-ACL-Policy"] in {"allow", "deny"}


async def test_many_queries_wait_at_once(consul, node, name):
    await consul.register(node, name)
    index = (await consul.get(f"/health/service/{name}")).index
    path = f"/health/service/{name}?index={index}&wait=20s"
    queries = [asyncio.create_task(consul.get(path)) for _ in range(80)]

    await consul.register(node, name, Port=7)

    assert {answer.value[0]["Service"]["Port"] for answer in await asyncio.gather(*queries)} == {7}
