"""Thousands of services: how many requests that takes, and that nothing is left out."""

from tests.integration.consul.server import consuming, service, told

SERVICES = 2_000


async def test_two_thousand_services_are_read_once_and_then_only_what_changed(consul):
    consul.server.cluster.load(SERVICES, 2, 50)
    await consul.register("another")  # so that the index of the catalog is above that of the services
    settings = consul.settings("service-*", requests_per_second=5_000.0, connections=8)
    async with consuming(settings) as consumer:
        await consumer.discover()
        for stream in sorted(await consumer.probe()):
            await consumer.observe(stream)
        assert len(consumer.memos) == SERVICES + 1
        assert consul.counts()["GET /v1/health/service/{name}"] == SERVICES

        await consul.switch(reset_counts={})
        assert await consumer.probe() == frozenset()
        assert sum(consul.counts().values()) == 3

        await consul.check("service:service-01234-2468", "critical", "service-node-00018", "service-01234-2468")
        assert await consumer.probe() == {service("service-01234")}
        assert told(await consumer.observe(service("service-01234"))) == [("health_changed", "service-01234-2468")]
        assert consul.counts()["GET /v1/health/service/{name}"] == 1

        await consul.deregister("service-00777-1554", node="service-node-00004")
        assert told(await consumer.until(len)) == [("instance_removed", "service-00777-1554")]
        assert consul.counts()["GET /v1/health/service/{name}"] <= SERVICES + 20
        assert consul.server.requests.most_waiting <= 3
