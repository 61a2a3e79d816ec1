"""Whether the app can work, and if not, why and what to do about it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from shared import naming
from shared.capture import SourceInUse
from shared.errors import ConfigError, TransientError
from shared.ports import StateStore

TIMEOUT_S = 20.0
"""How long one look may take, in seconds: probes give up at 30."""


@dataclass(frozen=True, slots=True)
class Health:
    """Looks at everything capture and deliver need; `dead_lettered` counts what a queue has dead-lettered."""

    sources: Callable[[], Awaitable[Mapping[str, SourceInUse]]]
    states: StateStore
    dead_lettered: Callable[[str], Awaitable[int]]
    ingest_queue: str

    async def reasons(self) -> list[str]:
        """Return why the app does not work as it should, with the remedy; empty when all is well."""
        looks = (
            self._sources(),
            _bounded(self._streams(), "the state store"),
            _bounded(self._queue(), f"queue {self.ingest_queue}"),
        )
        return _flat(await asyncio.gather(*looks))

    async def _sources(self) -> list[str]:
        try:
            sources = await self.sources()
        except ConfigError as why:
            return [str(why)]
        looks = (_bounded(_source(each, name), f"source {name}") for name, each in sources.items())
        return _flat(await asyncio.gather(*looks))

    async def _streams(self) -> list[str]:
        buckets = await asyncio.gather(*(self.states.load(bucket) for bucket in range(naming.BUCKETS)))
        states = [record.state.value for records in buckets for record in records if record.state is not None]
        return [f"stream {state.stream} is halted: {state.reason}" for state in states if state.status == "halted"]

    async def _queue(self) -> list[str]:
        count = await self.dead_lettered(self.ingest_queue)
        remedy = "their changes were sent again, so they can be deleted once their cause is known"
        return [f"queue {self.ingest_queue} has dead-lettered {count} packs: {remedy}"] if count else []


async def _source(source: SourceInUse, name: str) -> list[str]:
    try:
        _, problems = await source.source.discover()
    except (ConfigError, TransientError) as why:
        return [f"source {name}: {why}"]
    return [f"source {name}: {problem}" for problem in problems]


async def _bounded(look: Awaitable[list[str]], at: str) -> list[str]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await look
    except (ConfigError, TransientError) as why:
        return [str(why)]
    except TimeoutError:
        return [f"{at}: no answer within {TIMEOUT_S:g} s"]


def _flat(reasons: Iterable[list[str]]) -> list[str]:
    return [reason for some in reasons for reason in some]
