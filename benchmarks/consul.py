"""`make bench`: 10,000 services with 100,000 instances, observed as capture does it, beside asking for everything.

Three processes are measured: capture with short waits, as in Functions; with long ones, as in `sluice run`; and a
loop that asks for all and compares. Each has a local Consul of its own, so that requests and bytes are exact, and they
take turns, so that all have the same machine. The Consuls run on one core, what is measured on another. Counts, memory
and the CPU of a comparison that are beyond their limits exit with 1; times are printed and never judged.
"""

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

from aiohttp import ClientSession

from benchmarks.subject import Answer, Running, started
from local.cloud import running
from local.process import PartProcess
from shared.sources.consul.marks import HOT_AFTER
from shared.sources.consul.observer import SHORT_WAIT_S

SERVICES = 10_000
INSTANCES_EACH = 10
NODES = 1_000
ROUNDS = 3
IDLE_LOOKS = 3
IDLE_S = 6.0
HOT = SERVICES // 3
HEATED = 120
"""Services that are made to change often before memory and connections are looked at: more than may have a watch."""
CHANGES = {"health": 5, "hot": 5, "cold": 3}
"""Changes of each kind in a round: a check that fails, a port of a service that changes often, of one that does not."""
SUBJECTS = {
    "short": ("benchmarks.observing", str(SHORT_WAIT_S)),
    "long": ("benchmarks.observing",),
    "polling": ("benchmarks.polling",),
}
LIMITS = {
    "memory_mb": 140,
    "instance_diff_ms": 1,
    "catalog_diff_ms": 1,
    "short_idle_look_requests": 3,
    "long_idle_look_requests": 0,
    "idle_look_storage_calls": 2,
    "most_connections": 199,
}
"""What may not be exceeded; connections are those of one process."""
RESULT = Path(__file__).parent / "results" / "consul.json"
SELDOM = {"GET /v1/catalog/nodes", "GET /v1/connect/ca/roots"}
"""What is asked once a minute, whatever happens."""


class Bench:
    """One process that is measured, and its Consul."""

    def __init__(self, name: str, part: PartProcess, subject: Running, session: ClientSession) -> None:
        self.name = name
        self.subject = subject
        self.most_connections = 0
        self._part = part
        self._session = session
        self._address = part.settings["Consul"]

    async def load(self) -> None:
        """Register everything."""
        wanted = {"services": SERVICES, "instances_per_service": INSTANCES_EACH, "nodes": NODES}
        async with self._session.post(f"{self._part.control}/load", json=wanted) as answer:
            assert answer.status == 200, await answer.text()

    async def counted(self) -> tuple[int, int]:
        """Return how many reads there were since the last time, less the seldom ones, and the bytes of all answers."""
        state = await self._part.state()
        await self._part.fault({"reset_counts": True})
        assert not state["statuses"].keys() - {"200"}, state["statuses"]
        self.most_connections = max(self.most_connections, state["most_connections"])
        counts = state["counts"].items()
        reads = [times for what, times in counts if what.startswith("GET") and what not in SELDOM]
        return sum(reads), state["body_bytes"]

    async def change(self, kind: str, service: int) -> dict[str, float]:
        """Change one instance; return after how long its event was there, and what was asked meanwhile."""
        name = _name(service)
        async with self._session.get(f"{self._address}/v1/health/service/{name}") as answer:
            instance = (await answer.json())[0]
        await self.counted()
        since = time.monotonic()
        await self._put(_checked(instance, "critical") if kind == "health" else _moved(instance))
        found = await self.subject.do("await", service=name, since=since)
        requests, body_bytes = await self.counted()
        return {"latency_ms": (found["at"] - since) * 1_000, "requests": requests, "kb": body_bytes / 1_024}

    async def changes(self, services: Sequence[int], status: str = "critical") -> list[float]:
        """Set a check of each of these services, all at once; return after how many milliseconds each was found."""
        since = time.monotonic()
        for service in services:
            async with self._session.get(f"{self._address}/v1/health/service/{_name(service)}") as answer:
                await self._put(_checked((await answer.json())[0], status))
        found = [await self.subject.do("await", service=_name(service), since=since) for service in services]
        return [(each["at"] - since) * 1_000 for each in found]

    async def _put(self, body: Answer) -> None:
        async with self._session.put(f"{self._address}/v1/catalog/register", json=body) as answer:
            assert answer.status == 200, await answer.text()


