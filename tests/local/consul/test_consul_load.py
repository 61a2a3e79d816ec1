"""Ten thousand services: loaded at once, listed fast, watched by hundreds."""

import asyncio
import gc
import resource
import time

import aiohttp
import pytest

from local.consul.cluster import Cluster
from local.consul.rows import Service
from local.consul.server import Server

SERVICES, INSTANCES, NODES = 10_000, 10, 1_000
WATCHES = 300


async def test_ten_thousand_services_are_served(tmp_path):
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cluster = Cluster()
    started = time.process_time()
    cluster.load(SERVICES, INSTANCES, NODES)
    assert time.process_time() - started < 10
    assert cluster.local.catalog.counts()["instances"] == SERVICES * INSTANCES + 1
    server = Server(cluster, max_connections=WATCHES + 10)
    async with server.serving(0), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        url = f"http://127.0.0.1:{server.port}/v1"

        async def get(path: str) -> tuple[int, int]:
            async with session.get(f"{url}{path}") as answer:
                return int(answer.headers["X-Consul-Index"]), len(await answer.json())

        index, count = await get("/catalog/services")
        assert count == SERVICES + 1
        assert (await get("/health/service/service-00042"))[1] == INSTANCES
        queries = [asyncio.create_task(get(f"/catalog/services?index={index}&wait=60s")) for _ in range(WATCHES)]
        async with asyncio.timeout(20):
            while server.requests.waiting < WATCHES:  # noqa: ASYNC110 - a count, not an event
                await asyncio.sleep(0.01)
        cluster.local.write(lambda catalog, at: catalog.put_service(at, "consul-1", Service("new", "new")))
        assert set(await asyncio.gather(*queries)) == {(index + 1, SERVICES + 2)}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 400 << 10
    del cluster, server
    gc.collect()


def test_the_list_of_services_is_made_in_well_under_a_tenth_of_a_second():
    cluster = Cluster()
    cluster.load(SERVICES, 1, NODES)
    catalog = cluster.local.catalog
    list(catalog.tags())
    cluster.local.write(lambda catalog, at: catalog.put_service(at, "consul-1", Service("new", "new")))

    started = time.process_time()
    assert len(list(catalog.tags())) == SERVICES + 2
    assert time.process_time() - started < 0.05


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"services": 0, "instances_per_service": 1, "nodes": 1}, "1 or more"),
        ({"services": 1, "instances_per_service": 1}, "nodes"),
        ({"services": 1, "instances_per_service": 1, "nodes": 1, "colour": 1}, "colour"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_load_is_asked_for_over_the_control_port(part, api, name, given, complaint):
    async with api.session.post(f"{part.control}/load", json=given) as answer:
        assert answer.status == 400
        assert complaint in await answer.text()
    good = {"services": 3, "instances_per_service": 4, "nodes": 2, "prefix": name, "dc": "dc2"}
    async with api.session.post(f"{part.control}/load", json=good) as answer:
        assert answer.status == 200
    entries = (await api.get(f"/health/service/{name}-00001?dc=dc2&passing")).value
    assert {entry["Node"]["Node"] for entry in entries} == {f"{name}-node-00000", f"{name}-node-00001"}
    assert len(entries) == 4
