"""Blocking queries that are held open between probes, as in a process of its own."""

import asyncio
import threading
import time

import pytest

from shared.errors import TransientError
from shared.sources.consul.queries import BURST, RATE
from tests.integration.consul.server import Consul, catalog, consuming, epoch, service, told


def resident(consul: Consul, *services: str, **changes: object):
    return consuming(consul.settings(*services, **({"wait_s": None} | changes)), resident=True)


async def test_queries_are_held_open_and_a_probe_returns_at_once(consul):
    await consul.register("web")
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        await consul.until(lambda: consul.server.requests.waiting == 3)
        assert all("wait=300000ms" in asked for asked in consul.asked() if "wait" in asked)
        await consul.switch(reset_counts={})
        for _ in range(20):
            assert await consumer.probe() == frozenset()
        assert consul.counts() == {}


async def test_a_change_is_found_while_nobody_probes(consul):
    await consul.register("web", status="passing")
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        await consul.until(lambda: consul.server.requests.waiting == 3)
        await consul.switch(reset_counts={})
        await consul.check("web:up", "critical", service_id="web")
        await consul.until(lambda: any("/state/critical" in each for each in consul.asked()))  # what follows it
        assert await consumer.probe() == {service("web")}
        assert told(await consumer.settle()) == [("health_changed", "web")]


async def test_a_change_that_nothing_shows_is_found_in_the_background(consul):
    for number in range(10):
        await consul.register(f"s{number}")
    async with resident(consul, "*") as consumer:
        await consumer.settle()
        await consul.register("s7", Port=8080)
        assert told(await consumer.until(len)) == [("instance_changed", "s7")]


async def test_a_service_that_changes_often_gets_a_query_of_its_own(consul):
    for name in ("web", "db", "cache"):
        await consul.register(name)
    async with resident(consul, "*", watches=1) as consumer:
        await consumer.settle()
        queries = consumer.observer._watches["dc1"]._queries
        await consul.register("web", Port=81)
        await consumer.until(len)
        assert not queries._hot, "the first sight was no change"
        for name, port in (("web", 82), ("db", 81), ("db", 82)):
            await consul.register(name, Port=port)
            await consumer.until(len)
        await consul.until(lambda: consul.server.requests.waiting == 4)
        assert list(queries._hot) == ["db"], "the other one has lost it"
        await consul.switch(reset_counts={})
        await consul.register("db", Port=83)
        assert told(await consumer.until(len)) == [("instance_changed", "db")]


async def test_what_goes_wrong_in_the_background_is_said_by_the_next_probe(consul):
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        await consul.switch(refuse={"status": 500, "text": "No cluster leader"}, bump={"indexes": ["services"]})
        assert isinstance(await consumer.refused(), TransientError)
        await consul.switch(clear=True)
        await consul.register("web")

        async def settled() -> list[tuple[str, str]]:
            while True:
                try:
                    return told(await consumer.until(lambda events: len(events) >= 2))
                except TransientError:
                    await asyncio.sleep(0.05)

        assert await settled() == [("service_registered", "web"), ("instance_added", "web")]


async def test_a_query_of_a_service_that_failed_once_is_soon_well_again(consul):
    await consul.register("web")
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        for port in (81, 82):
            await consul.register("web", Port=port)
            await consumer.until(len)
        await consul.until(lambda: consul.server.requests.waiting == 4)
        await consul.switch(cut={"match": "/health/service/web.*wait=", "count": 1}, bump={"indexes": ["service.web"]})
        assert isinstance(await consumer.refused(), TransientError)
        await consul.until(lambda: consul.server.requests.waiting == 4)
        assert await consumer.settle() == []


async def test_whatever_failed_in_the_background_is_soon_well_again(consul):
    await consul.register("web")
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        await consul.until(lambda: consul.server.requests.waiting == 3)
        for match in ("/catalog/services.*wait=", "/connect/ca/roots"):
            await consul.switch(refuse={"status": 500, "count": 1, "match": match})
        await consul.switch(bump={"indexes": ["services"]})
        assert isinstance(await consumer.refused(), TransientError)
        await consul.until(lambda: consul.server.requests.waiting == 3)
        assert await consumer.settle() == []


@pytest.mark.parametrize("new_cluster", [True, False])
async def test_a_reset_wakes_and_starts_again(consul, new_cluster):
    for port in range(80, 90):
        await consul.register("web", Port=port)
    async with resident(consul, "web", hold_removals_over=1.0) as consumer:
        await consumer.settle()
        await consul.until(lambda: consul.server.requests.waiting == 3)
        await consul.switch(reset={"index": 1, "new_cluster": new_cluster, "wipe": True})
        await consul.register("db")
        events = await consumer.until(lambda events: len(events) >= 3)
        assert sorted(told(events)) == [
            ("instance_removed", "web"),
            ("service_deregistered", "web"),
            ("service_registered", "db"),
        ]


