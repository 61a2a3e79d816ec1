"""A real `consul agent -dev` behind the same part, where the executable is on PATH."""

import argparse
import asyncio
import contextlib
import json
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession

from local.consul.acl import ANONYMOUS
from local.part import Part
from local.ports import HOST, reserve

READY_S = 30.0
STOP_S = 10.0
_POLL_S = 0.05
_OWN_PORTS = ("server", "serf_lan", "serf_wan")
_RESTART = {"wipe": True, "new_cluster": True}


def executable() -> str | None:
    """Return the path of `consul`, where it is installed."""
    return shutil.which("consul")


class Agent:
    """The process; it keeps its port when it is started again, and nothing else."""

    def __init__(self, command: list[str], port: int) -> None:
        self.address = f"http://{HOST}:{port}"
        self._command = command
        self._process: Process | None = None
        self._restarting = asyncio.Lock()

    async def start(self) -> None:
        """Start the agent and wait until it leads itself and has registered itself.

        Raises:
            RuntimeError: it ended, or was too slow.
        """
        # Its words belong to the log: standard output is the part's ready line.
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=sys.stderr)
        try:
            async with asyncio.timeout(READY_S), ClientSession() as session:
                while not await self._is_ready(session):
                    if self._process.returncode is not None:
                        message = f"consul ended with exit code {self._process.returncode}"
                        raise RuntimeError(message)
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            await self.stop()
            message = f"consul was not ready within {READY_S:g} s"
            raise RuntimeError(message) from None

    async def stop(self) -> None:
        """End the agent, by force when it does not end by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def died(self) -> None:
        """Return when the agent ended and nobody had asked for it."""
        while True:
            process = self._process
            assert process is not None
            await process.wait()
            async with self._restarting:
                if self._process is process:
                    return

    async def fault(self, wanted: dict[str, Any]) -> None:
        """Restart the agent, which loses data and identity, for `{"reset": {"wipe": true, "new_cluster": true}}`.

        Raises:
            ValueError: something else is wanted.
        """
        if wanted != {"reset": _RESTART}:
            message = f'a real agent can be restarted ({{"reset": {_RESTART}}}) and no more: start it with --stand-in'
            raise ValueError(message)
        async with self._restarting:
            await self.stop()
            await self.start()

    async def state(self) -> Mapping[str, Any]:
        """Return what can be seen from outside."""
        return {"command": self._command, "consul": self._process.pid if self._process else None}

    async def _is_ready(self, session: ClientSession) -> bool:
        try:
            async with session.get(f"{self.address}/v1/catalog/services") as answer:
                return answer.status == 200 and "consul" in await answer.json()
        except ClientError:
            return False


def start(consul: str, arguments: argparse.Namespace) -> AbstractAsyncContextManager[Part]:
    """Return `consul agent -dev`, running while its block does; when it dies, RuntimeError in the block's place.

    Raises:
        ValueError: an option only works with the stand-in.
    """
    given = {"--acl": arguments.acl, "--tls-cert": arguments.tls_cert, "--tls-key": arguments.tls_key}
    given |= {"--tls-client-ca": arguments.tls_client_ca, "second --datacenter": (arguments.datacenter or [])[1:]}
    if refused := [option for option, value in given.items() if value]:
        message = f"{consul} is used, for which there is no {', '.join(refused)}: add --stand-in"
        raise ValueError(message)
    return _running(consul, arguments)


@asynccontextmanager
async def _running(consul: str, arguments: argparse.Namespace) -> AsyncIterator[Part]:
    async with AsyncExitStack() as stack:
        reserved = [stack.enter_context(reserve(port)) for port in (arguments.port, *(0 for _ in _OWN_PORTS))]
        ports = dict(zip(("http", *_OWN_PORTS), map(_number, reserved), strict=True))
        configuration = {
            "node_name": arguments.node,
            "datacenter": (arguments.datacenter or ["dc1"])[0],
            "bind_addr": HOST,
            "client_addr": HOST,
            "log_level": "warn",
            "ports": {**ports, "dns": -1, "grpc": -1, "grpc_tls": -1},
            "limits": {"http_max_conns_per_client": arguments.max_connections},
        }
        file = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="consul-"))) / "agent.json"
        file.write_text(json.dumps(configuration))
        command, http = [consul, "agent", "-dev", f"-config-file={file}"], ports["http"]
        agent = Agent(command, http)
        stack.push_async_callback(agent.stop)
        await agent.start()
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(_end_with(agent))
            yield Part({"Consul": agent.address, "ConsulToken": ANONYMOUS}, agent.fault, agent.state)
            watch.cancel()


async def _end_with(agent: Agent) -> None:
    await agent.died()
    message = "consul died"
    raise RuntimeError(message)


def _number(reserved: socket.socket) -> int:
    port: int = reserved.getsockname()[1]
    return port
