"""One host process: loads the app, starts the listeners of its functions, drains them."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.host import logs
from local.host.admin import Admin
from local.host.errors import FunctionError, HostError
from local.host.host_json import HostOptions, read_host_json
from local.host.http import HttpServer, Keys
from local.host.identity import blob_client
from local.host.listeners import Listeners
from local.host.settings import Settings, load_local_settings
from local.host.storage import BlobStorage
from local.host.worker import Worker, select
from local.part import Part

STORAGE = "AzureWebJobsStorage"

_log = logging.getLogger("Host")


@dataclass(frozen=True, slots=True)
class Launch:
    """How a host is started; `functions` is a comma-separated list, None for all of them.

    `drain_s` is how long running invocations may take to end after SIGTERM.
    """

    app: Path
    settings: Path | None = None
    functions: str | None = None
    port: int = 0
    key: str = ""
    instance: str = ""
    drain_s: float = 30.0


async def load(launch: Launch) -> tuple[Worker, Settings, HostOptions]:
    """Read the settings and `host.json`, and index the app.

    Raises:
        HostError: the app cannot be run.
    """
    if launch.settings is not None:
        load_local_settings(launch.settings, os.environ)
    options = read_host_json(launch.app / "host.json", os.environ)
    try:
        logs.set_levels(options.log_levels)
    except ValueError as why:
        message = f"host.json: {why}"
        raise HostError(message) from why
    worker = await Worker.load(launch.app, options.function_timeout)
    return worker, Settings(os.environ), options


@asynccontextmanager
async def running(launch: Launch) -> AsyncIterator[Part]:
    """Run the app in this process; on leaving, drain: running invocations end, their messages are settled.

    Raises:
        HostError: the app cannot be run, or none of its functions can.
    """
    worker, settings, options = await load(launch)
    functions = tuple(
        each for each in select(worker.functions, launch.functions) if not settings.is_disabled(each.name)
    )
    host_id = settings.get("AzureFunctionsWebHost__hostid") or _host_id(launch.app)
    listeners = Listeners(worker, settings, options)
    keys = Keys(launch.key or secrets.token_urlsafe(24), secrets.token_urlsafe(24))
    admin = Admin(worker, host_id, listeners.errors)
    async with AsyncExitStack() as stack:
        storage = await _storage(stack, settings, options, host_id, launch.instance)
        listeners.prepare(functions, storage)
        http = [function for function in functions if function.kind == "httpTrigger"]
        server = HttpServer(worker, http, options.route_prefix, keys, admin.routes)
        urls = {"HttpUrl": await server.start(launch.port)} if http else {}
        stack.push_async_callback(_drain, server, listeners, worker, launch.drain_s)
        listeners.start()

        async def inspect() -> Mapping[str, Any]:
            return {
                "functions": {each.name: worker.counts[each.name] for each in functions},
                "errors": listeners.errors,
                "timers": listeners.next_occurrences(),
                "keys": {"master": keys.master, "function": keys.function},
            }

        yield Part(settings=urls, inspect=inspect, routes=admin.routes)


async def _drain(server: HttpServer, listeners: Listeners, worker: Worker, within_s: float) -> None:
    exit_at_once_when_told_again()
    server.drain()
    try:
        async with asyncio.timeout(within_s):
            await listeners.drain()
            await server.close()
            await worker.drain()
    except TimeoutError:
        _log.error("The host ends without invocations that did not end within %g s", within_s)
        logging.shutdown()
        os._exit(1)  # their threads would be waited for without end


async def _storage(
    stack: AsyncExitStack, settings: Settings, options: HostOptions, host_id: str, instance: str
) -> BlobStorage | None:
    """Return where timers share their status and locks; None without AzureWebJobsStorage: then we are the only one."""
    connection = settings.connection(STORAGE)
    if connection is None:
        return None
    try:
        client = blob_client(STORAGE, connection)
    except FunctionError as why:
        raise HostError(str(why)) from why
    await stack.enter_async_context(client)
    return BlobStorage(client, host_id, options.singleton, instance or uuid.uuid4().hex)


def _host_id(app: Path) -> str:
    """Tell apps on one storage account apart, as Azure does by the name of the site."""
    return f"{socket.gethostname()[:20]}-{zlib.crc32(str(app).encode()):08x}".lower()


def exit_at_once_when_told_again(*before: Callable[[], None]) -> None:
    """Let the next signal end the process without draining, after calling `before`."""
    _log.info("The host is draining")

    def end() -> None:
        for call in before:
            call()
        os._exit(1)

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, end)
