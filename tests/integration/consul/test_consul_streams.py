"""Which streams there are, and what each tells."""

import pytest

from shared.errors import ConfigError, PositionLostError
from shared.events import Position
from tests.integration.consul.server import catalog, consuming, service, serving, told


async def test_first_sight_is_a_snapshot_and_then_changes_follow(consul):
    await consul.register("web", "web-1", Tags=["v1"])
    async with consuming(consul.settings("web")) as consumer:
        first = await consumer.settle()
        assert {event.op for event in first} == {"r"}
        assert told(first) == [("service_seen", "consul"), ("service_seen", "web"), ("instance_seen", "web-1")]

        await consul.register("web", "web-2", Tags=["v2"], status="passing")
        await consul.register("web", "web-1", Tags=["v1"], Port=81)
        assert told(await consumer.settle()) == [
            ("service_changed", "web"),
            ("instance_added", "web-2"),
            ("instance_changed", "web-1"),
        ]

        await consul.check("web-2:up", "critical", service_id="web-2")
        [event] = await consumer.settle()
        assert event.facts["Checks"] == {"web-2:up": ["passing", "critical"]}
        assert event.facts["Status"] == ["passing", "critical"]

        await consul.deregister("web-2")
        assert told(await consumer.settle()) == [("service_changed", "web"), ("instance_removed", "web-2")]


async def test_a_service_that_is_named_is_a_stream_before_it_exists(consul):
    async with consuming(consul.settings("web")) as consumer:
        assert await consumer.discover() == [catalog(), service("web")]
        await consumer.settle()
        await consul.register("web")
        assert told(await consumer.settle()) == [("service_registered", "web"), ("instance_added", "web")]


async def test_a_pattern_picks_up_new_services(consul):
    await consul.register("web-a")
    await consul.register("db")
    async with consuming(consul.settings("web-*")) as consumer:
        assert await consumer.discover() == [catalog(), service("web-a")]
        await consumer.settle()
        await consul.register("web-b")
        assert service("web-b") in await consumer.probe()
        assert told(await consumer.settle()) == [("service_registered", "web-b"), ("instance_seen", "web-b")]
        assert service("web-b") in consumer.streams


async def test_a_whole_service_that_is_removed_is_told_once(consul):
    await consul.register("web", "web-1")
    await consul.register("web", "web-2")
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.deregister("web-1")
        await consul.deregister("web-2")
        assert told(await consumer.settle()) == [
            ("service_deregistered", "web"),
            ("instance_removed", "web-1"),
            ("instance_removed", "web-2"),
        ]
        assert service("web") in await consumer.discover(), "known, and selected still"
        assert await consumer.settle() == []


async def test_what_vanished_while_nobody_looked_is_told_once(consul):
    for name in ("web", "db", "cache"):
        await consul.register(name)
    settings = consul.settings("*")
    async with consuming(settings) as consumer:
        await consumer.settle()
        memos, last = consumer.memos, consumer.last
    await consul.deregister("db")
    async with consuming(settings) as consumer:
        consumer.memos, consumer.last = memos, last
        assert told(await consumer.settle()) == [("service_deregistered", "db"), ("instance_removed", "db")]
        assert await consumer.settle() == []


async def test_two_nodes_may_have_instances_of_one_id(consul):
    await consul.register("web", node="n1")
    await consul.register("web", node="n2")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.deregister("web", node="n2")
        [event] = await consumer.settle()
        assert event.before is not None
        assert (event.facts["Event"], event.before["Node"]) == ("instance_removed", "n2")


async def test_a_check_of_a_node_concerns_every_service_on_it(consul):
    await consul.register("web", node="n1", Address="10.1.1.1")
    await consul.register("db", node="n1", Address="10.1.1.2")
    await consul.register("cache", node="n2", Address="10.1.1.3")
    await consul.check("serfHealth", "passing", node="n1")
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.check("serfHealth", "critical", node="n1")
        assert told(await consumer.settle()) == [("health_changed", "db"), ("health_changed", "web")]


async def test_a_node_that_goes_takes_its_instances_along(consul):
    await consul.register("web", "web-1", node="n1")
    await consul.register("web", "web-2", node="n2")
    await consul.register("db", node="n1")
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.deregister(node="n1")
        assert told(await consumer.settle()) == [
            ("service_deregistered", "db"),
            ("instance_removed", "db"),
            ("instance_removed", "web-1"),
        ]


async def test_what_a_check_prints_is_no_change(consul):
    await consul.register("web", status="passing")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.check("web:up", "passing", service_id="web", output="200 OK, took 3 ms")
        assert await consumer.settle() == []


async def test_tags_and_filter_narrow_the_instances_down(consul):
    await consul.register("web", "a", Tags=["v1", "blue"], Meta={"env": "prod"})
    await consul.register("web", "b", Tags=["v1"], Meta={"env": "prod"})
    await consul.register("web", "c", Tags=["v1", "blue"], Meta={"env": "test"})
    settings = consul.settings("web", tags=("v1", "blue"), filter='Service.Meta.env == "prod"')
    async with consuming(settings) as consumer:
        await consumer.settle()
        assert list(consumer.memos[service("web")].items) == ["n1/a"]
        await consul.register("web", "b", Tags=["v1", "blue"], Meta={"env": "prod"})
        assert told(await consumer.settle()) == [("instance_added", "b")]


