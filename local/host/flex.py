"""One process per scale group, as on Flex Consumption: HTTP functions together, every other function alone.

What functions share in memory by accident is then not shared, as in Azure.
"""

import asyncio
import json
import logging
import secrets
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, web

from local.host.errors import HostError
from local.host.host import Launch, exit_at_once_when_told_again, load
from local.host.waiting import set_within
from local.host.worker import select
from local.part import Part
from shared.schedule import backoff

ROOT = Path(__file__).parents[2]
READY_S = 60.0
STOP_S = 10.0  # beyond the time to drain
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 10.0

_log = logging.getLogger("Host.Flex")


@asynccontextmanager
async def running_by_group(launch: Launch) -> AsyncIterator[Part]:
    """Run the app's scale groups as processes; one that dies is started again. On leaving, all of them drain.

    Raises:
        HostError: the app cannot be run.
    """
    worker, settings, _ = await load(launch)
    launch = replace(launch, key=launch.key or secrets.token_urlsafe(24), instance=launch.instance or uuid.uuid4().hex)
    groups: dict[str, list[str]] = {}
    for function in select(worker.functions, launch.functions):
        if not settings.is_disabled(function.name):
            groups.setdefault(function.scale_group, []).append(function.name)
    children = [_Child(name, replace(launch, functions=",".join(names))) for name, names in groups.items()]
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession())
        stack.push_async_callback(_stop_all, children)
        stack.callback(exit_at_once_when_told_again, *(child.kill for child in children))
        await asyncio.gather(*(child.start() for child in children))

        async def inspect() -> Mapping[str, Any]:
            return {child.name: await child.state(session) for child in children}

        async def run_by_hand(request: web.Request) -> web.Response:
            for child in children:
                if request.match_info["name"].lower() in child.functions:
                    async with session.post(f"{child.control}{request.path}") as answer:
                        return web.Response(status=answer.status, body=await answer.read())
            return web.Response(status=404)

        settings_of_all = {name: value for child in children for name, value in child.settings.items()}
        yield Part(
            settings=settings_of_all,
            inspect=inspect,
            routes=(web.post("/admin/functions/{name}", run_by_hand),),
        )


class _Child:
    """The process of one scale group."""

    def __init__(self, name: str, launch: Launch) -> None:
        self.name = name
        self.functions = [each.lower() for each in (launch.functions or "").split(",")]
        self.settings: dict[str, str] = {}
        self.control = ""
        self._launch = launch
        self._stop = asyncio.Event()
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process, wait until it is ready, and keep it running from then on.

        Raises:
            HostError: it ended, or was not ready in time; its log says why.
        """
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def state(self, session: ClientSession) -> Any:
        """Return what the process says about itself, and its id; only the id while it is starting again."""
        pid = self._process.pid if self._process else None
        with suppress(ClientError, ValueError):
            async with session.get(f"{self.control}/state") as answer:
                return {"pid": pid, **await answer.json()}
        return {"pid": pid}

    async def stop(self) -> None:
        """Drain the process; kill it when that takes too long."""
        self._stop.set()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), self._launch.drain_s + STOP_S)
            self.kill()
        if self._keeper is not None:
            await self._keeper

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _spawn(self) -> None:
        launch = self._launch  # its key may begin with a dash: that has to stay one argument with its option
        arguments = [
            *("--app", str(launch.app), "--functions", launch.functions or "", f"--key={launch.key}"),
            *("--port", str(launch.port), "--instance", launch.instance),
            *("--drain", str(launch.drain_s), "--with-parent"),
        ]
        # In a session of its own, so that Ctrl-C reaches the parent alone: a second signal means "at once".
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local.host"), *arguments, cwd=ROOT, stdout=PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        try:
            line = json.loads(await asyncio.wait_for(self._process.stdout.readline(), READY_S))
        except (ValueError, TimeoutError) as why:
            self.kill()
            message = f"the process of {launch.functions} did not become ready"
            raise HostError(message) from why
        self.settings = line["settings"]
        self.control = line["control"]
        if "HttpUrl" in self.settings:  # the port stays the same over restarts
            self._launch = replace(launch, port=int(self.settings["HttpUrl"].rpartition(":")[2]))

    async def _keep(self) -> None:
        failures = 0
        while True:
            assert self._process is not None
            began = asyncio.get_running_loop().time()
            code = await self._process.wait()
            if self._stop.is_set():
                return
            lived_s = asyncio.get_running_loop().time() - began
            failures = 1 if lived_s > LONGEST_WAIT_S else failures + 1
            _log.error("The process of %s ended with code %s and is started again", self._launch.functions, code)
            if await set_within(self._stop, backoff(failures, FIRST_WAIT_S, LONGEST_WAIT_S, 0)):
                return
            with suppress(HostError):  # it is dead then, and waited for above
                await self._spawn()


async def _stop_all(children: list[_Child]) -> None:
    await asyncio.gather(*(child.stop() for child in children))
