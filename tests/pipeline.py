"""A whole pipeline on the local cloud, capture and deliver each a process of its own, to be killed and watched."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyodbc
from aiohttp import ClientSession

from local.cloud import Cloud, running
from local.entities import config
from local.process import PartProcess
from local.sqlserver import driver
from shared import naming
from shared.events import Stream
from shared.settings import load
from shared.wiring import Wiring

POLL_S = 0.05
PACE_S = 0.1
"""Between rows that are committed all the time: they leave the machine to the processes that are watched."""
LOCK = "PT5S"
SHORT_LEASE = 'capture { lease = "15s" }'
"""For `settings`: how soon another capture may go on after one was killed, the shortest that there is."""


def table_stream(table: str) -> Stream:
    return naming.stream("sql1", "TestDB", "dbo", table)


CATALOG = naming.stream("consul1", "dc1", "catalog")


def service_stream(service: str) -> Stream:
    return naming.stream("consul1", "dc1", "service", service)


@dataclass
class Pipeline:
    """Tables `(ID int, Name nvarchar(200))` in the local database, and the processes that stream them.

    `name` is the type of their second column.
    """

    cloud: Cloud
    directory: Path
    tables: Sequence[str]
    environment: dict[str, str]
    session: ClientSession
    max_poll_interval: str = "1s"
    name: str = "nvarchar(200)"
    committed: dict[str, list[int]] = field(default_factory=dict)
    _processes: list[PartProcess] = field(default_factory=list)
    _connection: pyodbc.Connection | None = None
    _next: int = 1

    # ------------------------------------------------------------------ the source

    def execute(self, sql: str, *values: Any) -> None:
        self._open().execute(sql, *values)

    def rows(self, sql: str, *values: Any) -> list[Any]:
        return list(self._open().execute(sql, *values).fetchall())

    def create_tables(self) -> None:
        self.execute("EXEC sys.sp_cdc_enable_db")
        for table in self.tables:
            self.execute(f"CREATE TABLE dbo.[{table}] (ID int NOT NULL PRIMARY KEY, Name {self.name} NULL)")
            self.execute(
                f"EXEC sys.sp_cdc_enable_table @source_schema=N'dbo', @source_name=N'{table}', @role_name=NULL"
            )

    async def commit(self, count: int, *, table: str | None = None, each: int = 1) -> None:
        """Insert `count` rows, `each` to a transaction."""
        name = table or self.tables[0]
        for start in range(0, count, each):
            ids = range(self._next, self._next + min(each, count - start))
            self._next = ids.stop
            values = ", ".join(f"({key}, N'row {key}')" for key in ids)
            await asyncio.to_thread(self.execute, f"INSERT INTO dbo.[{name}] (ID, Name) VALUES {values}")
            self.committed.setdefault(name, []).extend(ids)

    @asynccontextmanager
    async def commits(self) -> AsyncIterator[None]:
        """Insert a row into each table again and again until the block ends; it commits nothing else meanwhile."""
        done = asyncio.Event()

        async def commit() -> None:
            while not done.is_set():
                for table in self.tables:
                    await self.commit(1, table=table)
                await asyncio.sleep(PACE_S)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(commit())
            try:
                yield
            finally:
                done.set()

    def _open(self) -> pyodbc.Connection:
        if self._connection is None:
            odbc = f"Driver={driver.path()};{self.cloud.settings['SqlServerOdbc']}"
            self._connection = pyodbc.connect(odbc, timeout=10, autocommit=True)
        return self._connection

    # ------------------------------------------------------------------ the product

    def configure(self, settings: str) -> None:
        """Write the configuration of the processes that are started from now on."""
        names = ", ".join(f'"{table}"' for table in self.tables)
        Path(self.environment["SLUICE_CONFIG"]).write_text(
            f"""