async def test_a_query_for_an_index_that_fell_before_it_was_asked_does_not_wait_in_vain(consul, monkeypatch):
    monkeypatch.setattr("shared.sources.consul.watches.NODES_EVERY_S", 0.1)
    for port in range(80, 90):
        await consul.register("web", Port=port)
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        await consul.until(lambda: consul.server.requests.waiting == 3)
        await consul.switch(pause={"match": "/catalog/services.*wait=", "when": "before"})
        await consul.switch(bump={"indexes": ["services"]})
        await consul.until(consul.server.faults.paused)
        await consul.switch(reset={"index": 2})
        await consul.switch(resume="all")
        for name in ("db", "cache"):
            await consul.register(name)
            assert told(await consumer.until(len)) == [("service_registered", name)]


async def test_another_cluster_is_noticed_though_nothing_failed_and_nothing_woke(consul, monkeypatch):
    monkeypatch.setattr("shared.sources.consul.watches.IDENTITY_EVERY_S", 0.05)
    await consul.register("web")
    async with resident(consul, "web") as consumer:
        first = (await consumer.settle())[-1]
        await consul.until(lambda: consul.server.requests.waiting == 3)
        consul.server.cluster.local.cluster = "another"
        await consul.switch(reset_counts={})
        await consul.until(lambda: consul.counts().get("GET /v1/connect/ca/roots", 0) > 1)  # the first was understood
        assert await consumer.settle() == [], "the data are the same"
        await consul.register("web", Port=81)
        event = (await consumer.until(len))[-1]
        assert epoch(event) > epoch(first)


async def test_a_query_that_returns_all_the_time_is_asked_at_a_pace(consul):
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        await consul.until(lambda: consul.server.requests.waiting == 3)
        await consul.switch(reset_counts={})
        began = time.monotonic()
        for _ in range(200):
            await consul.switch(bump={"indexes": ["services"]})
            await asyncio.sleep(0.005)
        most = BURST + RATE * (time.monotonic() - began) + 1
        assert 2 <= consul.counts()["GET /v1/catalog/services"] <= most


async def test_closing_does_not_wait_for_queries_and_leaves_nothing(consul):
    before = set(threading.enumerate())
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        await consul.until(lambda: consul.server.requests.waiting == 3)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    await consul.until(lambda: consul.server.requests.waiting == 0)
    assert {each.name for each in set(threading.enumerate()) - before if each.name == "consul"} == set()


async def test_closing_ends_a_probe_that_waits(consul):
    async with consuming(consul.settings("web", wait_s=9.0)) as consumer:
        await consumer.discover()
        await consumer.turn()
        await consumer.turn()
        probing = asyncio.create_task(consumer.probe())
        await consul.until(lambda: consul.server.requests.waiting == 3)
        began = time.monotonic()
        probing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probing
    assert time.monotonic() - began < 2
    await consul.until(lambda: consul.server.requests.waiting == 0)


async def test_more_selected_later_is_watched_too(consul):
    async with resident(consul, "web-*") as consumer:
        await consumer.settle()
        await consul.until(lambda: consul.server.requests.waiting == 1)
        await consul.register("web-a", status="passing")
        assert (catalog(), "service_registered") in [
            (event.stream, event.facts["Event"]) for event in await consumer.until(lambda e: len(e) >= 2)
        ]
        await consul.until(lambda: consul.server.requests.waiting == 3)
        await consul.check("web-a:up", "warning", service_id="web-a")
        assert told(await consumer.until(len)) == [("health_changed", "web-a")]


async def test_another_address_of_a_node_is_found_in_the_background(consul, monkeypatch):
    monkeypatch.setattr("shared.sources.consul.watches.NODES_EVERY_S", 0.1)
    await consul.register("web", address="10.0.0.1")
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        await consul.put("/v1/catalog/register", {"Node": "n1", "Address": "10.0.0.2", "Datacenter": "dc1"})
        [event] = await consumer.until(len)
        assert event.changed == ("Address", "NodeAddress")


async def test_a_node_that_could_not_be_looked_up_is_looked_up_again(consul):
    await consul.register("web")
    await consul.check("serfHealth", "passing")
    async with resident(consul, "web") as consumer:
        await consumer.settle()
        await consul.until(lambda: consul.server.requests.waiting == 3)
        await consul.switch(refuse={"status": 500, "match": "/node-services/", "count": 1})
        await consul.check("serfHealth", "critical")
        marks = consumer.observer._watches["dc1"].marks
        await consul.until(lambda: marks.among([service("web")]))
        assert told(await consumer.observe(service("web"))) == [("health_changed", "web")]
