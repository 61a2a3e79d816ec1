"""Azurite as a child process that never outlives its part and never shares its data folder."""

import asyncio
import fcntl
import os
import re
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "node_modules/azurite/dist/src/azurite.js"
START_S = 30.0
STOP_S = 10.0
LOCK_S = 15.0
POLL_S = 0.05
SERVICES = ("blob", "queue", "table")

# Azurite does not notice when its parent dies; standard input does. It saves and ends as after a SIGTERM, and what it
# then says to its closed standard output must not stop it.
_END_WITH_PARENT = (
    "data:text/javascript,process.stdin.on('end',()=>process.kill(process.pid,'SIGTERM')).resume().unref();"
    "process.stdout.on('error',()=>{})"
)
_LISTENS = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at http://127\.0\.0\.1:(\d+)")


class Azurite:
    """One Azurite over `data`, in memory when None.

    `ports` are its own ports by service, new after every start. It writes its tables and blob lists every five seconds
    and when it is told to end: a SIGKILL of Azurite itself loses what was acknowledged since, one of the part does not.
    """

    def __init__(self, data: Path | None) -> None:
        self.data = data
        if data:
            data.mkdir(parents=True, exist_ok=True)
        self.ports: dict[str, int] = {}
        self.died: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._process: Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of Azurite, None while it is stopped."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start and wait until all three services listen.

        Raises:
            RuntimeError: Azurite is not installed, ended at once, or the folder is in use.
        """
        if not SCRIPT.exists():
            message = f"Azurite is not installed: run `npm ci` in {SCRIPT.parents[4]}"
            raise RuntimeError(message)
        lock = await _lock(self.data) if self.data else None
        try:
            where = ["--location", str(self.data)] if self.data else ["--inMemoryPersistence"]
            ports = [f"--{service}Port=0" for service in SERVICES]
            flags = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
            command = ["node", "--import", _END_WITH_PARENT, str(SCRIPT), *where, *ports, *flags]
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, pass_fds=(lock,) if lock else ()
            )
        finally:
            if lock:
                os.close(lock)  # from here on the child alone holds it
        self._process = process
        async with asyncio.timeout(START_S):
            self.ports = await _listening(process)
        self._watcher = asyncio.create_task(self._watch(process))

    async def stop(self) -> None:
        """End Azurite so that everything acknowledged is on disk."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._watcher:
            await self._watcher

    async def _watch(self, process: Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            sys.stderr.write(line.decode(errors="replace"))
        code = await process.wait()
        if self._process is process:
            self.died.set_result(code)


async def _listening(process: Process) -> dict[str, int]:
    assert process.stdout
    ports: dict[str, int] = {}
    while len(ports) < len(SERVICES):
        line = (await process.stdout.readline()).decode(errors="replace")
        if not line:
            message = f"Azurite ended while starting, exit code {await process.wait()}"
            raise RuntimeError(message)
        if found := _LISTENS.search(line):
            ports[found[1].lower()] = int(found[2])
    return ports


async def _lock(data: Path) -> int:
    """Return a descriptor that locks the folder; an Azurite that is still saving there holds it until it is done."""
    lock = os.open(data / ".lock", os.O_RDWR | os.O_CREAT)
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(lock)
                message = f"another Azurite uses {data}"
                raise RuntimeError(message) from None
            await asyncio.sleep(POLL_S)
        else:
            return lock
