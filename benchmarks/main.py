"""`make bench`: live CDC rows of ten columns and about 500 bytes, captured and delivered on one core.

The servers of the local cloud run on the other core. Beside each figure stands the ceiling that was measured in the
same run: for capture, the same rows read by the ODBC driver alone; for deliver, the same messages sent in prepared
batches. Times vary from machine to machine and run to run; counts are exact, and one beyond its limit exits with 1.
"""

import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import pyodbc
from aiohttp import ClientSession

from local.cloud import Cloud, running
from local.entities import config
from local.sqlserver import driver
from shared import amqp, naming, pack, routing
from shared.capture import Capture
from shared.deliver import Deliver, Incoming
from shared.events import Stream
from shared.settings import load
from shared.settings.model import Settings, SqlServerSettings
from shared.sources.sqlserver import origin
from shared.wiring import Wiring

TABLES = 4
ROWS_EACH = 10_000
ROWS = TABLES * ROWS_EACH
ROUNDS = 3
IDLE_TABLES = 1_000
LIMITS = {
    "capture_sql_statements_per_10000": 20,
    "capture_storage_calls_per_10000": 60,
    "capture_amqp_transfers_per_10000": 50,
    "deliver_storage_calls_per_10000": 100,
    "deliver_amqp_transfers_per_10000": 100,
    "idle_tick_sql_statements": 1,
    "idle_tick_storage_calls": 2,
}
"""What the counts may not exceed; times are printed and never judged."""
RESULT = Path(__file__).parent / "results" / "main.json"
COLUMNS = (
    "ID int NOT NULL PRIMARY KEY, Name nvarchar(100) NOT NULL, Mail varchar(100) NOT NULL, "
    "Amount decimal(18, 4) NOT NULL, Visits bigint NOT NULL, Ratio float NOT NULL, Active bit NOT NULL, "
    "Born date NOT NULL, Seen datetime2(7) NOT NULL, Token uniqueidentifier NOT NULL"
)
CONFIGURATION = """
source "sqlserver" "bench" {{
  connection_string = env("SqlServer")
  poll_interval     = "1s"
  max_poll_interval = "1s"
  tables            = [{tables}]
}}
"""


def main() -> None:
    """Measure, print, and write the result file."""
    result = asyncio.run(_measure())
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:<{width}}  {value:>12,.1f}" if isinstance(value, float) else f"{name:<{width}}  {value:>12,}")
    print(f"written to {RESULT.relative_to(Path.cwd()) if RESULT.is_relative_to(Path.cwd()) else RESULT}")
    beyond = [
        f"{name} is {result[name]:g}, at most {limit} is allowed"
        for name, limit in LIMITS.items()
        if result[name] > limit
    ]
    if beyond:
        sys.exit("\n".join(beyond))


async def _measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        groups = [[f"Wide{number}_{part}" for part in range(TABLES)] for number in range(ROUNDS)]
        tables = [table for group in groups for table in group]
        async with _cloud(Path(folder), tables) as (cloud, settings):
            print(f"loading {ROUNDS} x {ROWS:,} rows …", file=sys.stderr)
            for table in tables:
                await asyncio.to_thread(_load, cloud, table)
            rounds = [await _round(cloud, settings, group) for group in groups]
            counts = rounds[0][1]
            result: dict[str, Any] = {"rows": ROWS, "tables": TABLES, "rounds": ROUNDS}
            for name in rounds[0][0]:
                result[name] = round(median(times[name] for times, _ in rounds), 1)
        result |= counts
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        result |= await _idle(Path(folder))
    return result


