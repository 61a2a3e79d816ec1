"""What observing is measured beside: everything is asked for again and again, and compared with what it was.

A round is one request for the catalog and one for the health of each service, at the pace and over as many connections
as observing has. An answer that is the same, byte for byte, is not even decoded; what is kept of one is its bytes, as
they came.
"""

import asyncio
import sys
import time
from urllib.parse import quote

import aiohttp
import msgspec

from benchmarks.observing import DATACENTER
from benchmarks.subject import Answer, serve
from shared.clock import SystemClock
from shared.settings.model import ConsulSettings
from shared.sources.consul import changes, rows
from shared.sources.consul.reads import Bucket

_DEFAULTS = ConsulSettings("bench", "")


class Polling:
    """One round after the other."""

    def __init__(self, address: str) -> None:
        self.found: dict[str, float] = {}
        self._address = address
        self._bodies: dict[str, bytes] = {}
        self._events = 0
        self._session: aiohttp.ClientSession | None = None
        self._pace = Bucket(_DEFAULTS.requests_per_second, _DEFAULTS.connections, SystemClock())

    async def run(self) -> None:
        """Connect and serve."""
        connector = aiohttp.TCPConnector(limit=_DEFAULTS.connections)
        async with aiohttp.ClientSession(connector=connector) as self._session:
            await serve(self)

    async def look(self) -> None:
        """Go through one round."""
        names = msgspec.json.decode(await self._get("/v1/catalog/services"), type=dict[str, list[str]])
        line = iter(sorted({*names, *self._bodies}))

        async def take() -> None:
            for name in line:
                await self._compare(name)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_DEFAULTS.connections):
                tasks.create_task(take())

    async def figures(self) -> Answer:
        """Return how many changes were found since the last time."""
        events, self._events = self._events, 0
        return {"events": events}

    async def _compare(self, name: str) -> None:
        body = await self._get(f"/v1/health/service/{quote(name, safe='')}")
        before, self._bodies[name] = self._bodies.get(name, b"[]"), body
        if body != before and (found := changes.between(_rows(before), _rows(body))):
            self._events += len(found)
            self.found[name] = time.monotonic()

    async def _get(self, path: str) -> bytes:
        assert self._session is not None
        await self._pace.take()
        async with self._session.get(f"{self._address}{path}?dc={DATACENTER}&stale", raise_for_status=True) as answer:
            return await answer.read()


def _rows(body: bytes) -> rows.Rows:
    return rows.instances(msgspec.json.decode(body), DATACENTER)


if __name__ == "__main__":
    asyncio.run(Polling(sys.argv[1]).run())
