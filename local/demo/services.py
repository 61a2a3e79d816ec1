"""What the demo does to a service in Consul, and the picture of it that somebody gets who only applies the events."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import ClientSession

SERVICE, DATACENTER = "web", "dc1"
NODES = {"node-1": "10.0.0.1", "node-2": "10.0.0.2", "node-3": "10.0.0.3"}
STATUSES = ("passing", "passing", "warning", "critical")
TAGS = ("blue", "green", "canary")
MOST = 12
"""Instances at the same time."""

type Row = dict[str, Any]


@dataclass(slots=True)
class Services:
    """Registers, changes and deregisters instances, and writes down what there is, as a message must show it."""

    session: ClientSession
    seed: int = 11
    made: int = 0
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    _next: int = 1

    async def change(self, rng: random.Random) -> None:
        """Make one change: an instance comes, goes, moves, or is ill or well."""
        roll = rng.random()
        if len(self.rows) < 3 or (roll < 0.3 and len(self.rows) < MOST):
            node = rng.choice(list(NODES))
            await self._register(node, f"{SERVICE}-{self._next}", rng, "passing")
            self._next += 1
        elif roll < 0.5:
            node, key = rng.choice(list(self.rows))
            await self._put("deregister", {"Node": node, "ServiceID": key})
            del self.rows[node, key]
        else:
            node, key = rng.choice(list(self.rows))
            status = self.rows[node, key]["Status"]
            await self._register(node, key, rng, rng.choice(STATUSES) if roll < 0.8 else status)
        self.made += 1

    async def _register(self, node: str, key: str, rng: random.Random, status: str) -> None:
        port, tags = rng.randrange(8_000, 9_000), sorted(rng.sample(TAGS, rng.randint(0, 2)))
        service = {"Service": SERVICE, "ID": key, "Port": port, "Tags": tags, "Meta": {"version": f"{self.made}"}}
        check = {"CheckID": f"alive:{key}", "Name": "alive", "ServiceID": key, "Status": status}
        await self._put("register", {"Node": node, "Address": NODES[node], "Service": service, "Check": check})
        self.rows[node, key] = {
            "Datacenter": DATACENTER,
            "Node": node,
            "ServiceID": key,
            "ServiceName": SERVICE,
            "Address": NODES[node],
            "Port": port,
            "Tags": tags,
            "Meta": {"version": f"{self.made}"},
            "Weights": {"Passing": 1, "Warning": 1},
            "NodeAddress": NODES[node],
            "Status": status,
            "Checks": {f"alive:{key}": status},
        }

    async def _put(self, verb: str, body: Mapping[str, Any]) -> None:
        async with self.session.put(f"/v1/catalog/{verb}", json=body) as answer:
            answer.raise_for_status()


@dataclass(slots=True)
class Picture:
    """What the events of one stream make together: rows by key. `wrong` is the first event that did not fit."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    taken: int = 0
    repeats: int = 0
    lags: list[float] = field(default_factory=list)
    wrong: str = ""
    _ids: set[str] = field(default_factory=set)

    def take(self, body: dict[str, Any], now: datetime) -> bool:
        """Apply one delivery; False for a repeat."""
        metadata, row = body["metadata"], body["data"]
        if metadata["EventID"] in self._ids:
            self.repeats += 1
            return False
        self._ids.add(metadata["EventID"])
        self.taken += 1
        self.lags.append((now - datetime.fromisoformat(metadata["CommitTime"])).total_seconds())
        key = row["Node"], row["ServiceID"]
        there = self.rows.get(key)
        before = {"Update": body.get("before"), "Delete": row}.get(metadata["OperationType"])
        if before != there and not self.wrong:
            self.wrong = f"event {self.taken} does not follow what was there: {json.dumps(body)}, there was {there}"
        if metadata["OperationType"] == "Delete":
            self.rows.pop(key, None)
        else:
            self.rows[key] = row
        return True

    def difference(self, rows: Mapping[tuple[str, str], Row]) -> str:
        """Return how the picture differs from what there is; "" when it is the same."""
        if self.wrong or self.rows == rows:
            return self.wrong
        keys = [key for key in self.rows.keys() | rows.keys() if self.rows.get(key) != rows.get(key)]
        return f"of {keys[0]} the events say {self.rows.get(keys[0])}, the catalog {rows.get(keys[0])}"

    def lag(self, part: float) -> float:
        """Return the lag below which `part` of the deliveries stayed, in seconds, from when a change was seen."""
        ordered = sorted(self.lags)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