async def test_each_datacenter_has_its_own_streams():
    async with serving("dc1", "dc2") as consul:
        await consul.register("web")
        await consul.register("web", "far", node="f1", datacenter="dc2")
        async with consuming(consul.settings("web", datacenters=("dc1", "dc2"))) as consumer:
            assert await consumer.discover() == [catalog(), service("web"), catalog("dc2"), service("web", "dc2")]
            await consumer.settle()
            await consul.register("web", "far", node="f1", datacenter="dc2", Port=81)
            assert [(event.stream, event.facts["Event"]) for event in await consumer.settle()] == [
                (service("web", "dc2"), "instance_changed")
            ]


async def test_the_datacenter_is_the_agents_own_unless_it_is_named():
    async with serving("north", "south") as consul, consuming(consul.settings()) as consumer:
        assert await consumer.discover() == [catalog("north")]


async def test_a_token_that_cannot_tell_the_agents_datacenter_says_to_name_it():
    async with serving("north", "south") as consul:
        consul.server.cluster.acl.load(
            {"tokens": [{"secret": "t", "rules": {"service_prefix": {"": "read"}, "node_prefix": {"": "read"}}}]}
        )
        async with consuming(consul.settings(token="t")) as consumer:
            with pytest.raises(ConfigError, match="name those to observe in datacenters"):
                await consumer.discover()


async def test_a_datacenter_that_is_away_does_not_hold_up_others():
    async with (
        serving("dc1", "dc2") as consul,
        consuming(consul.settings("web", datacenters=("dc1", "dc2"))) as consumer,
    ):
        await consumer.settle()
        await consul.switch(refuse={"status": 500, "text": "No path to datacenter", "match": "dc=dc2"})
        await consul.register("web")
        named = await consumer.probe()
        assert {catalog(), service("web"), catalog("dc2")} == named
        assert await consumer.observe(service("web"))
        await consumer.discover()
        assert service("web", "dc2") in consumer.streams, "what is known or named stays"
        assert ["dc2" in problem for problem in consumer.problems] == [True]


async def test_a_start_index_leaves_out_what_has_not_changed_since(consul):
    await consul.register("web", "old")
    index = consul.server.cluster.local.index
    await consul.register("web", "new", node="n2")
    await consul.check("serfHealth", "passing", node="n3")
    async with consuming(consul.settings("web", start_index=index)) as consumer:
        assert told(await consumer.settle())[-1:] == [("instance_seen", "new")]
        assert sorted(consumer.memos[service("web")].items) == ["n1/old", "n2/new"]


async def test_a_stream_that_is_not_configured_is_refused(consul):
    async with consuming(consul.settings("web")) as consumer:
        for stream in (service("db"), catalog("dc9"), service("web", "dc9")):
            with pytest.raises(ConfigError, match="not configured"):
                await consumer.observer.observe(stream, None, Position(""))


async def test_nothing_is_asked_when_no_stream_is_due(consul):
    async with consuming(consul.settings("web")) as consumer:
        assert await consumer.observer.probe(()) == frozenset()
        assert consul.counts() == {}


async def test_a_position_of_another_source_is_refused(consul):
    async with consuming(consul.settings("web")) as consumer:
        with pytest.raises(PositionLostError, match="'garbage' is not a Consul position"):
            await consumer.observer.observe(service("web"), None, Position("garbage"))


async def test_two_spellings_of_a_name_are_one_stream(consul):
    await consul.register("web")
    await consul.register("Web", "web-2")
    async with consuming(consul.settings("*")) as consumer:
        events = await consumer.settle()
        assert sorted(told(events)) == [
            ("instance_seen", "consul"),
            ("instance_seen", "web"),
            ("instance_seen", "web-2"),
            ("service_seen", "Web"),
            ("service_seen", "consul"),
            ("service_seen", "web"),
        ]
        await consul.register("web", Port=81, Tags=["v2"])
        await consumer.until(lambda events: ("instance_changed", "web") in told(events))
        assert await consumer.settle() == []


async def test_two_spellings_that_appear_at_once_are_one_stream(consul):
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        await consul.register("Foo", "a", node="n1")
        await consul.register("foo", "b", node="n2")
        await consumer.settle()
        assert await consumer.probe() == frozenset(), "nothing is left to be discovered"
        [stream] = [stream for stream in consumer.streams if stream.lower() == service("foo")]
        assert len(consumer.memos[stream].items) == 2


async def test_a_service_is_watched_however_its_name_is_spelled(consul):
    await consul.register("web", status="passing")
    async with consuming(consul.settings("Web")) as consumer:
        await consumer.settle()
        await consul.check("web:up", "critical", service_id="web")
        assert await consumer.probe() == {service("Web")}


async def test_a_name_that_no_path_can_have_holds_up_no_other(consul):
    await consul.register("web")
    await consul.register(".", "dot")
    async with consuming(consul.settings("*")) as consumer:
        await consumer.settle()
        assert service(".") not in consumer.streams
        assert [problem for problem in consumer.problems if "a service named ." in problem]
        await consul.register("web", Port=81)
        await consumer.until(lambda events: ("instance_changed", "web") in told(events))
