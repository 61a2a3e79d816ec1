"""Capture is killed while it observes Consul, at each step on the way of a change; no removal and no value is lost."""

import asyncio
from datetime import UTC, datetime
from itertools import count

import pytest

from local.demo.services import Picture
from shared import naming
from tests.chaos import steps
from tests.pipeline import Pipeline, pipeline, service_stream

SHARDS = 4
CAPTURES = ",".join(["capture", *(f"capture_{shard}" for shard in range(1, SHARDS))])
SETTINGS = f'capture {{\n  lease = "15s"\n  shards = {SHARDS}\n}}'
NODE = "node-1"
PATIENCE_S = 60.0


def service_of_each_shard() -> list[str]:
    """Name services whose streams different shards advance: what holds up one of them holds up no other."""
    names: dict[int, str] = {}
    numbers = count(1)
    while len(names) < SHARDS:
        service = f"service-{next(numbers)}"
        names.setdefault(naming.bucket(service_stream(service)) % SHARDS, service)
    return [names[shard] for shard in range(SHARDS)]


class Catalog:
    """What is registered: the port of each instance, by service."""

    def __init__(self, line: Pipeline, services: list[str]) -> None:
        self.line = line
        self.ports: dict[str, dict[str, int]] = {service: {} for service in services}

    async def register(self, service: str, *ids: str, port: int) -> None:
        for key in ids:
            entry = {"Service": service, "ID": f"{service}-{key}", "Port": port}
            await self._put("register", {"Node": NODE, "Address": "192.0.2.1", "Service": entry})
            self.ports[service][f"{service}-{key}"] = port

    async def deregister(self, service: str, key: str) -> None:
        await self._put("deregister", {"Node": NODE, "ServiceID": f"{service}-{key}"})
        del self.ports[service][f"{service}-{key}"]

    async def _put(self, verb: str, body: dict[str, object]) -> None:
        url = f"{self.line.cloud.settings['Consul']}/v1/catalog/{verb}"
        async with self.line.session.put(url, json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def picture(self, service: str) -> Picture:
        """Return what a consumer knows; the events fit one another, each once."""
        picture = Picture()
        for body in await self.line.bodies(service_stream(service)):
            picture.take(body, datetime.now(UTC))
        assert not picture.wrong
        return picture

    async def arrive(self) -> None:
        """Wait until every consumer has the picture that is there."""
        ends = asyncio.get_running_loop().time() + PATIENCE_S
        for service, ports in self.ports.items():
            while {key: row["Port"] for (_, key), row in (await self.picture(service)).rows.items()} != ports:
                if asyncio.get_running_loop().time() > ends:
                    picture = await self.picture(service)
                    pytest.fail(f"{service}: {picture.rows} instead of {ports}; {self.line.log('*')[-4000:]}")
                await asyncio.sleep(0.05)


@pytest.mark.timeout(150)
@pytest.mark.parametrize("fate", ["lost", "late", "unanswered"])
async def test_a_capture_killed_at_any_step_between_consul_and_the_topic_loses_nothing(tmp_path, fate):
    look, write, send, save = services = service_of_each_shard()
    held = {
        look: steps.observe(look),
        write: steps.journal(write),
        save: steps.progress(service_stream(save)),
        send: steps.ingest(),  # holds up the sends of every shard: after the save, which follows one
    }
    async with pipeline(tmp_path, settings=SETTINGS, services=services) as line:
        await line.start("deliver")
        capture = await line.start(CAPTURES)
        catalog = Catalog(line, services)
        for service in services:
            await catalog.register(service, "a", "b", "c", port=80)
        await catalog.arrive()
        for service, step in held.items():
            await step.hold(line, "after" if fate == "unanswered" else "before")
            await catalog.deregister(service, "a")
            await catalog.register(service, "b", port=81)
            await step.held(line)
        await capture.kill()
        if fate != "late":
            await asyncio.gather(*(step.release(line, drop=fate == "lost") for step in held.values()))
        for service in services:
            await catalog.deregister(service, "c")
            await catalog.register(service, "d", port=80)
        await line.start(CAPTURES)
        await catalog.arrive()
        if fate == "late":
            await asyncio.gather(*(step.release(line, drop=False) for step in held.values()))
            for service in services:
                await catalog.deregister(service, "d")
            await catalog.arrive()
