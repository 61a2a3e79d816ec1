"""What every part of the local cloud does alike: start, say one ready line, answer on a control port, stop cleanly."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PARENT_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """A running part.

    `settings` are the settings a client needs (`{"ServiceBus": "Endpoint=…"}`); `faults` answers `POST /faults` with a
    JSON object (raise ValueError for one it does not know); `inspect` answers `GET /state`; `routes` adds more.
    """

    settings: Mapping[str, str]
    faults: Callable[[dict[str, Any]], Awaitable[None]] | None = None
    inspect: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    routes: tuple[web.RouteDef, ...] = field(default=())


type Start = Callable[[argparse.Namespace], AbstractAsyncContextManager[Part]]


def main(name: str, start: Start, describe: Callable[[argparse.ArgumentParser], None]) -> None:
    """Run a part as a process of its own until SIGTERM or Ctrl-C; exit code 0 after a clean stop.

    Standard output gets one line, JSON, when the part serves:
    `{"part": "broker", "pid": 7, "control": "http://127.0.0.1:40001", "settings": {…}}`. The control port answers
    `GET /health`, `GET /state` and `POST /faults`. With `--with-parent` the process ends when its parent does.
    """
    parser = argparse.ArgumentParser(prog=f"python -m local.{name}")
    parser.add_argument(
        "--control-port", type=int, default=0, help="port of /health, /state and /faults; 0: a free one"
    )
    parser.add_argument("--with-parent", action="store_true", help="stop when the starting process is gone")
    describe(parser)
    sys.exit(asyncio.run(_run(name, start, parser.parse_args())))


async def _run(name: str, start: Start, arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    async with start(arguments) as part:
        runner = web.AppRunner(_control(part), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", arguments.control_port)
        await site.start()
        port = runner.addresses[0][1]
        line = {
            "part": name,
            "pid": os.getpid(),
            "control": f"http://127.0.0.1:{port}",
            "settings": dict(part.settings),
        }
        print(json.dumps(line), flush=True)
        watcher = asyncio.create_task(_watch_parent(stop)) if arguments.with_parent else None
        await stop.wait()
        if watcher is not None:
            watcher.cancel()
        await runner.cleanup()
    return 0


async def _watch_parent(stop: asyncio.Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - the kernel sends no event for it
        await asyncio.sleep(PARENT_POLL_S)
    stop.set()


def _control(part: Part) -> web.Application:
    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def state(_: web.Request) -> web.Response:
        return web.json_response(dict(await part.inspect()) if part.inspect else {})

    async def faults(request: web.Request) -> web.Response:
        if part.faults is None:
            return web.json_response({"error": "this part has no faults"}, status=404)
        try:
            await part.faults(await request.json())
        except (ValueError, KeyError, TypeError) as why:
            return web.json_response({"error": str(why)}, status=400)
        return web.json_response({"done": True})

    app = web.Application()
    app.add_routes([web.get("/health", health), web.get("/state", state), web.post("/faults", faults), *part.routes])
    return app
