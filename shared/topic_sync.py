"""Makes the topics that the streams of all sources need: looks, plans, and carries the plan out.

Nothing here is done twice to ill effect: it may be interrupted anywhere, run again, and run twice at once.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared import naming
from shared.capture import SourceInUse
from shared.errors import ConfigError, SluiceError, TransientError
from shared.events import Stream
from shared.ports import Clock, Placements, TopicAdministration
from shared.retry import hold
from shared.topics import Action, Kind, Label, Plan, Situation, WantedTopic, plan

log = logging.getLogger("sluice.topics")

AT_ONCE = 8
"""Operations under way in one namespace: enough to keep up its pace at 150 ms each."""

HOLD_S = 60.0
"""How long one operation is tried while a namespace is busy or away."""

BUDGET_S = 480.0
"""How long a timer goes on beginning operations, in seconds: an invocation may take ten minutes."""

type Told = Callable[[int, int], None]
"""Is called with how many actions are done, of how many."""


@dataclass(frozen=True, slots=True)
class Look:
    """A plan, and what kept a source from saying all of its streams: its topics were left out."""

    plan: Plan
    troubles: tuple[str, ...]


@dataclass(slots=True)
class Outcome:
    """What was done, by kind of action, what could not be done and why, and what is `left` for the next time."""

    done: Counter[Kind] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    left: int = 0


@dataclass(frozen=True, slots=True)
class TopicSync:
    """Works on the namespaces of every output; `named` has the streams that configuration names, by source."""

    sources: Callable[[], Awaitable[Mapping[str, SourceInUse]]]
    named: Mapping[str, Sequence[Stream]]
    outputs: Mapping[str, Sequence[str]]
    administrations: Mapping[str, TopicAdministration]
    placements: Placements
    clock: Clock

    async def look(self, *, prune: bool = False, adopt: bool = False) -> Look:
        """Return what is to be done; nothing is changed.

        Raises:
            TransientError: a namespace or the state store is away or refuses us.
            ConfigError: a source or a namespace cannot be used at all.
        """
        wanted, vague, troubles = await self._streams()
        owner, placements = await self.placements.load()
        topics = [topic for each in self.administrations.values() for topic in await each.topics()]
        situation = Situation(topics, placements, self.outputs, owner, vague)
        return Look(plan(wanted, situation, prune=prune, adopt=adopt), troubles)

    async def carry_out(self, wanted: Plan, told: Told = lambda *_: None, *, budget_s: float = float("inf")) -> Outcome:
        """Do what a plan says, each namespace by itself; nothing is begun after `budget_s` seconds.

        A namespace that refuses or stays away is left for the next time.

        Raises:
            TransientError: the state store is away.
        """
        outcome = Outcome()
        if not wanted.actions:
            return outcome
        owner = await self.placements.claim()
        ends = self.clock.monotonic() + budget_s
        rounds: dict[str, _Round] = {}
        for action in wanted.actions:
            rounds.setdefault(action.placement.namespace, _Round()).actions.append(action)

        async def work(of: _Round) -> None:
            while of.actions and not of.refused and self.clock.monotonic() < ends:
                await self._try(of, of.actions.popleft(), owner, outcome)
                told(outcome.done.total(), len(wanted.actions))

        async with asyncio.TaskGroup() as tasks:
            for each in rounds.values():
                for _ in range(min(AT_ONCE, len(each.actions))):
                    tasks.create_task(work(each))
        outcome.left = len(wanted.actions) - outcome.done.total()
        return outcome

    async def run(self) -> None:
        """Create what is missing and say in the log what was done and what is to be mended.

        Raises:
            TransientError: a namespace or the state store is away or refuses us.
            ConfigError: a source or a namespace cannot be used at all.
        """
        look = await self.look()
        outcome = await self.carry_out(look.plan, budget_s=BUDGET_S)
        for trouble in (*look.troubles, *outcome.failures):
            log.error("topics not synced", extra={"reason": trouble})
        for finding in look.plan.findings:
            told = {"topic": finding.topic, "namespace": finding.namespace}
            log.warning("topic needs attention", extra={**told, "reason": f"{finding.message} ({finding.hint})"})
        counts = {"done": outcome.done.total(), "unchanged": look.plan.unchanged, "left": outcome.left}
        log.info("topics synced", extra=counts)

    async def _try(self, of: "_Round", action: Action, owner: str, outcome: Outcome) -> None:
        try:
            if await self._act(action, owner):
                outcome.done[action.kind] += 1
        except ConfigError as why:
            outcome.failures.append(str(why))
        except TransientError as why:
            if not of.refused:
                outcome.failures.append(str(why))
            of.refused = True

    async def _act(self, action: Action, owner: str) -> bool:
        """Carry out one action; False when somebody else placed the topic elsewhere meanwhile."""
        placement = action.placement
        administration = self.administrations[placement.namespace]

        async def act() -> bool:
            if action.kind == "delete":
                await administration.delete(placement.topic)
                return True
            if action.remembered and await self.placements.place(placement) != placement.namespace:
                return False
            if action.kind != "place":
                label = Label(owner, action.source, ready=False)
                await administration.make(placement.topic, label, adopt=action.kind == "adopt")
            return True

        return await hold(act, budget_s=HOLD_S, clock=self.clock)

    async def _streams(self) -> tuple[list[WantedTopic], frozenset[str], tuple[str, ...]]:
        """Return the topics that are wanted, the sources that did not say all of theirs, and why not."""
        sources = await self.sources()
        looks = await asyncio.gather(*(_discovered(each) for each in sources.values()))
        wanted: dict[tuple[str, str], WantedTopic] = {}
        troubles: list[str] = []
        vague: set[str] = set()
        for name, (streams, problems) in zip(sources, looks, strict=True):
            troubles += [f"source {name}: {problem}" for problem in problems]
            if problems:
                vague.add(name)
            sure = {naming.topic(stream) for stream in streams}
            maybe = {naming.topic(stream) for stream in self.named.get(name, ())} - sure if problems else set()
            for output in self.outputs:
                for topic in (*sure, *maybe):
                    wanted.setdefault((output, topic), WantedTopic(output, topic, name, sure=topic in sure))
        return list(wanted.values()), frozenset(vague), tuple(troubles)


async def _discovered(source: SourceInUse) -> tuple[Iterable[Stream], Sequence[SluiceError]]:
    try:
        async with asyncio.timeout(source.deadline_s):
            found, problems = await source.source.discover()
    except (ConfigError, TransientError) as why:
        return (), (why,)
    except TimeoutError:
        return (), (TransientError(f"no answer within {source.deadline_s:g} s"),)
    return [each.stream for each in found], problems


@dataclass(slots=True)
class _Round:
    """The actions of one namespace that wait, and whether it refuses us, so that none of them is worth a try."""

    actions: deque[Action] = field(default_factory=deque)
    refused: bool = False
