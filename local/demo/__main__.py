"""`make demo`: real row changes, over the real driver and the real SDK, arriving as they are delivered.

At a terminal it keeps running until Ctrl-C; without one, or with DEMO_SECONDS, it ends by itself. Half way through, the
functions host is killed. Exit code 0 only if everything that was committed arrived, in order, value by value.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import ClientSession

from local.cloud import Cloud, running
from local.demo.services import DATACENTER, SERVICE, Picture, Services
from local.demo.watch import Arrived, Taker, watch
from local.demo.workload import TABLES, Workload
from shared import naming
from shared.events import Stream

SETTINGS = Path(__file__).parents[2] / "sluice.hcl"
MORE = f"""
source "consul" "consul1" {{
  address    = env("Consul")
  datacenter = "{DATACENTER}"
  services   = ["{SERVICE}"]
}}

capture {{
  lease = "15s" # so that a killed capture is soon replaced
}}
"""
SECONDS = 30.0
LARGE = 10_000
PAUSE_S = 0.1
PATIENCE_S = 120.0
"""How long what was committed may take to arrive, in seconds, once the workload has ended."""

_SERVICE_STREAM = naming.stream("consul1", DATACENTER, "service", SERVICE)


async def _demo(seconds: float | None) -> int:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-demo-")))
        settings = directory / SETTINGS.name
        settings.write_text(SETTINGS.read_text() + MORE)
        workload = Workload()
        stack.callback(workload.close)

        async def create_tables(cloud: Cloud) -> None:
            await asyncio.to_thread(workload.create, cloud.settings["SqlServerOdbc"])
            print(f"tables {' and '.join(TABLES)} are captured; starting the functions host …", flush=True)

        print("starting storage, broker, database and Consul …", flush=True)
        parts = ("azurite", "broker", "sqlserver", "consul", "host")
        cloud = await stack.enter_async_context(
            running(parts, directory, settings_file=settings, before_host=create_tables, revive=True)
        )
        for part in cloud.parts():
            print(f"  {part.name:<10} pid {part.pid}")
        if seconds is None:
            print("kill the host with `kill -9 <pid>`, as often as you like: nothing is lost. Ctrl-C ends the demo.")
        services = Services(await stack.enter_async_context(ClientSession(cloud.settings["Consul"])))
        arrived, picture = {name: Arrived(name) for name in TABLES}, Picture()
        takers: dict[Stream, Taker] = {_stream(name): arrived[name] for name in TABLES} | {_SERVICE_STREAM: picture}
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(watch(cloud.settings["ServiceBus"], naming.topic(stream), taker, colour=colour))
                for stream, taker in takers.items()
            ]
            await _work(workload, services, cloud, stop, seconds)
            print("nothing more is committed; waiting until all of it has arrived …", flush=True)
            await _wait_for(workload, arrived, services, picture)
            for task in watching:
                task.cancel()
        captured = await asyncio.to_thread(workload.captured)
    return _report(workload, captured, arrived, services, picture)


async def _work(
    workload: Workload, services: Services, cloud: Cloud, stop: asyncio.Event, seconds: float | None
) -> None:
    """Commit until the time is over or `stop` is set; the large transaction early, the kill half way."""
    rng, loop, changing = random.Random(workload.seed), asyncio.get_running_loop(), random.Random(services.seed)
    started = loop.time()
    large_at, kill_at = (seconds or SECONDS) / 4, (seconds or SECONDS) / 2
    large = killed = False
    while not stop.is_set() and (seconds is None or loop.time() < started + seconds):
        passed = loop.time() - started
        if not large and passed > large_at:
            large = True
            print(f"one transaction of {LARGE:,} rows …", flush=True)
            await asyncio.to_thread(workload.large_transaction, LARGE, rng)
        if not killed and passed > kill_at:
            killed = True
            print(
                "the functions host is killed (SIGKILL); capture goes on once its lease has run out, in 15 s …",
                flush=True,
            )
            await cloud.part("host").kill()
        await asyncio.to_thread(workload.transaction, rng)
        await services.change(changing)
        try:
            async with asyncio.timeout(PAUSE_S):
                await stop.wait()
        except TimeoutError:
            continue


async def _wait_for(workload: Workload, arrived: dict[str, Arrived], services: Services, picture: Picture) -> None:
    def waiting() -> bool:
        tables = any(len(arrived[name].bodies) < len(workload.committed[name]) for name in TABLES)
        return tables or (not picture.wrong and picture.rows != services.rows)

    try:
        async with asyncio.timeout(PATIENCE_S):
            while waiting():  # noqa: ASYNC110 - what arrives is told by nobody
                await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        print(f"not everything arrived within {PATIENCE_S:g} s", file=sys.stderr)


def _report(
    workload: Workload, captured: dict[str, int], arrived: dict[str, Arrived], services: Services, picture: Picture
) -> int:
    row = "{:<28}{:>10}{:>10}{:>10}{:>11}{:>10}{:>10}"
    print("\n" + row.format("stream", "committed", "captured", "delivered", "duplicates", "lag p50", "lag p99"))
    wrong: list[str] = []
    for name in TABLES:
        there = arrived[name]
        committed = workload.committed[name]
        lags = [f"{there.lag(part):.2f} s" for part in (0.5, 0.99)]
        print(row.format(_stream(name), len(committed), captured[name], len(there.bodies), there.repeats, *lags))
        wrong.extend(filter(None, [there.first_difference(committed)]))
    lags = [f"{picture.lag(part):.2f} s" for part in (0.5, 0.99)]
    print(row.format(_SERVICE_STREAM, services.made, "-", picture.taken, picture.repeats, *lags))
    wrong.extend(filter(None, [picture.difference(services.rows)]))
    for difference in wrong:
        print(difference, file=sys.stderr)
    if wrong:
        print("NOT equal")
        return 1
    print("everything committed was delivered, in order, each value equal;")
    print(f"the events of {SERVICE} make the picture that Consul has: {len(services.rows)} instances")
    return 0


def _stream(table: str) -> Stream:
    return naming.stream("sql1", "TestDB", "dbo", table)


def _seconds() -> float | None:
    said = os.environ.get("DEMO_SECONDS")
    if said:
        return float(said)
    return None if sys.stdin.isatty() and sys.stdout.isatty() else SECONDS


if __name__ == "__main__":
    sys.exit(asyncio.run(_demo(_seconds())))