def main() -> None:
    """Measure, print, and write the result file."""
    result = asyncio.run(_measure())
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:<{width}}  {value if isinstance(value, str) else f'{value:,}':>12}")
    beyond = [
        f"{name} is {result[name]:g}, at most {most} is allowed" for name, most in LIMITS.items() if result[name] > most
    ]
    if beyond:
        sys.exit("\n".join(beyond))


async def _measure() -> dict[str, Any]:
    async with _benches() as benches:
        result: dict[str, Any] = {
            "measured": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": _machine(),
            "services": SERVICES,
            "instances": SERVICES * INSTANCES_EACH,
        }
        for bench in benches:
            result |= await _snapshot(bench)
        result |= _together([await _idle(bench) for _ in range(ROUNDS) for bench in benches])
        result |= await _changes(benches)
        for bench in benches:
            result[f"{bench.name}_mb"] = await _heated(bench)
        observing = [bench for bench in benches if bench.name != "polling"]
        result["memory_mb"] = max(result[f"{bench.name}_mb"] for bench in observing)
        result["most_connections"] = max(bench.most_connections for bench in observing)
        diff = await observing[0].subject.do("diff")
    return result | {name: round(ms, 3) for name, ms in diff.items() if name.endswith("_ms")}


@asynccontextmanager
async def _benches() -> AsyncIterator[list[Bench]]:
    """Start the Consuls on one core and what is measured on another."""
    cores = sorted(os.sched_getaffinity(0))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-bench-")))
        session = await stack.enter_async_context(ClientSession())
        benches = []
        for name, (module, *arguments) in SUBJECTS.items():
            os.sched_setaffinity(0, set(cores[1:]) or set(cores))
            stand_in = {"consul": ["--stand-in"]}
            cloud = await stack.enter_async_context(running(("consul",), folder / name, options=stand_in))
            os.sched_setaffinity(0, {cores[0]})
            part = cloud.part("consul")
            subject = await stack.enter_async_context(started(module, part.settings["Consul"], *arguments))
            benches.append(Bench(name, part, subject, session))
            print(f"loading {SERVICES:,} services for {name} …", file=sys.stderr)
            await benches[-1].load()
        yield benches
    os.sched_setaffinity(0, set(cores))


async def _snapshot(bench: Bench) -> dict[str, Any]:
    """Return what the first look takes."""
    print(f"{bench.name}: first look …", file=sys.stderr)
    first = await bench.subject.do("look")
    requests, body_bytes = await bench.counted()
    measured = await bench.subject.do("measure")
    figures = {
        "s": round(first["s"], 1),
        "cpu_s": round(first["cpu_s"], 1),
        "requests": requests,
        "mb_read": round(body_bytes / 2**20, 1),
        "mb": round(measured["mb"], 1),
        "most_mb": round(measured["most_mb"], 1),
    }
    if calls := measured.get("calls"):
        assert measured["events"] >= SERVICES * (INSTANCES_EACH + 1), measured
        figures |= {"journals_written": calls["save journal"], "states_written_together": calls["save"]}
    return {f"{bench.name}_first_look_{name}": value for name, value in figures.items()}


async def _idle(bench: Bench) -> dict[str, float]:
    """Return what it takes to see that nothing has changed."""
    print(f"{bench.name}: nothing happens …", file=sys.stderr)
    figures: dict[str, float] = {}
    if bench.name != "polling":
        await bench.subject.do("look")
        await bench.subject.do("measure")
        looks = [await _idle_look(bench) for _ in range(IDLE_LOOKS)]
        figures["idle_look_cpu_ms"] = median(cpu_s * 1_000 for cpu_s, _, _ in looks)
        figures["idle_look_requests"] = max(requests for _, requests, _ in looks)
        figures["idle_look_bytes"] = min(body_bytes for _, _, body_bytes in looks)  # of one without the seldom ones
        calls = (await bench.subject.do("measure"))["calls"]
    await bench.subject.do("go on")
    await bench.counted()
    passed = await bench.subject.do("idle", seconds=IDLE_S)
    requests, body_bytes = await bench.counted()
    await bench.subject.do("stop")
    minutes = passed["s"] / 60
    figures |= {
        "idle_cpu_s_per_minute": passed["cpu_s"] / minutes,
        "idle_requests_per_minute": requests / minutes,
        "idle_kb_per_minute": body_bytes / 1_024 / minutes,
    }
    own = {f"{bench.name}_{name}": value for name, value in figures.items()}
    return own if bench.name == "polling" else {**own, "idle_look_storage_calls": sum(calls.values()) / IDLE_LOOKS}


