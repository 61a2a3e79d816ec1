"""The local cloud: its parts as processes that find each other, for `python -m local`, the demo and the tests.

async with running(("azurite", "broker"), tmp_path) as cloud:
    client = ServiceBusClient.from_connection_string(cloud.settings["ServiceBus"])
    await cloud.part("broker").fault({"outage_s": 3})
"""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from local.configuration import app_settings, read
from local.entities import config
from local.entities import entities as entities_of
from local.ports import reserve
from local.process import PartError, PartProcess

PORTS: Mapping[str, Mapping[str, int]] = {
    "azurite": {"blob-port": 10000, "queue-port": 10001, "table-port": 10002},
    "sqlserver": {"port": 1433},
    "consul": {"port": 8500},
    "broker": {"port": 5672, "administration-port": 5300},
    "host": {"port": 7071},
}
"""The port options of every part, in the order of their start, with the numbers these servers usually have."""

BROKER_KEY = "SAS_KEY_VALUE"
"""The key that Microsoft's emulator has: clients need no new settings when the broker starts again."""

ENDPOINTS = "endpoints.json"
_RESTART_S = 0.5
_MAX_RESTART_S = 10.0
_log = logging.getLogger(__name__)


class Cloud:
    """The running parts; made by `running`."""

    def __init__(self, directory: Path, session: ClientSession, arguments: Mapping[str, Sequence[str]]) -> None:
        self.directory = directory
        self._session = session
        self._arguments = arguments
        self._parts: dict[str, PartProcess] = {}

    @property
    def settings(self) -> dict[str, str]:
        """What clients need, as settings of a function app: ServiceBus, SqlServer, Consul, and so on."""
        return {name: value for part in self.parts() for name, value in part.settings.items()}

    def part(self, name: str) -> PartProcess:
        """Return one part; KeyError for one that was not asked for."""
        return self._parts[name]

    def parts(self) -> Sequence[PartProcess]:
        """Return the parts, in the order in which they start."""
        return [self._parts[name] for name in PORTS if name in self._parts]

    async def launch(self, names: Iterable[str], environment: Mapping[str, str]) -> None:
        """Start those of `names` that were asked for and do not run yet, side by side.

        Raises:
            PartError: one of them did not become healthy.
        """
        parts = [
            PartProcess(name, self._arguments[name], environment, self.directory / f"{name}.log", self._session)
            for name in names
            if name in self._arguments and name not in self._parts
        ]
        self._parts |= {part.name: part for part in parts}
        outcomes = await asyncio.gather(*(part.start() for part in parts), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def stop(self) -> None:
        """Stop every part: first the host, that it can finish what it works on, then all it talks to."""
        if "host" in self._parts:
            await self.part("host").stop()
        await asyncio.gather(*(part.stop() for part in self.parts()))

    def publish(self) -> None:
        """Write `endpoints.json`: the settings, and pid and control address of each part under `parts`."""
        parts = {part.name: {"pid": part.pid, "control": part.control} for part in self.parts()}
        written = self.directory / f"{ENDPOINTS}.new"
        written.write_text(json.dumps({**self.settings, "parts": parts}, indent=2) + "\n")
        written.replace(self.directory / ENDPOINTS)

    def retract(self) -> None:
        """Take `endpoints.json` away, also one that a killed supervisor left."""
        (self.directory / ENDPOINTS).unlink(missing_ok=True)

    async def revive(self, part: PartProcess) -> None:
        """Start a part again whenever it dies, after a pause that doubles while it keeps dying."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while True:
            started = loop.time()
            await part.died.wait()
            lasted = loop.time() - started > _MAX_RESTART_S
            pause = _RESTART_S if lasted else min(max(2 * pause, _RESTART_S), _MAX_RESTART_S)
            _log.warning("%s died, starting it again in %s s; its log: %s", part.name, pause, part.log)
            await asyncio.sleep(pause)
            try:
                await part.restart()
            except PartError as why:
                _log.error("%s", why)
                part.died.set()
            else:
                self.publish()
                _log.warning("%s runs again, pid %d", part.name, part.pid)


@asynccontextmanager
async def running(
    parts: Iterable[str],
    directory: Path,
    *,
    settings_file: Path | None = None,
    entities: Mapping[str, Any] | None = None,
    ports: Mapping[str, Mapping[str, int]] | None = None,
    options: Mapping[str, Sequence[str]] | None = None,
    environment: Mapping[str, str] | None = None,
    before_host: Callable[[Cloud], Awaitable[None]] | None = None,
    revive: bool = False,
) -> AsyncIterator[Cloud]:
    """Run these parts until the block ends; their state, logs and `endpoints.json` are in `directory`.

    Args:
        parts: of `PORTS`.
        directory: where the data of an earlier run is found again; used by one cloud at a time.
        settings_file: a `sluice.hcl`; the broker gets the entities it needs, and the host works by it.
        entities: the broker's Config.json (`local.entities`) where there is no settings file.
        ports: fixed ports, as in `PORTS`; free ones otherwise. A part keeps its ports when it is started again.
        options: further arguments of a part.
        environment: further environment of every part; in the host's, the settings of the running parts win.
        before_host: awaited when everything but the host runs.
        revive: start a part again when it dies.

    Raises:
        PartError: a part did not become healthy.
        InvalidConfigError: the settings file cannot work.
        OSError: a fixed port is taken.
    """
    wanted = set(parts)
    if unknown := wanted - PORTS.keys():
        message = f"no such part: {', '.join(sorted(unknown))} (there are {', '.join(PORTS)})"
        raise ValueError(message)
    directory = _folder(directory)
    environment = environment or {}
    async with AsyncExitStack() as stack:
        arguments = {name: _ports(stack, name, (ports or {}).get(name, {})) for name in wanted}
        arguments.get("azurite", []).extend(("--data", str(directory / "azurite")))
        arguments.get("host", []).extend(("--mode", "flex", "--instance", "local"))
        for name, more in (options or {}).items():
            arguments[name].extend(more)
        cloud = Cloud(directory, await stack.enter_async_context(ClientSession()), arguments)
        stack.push_async_callback(cloud.stop)
        cloud.retract()
        stack.callback(cloud.retract)
        if settings_file is not None and wanted & {"broker", "host"}:
            await cloud.launch(("azurite", "sqlserver", "consul"), environment)
            settings = read(settings_file, {**os.environ, **environment, **cloud.settings})
            entities, environment = entities_of(settings), {**environment, **app_settings(settings)}
        arguments.get("broker", [])[:0] = _broker(directory, entities or config())
        await cloud.launch(("azurite", "sqlserver", "consul", "broker"), environment)
        if before_host is not None:
            await before_host(cloud)
        await cloud.launch(("host",), {**environment, **cloud.settings})
        cloud.publish()
        if revive:
            for part in cloud.parts():
                stack.push_async_callback(_end, asyncio.create_task(cloud.revive(part)))
        yield cloud


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _folder(directory: Path) -> Path:
    """Make the folder; parts run elsewhere, so its name has to be absolute."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory.absolute()


def _ports(stack: AsyncExitStack, name: str, fixed: Mapping[str, int]) -> list[str]:
    """Reserve the ports of a part for as long as the cloud runs; return them as options."""
    reserved = {option: stack.enter_context(reserve(fixed.get(option, 0))) for option in (*PORTS[name], "control-port")}
    return [f"--{option}={socket.getsockname()[1]}" for option, socket in reserved.items()]


def _broker(directory: Path, entities: Mapping[str, Any]) -> Sequence[str]:
    file = directory / "Config.json"
    file.write_text(json.dumps(entities, indent=2) + "\n")
    return ["--config", str(file), "--key", BROKER_KEY, "--ca-file", str(directory / "broker-ca.pem")]
