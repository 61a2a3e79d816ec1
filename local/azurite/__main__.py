"""`python -m local.azurite`: blob, queue and table storage on this machine.

Faults, one JSON object per `POST /faults`; `match` is a regular expression, searched in the path with its query (as
sent and decoded), the lease action, and the body of a table batch:

- `{"pause": {"match": "…", "method": "PUT", "after": 1, "when": "before"}}` holds the n-th matching request, before
  Azurite gets it or `"after"` it answered; `GET /state` lists it under `paused`
- `{"resume": 7}` or `{"resume": "all"}`, with `"drop": true` to cut the connection instead
- `{"fail": {"match": "…", "status": 503, "count": 1}}` refuses the next matching requests
- `{"delay_s": 0.2, "match": "…"}` delays every matching request, 0 ends it
- `{"outage_s": 3}`, `{"outage": true}` cuts and refuses connections; `{"outage": false}` ends it
- `{"restart": true}` restarts Azurite over its data; `{"clear": true}` ends pauses, refusals and delays
- `{"reset_counts": true}` starts counting requests afresh
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from local.azurite.faults import Faults
from local.azurite.proxy import Proxy
from local.azurite.server import SERVICES, Azurite
from local.part import Part, main
from local.ports import HOST

# The account every storage emulator has; the key is public.
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#use-a-well-known-storage-account-and-key
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Storage:
    """Azurite, the proxies before it, and the faults of both."""

    def __init__(self, azurite: Azurite, proxies: Mapping[str, Proxy], faults: Faults) -> None:
        self.azurite = azurite
        self.proxies = proxies
        self.faults = faults
        self._outage: asyncio.Task[None] | None = None

    def connection_string(self) -> str:
        """What clients connect with."""
        endpoints = [
            f"{service.capitalize()}Endpoint=http://{HOST}:{proxy.port}/{ACCOUNT};"
            for service, proxy in self.proxies.items()
        ]
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};{''.join(endpoints)}"

    async def apply(self, fault: dict[str, Any]) -> None:
        """Do what one fault says; ValueError for one that is not understood."""
        match fault:
            case {"outage": bool(away), **rest} if not rest:
                self._shut()
                if not away:
                    await self._open()
            case {"outage_s": int() | float() as seconds, **rest} if not rest:
                self._shut()
                self._outage = asyncio.create_task(self._open(after_s=seconds))
            case {"restart": True, **rest} if not rest:
                await self._restart()
            case {"reset_counts": True, **rest} if not rest:
                for proxy in self.proxies.values():
                    proxy.count = 0
                    proxy.last.clear()
            case _:
                self.faults.apply(fault)

    async def state(self) -> Mapping[str, Any]:
        """Return the requests seen per service and the ones that are held."""
        held = self.faults.held.values()
        return {
            "azurite": self.azurite.pid,
            "paused": [
                {"id": one.id, "method": one.seen.method, "path": one.seen.path, "when": one.when} for one in held
            ],
            "counts": {service: proxy.count for service, proxy in self.proxies.items()},
            "last": {service: list(proxy.last) for service, proxy in self.proxies.items()},
        }

    async def _restart(self) -> None:
        if self.azurite.data is None:
            message = "restart: without --data nothing would survive it"
            raise ValueError(message)
        self._shut()
        await self.azurite.stop()
        await self.azurite.start()
        await self._open()

    def _shut(self) -> None:
        if self._outage:
            self._outage.cancel()
        for proxy in self.proxies.values():
            proxy.shut()

    async def _open(self, after_s: float = 0.0) -> None:
        await asyncio.sleep(after_s)
        for proxy in self.proxies.values():
            await proxy.open()


@asynccontextmanager
async def start(arguments: argparse.Namespace) -> AsyncIterator[Part]:
    """Serve storage; when Azurite dies the body is cancelled and RuntimeError raised, so the process ends with it."""
    azurite = Azurite(arguments.data)
    faults = Faults()

    def proxy_of(service: str) -> Proxy:
        return Proxy(service, getattr(arguments, f"{service}_port"), lambda: azurite.ports[service], faults)

    async with AsyncExitStack() as stack:
        stack.push_async_callback(azurite.stop)
        await azurite.start()
        proxies = {service: proxy_of(service) for service in SERVICES}
        for proxy in proxies.values():
            stack.push_async_callback(proxy.stop)
            await proxy.start()
        stack.callback(faults.apply, {"resume": "all", "drop": True})
        storage = Storage(azurite, proxies, faults)
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_end_with(azurite))
            yield Part({"AzureWebJobsStorage": storage.connection_string()}, storage.apply, storage.state)
            watch.cancel()


async def _end_with(azurite: Azurite) -> None:
    message = f"Azurite died, exit code {await azurite.died}"
    raise RuntimeError(message)


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for service in SERVICES:
        parser.add_argument(f"--{service}-port", type=int, default=0, help=f"port of the {service} service; 0: free")
    parser.add_argument("--data", type=Path, help="folder that keeps the data; in memory without it")


if __name__ == "__main__":
    main("azurite", start, describe)
