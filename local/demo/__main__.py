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

from local.cloud import Cloud, running
from local.demo.watch import Arrived, watch
from local.demo.workload import TABLES, Workload
from shared import naming

SETTINGS = Path(__file__).parents[2] / "sluice.hcl"
LEASE = '\ncapture {\n  lease = "15s" # so that a killed capture is soon replaced\n}\n'
SECONDS = 30.0
LARGE = 10_000
PAUSE_S = 0.1
PATIENCE_S = 120.0
"""How long what was committed may take to arrive, in seconds, once the workload has ended."""


async def _demo(seconds: float | None) -> int:
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    topics = {name: naming.topic(naming.stream("sql1", "TestDB", "dbo", name)) for name in TABLES}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-demo-")))
        settings = directory / SETTINGS.name
        settings.write_text(SETTINGS.read_text() + LEASE)
        workload = Workload()
        stack.callback(workload.close)

        async def create_tables(cloud: Cloud) -> None:
            await asyncio.to_thread(workload.create, cloud.settings["SqlServerOdbc"])
            print(f"tables {' and '.join(TABLES)} are captured; starting the functions host …", flush=True)

        print("starting storage, broker and database …", flush=True)
        parts = ("azurite", "broker", "sqlserver", "host")
        cloud = await stack.enter_async_context(
            running(parts, directory, settings_file=settings, before_host=create_tables, revive=True)
        )
        for part in cloud.parts():
            print(f"  {part.name:<10} pid {part.pid}")
        if seconds is None:
            print("kill the host with `kill -9 <pid>`, as often as you like: nothing is lost. Ctrl-C ends the demo.")
        arrived = {name: Arrived(name) for name in TABLES}
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(watch(cloud.settings["ServiceBus"], topic, arrived[name], colour=colour))
                for name, topic in topics.items()
            ]
            await _work(workload, cloud, stop, seconds)
            print("nothing more is committed; waiting until all of it has arrived …", flush=True)
            await _wait_for(workload, arrived)
            for task in watching:
                task.cancel()
        captured = await asyncio.to_thread(workload.captured)
    return _report(workload, captured, arrived)


async def _work(workload: Workload, cloud: Cloud, stop: asyncio.Event, seconds: float | None) -> None:
    """Commit until the time is over or `stop` is set; the large transaction early, the kill half way."""
    rng, loop = random.Random(workload.seed), asyncio.get_running_loop()
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
        try:
            async with asyncio.timeout(PAUSE_S):
                await stop.wait()
        except TimeoutError:
            continue


async def _wait_for(workload: Workload, arrived: dict[str, Arrived]) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while any(len(arrived[name].bodies) < len(workload.committed[name]) for name in TABLES):  # noqa: ASYNC110
                await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        print(f"not everything arrived within {PATIENCE_S:g} s", file=sys.stderr)


def _report(workload: Workload, captured: dict[str, int], arrived: dict[str, Arrived]) -> int:
    row = "{:<28}{:>10}{:>10}{:>10}{:>11}{:>10}{:>10}"
    print("\n" + row.format("stream", "committed", "captured", "delivered", "duplicates", "lag p50", "lag p99"))
    wrong: list[str] = []
    for name in TABLES:
        there = arrived[name]
        committed = workload.committed[name]
        stream = naming.stream("sql1", "TestDB", "dbo", name)
        lags = [f"{there.lag(part):.2f} s" for part in (0.5, 0.99)]
        print(row.format(stream, len(committed), captured[name], len(there.bodies), there.repeats, *lags))
        wrong.extend(filter(None, [there.first_difference(committed)]))
    for difference in wrong:
        print(difference, file=sys.stderr)
    print("NOT equal" if wrong else "everything committed was delivered, in order, each value equal")
    return 1 if wrong else 0


def _seconds() -> float | None:
    said = os.environ.get("DEMO_SECONDS")
    if said:
        return float(said)
    return None if sys.stdin.isatty() and sys.stdout.isatty() else SECONDS


if __name__ == "__main__":
    sys.exit(asyncio.run(_demo(_seconds())))
