"""The catalog, as a Consul server shows it."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_registered_instance_is_shown_with_all_that_was_said_of_it(consul, node, name):
    said = {"ID": f"{name}-1", "Tags": ["v1", "http"], "Address": "10.0.0.7", "Port": 8080}
    more = {"Meta": {"env": "prod"}, "Weights": {"Passing": 3, "Warning": 2}}
    await consul.register(node, name, **said, **more)

    [row] = (await consul.get(f"/catalog/service/{name}")).value

    shown = {key: row[key] for key in ("Node", "Address", "Datacenter", "ServiceID", "ServiceName", "ServiceTags")}
    assert shown == {
        "Node": node,
        "Address": "192.0.2.1",
        "Datacenter": row["Datacenter"],
        "ServiceID": f"{name}-1",
        "ServiceName": name,
        "ServiceTags": ["v1", "http"],
    }
    assert (row["ServiceAddress"], row["ServicePort"], row["ServiceMeta"]) == ("10.0.0.7", 8080, {"env": "prod"})
    assert row["ServiceWeights"] == {"Passing": 3, "Warning": 2}
    assert 0 < row["CreateIndex"] <= row["ModifyIndex"]


async def test_services_have_the_tags_of_all_of_their_instances(consul, node, name):
    await consul.register(node, name, ID=f"{name}-1", Tags=["a", "b"])
    assert sorted((await consul.get("/catalog/services")).value[name]) == ["a", "b"]

    await consul.register(node, name, ID=f"{name}-2", Tags=["b", "c"])
    services = (await consul.get("/catalog/services")).value
    assert sorted(services[name]) == ["a", "b", "c"]
    assert services["consul"] == []

    await consul.deregister(node, ServiceID=f"{name}-1")
    assert sorted((await consul.get("/catalog/services")).value[name]) == ["b", "c"]


async def test_ids_are_unique_per_node_only(consul, node, name):
    await consul.put("/catalog/register", {"Node": f"{name}-other", "Address": "192.0.2.2"})
    for where in (node, f"{name}-other"):
        await consul.register(where, name, ID="web")

    rows = (await consul.get(f"/catalog/service/{name}")).value
    assert {(row["Node"], row["ServiceID"]) for row in rows} == {(node, "web"), (f"{name}-other", "web")}

    await consul.deregister(f"{name}-other")
    assert [row["Node"] for row in (await consul.get(f"/catalog/service/{name}")).value] == [node]


async def test_names_are_found_whatever_their_case(consul, node, name):
    await consul.register(node, name)

    assert len((await consul.get(f"/catalog/service/{name.upper()}")).value) == 1
    assert (await consul.get(f"/catalog/node/{node.upper()}")).value["Node"]["Node"] == node


async def test_a_node_is_shown_with_its_services(consul, node, name):
    assert (await consul.get(f"/catalog/node-services/{node}")).value["Services"] is None
    await consul.register(node, name, ID="one", Port=1)

    shown = (await consul.get(f"/catalog/node/{node}")).value
    assert (shown["Node"]["Address"], shown["Services"]["one"]["Port"]) == ("192.0.2.1", 1)
    listed = (await consul.get(f"/catalog/node-services/{node}")).value
    assert listed["Node"]["Node"] == node
    assert [service["ID"] for service in listed["Services"]] == ["one"]
    nodes = (await consul.get("/catalog/nodes")).value
    assert [one["Address"] for one in nodes if one["Node"] == node] == ["192.0.2.1"]


async def test_what_is_not_there_is_an_empty_answer_with_an_index(consul, name):
    for path in (f"/catalog/service/{name}", f"/health/service/{name}", f"/health/checks/{name}"):
        answer = await consul.get(path)
        assert (answer.value, answer.index > 0) == ([], True)
    assert (await consul.get(f"/catalog/node/{name}")).value is None


async def test_removing_a_node_removes_what_is_on_it(consul, node, name):
    await consul.register(node, name, status="passing")

    await consul.deregister(node)

    assert (await consul.get(f"/catalog/service/{name}")).value == []
    assert (await consul.get(f"/health/node/{node}")).value == []
    assert name not in (await consul.get("/catalog/services")).value


async def test_deregistering_what_is_not_there_is_no_error(consul, node):
    await consul.deregister(node, ServiceID="nothing")
    await consul.deregister(node, CheckID="nothing")


async def test_datacenters_leader_and_peers_are_told(consul):
    [first, *_] = (await consul.get("/catalog/datacenters")).value
    leader = (await consul.get("/status/leader")).value
    assert leader in (await consul.get("/status/peers")).value
    assert (await consul.get(f"/catalog/services?dc={first}")).value["consul"] == []


async def test_the_cluster_has_an_identity(consul):
    answer = await consul.get("/connect/ca/roots")

    identity, _, suffix = answer.value["TrustDomain"].partition(".")
    assert (len(identity), suffix, answer.index > 0) == (36, "consul", True)
    assert (await consul.get("/connect/ca/roots")).value["TrustDomain"] == answer.value["TrustDomain"]


async def test_the_agent_says_who_it_is(consul):
    told = (await consul.get("/agent/self")).value

    [first, *_] = (await consul.get("/catalog/datacenters")).value
    assert told["Config"]["Datacenter"] == first
    assert told["Config"]["NodeName"] in {one["Node"] for one in (await consul.get("/catalog/nodes")).value}


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/catalog/services?index=x", 400, "Invalid index"),
        ("GET", "/catalog/services?index=-1", 400, "Invalid index"),
        ("GET", "/catalog/services?wait=10", 400, "Invalid wait time"),
        ("GET", "/catalog/services?stale&consistent", 400, "conflicting"),
        ("GET", "/catalog/services?dc=nowhere", 500, "No path to datacenter"),
        ("GET", "/catalog/services?ns=team", 400, "ns"),
        ("GET", "/health/service/", 400, "Missing service name"),
        ("GET", "/health/service/x?passing=perhaps", 400, "passing"),
        ("GET", "/no/such/endpoint", 404, ""),
        ("POST", "/catalog/services", 405, "method POST not allowed"),
        ("PUT", "/catalog/register", 400, ""),
    ],
)
async def test_what_makes_no_sense_is_refused(consul, method, path, status, text):
    answer = await consul.ask(method, path)

    assert answer.status == status
    assert text in answer.text


async def test_large_answers_are_compressed_when_asked_for(consul, node, name):
    for number in range(20):
        await consul.register(node, name, ID=f"{name}-{number}")

    plain = await consul.ask("GET", f"/health/service/{name}", **{"Accept-Encoding": "identity"})
    packed = await consul.ask("GET", f"/health/service/{name}", **{"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.value == plain.value
