"""When a new epoch begins: the index fell, or another cluster answers; and what is told then."""

import pytest

from shared.errors import TransientError
from shared.sources.consul import position
from tests.integration.consul.server import catalog, consuming, epoch, service, told


async def test_a_lower_index_starts_a_new_epoch_and_repeats_nothing(consul):
    for port in range(80, 90):
        await consul.register("web", Port=port)
    async with consuming(consul.settings("web")) as consumer:
        first = (await consumer.settle())[-1]
        await consul.switch(reset={"index": 2})
        assert await consumer.settle() == [], "the data are the same"
        await consul.register("web", Port=81)
        [event] = await consumer.settle()
        assert told([event]) == [("instance_changed", "web")]
        then, now = position.decode(first.position), position.decode(event.position)
        assert (then.index, now.index) == (11, 3)
        assert now.epoch > then.epoch


async def test_another_cluster_is_noticed_though_nothing_failed_and_its_index_is_higher(consul, monkeypatch):
    monkeypatch.setattr("shared.sources.consul.watches.IDENTITY_EVERY_S", 0.0)
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        first = (await consumer.settle())[-1]
        consul.server.cluster.local.reset(500, new_cluster=True, wipe=False)
        await consul.register("web", Port=81)
        event = (await consumer.until(len))[-1]
        assert epoch(event) > epoch(first)
        assert position.decode(event.position).index > 500


async def test_everything_is_read_anew_when_another_cluster_answers(consul):
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        await consumer.settle()
        await consul.switch(refuse={"status": 500, "count": 1})
        with pytest.raises(TransientError):
            await consumer.probe()
        consul.server.cluster.local.cluster = "another"
        assert await consumer.probe() == {catalog(), service("web")}


async def test_another_cluster_is_noticed_after_a_discovery_that_failed(consul):
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        first = (await consumer.settle())[-1]
        await consul.switch(refuse={"status": 500, "count": 1})
        with pytest.raises(TransientError):
            await consumer.discover()
        consul.server.cluster.local.reset(500, new_cluster=True, wipe=False)
        await consul.register("web", Port=81)
        event = (await consumer.until(len))[-1]
        assert epoch(event) > epoch(first)


async def test_another_cluster_is_noticed_after_a_sweep_that_failed(consul):
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        first = (await consumer.settle())[-1]
        await consul.switch(refuse={"status": 500, "count": 1, "match": "/health/service"})
        await consul.register("web", Port=81)
        with pytest.raises(TransientError):
            await consumer.probe()
        consul.server.cluster.local.reset(500, new_cluster=True, wipe=False)
        event = (await consumer.until(len))[-1]
        assert epoch(event) > epoch(first)


@pytest.mark.parametrize(
    "refusal",
    [{"status": 403, "text": "ACL not found"}, {"status": 500, "text": "CA has not finished initializing"}],
    ids=["token", "identity"],
)
async def test_another_cluster_is_noticed_though_it_did_not_know_what_it_was_asked_yet(consul, refusal):
    await consul.register("web")
    async with consuming(consul.settings("web")) as consumer:
        first = (await consumer.settle())[-1]
        await consul.switch(refuse={"status": 500, "count": 1})
        with pytest.raises(TransientError):
            await consumer.probe()
        consul.server.cluster.local.reset(500, new_cluster=True, wipe=False)
        await consul.switch(refuse={**refusal, "count": 1, "match": "ca/roots"})
        await consumer.probe()
        await consul.register("web", Port=81)
        event = (await consumer.until(len))[-1]
        assert epoch(event) > epoch(first)


async def test_a_cluster_that_lost_its_data_is_compared_with_what_was(consul):
    for name in ("web", "db"):
        await consul.register(name)
    async with consuming(consul.settings("web", "db", hold_removals_over=1.0)) as consumer:
        await consumer.settle()
        await consul.switch(reset={"index": 1, "new_cluster": True, "wipe": True})
        await consul.register("web", Port=81)
        events = await consumer.settle()
        assert sorted(told(events)) == [
            ("instance_changed", "web"),
            ("instance_removed", "db"),
            ("service_deregistered", "db"),
        ]