@asynccontextmanager
async def _cloud(folder: Path, tables: Sequence[str]) -> AsyncIterator[tuple[Cloud, Settings]]:
    """Start the servers on one core and stay on another."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[1:]) or set(cores))
    topics = [naming.topic(naming.stream("bench", "TestDB", "dbo", table)) for table in tables]
    async with running(("azurite", "broker", "sqlserver"), folder, entities=config(topics)) as cloud:
        os.sched_setaffinity(0, {cores[0]})
        file = folder / "sluice.hcl"
        file.write_text(CONFIGURATION.format(tables=", ".join(f'"{table}"' for table in tables)))
        settings = load(file, cloud.settings)
        await asyncio.to_thread(_create, cloud, tables)
        yield cloud, replace(settings, capture=replace(settings.capture, ahead=1_000_000, linger_s=300.0))
    os.sched_setaffinity(0, set(cores))


def _connect(cloud: Cloud) -> pyodbc.Connection:
    return pyodbc.connect(f"Driver={driver.path()};{cloud.settings['SqlServerOdbc']}", autocommit=True)


def _create(cloud: Cloud, tables: Sequence[str]) -> None:
    connection = _connect(cloud)
    connection.execute("EXEC sys.sp_cdc_enable_db")
    for table in tables:
        connection.execute(f"CREATE TABLE dbo.[{table}] ({COLUMNS})")
        connection.execute(
            f"EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'{table}', @role_name = NULL"
        )
    connection.close()


def _load(cloud: Cloud, table: str) -> None:
    connection = _connect(cloud)
    connection.autocommit = False
    cursor = connection.cursor()
    cursor.fast_executemany = True
    rows = [
        (
            key, f"Person {key} {'x' * 60}", f"person.{key}@{'example' * 8}.com", f"{key}.1234", key * 1_000_003,
            key / 7, key % 2, "1990-01-31", "2026-11-21 07:28:06.1234567", str(UUID(int=key)),
        )
        for key in range(1, ROWS_EACH + 1)
    ]  # fmt: skip
    for start in range(0, ROWS_EACH, 1_000):
        cursor.executemany(f"INSERT INTO dbo.[{table}] VALUES (?,?,?,?,?,?,?,?,?,?)", rows[start : start + 1_000])  # noqa: S608
        connection.commit()
    connection.close()


async def _round(cloud: Cloud, settings: Settings, tables: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Measure one group of tables: the driver alone, capture, deliver, prepared batches alone."""
    source = settings.sources[0]
    assert isinstance(source, SqlServerSettings)
    only = tuple(entry for entry in source.tables if entry.name in tables)
    wiring = Wiring(replace(settings, sources=(replace(source, tables=only),)))
    times: dict[str, float] = {}
    times["capture_ceiling_per_s"] = await _rate(lambda: asyncio.to_thread(_fetch, cloud, tables))
    capture = await wiring.capture()
    before = await _totals(cloud)
    times["capture_per_s"] = await _rate(lambda: _captured(capture))
    counts = await _since(cloud, before, "capture")
    packs = await _packs(cloud)
    before = await _totals(cloud)
    deliver = await wiring.deliver()
    times["deliver_per_s"] = await _rate(lambda: _delivered(deliver, packs))
    counts |= await _since(cloud, before, "deliver")
    times["deliver_ceiling_per_s"] = await _ceiling(wiring, packs)
    await wiring.close()
    await cloud.part("broker").fault({"purge": settings.ingest_queue})
    return times, counts


async def _rate(work: Callable[[], Awaitable[None]]) -> float:
    started = time.perf_counter()
    await work()
    return ROWS / (time.perf_counter() - started)


def _fetch(cloud: Cloud, tables: Sequence[str]) -> None:
    connection = _connect(cloud)
    count = 0
    for table in tables:
        cursor = connection.execute(f"SELECT * FROM cdc.[dbo_{table}_CT]")  # noqa: S608
        while rows := cursor.fetchmany(5_000):
            count += len(rows)
    connection.close()
    assert count == ROWS, count


async def _captured(capture: Capture) -> None:
    await capture.tick()