source "sqlserver" "sql1" {{
  connection_string = env("SqlServer")
  poll_interval     = "200ms"
  max_poll_interval = "{self.max_poll_interval}"
  tables            = [{names}]
}}
output "topics" {{
  type = "servicebus"
}}
{settings}
"""
        )

    async def start(self, functions: str, **environment: str) -> PartProcess:
        """Start a functions host that runs `functions` (`capture`, `deliver`, `health,health_reasons`).

        The next one of the same functions takes the timer's lock over at once: only the product's own lease is waited
        for. With another `AzureFunctionsWebHost__hostid` both fire.
        """
        number, name = len(self._processes), functions.partition(",")[0]
        process = PartProcess(
            "host",
            ["--functions", functions, "--instance", name],
            {**self.environment, **environment},
            self.directory / f"{name}-{number:02}.log",
            self.session,
        )
        self._processes.append(process)
        await process.start()
        return process

    def log(self, functions: str) -> str:
        """Return what every process that ran `functions`, the first of them, has logged."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob(f"{functions}-*.log")))

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run `sluice` with these arguments; return exit code, standard output and standard error."""
        process = await self.begin(*arguments)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def begin(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start `sluice` with these arguments; whoever calls waits for its end."""
        return await asyncio.create_subprocess_exec(
            str(Path(__file__).parents[1] / ".venv/bin/python"),
            "-m",
            "cli",
            *arguments,
            env={**os.environ, **self.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    @asynccontextmanager
    async def wiring(self) -> AsyncIterator[Wiring]:
        """The product's own objects in this process, for looking at states and marks."""
        wiring = Wiring(load(Path(self.environment["SLUICE_CONFIG"]), self.environment))
        try:
            yield wiring
        finally:
            await wiring.close()

    async def state(self, table: str | None = None) -> Any:
        """Return what is stored of a table's stream."""
        async with self.wiring() as wiring:
            return await wiring.states.find(table_stream(table or self.tables[0]))

    # ------------------------------------------------------------------ the destination

    async def topic(self, table: str) -> list[dict[str, Any]]:
        """Return every message that waits for the table's consumer, in order, nothing taken out."""
        return await self.messages(table_stream(table))

    async def bodies(self, stream: Stream) -> list[dict[str, Any]]:
        """Return what the messages of a stream say."""
        return [_body(message) for message in await self.messages(stream)]

    async def messages(self, stream: Stream) -> list[dict[str, Any]]:
        """Return every message that waits in the subscription of the stream's topic, in order, nothing taken out."""
        control = self.cloud.part("broker").control
        path = f"{naming.topic(stream)}/subscriptions/sub1"
        async with self.session.get(f"{control}/messages", params={"entity": path}) as answer:
            return list(await answer.json()) if answer.status == 200 else []

    async def delivered(self, table: str | None = None) -> list[int]:
        """Return the row ids that arrived, in order of their first arrival."""
        messages = await self.topic(table or self.tables[0])
        return list(dict.fromkeys(_body(message)["data"]["ID"] for message in messages))

    async def arrive(self, *, within_s: float = 60.0) -> None:
        """Wait until everything committed has arrived, and see that it arrived in order.

        Raises:
            AssertionError: it did not.
        """
        ends = asyncio.get_running_loop().time() + within_s
        for table, committed in self.committed.items():
            while (there := await self.delivered(table)) != committed:
                if asyncio.get_running_loop().time() > ends:
                    stored = await self.state(table)
                    missing = f"{len(there)} of {len(committed)}, missing {sorted(set(committed) - set(there))[:5]}"
                    msg = f"{table}: {missing}; {stored}; {self.log('*')[-4000:]}"
                    raise AssertionError(msg)
                await asyncio.sleep(POLL_S)

    async def confirmed(self, table: str | None = None, *, within_s: float = 60.0) -> None:
        """Wait until every destination has marked what was sent, and the ingest queue is empty."""
        await self.cloud.part("broker").until(
            lambda state: not any(state["entities"]["ingest-queue"][count] for count in ("active", "locked")),
            within_s=within_s,
        )

    async def close(self) -> None:
        await asyncio.gather(*(process.stop(within_s=10) for process in self._processes))
        if self._connection is not None:
            self._connection.close()


@asynccontextmanager
async def pipeline(
    directory: Path,
    *,
    tables: Sequence[str] = ("Persons",),
    settings: str = "",
    environment: Mapping[str, str] | None = None,
    lock: str = LOCK,
    max_poll_interval: str = "1s",
    name: str = "nvarchar(200)",
    services: Sequence[str] = (),
) -> AsyncIterator[Pipeline]:
    """Run storage, broker and database with captured tables; capture and deliver are started by the test.

    With `services`, Consul runs too, and is observed. `settings` is added to the configuration file: blocks such as
    `deliver { hold = "1s" }`. Under a longer `max_poll_interval` than 200 ms the state of a quiet stream is written now
    and then, with its growing interval.
    """
    streams = [*map(table_stream, tables), *([CATALOG, *map(service_stream, services)] if services else [])]
    parts = ("azurite", "broker", "sqlserver", *(("consul",) if services else ()))
    async with AsyncExitStack() as stack:
        entities = config(map(naming.topic, streams), lock=lock)
        cloud = await stack.enter_async_context(running(parts, directory / "cloud", entities=entities))
        session = await stack.enter_async_context(ClientSession())
        environ = {
            **cloud.settings,
            "SLUICE_CONFIG": str(directory / "sluice.hcl"),
            "INGEST_QUEUE": "ingest-queue",
            "CAPTURE_SCHEDULE": "* * * * * *",
            **(environment or {}),
        }
        made = Pipeline(cloud, directory, tables, environ, session, max_poll_interval, name)
        stack.push_async_callback(made.close)
        made.configure(f"{settings}\n{_consul(services)}")
        await asyncio.to_thread(made.create_tables)
        yield made


def _consul(services: Sequence[str]) -> str:
    if not services:
        return ""
    names = ", ".join(f'"{service}"' for service in services)
    return f"""
source "consul" "consul1" {{
  address    = env("Consul")
  datacenter = "dc1"
  services   = [{names}]
}}
"""


def _body(message: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(base64.b64decode(message["body"]))
    return body
