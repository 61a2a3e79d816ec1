"""The rules of blocking queries: what an index means, whose answer counts, and how few requests that takes."""

import asyncio
import time

import pytest

from shared.errors import TransientError
from shared.sources.consul import position
from shared.sources.consul.http import Http, Wait
from tests.integration.consul.server import catalog, consuming, epoch, service, told

IDLE = {"GET /v1/catalog/services": 1, "GET /v1/health/state/{name}": 2}


async def test_an_idle_probe_is_three_requests_and_well_under_a_second(consul):
    await consul.register("web")
    async with consuming(consul.settings("*", wait_s=None)) as consumer:
        await consumer.settle()
        await consul.switch(reset_counts={})
        began = time.monotonic()
        assert await consumer.probe() == frozenset()
        assert time.monotonic() - began < 0.9
        assert consul.counts() == IDLE
        assert all("index=" in asked and "wait=250ms" in asked and "stale" in asked for asked in consul.asked())


async def test_only_the_catalog_is_asked_for_where_no_service_is_selected(consul):
    async with consuming(consul.settings()) as consumer:
        await consumer.settle()
        await consul.switch(reset_counts={})
        await consumer.probe()
        assert consul.counts() == {"GET /v1/catalog/services": 1}


async def test_a_change_is_found_before_the_wait_is_over(consul):
    async with consuming(consul.settings("web", wait_s=9.0)) as consumer:
        await consumer.discover()
        await consumer.turn()
        await consumer.turn()
        await consul.register("web", status="critical")
        began = time.monotonic()
        assert await consumer.probe() == {catalog(), service("web")}
        assert time.monotonic() - began < 5


async def test_one_change_reads_the_service_it_names(consul):
    for name in ("web", "db", "cache"):
        await consul.register(name, status="passing")
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.switch(reset_counts={})
        await consul.check("db:up", "critical", service_id="db")
        assert told(await consumer.turn()) == [("health_changed", "db")]
        assert consul.counts()["GET /v1/health/service/{name}"] == 1


async def test_an_index_that_rises_without_a_change_makes_no_event(consul):
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        for indexes in (["services"], ["checks"], ["service.web"], ["services", "checks", "nodes", "service.web"]):
            await consul.switch(bump={"indexes": indexes})
            assert await consumer.settle() == []


async def test_a_change_that_the_catalog_does_not_show_is_found_among_all_services(consul):
    for number in range(20):
        await consul.register(f"s{number:02}", Tags=["v1"])
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.register("s07", Tags=["v1"], Port=8080)
        assert told(await consumer.settle()) == [("instance_changed", "s07")]


async def test_a_change_behind_one_that_is_shown_is_found_too(consul):
    for number in range(20):
        await consul.register(f"s{number:02}", Tags=["v1"])
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.register("s07", Tags=["v1"], Port=8080)
        await consul.register("s08", Tags=["v2"])
        events = await consumer.until(lambda events: len(events) >= 3)
        assert sorted(told(events)) == [
            ("instance_changed", "s07"),
            ("instance_changed", "s08"),
            ("service_changed", "s08"),
        ]


async def test_what_changed_last_is_asked_first_and_explains_the_wake_up(consul, monkeypatch):
    monkeypatch.setattr("shared.sources.consul.sweep.SHARE", 1e-4)  # so that nothing else is asked
    for number in range(100):
        await consul.register(f"s{number:03}")
    async with consuming(consul.settings("*", connections=1)) as consumer:
        await consumer.settle()
        await consul.register("s077", Port=81)
        await consumer.until(len)
        await consul.switch(reset_counts={})
        await consul.register("s077", Port=82)
        assert await consumer.probe() == {service("s077")}
        assert consul.counts()["GET /v1/health/service/{name}"] == 1


async def test_a_check_that_passes_from_the_start_is_found(consul):
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.check("web:up", "passing", service_id="web")
        [event] = await consumer.until(len)
        assert event.facts["Checks"] == {"web:up": [None, "passing"]}


async def test_an_instance_that_takes_another_name_is_gone_from_its_old_service(consul):
    for node in ("n1", "n2", "n3"):
        await consul.register("web", node=node)
    await consul.register("api", "api")
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.register("api", "web")
        events = await consumer.until(lambda events: len(events) >= 2)
        assert sorted(told(events)) == [("instance_added", "web"), ("instance_removed", "web")]


async def test_an_instance_that_takes_a_new_name_is_gone_from_its_old_service(consul):
    for node in ("n1", "n2", "n3"):
        await consul.register("web", node=node)
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.register("api", "web")
        events = await consumer.until(lambda events: len(events) >= 3)
        assert sorted(told(events)) == [
            ("instance_removed", "web"),
            ("instance_seen", "web"),
            ("service_registered", "api"),
        ]


async def test_what_moves_no_index_is_found_in_time(consul, monkeypatch):
    for name in ("web", "api"):
        await consul.register(name)
    await consul.check("up", "passing", service_id="web")
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.check("up", "passing", service_id="api")
        monkeypatch.setattr("shared.sources.consul.sweep.WHOLE_EVERY_S", 0.05)
        events = await consumer.until(lambda events: len(events) >= 2)
        assert {event.stream: event.facts["Checks"] for event in events} == {
            service("web"): {"up": ["passing", None]},
            service("api"): {"up": [None, "passing"]},
        }


async def test_another_address_of_a_node_is_found(consul, monkeypatch):
    monkeypatch.setattr("shared.sources.consul.watches.NODES_EVERY_S", 0.0)
    await consul.register("web", address="10.0.0.1")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.put("/v1/catalog/register", {"Node": "n1", "Address": "10.0.0.2", "Datacenter": "dc1"})
        [event] = await consumer.settle()
        assert event.changed == ("Address", "NodeAddress")


