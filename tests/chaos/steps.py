"""The durable steps of capture and deliver, each held at the server that it talks to.

A request that is held may be let go, or forgotten with its connection cut; meanwhile its client can be killed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from azure.storage.blob.aio import ContainerClient

from shared import naming
from shared.events import Stream
from shared.stores.azure import forms
from tests.pipeline import Pipeline, service_stream, table_stream

type When = Literal["before", "after"]

DESTINATION = "topics"
"""The name of the pipeline's output, which the marks carry."""

_DELIVERED = re.compile(r"delivered stream=(\S+) destination=\S+ count=(\d+) after=(\S*) last=(\S+) ")


@dataclass(frozen=True, slots=True)
class Step:
    """The next request of one kind at one server: how it is held, and what a held one looks like in its state."""

    part: str
    pause: Mapping[str, Any]
    shown: Mapping[str, str]

    async def hold(self, line: Pipeline, when: When) -> None:
        """Have the next such request held, before it is acted on or after, and before it is answered."""
        await line.cloud.part(self.part).fault({"pause": {**self.pause, "when": when}})

    async def held(self, line: Pipeline) -> None:
        """Wait until the request is there."""
        await line.cloud.part(self.part).until(lambda state: any(map(self._is_it, state["paused"])))

    async def release(self, line: Pipeline, *, drop: bool) -> None:
        """Let the request go on, or forget it."""
        if self.part != "sqlserver":  # which ends a statement together with its connection
            await line.cloud.part(self.part).fault({"resume": "all", "drop": drop})

    def _is_it(self, paused: Mapping[str, Any]) -> bool:
        return all(re.search(pattern, str(paused[name])) for name, pattern in self.shown.items())


def read(table: str) -> Step:
    """Capture reads a page of changes."""
    page = rf"TOP \(@n\).*dbo_{table}_CT"
    return Step("sqlserver", {"match": page}, {"sql": f"dbo_{table}_CT"})


def observe(service: str) -> Step:
    """Capture looks at a service."""
    return Step("consul", {"match": f"GET /v1/health/service/{service}\\b"}, {"request": f"/service/{service}\\b"})


def journal(service: str) -> Step:
    """Capture writes down what it saw."""
    return _entity(*forms.journal_key(service_stream(service)))


def progress(stream: Stream) -> Step:
    """Capture saves how far it got with a stream that is already there."""
    return _entity(*forms.state_key(stream))


def ingest() -> Step:
    """Capture sends a pack to the ingest queue."""
    return _at_broker("send", "ingest-queue")


def checkpoint(table: str) -> Step:
    """Capture saves how far it got."""
    return progress(table_stream(table))


def renew(shard: int) -> Step:
    """Capture renews the lease of its shard."""
    blob = f"/leases/shard-{shard}"
    return Step("azurite", {"match": rf"{blob}\b(.|\n)*^renew$"}, {"path": rf"{blob}\b"})


def forward(table: str) -> Step:
    """Deliver sends the changes of a pack to their topic."""
    return _at_broker("send", naming.topic(table_stream(table)))


def mark(table: str) -> Step:
    """Deliver writes how far a destination got; not for the first time, which creates the mark."""
    return _entity(*forms.mark_key(table_stream(table), DESTINATION))


def settle() -> Step:
    """Deliver completes a pack."""
    return _at_broker("settle", "ingest-queue")


def _entity(partition: str, row: str) -> Step:
    """Return the next write of an entity that is there; the partition tells it from others that are held."""
    shown = {"method": "PUT", "path": rf"/sluice.*{partition}"}
    return Step("azurite", {"match": f"RowKey='{re.escape(row)}'", "method": "PUT"}, shown)


async def commit_to_each(line: Pipeline, rows: int) -> None:
    """Insert rows into every table."""
    for table in line.tables:
        await line.commit(rows, table=table)


async def check_each_once(line: Pipeline) -> None:
    """See that no change is twice in its topic, and that no stream took a pack for missing."""
    for table in line.tables:
        assert len(await line.topic(table)) == len(line.committed[table]), table
        assert (await line.state(table)).state.value.repaired == 0, table


async def take_leases_away(line: Pipeline) -> None:
    """Delete the container of the leases: nobody holds one any more, and whoever asks next gets it."""
    async with line.wiring() as wiring:
        await wiring.account.on_container(wiring.settings.lease_container, ContainerClient.delete_container)


def repeats_seen_by_mark(line: Pipeline, table: str) -> int:
    """Return how many packs were delivered that began before an earlier one ended, or of which nothing was left.

    One that was marked by a process that was killed before it could say so counts by the second.
    """
    repeats, furthest = 0, ""
    for stream, count, quoted, last in _DELIVERED.findall(line.log("deliver")):
        if stream == table_stream(table):
            after = quoted.strip('"')
            repeats += after < furthest or (count == "0" and after < last)
            furthest = max(furthest, last)
    return repeats


async def repeats_dropped_by_broker(line: Pipeline, table: str) -> int:
    """Return how many messages the topic knew already."""
    state = await line.cloud.part("broker").state()
    dropped: int = state["entities"][naming.topic(table_stream(table))]["dropped_duplicates"]
    return dropped


def _at_broker(on: str, entity: str) -> Step:
    return Step("broker", {"on": on, "entity": entity}, {"on": on, "entity": f"^{entity}"})
