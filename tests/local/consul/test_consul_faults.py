"""What the stand-in can be made to suffer, and what a real server cannot be asked for."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def node(api, name):
    await api.put("/catalog/register", {"Node": f"{name}-node", "Address": "192.0.2.1"})
    yield f"{name}-node"
    await api.deregister(f"{name}-node")


async def waiting(api, part, path: str) -> "asyncio.Task[Any]":
    query = asyncio.create_task(api.get(path))
    await part.until(lambda state: state["waiting"])
    return query


async def test_a_restored_snapshot_lowers_every_index_and_keeps_the_data(api, part, node, name):
    await api.register(node, name, status="passing")
    before = await api.get(f"/health/service/{name}")
    query = await waiting(api, part, f"/health/service/{name}?index={before.index}&wait=60s")

    await part.fault({"reset": {"index": 2}})

    assert (await query).index == before.index  # who waited is answered from what was
    after = await api.get(f"/health/service/{name}")
    assert after.index <= 2 < before.index
    assert after.value[0]["Service"]["ID"] == name
    assert [check["Status"] for check in after.value[0]["Checks"]] == ["passing"]
    again = await api.get(f"/health/service/{name}?index={before.index}&wait=100ms")
    assert again.index == after.index
    await api.register(node, name, Port=9)
    assert (await api.get(f"/health/service/{name}")).index == 3


async def test_a_restarted_dev_agent_has_neither_data_nor_identity(api, part, node, name):
    await api.register(node, name)
    await api.put("/agent/service/register", {"Name": f"{name}-agent"})
    identity = (await api.get("/connect/ca/roots")).value["TrustDomain"]

    await part.fault({"reset": {"wipe": True, "new_cluster": True}})

    assert (await api.get("/catalog/services")).value == {"consul": []}
    assert (await api.get("/agent/services")).value == {}
    assert (await api.get("/connect/ca/roots")).value["TrustDomain"] != identity
    assert (await api.get("/catalog/services")).index == 1


async def test_without_a_leader_only_stale_reads_are_answered(api, part, node, name):
    await api.register(node, name)
    index = (await api.get(f"/health/service/{name}")).index
    query = asyncio.create_task(api.ask("GET", f"/health/service/{name}?index={index}&wait=60s"))
    await part.until(lambda state: state["waiting"] == 1)

    await part.fault({"leader": "lost"})

    for answer in (
        await query,
        await api.ask("GET", "/catalog/services"),
        await api.ask("GET", "/catalog/services?consistent"),
        await api.ask("PUT", "/catalog/register", {"Node": node, "Address": "192.0.2.5"}),
    ):
        assert (answer.status, answer.text) == (500, "No cluster leader")
    assert (await api.get("/status/leader")).value == ""
    stale = await api.get(f"/health/service/{name}?stale")
    assert stale.headers["X-Consul-KnownLeader"] == "false"
    later = await api.get(f"/health/service/{name}?stale&index={stale.index}&wait=100ms")
    assert int(later.headers["X-Consul-LastContact"]) >= int(stale.headers["X-Consul-LastContact"]) + 100

    await part.fault({"leader": "back"})
    assert (await api.get("/catalog/services")).headers["X-Consul-KnownLeader"] == "true"


async def test_throttling_says_when_to_come_again(api, part):
    await part.fault({"refuse": {"status": 429, "retry_after_s": 2, "match": "^GET /v1/health/", "count": 1}})

    answer = await api.ask("GET", "/health/state/any")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
    assert (await api.ask("GET", "/health/state/any")).status == 200

    await part.fault({"refuse": {"status": 503}})
    assert [(await api.ask("GET", "/catalog/nodes")).status for _ in range(3)] == [503] * 3


async def test_a_request_is_delayed(api, part):
    await part.fault({"delay_s": 0.2, "match": "/catalog/nodes"})

    started = time.monotonic()
    await api.get("/catalog/nodes")
    assert time.monotonic() - started >= 0.2


async def test_a_connection_is_cut_instead_of_an_answer(api, part):
    await part.fault({"cut": {"match": "PUT /v1/catalog/register", "count": 1}})

    with pytest.raises(aiohttp.ClientConnectionError):
        await api.ask("PUT", "/catalog/register", {"Node": "never", "Address": "192.0.2.1"})
    assert (await api.get("/catalog/node/never")).value is None


@pytest.mark.parametrize(("when", "seen"), [("before", "critical"), ("after", "passing")])
async def test_a_named_request_is_held_until_it_is_let_go(api, part, node, name, when, seen):
    await api.register(node, name, status="passing")
    await part.fault({"pause": {"match": f"/v1/health/service/{name}", "when": when}})
    held = asyncio.create_task(api.get(f"/health/service/{name}"))
    [paused] = (await part.until(lambda state: state["paused"]))["paused"]
    assert paused["request"] == f"GET /v1/health/service/{name}"
    await api.register(node, name, status="critical")

    await part.fault({"resume": paused["id"]})

    assert [check["Status"] for check in (await held).value[0]["Checks"]] == [seen]


async def test_a_held_request_can_lose_its_answer(api, part, node, name):
    await part.fault({"pause": {"match": "catalog/deregister", "when": "after"}})
    held = asyncio.create_task(api.deregister(node))
    await part.until(lambda state: state["paused"])

    await part.fault({"resume": "all", "drop": True})

    with pytest.raises(aiohttp.ClientConnectionError):
        await held
    assert (await api.get(f"/catalog/node/{node}")).value is None


async def test_a_stale_read_may_get_to_a_server_that_is_behind(api, part, node, name):
    await api.register(node, name, Port=1)
    fresh = await api.get(f"/health/service/{name}")
    await part.fault({"lag": {"behind": 2, "every": 2, "last_contact_ms": 70}})

    await api.register(node, name, Port=2)
    await api.register(node, name, Port=3)

    answers = [await api.get(f"/health/service/{name}?stale") for _ in range(4)]
    assert [answer.value[0]["Service"]["Port"] for answer in answers] == [3, 1, 3, 1]
    assert [answer.index - fresh.index for answer in answers] == [2, 0, 2, 0]
    assert [answer.headers["X-Consul-LastContact"] for answer in answers] == ["0", "70"] * 2
    assert (await api.get(f"/health/service/{name}")).value[0]["Service"]["Port"] == 3
    await api.register(node, f"{name}-other")
    assert [(await api.get(f"/health/service/{name}?stale")).value[0]["Service"]["Port"] for _ in "ab"] == [3, 2]


async def test_a_partial_answer_looks_whole(api, part, node, name):
    for number in range(10):
        await api.register(node, name, ID=str(number))
        await api.register(node, f"{name}-{number}")
    whole = await api.get(f"/health/service/{name}")
    await part.fault({"partial": {"percent": 40, "match": f"/v1/health/service/{name}"}})

    answer = await api.get(f"/health/service/{name}")

    assert (len(answer.value), answer.index) == (6, whole.index)
    assert len((await api.get(f"/health/service/{name}")).value) == 10
    services = (await api.get("/catalog/services")).value
    await part.fault({"partial": {"percent": 50, "match": "/v1/catalog/services"}})
    assert len((await api.get("/catalog/services")).value) == len(services) - round(len(services) / 2)
    assert (await api.get("/catalog/services")).value == services


async def test_queries_are_woken_for_nothing(api, part, node, name):
    await api.register(node, name)
    before = await api.get(f"/health/service/{name}")
    query = await waiting(api, part, f"/health/service/{name}?index={before.index}&wait=60s")

    await part.fault({"bump": {"indexes": [f"service.{name}", "services"]}})

    answer = await query
    assert (answer.index > before.index, answer.value) == (True, before.value)


async def test_while_some_check_fails_no_check_that_passes_wakes_who_waits_for_those_that_fail(api, part, node, name):
    await api.register(node, name, status="critical")
    before = await api.get("/health/state/critical")
    query = await waiting(api, part, f"/health/state/critical?index={before.index}&wait=60s")

    await api.register(node, f"{name}-other", status="passing")

    risen = (await api.get("/health/state/critical")).index
    assert risen > before.index
    assert not query.done()
    await api.register(node, name, status="passing")
    assert (await query).index > risen


async def test_the_streaming_backend_knows_no_leader(api, part, node, name):
    await api.register(node, name)
    await part.fault({"streaming": True})

    answer = await api.get(f"/health/service/{name}?index=1&wait=1s")
    assert answer.headers["X-Consul-Query-Backend"] == "streaming"
    assert answer.headers["X-Consul-KnownLeader"] == "false"
    assert (await api.get(f"/health/service/{name}")).headers["X-Consul-KnownLeader"] == "true"


async def test_datacenters_have_catalogs_and_indexes_of_their_own(api, part, node, name):
    await api.put("/catalog/register?dc=dc2", {"Node": name, "Address": "192.0.2.1", "Service": {"Service": name}})

    assert name in (await api.get("/catalog/services?dc=dc2")).value
    assert name not in (await api.get("/catalog/services?dc=dc1")).value
    assert (await api.get("/catalog/datacenters")).value == ["dc1", "dc2"]
    await part.fault({"leader": {"state": "lost", "dc": "dc2"}})
    assert (await api.ask("GET", "/catalog/services?dc=dc2")).status == 500
    assert (await api.ask("GET", "/catalog/services")).status == 200


async def test_what_was_asked_for_is_told_without_secrets(api, part):
    await api.get("/catalog/services?token=very-secret&wait=5s")
    await api.bearing("more-secret").get("/catalog/nodes")

    state = await part.state()

    assert state["tokens_in_query"] == 1
    assert state["counts"] == {"GET /v1/catalog/services": 1, "GET /v1/catalog/nodes": 1}
    assert state["last"][0]["query"] == "token=<hidden>&wait=5s"
    assert "secret" not in str(state)


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"nonsense": 1},
        {"reset": {"index": 0}},
        {"reset": {"dc": "nowhere"}},
        {"leader": "gone"},
        {"partial": {"percent": 0}},
        {"resume": 99},
        {"bump": {"indexes": ["service.none"]}},
        {"lag": {"behind": -1}},
        {"refuse": {"colour": 1}},
        {"pause": {"match": "x", "when": "never"}},
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(part, fault):
    with pytest.raises(ValueError, match="consul: "):
        await part.fault(fault)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/catalog/register", {"Node": "n", "Address": "a", "Service": {"Service": "s", "Kind": "connect-proxy"}}),
        ("/agent/service/register", {"Name": "s", "Check": {"HTTP": "http://127.0.0.1", "Interval": "10s"}}),
        ("/agent/check/register", {"Name": "c", "TTL": "soon"}),
        ("/catalog/register", [1]),
    ],
)
async def test_what_the_stand_in_does_not_do_is_refused(api, path, body):
    answer = await api.ask("PUT", path, body)

    assert answer.status == 400
    assert answer.text


async def test_a_parameter_that_is_not_understood_is_refused(api):
    answer = await api.ask("GET", "/health/service/x?near=_agent")
    assert (answer.status, "near" in answer.text) == (400, True)


async def test_a_query_whose_client_went_away_waits_no_longer(api, part):
    index = (await api.get("/catalog/services")).index
    query = await waiting(api, part, f"/catalog/services?index={index}&wait=60s")

    query.cancel()

    await part.until(lambda state: not state["waiting"])
