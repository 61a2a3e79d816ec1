"""Two sources in one capture: one that hangs does not hold up the other."""

import asyncio
import time

import pytest

from tests.pipeline import POLL_S, Pipeline, pipeline, service_stream

HANGS_S = 120.0
SOON_S = 8.0
"""Long enough for a tick and a delivery on a busy machine, shorter than any source waits for an answer."""
ROUNDS = 4


class Both:
    """A table and a service, and how long a change of either takes to its topic."""

    def __init__(self, line: Pipeline) -> None:
        self.line = line
        self.port = 8_000

    async def row(self) -> float:
        began = time.monotonic()
        await self.line.commit(1)
        await self.line.arrive()
        return time.monotonic() - began

    async def instance(self) -> float:
        self.port += 1
        began = time.monotonic()
        service = {"Service": "web", "ID": "web-1", "Port": self.port}
        url = f"{self.line.cloud.settings['Consul']}/v1/catalog/register"
        async with self.line.session.put(url, json={"Node": "n1", "Address": "10.0.0.1", "Service": service}) as answer:
            assert answer.status == 200
        async with asyncio.timeout(60):
            while not await self._arrived():  # noqa: ASYNC110 - the topic has no event for it
                await asyncio.sleep(POLL_S)
        return time.monotonic() - began

    async def _arrived(self) -> bool:
        return self.port in [body["data"]["Port"] for body in await self.line.bodies(service_stream("web"))]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("hanging", ["consul", "sqlserver"])
async def test_a_source_that_hangs_does_not_hold_up_the_other(tmp_path, hanging):
    async with pipeline(tmp_path, services=["web"]) as line:
        await line.start("deliver")
        await line.start("capture")
        both = Both(line)
        await both.row()
        await both.instance()
        part = line.cloud.part(hanging)
        await part.fault({"delay_s": HANGS_S, **({"match": "^GET"} if hanging == "consul" else {})})
        await part.fault({"reset_counts": True})
        await part.until(lambda state: state["requests" if hanging == "consul" else "statements"])
        change = both.row if hanging == "consul" else both.instance
        took = [await change() for _ in range(ROUNDS)]
        assert max(took) < SOON_S, took
