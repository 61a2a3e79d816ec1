"""A permission that is lost or an answer that is cut short is not a mass deregistration."""

import logging
from typing import Any

import pytest

from tests.integration.consul.server import Consul, catalog, consuming, service, subject, told

SEES_ALL = {"service_prefix": {"": "read"}, "node_prefix": {"": "read"}}


def held(caplog) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.message == "removals held"]


async def filled(consul: Consul, count: int = 10) -> None:
    for number in range(count):
        await consul.register("web", f"web-{number}", node=f"n{number}")


async def test_a_lost_permission_holds_removals_until_it_is_back(consul, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sluice"), "propagate", True)
    consul.server.cluster.acl.load({"tokens": [{"secret": "t", "rules": SEES_ALL}]})
    consul.server.cluster.acl.put({"secret": "anonymous", "rules": _writes()})
    await filled(consul, 3)
    async with consuming(consul.settings("web", token="t")) as consumer:
        await consumer.settle()
        await consul.switch(token={"secret": "t", "rules": {"node_prefix": {"": "read"}}})
        await consul.register("web", "web-9", node="n9")  # wakes the watches
        assert await consumer.turn() == []
        assert len(consumer.memos[service("web")].items) == 3
        assert {said["stream"] for said in held(caplog)} == {catalog(), service("web")}
        await consumer.discover()
        assert any(
            "removals are held" in problem and "the token may not see" in problem for problem in consumer.problems
        )

        await consul.switch(token={"secret": "t", "rules": SEES_ALL})
        assert told(await consumer.believed()) == [("instance_added", "web-9")]


async def test_who_has_no_token_and_sees_nothing_any_more_is_told_of_no_removal(consul):
    await filled(consul, 3)
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        nothing = {"service_prefix": {"": "deny"}, "node_prefix": {"": "deny"}}
        denied = {"secret": "anonymous", "rules": nothing}
        consul.server.cluster.acl.load({"default_policy": "allow", "tokens": [denied]})
        await consul.switch(bump={"indexes": ["services", "service.web"]})
        assert await consumer.turn() == []
        await consumer.discover()
        assert ["not even its own" in problem for problem in consumer.problems] == [True, True]

        await consul.switch(token={"secret": "anonymous", "rules": _writes()})
        await consul.deregister("web-0", node="n0")
        assert told(await consumer.believed()) == [("instance_removed", "web-0")]


NARROWED = {"service_prefix": {"": "write"}, "node_prefix": {"": "write"}, "node": {"n1": "deny", "n2": "deny"}}


async def test_without_a_token_a_removal_is_held_where_everybody_is_denied_by_default(consul, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sluice"), "propagate", True)
    consul.server.cluster.acl.put({"secret": "anonymous", "rules": _writes()})
    await filled(consul, 10)
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.switch(token={"secret": "anonymous", "rules": NARROWED})
        await consul.register("web", "web-9", node="n9", Port=81)
        assert told(await consumer.turn()) == [("instance_changed", "web-9")]
        assert len(consumer.memos[service("web")].items) == 10
        assert ["its default is to deny" in said["reason"] for said in held(caplog)] == [True]
        await consumer.discover()
        assert ["its default is to deny" in problem for problem in consumer.problems] == [True, True]


@pytest.mark.parametrize("accepted", [{"agent_token": "t"}, {"token": {"secret": "t", "rules": {}}}])
async def test_without_a_token_a_removal_is_told_where_the_agent_has_one_or_a_part_is_accepted(consul, accepted):
    consul.server.cluster.acl.load({"tokens": [{"secret": "t", "rules": _writes()}]})
    consul.server.cluster.acl.put({"secret": "anonymous", "rules": _writes()})
    await filled(consul, 10)
    await consul.switch(**accepted)
    async with consuming(consul.settings("web", accept_filtered="agent_token" not in accepted)) as consumer:
        await consumer.settle()
        await consul.deregister("web-9", "n9")
        assert told(await consumer.until(len)) == [("instance_removed", "web-9")]


async def test_a_mass_removal_that_the_second_look_confirms_is_loud(consul, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sluice"), "propagate", True)
    await filled(consul, 4)
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        for number in (1, 2):
            await consul.deregister(f"web-{number}", f"n{number}")
        assert len(await consumer.until(len)) == 2
    [record] = [record for record in caplog.records if record.message == "removals confirmed"]
    said = vars(record)
    assert (record.levelname, said["stream"], said["count"]) == ("WARNING", service("web"), 2)
    assert said["reason"] == "2 of 4 are gone, more than 30%"


async def test_a_removal_that_is_confirmed_takes_one_more_read(consul):
    await filled(consul, 2)
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.deregister("web-1", "n1")
        await consul.switch(reset_counts={})
        assert told(await consumer.until(len)) == [("instance_removed", "web-1")]
        assert [asked for asked in consul.asked() if "consistent" in asked] == [
            "/v1/health/service/web?dc=dc1&consistent="
        ]


async def test_a_snapshot_has_what_is_held(consul):
    consul.server.cluster.acl.load({"tokens": [{"secret": "t", "rules": SEES_ALL}]})
    consul.server.cluster.acl.put({"secret": "anonymous", "rules": _writes()})
    await filled(consul, 3)
    async with consuming(consul.settings("web", token="t")) as consumer:
        await consumer.settle()
        memo, last = consumer.memos[service("web")], consumer.last[service("web")]
        await consul.switch(token={"secret": "t", "rules": {"node_prefix": {"": "read"}}})

        seen = await consumer.observer.observe(service("web"), memo, last, snapshot=True)

        assert [(event.op, subject(event)) for event in seen.events] == [("r", f"web-{n}") for n in range(3)]
        assert seen.memo.items == memo.items


@pytest.mark.parametrize("denied", [{"node_prefix": {"": "read", "n1": "deny"}}, {"node_prefix": {"": "read"}}])
async def test_what_a_token_did_not_see_is_found_when_the_permission_is_back(consul, denied):
    seen = {"service_prefix": {"": "read"}} if "n1" in denied["node_prefix"] else {}
    consul.server.cluster.acl.load({"tokens": [{"secret": "t", "rules": denied | seen}]})
    consul.server.cluster.acl.put({"secret": "anonymous", "rules": _writes()})
    async with consuming(consul.settings("web", token="t")) as consumer:
        await consumer.settle()
        await consul.register("web", node="n1")
        await consumer.settle()
        await consul.switch(token={"secret": "t", "rules": SEES_ALL})
        assert ("instance_added", "web") in told(await consumer.until(lambda _: consumer.memos[service("web")].items))


@pytest.mark.parametrize("resident", [False, True])
async def test_a_service_of_a_pattern_that_a_token_did_not_see_is_found_when_the_permission_is_back(consul, resident):
    less = {"service_prefix": {"": "read", "api": "deny"}, "node_prefix": {"": "read"}}
    consul.server.cluster.acl.load({"tokens": [{"secret": "t", "rules": less}]})
    consul.server.cluster.acl.put({"secret": "anonymous", "rules": _writes()})
    settings = consul.settings("api-*", token="t", **({"wait_s": None} if resident else {}))
    async with consuming(settings, resident=resident) as consumer:
        await consumer.settle()
        await consul.register("api-1")
        assert await consumer.settle() == []
        await consul.switch(token={"secret": "t", "rules": SEES_ALL})
        events = await consumer.until(lambda events: len(events) >= 2)
        assert sorted(told(events)) == [("instance_seen", "api-1"), ("service_registered", "api-1")]


@pytest.mark.parametrize("accepted", [False, True])
async def test_whoever_looks_is_told_that_the_token_sees_a_part(consul, accepted):
    consul.server.cluster.acl.load({"tokens": [{"secret": "t", "rules": {"service_prefix": {"api": "read"}}}]})
    consul.server.cluster.acl.put({"secret": "anonymous", "rules": _writes()})
    await filled(consul, 1)
    async with consuming(consul.settings("web", token="t", accept_filtered=accepted)) as consumer:
        await consumer.discover()
        assert [problem.partition(" (")[0] for problem in consumer.problems] == [
            "dc1: the token may not see everything: Consul left out what it lacks permission for"
        ] * (not accepted)


async def test_a_token_that_sees_a_part_may_be_told_to_be_right(consul):
    consul.server.cluster.acl.load({"tokens": [{"secret": "t", "rules": SEES_ALL}]})
    consul.server.cluster.acl.put({"secret": "anonymous", "rules": _writes()})
    await filled(consul, 3)
    async with consuming(consul.settings("web", token="t", accept_filtered=True)) as consumer:
        await consumer.settle()
        seen = {"service_prefix": {"": "read"}, "node": {"n1": "read", "n2": "read"}}
        await consul.switch(token={"secret": "t", "rules": seen})
        await consul.register("web", "web-1", node="n1", Port=81)
        assert sorted(told(await consumer.settle())) == [("instance_changed", "web-1"), ("instance_removed", "web-0")]


async def test_a_partial_answer_holds_removals_and_tells_the_rest(consul):
    await filled(consul)
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.register("web", "web-10", node="n10", status="critical")
        for mode, percent in (("dc=dc1&consistent", 80), ("dc=dc1&(stale|leader)=$", 50)):
            await consul.switch(partial={"percent": percent, "match": f"/service/web.{mode}", "count": None})
        await consumer.turn()
        await consumer.discover()
        assert ["a second look misses 2 more" in problem for problem in consumer.problems] == [True]
        await consul.switch(clear=True)
        assert told(await consumer.believed()) in ([], [("instance_added", "web-10")])
        assert len(consumer.memos[service("web")].items) == 11


async def test_a_service_that_a_partial_answer_hides_from_discovery_is_found_next_time(consul):
    async with consuming(consul.settings("web-*")) as consumer:
        await consumer.settle()
        await consul.register("web-a")
        assert service("web-a") in await consumer.probe()
        await consul.switch(partial={"percent": 100, "match": "/catalog/services.dc=dc1&leader=$"})
        assert service("web-a") not in await consumer.discover()
        assert ("instance_seen", "web-a") in told(await consumer.settle())


async def test_a_partial_answer_that_a_second_look_refutes_removes_nothing(consul):
    await filled(consul)
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.switch(partial={"percent": 60, "match": r"/service/web.dc=dc1&(stale|leader)=$"})
        await consul.register("web", "web-1", node="n1", Port=81)
        assert told(await consumer.settle()) == [("instance_changed", "web-1")]
        assert any("consistent" in asked for asked in consul.asked())


async def test_a_mass_deregistration_that_a_second_look_confirms_is_told(consul):
    await filled(consul)
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.switch(reset_counts={})
        for number in range(9):
            await consul.deregister(f"web-{number}", node=f"n{number}")
        assert told(await consumer.settle()) == [("instance_removed", f"web-{number}") for number in range(9)]
        assert [asked for asked in consul.asked() if "/health/service/web" in asked and "consistent" in asked]


@pytest.mark.parametrize(("removed", "looks"), [(3, 0), (4, 1)])
async def test_a_second_look_is_for_more_than_the_share_that_is_configured(consul, removed, looks):
    await filled(consul)
    async with consuming(consul.settings("web", hold_removals_over=0.3)) as consumer:
        await consumer.settle()
        await consul.switch(reset_counts={})
        for number in range(removed):
            await consul.deregister(f"web-{number}", node=f"n{number}")
        assert len(await consumer.settle()) == removed
        asked = [each for each in consul.asked() if "/health/service/web" in each and "consistent" in each]
        assert len(asked) == looks


def _writes() -> dict[str, dict[str, str]]:
    return {"service_prefix": {"": "write"}, "node_prefix": {"": "write"}}
