"""Carrying a plan out: its pace, its failures, and what is left."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from shared.capture import SourceInUse
from shared.clock import ManualClock
from shared.errors import ConfigError, TransientError
from shared.topic_sync import TopicSync
from shared.topics import Action, FoundTopic, Label, Placement, Plan


@dataclass
class Namespace:
    """Topics of one namespace, each made in a second; some fail."""

    clock: ManualClock
    failing: dict[str, list[Exception]] = field(default_factory=dict)
    made: dict[str, Label] = field(default_factory=dict)

    async def topics(self) -> list[FoundTopic]:
        return []

    async def make(self, topic: str, label: Label, *, adopt: bool = False) -> None:
        await self.clock.sleep(1)
        if self.failing.get(topic):
            raise self.failing[topic].pop(0)
        self.made[topic] = label

    async def delete(self, topic: str) -> None:
        self.made.pop(topic, None)


@dataclass
class Placed:
    stored: dict[str, str] = field(default_factory=dict)

    async def load(self) -> tuple[str, Sequence[Placement]]:
        return "", ()

    async def claim(self) -> str:
        return "me"

    async def place(self, placement: Placement) -> str:
        return self.stored.setdefault(placement.topic, placement.namespace)


async def no_sources() -> dict[str, SourceInUse]:
    return {}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(jumps=True)


def sync(clock: ManualClock, placed: Placed, **namespaces: Namespace) -> TopicSync:
    return TopicSync(no_sources, {}, {"topics": tuple(namespaces)}, namespaces, placed, clock)


def creations(namespace: str, *topics: str) -> tuple[Action, ...]:
    return tuple(Action("create", Placement("topics", each, namespace), "sql1", remembered=True) for each in topics)


async def test_a_placement_is_stored_before_its_topic_is_made(clock):
    a, placed = Namespace(clock), Placed()
    a.failing = {"one": [TransientError("away", lasting=True)] * 2}
    outcome = await sync(clock, placed, A=a).carry_out(Plan(creations("A", "one"), (), 0))
    assert (placed.stored, a.made, outcome.left) == ({"one": "A"}, {}, 1)


async def test_a_topic_that_somebody_placed_elsewhere_meanwhile_is_not_made_here(clock):
    a, placed = Namespace(clock), Placed({"one": "B"})
    outcome = await sync(clock, placed, A=a, B=Namespace(clock)).carry_out(Plan(creations("A", "one"), (), 0))
    assert (a.made, outcome.failures, outcome.left) == ({}, [], 1)


async def test_a_busy_namespace_is_asked_again_and_one_that_refuses_is_left_while_others_go_on(clock):
    a, b = Namespace(clock), Namespace(clock)
    a.failing = {"a1": [TransientError("busy", retry_after=5)]}
    b.failing = {f"b{n}": [TransientError("refused", lasting=True)] * 2 for n in range(40)}
    actions = creations("A", "a1", "a2") + creations("B", *b.failing)
    outcome = await sync(clock, Placed(), A=a, B=b).carry_out(Plan(actions, (), 0))
    assert (sorted(a.made), b.made) == (["a1", "a2"], {})
    assert (outcome.failures, outcome.left) == (["refused"], 40)


async def test_a_topic_that_cannot_be_made_holds_up_no_other(clock):
    a = Namespace(clock, {"bad": [ConfigError("no name")]})
    outcome = await sync(clock, Placed(), A=a).carry_out(Plan(creations("A", "bad", "good"), (), 0))
    assert (sorted(a.made), outcome.failures, outcome.left) == (["good"], ["no name"], 1)


async def test_no_more_is_begun_when_the_time_is_up_and_progress_is_told(clock):
    a, told = Namespace(clock), []
    names = [f"t{n}" for n in range(100)]
    topics = sync(clock, Placed(), A=a)
    outcome = await topics.carry_out(Plan(creations("A", *names), (), 0), lambda *so: told.append(so), budget_s=3)
    assert (outcome.done["create"], outcome.left, len(a.made)) == (24, 76, 24)
    assert told[-1] == (24, 100)