async def _packs(cloud: Cloud) -> dict[Stream, list[bytes]]:
    """Return the bodies of the packs that wait in the ingest queue, by stream, in order."""
    async with (
        ClientSession() as session,
        session.get(f"{cloud.part('broker').control}/messages", params={"entity": "ingest-queue"}) as answer,
    ):
        bodies = [base64.b64decode(message["body"]) for message in await answer.json(content_type=None)]
    packs: dict[Stream, list[bytes]] = {}
    for body in bodies:
        packs.setdefault(pack.decode(body).header.stream, []).append(body)
    count = sum(pack.decode(body).header.count for body in bodies)
    assert count == ROWS, f"{count} changes were captured"
    return packs


async def _delivered(deliver: Deliver, packs: Mapping[Stream, Sequence[bytes]]) -> None:
    async def one(bodies: Sequence[bytes]) -> None:
        for body in bodies:
            await deliver.deliver(Incoming(body, pack.CONTENT_TYPE))

    await asyncio.gather(*(one(bodies) for bodies in packs.values()))


async def _ceiling(wiring: Wiring, packs: Mapping[Stream, Sequence[bytes]]) -> float:
    """Return what the broker takes when all messages are encoded beforehand."""
    prepared: dict[str, list[amqp.EncodedBatch]] = {}
    for stream, bodies in packs.items():
        messages = [
            message
            for body in bodies
            for message in routing.messages(stream, list(pack.decode(body).changes), 9, origin)
        ]
        prepared[naming.topic(stream)] = list(amqp.batches(messages, wiring.settings.capture.max_message_bytes))
    namespace = amqp.Namespace(wiring.settings.bus)
    async with AsyncExitStack() as senders:
        opened = {
            topic: await senders.enter_async_context(namespace.client.get_topic_sender(topic)) for topic in prepared
        }
        for sender in opened.values():
            await sender.create_message_batch()

        async def one(topic: str) -> None:
            for batch in prepared[topic]:
                await amqp.transfer(opened[topic], batch, encoded=True)

        started = time.perf_counter()
        await asyncio.gather(*(one(topic) for topic in prepared))
        rate = ROWS / (time.perf_counter() - started)
    await namespace.close()
    return rate


async def _totals(cloud: Cloud) -> dict[str, int]:
    """Return how many statements, storage calls and AMQP transfers there were so far."""
    storage = (await cloud.part("azurite").state())["counts"]
    statements = (await cloud.part("sqlserver").state())["statements"]
    transfers = (await cloud.part("broker").state())["traffic"]["transfers_received"]
    return {"sql_statements": statements, "storage_calls": sum(storage.values()), "amqp_transfers": transfers}


async def _since(cloud: Cloud, before: dict[str, int], verb: str) -> dict[str, float]:
    """Return the counts since `before`, per 10,000 changes."""
    after = await _totals(cloud)
    return {f"{verb}_{name}_per_10000": round((after[name] - before[name]) * 10_000 / ROWS, 1) for name in after}


async def _idle(folder: Path) -> dict[str, Any]:
    """Return what one tick over many quiet tables costs."""
    tables = [f"Idle{number}" for number in range(IDLE_TABLES)]
    print(f"creating {IDLE_TABLES:,} idle tables …", file=sys.stderr)
    async with _cloud(folder, tables) as (cloud, settings):
        wiring = Wiring(settings)
        capture = await wiring.capture()
        for _ in range(3):
            await capture.tick()
            await asyncio.sleep(1.1)
        before = await _totals(cloud)
        started = time.perf_counter()
        await capture.tick()
        passed = time.perf_counter() - started
        after = await _totals(cloud)
        await wiring.close()
    return {
        "idle_tables": IDLE_TABLES,
        "idle_tick_sql_statements": after["sql_statements"] - before["sql_statements"],
        "idle_tick_storage_calls": after["storage_calls"] - before["storage_calls"],
        "idle_tick_ms": round(passed * 1_000, 1),
    }


if __name__ == "__main__":
    main()