async def test_an_index_is_never_below_one(consul):
    http = Http(consul.settings())
    try:
        await http.get("/v1/catalog/services", dict[str, list[str]], wait=Wait(0, 0.01))
        await http.get("/v1/catalog/services", dict[str, list[str]], wait=Wait(-7, 0.01))
        assert (await http.get("/v1/catalog/datacenters", list[str])).index == 1
    finally:
        await http.close()
    assert [asked for asked in consul.asked() if "services" in asked and "index=1&" not in asked] == []


async def test_a_server_that_lags_is_not_taken_for_a_reset(consul):
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        first = (await consumer.settle())[-1]
        await consul.switch(lag={"behind": 3, "every": 2})
        for port in range(81, 91):
            await consul.register("web", Port=port)
            await consumer.settle()
        [row] = consumer.memos[service("web")].items.values()
        assert row["Port"] == 90
        last = position.decode(consumer.last[service("web")])
        assert last.epoch == epoch(first), "the epoch did not rise"


async def test_a_server_that_lags_at_first_sight_hides_nothing(consul):
    await consul.register("web", Port=80)
    consul.server.cluster.local.lag(5, 1)
    await consul.register("web", Port=81)
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        [row] = consumer.memos[service("web")].items.values()
        assert row["Port"] == 81


@pytest.mark.parametrize("stale_by_default", [False, True])
async def test_a_server_that_lags_hides_nothing_from_a_sweep(consul, stale_by_default):
    await consul.switch(stale_by_default=stale_by_default)
    await consul.register("web", Port=80)
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        # The three coarse watches get to the leader, the next stale read does not.
        consul.server.cluster.local.lag(5, 4)
        await consul.register("web", Port=81)
        assert told(await consumer.until(len)) == [("instance_changed", "web")]


async def test_a_stale_answer_older_than_its_wake_up_is_asked_for_again(consul):
    await consul.register("web", status="passing")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.check("web:up", "critical", service_id="web")
        assert await consumer.probe() == {service("web")}
        follower = consul.server.cluster.local
        follower.lag(10, 1)
        await consul.check("web:up", "warning", service_id="web")
        follower.lag(0, 1)
        assert [event.facts["Status"] for event in await consumer.settle()] == [["passing", "warning"]]


async def test_an_answer_without_a_leader_counts_for_nothing_and_nothing_is_lost(consul):
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.switch(leader="lost")
        with pytest.raises(TransientError, match="No cluster leader"):
            await consumer.probe()
        with pytest.raises(TransientError, match="No cluster leader"):
            await consumer.observe(service("web"))
        await consul.switch(leader="back")
        await consul.deregister("web")
        assert told(await consumer.settle()) == [("service_deregistered", "web"), ("instance_removed", "web")]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_refusal_keeps_everything(consul, status):
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        kept = dict(consumer.memos)
        await consul.register("web", Port=81)
        await consul.switch(refuse={"status": status, "retry_after_s": 7})
        with pytest.raises(TransientError) as refused:
            await consumer.probe()
        assert refused.value.retry_after == 7
        assert consumer.memos == kept
        await consul.switch(clear=True)
        assert told(await consumer.settle()) == [("instance_changed", "web")]


async def test_what_one_watch_showed_is_kept_when_another_fails(consul):
    await consul.register("web", status="passing")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.check("web:up", "warning", service_id="web")
        await consul.switch(refuse={"status": 500, "match": "/state/critical", "count": 1})
        with pytest.raises(TransientError):
            await consumer.probe()
        assert told(await consumer.settle()) == [("health_changed", "web")]


async def test_a_change_during_a_read_is_read_again(consul):
    await consul.register("web", status="passing")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.check("web:up", "warning", service_id="web")
        assert await consumer.probe() == {service("web")}
        await consul.switch(pause={"match": "/health/service/web", "when": "after"})
        reading = asyncio.create_task(consumer.observe(service("web")))
        await consul.until(consul.server.faults.paused)
        await consul.check("web:up", "critical", service_id="web")
        assert service("web") in await consumer.probe()
        await consul.switch(resume="all")
        assert [event.facts["Status"] for event in await reading] == [["passing", "warning"]]
        assert [event.facts["Status"] for event in await consumer.settle()] == [["warning", "critical"]]


async def test_what_came_between_a_wake_up_and_the_read_and_went_again_is_told_to_be_gone(consul):
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.register("web")
        assert catalog() in await consumer.probe()
        await consul.register("db")
        assert told(await consumer.observe(catalog())) == [("service_registered", "db"), ("service_registered", "web")]
        await consul.deregister("db")
        assert ("service_deregistered", "db") in told(await consumer.settle())


async def test_a_read_that_fails_is_asked_for_again(consul):
    await consul.register("web", status="passing")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.check("web:up", "warning", service_id="web")
        assert await consumer.probe() == {service("web")}
        await consul.switch(cut={"match": "/health/service/web"})
        with pytest.raises(TransientError):
            await consumer.observe(service("web"))
        assert told(await consumer.settle()) == [("health_changed", "web")]


@pytest.mark.parametrize("consistency", ["default", "consistent"])
async def test_every_read_has_the_configured_consistency(consul, consistency):
    async with consuming(consul.settings("web", consistency=consistency)) as consumer:
        await consumer.settle()
        await consul.switch(reset_counts={})
        await consul.register("web")
        await consumer.settle()
        assert consul.asked()
        said = "leader" if consistency == "default" else consistency
        assert all(f"&{said}=" in asked and "stale" not in asked for asked in consul.asked())