async def _idle_look(bench: Bench) -> tuple[float, int, int]:
    """Return the CPU seconds of one look at which every stream is due, its requests and their bytes."""
    await bench.subject.do("idle", seconds=1.05)
    await bench.counted()
    look = await bench.subject.do("look")
    return look["cpu_s"], *await bench.counted()


async def _changes(benches: Sequence[Bench]) -> dict[str, Any]:
    """Return after how long changes are events, and what is asked to find them."""
    chance = random.Random(0)  # noqa: S311 - spreads the changes over time
    seen: dict[str, list[dict[str, float]]] = {}
    spread = iter(_spread(ROUNDS * (CHANGES["cold"] + CHANGES["health"])))
    for bench in benches[:2]:
        await bench.subject.do("go on")
        for _ in range(HOT_AFTER):
            await bench.change("hot", HOT)
        await bench.subject.do("stop")
    for number in range(ROUNDS):
        fresh = [next(spread) for _ in range(CHANGES["cold"] + CHANGES["health"])]
        services = {"health": fresh[CHANGES["cold"] :], "hot": [HOT] * CHANGES["hot"], "cold": fresh}
        for bench in benches:
            print(f"{bench.name}: changes, round {number + 1} of {ROUNDS} …", file=sys.stderr)
            await bench.subject.do("go on")
            if bench.name == "polling":
                found = await bench.changes(fresh)
                seen.setdefault("polling", []).extend({"latency_ms": ms} for ms in found)
            else:
                for kind, count in CHANGES.items():
                    for service in services[kind][:count]:
                        await asyncio.sleep(chance.uniform(1.0, 2.0))
                        seen.setdefault(f"{bench.name}_{kind}", []).append(await bench.change(kind, service))
            await bench.subject.do("stop")
    return {name: value for kind, found in seen.items() for name, value in _summed_up(kind, found).items()}


async def _heated(bench: Bench) -> float:
    """Let many services change more than once; return the memory then, in MiB above what the imports took."""
    print(f"{bench.name}: many changes …", file=sys.stderr)
    services = range(0, SERVICES, SERVICES // HEATED)
    await bench.subject.do("go on")
    if bench.name != "polling":
        for status in ("critical", "passing", "critical"):
            await bench.changes(services, status)
    await bench.subject.do("stop")
    await bench.counted()
    return round(float((await bench.subject.do("measure"))["mb"]), 1)


def _summed_up(kind: str, found: Sequence[dict[str, float]]) -> dict[str, float]:
    times = sorted(each["latency_ms"] for each in found)
    figures: dict[str, float] = {
        "latency_ms_p50": round(median(times)),
        "latency_ms_p99": round(_percentile(times, 99)),
    }
    for name in found[0].keys() - {"latency_ms"}:
        figures[f"change_{name}"] = round(median(each[name] for each in found), 1)
    return {f"{kind}_{name}": value for name, value in figures.items()}


def _percentile(ascending: Sequence[float], percent: int) -> float:
    return ascending[ceil(len(ascending) * percent / 100) - 1]


def _together(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the rounds, of a count the highest."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    result = {}
    for name in names:
        values = [figures[name] for figures in rounds if name in figures]
        is_count = name.endswith(("look_requests", "look_bytes", "calls"))
        result[name] = round(max(values) if is_count else median(values), 1)
    return result


def _spread(count: int) -> list[int]:
    """Return services from all over the catalog, in no order: how soon one is found depends on its place."""
    services = [(2 * number + 1) * SERVICES // (2 * count) for number in range(count)]
    random.Random(1).shuffle(services)  # noqa: S311 - which come first is of no importance
    return services


def _name(service: int) -> str:
    return f"service-{service:05}"


def _moved(instance: Answer) -> Answer:
    kept = ("ID", "Service", "Tags", "Meta", "Address", "Weights")
    service = {name: instance["Service"][name] for name in kept} | {"Port": instance["Service"]["Port"] + 1}
    return _registration(instance) | {"Service": service}


def _checked(instance: Answer, status: str) -> Answer:
    [check] = [each for each in instance["Checks"] if each["ServiceID"]]
    kept = {name: check[name] for name in ("CheckID", "Name", "ServiceID")}
    return _registration(instance) | {"Check": kept | {"Status": status}}


def _registration(instance: Answer) -> Answer:
    return {"Node": instance["Node"]["Node"], "Address": instance["Node"]["Address"], "SkipNodeUpdate": True}


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{os.cpu_count()} cores of {model}, Python {sys.version.partition(' ')[0]}"


if __name__ == "__main__":
    main()
