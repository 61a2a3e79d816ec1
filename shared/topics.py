"""Which topics there are to be, where each belongs, and what is to be done about it: pure.

A topic is created in the namespace that holds the fewest, and never moves: its placement is stored before it exists.
One that was created here carries a label in its user metadata; only such a topic is ever completed or deleted. While it
is being made it takes no messages, for a topic without a subscription would lose them.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

WINDOW_S = 3_600.0
"""The window of duplicate detection: the one hour that consumers were promised."""

NEARLY_FULL = 0.8
"""The share of its size above which a topic is reported: when it is full, its streams are parked."""

type Kind = Literal["create", "complete", "subscribe", "adopt", "place", "delete"]


@dataclass(frozen=True, slots=True)
class Label:
    """Whose topic it is, which source's, and whether all of it was made; it is the topic's user metadata."""

    owner: str
    source: str
    ready: bool

    def text(self) -> str:
        """Return the label as user metadata, of which Service Bus takes 1,024 characters."""
        return msgspec.json.encode({"sluice": self}).decode()


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic that exists; `label` None: somebody else made it. `window_s` None: it detects no duplicates."""

    namespace: str
    topic: str
    label: Label | None
    size_bytes: int
    max_bytes: int
    subscriptions: int
    ordered: bool
    partitioned: bool
    window_s: float | None


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic that an output needs; not `sure`: configuration names it, and its source is away or does not confirm."""

    output: str
    topic: str
    source: str
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Placement:
    """In which namespace, by the app setting that says how to reach it, a topic of an output is, once and for all."""

    output: str
    topic: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do with one topic; its placement is stored first, if that is to be `remembered`.

    `create`, `complete` (what was begun), `subscribe` (its subscription is gone), `adopt` (from another deployment),
    `place` (only store where it is) or `delete`, with all of its `size_bytes`.
    """

    kind: Kind
    placement: Placement
    source: str
    remembered: bool = False
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a topic that only the operator can mend; `failed`: the topic cannot be used as it is."""

    kind: Literal["full", "discards", "differs", "taken", "unlisted", "unused"]
    namespace: str
    topic: str
    message: str
    hint: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in order, what was noticed, and how many topics are as they should be."""

    actions: tuple[Action, ...]
    findings: tuple[Finding, ...]
    unchanged: int


@dataclass(frozen=True, slots=True)
class Situation:
    """What there is: topics and stored placements, the namespaces of each output, and whose topics are ours.

    `owner` "" has none yet. Topics of the sources in `vague`, whose streams are not all known now, are never deleted.
    """

    found: Sequence[FoundTopic]
    placements: Sequence[Placement]
    namespaces: Mapping[str, Sequence[str]]
    owner: str
    vague: Collection[str] = ()


def label_of(metadata: str) -> Label | None:
    """Return the label that user metadata holds, None when it is not one of ours."""
    try:
        return msgspec.json.decode(metadata, type=dict[str, Label])["sluice"]
    except (msgspec.MsgspecError, KeyError):
        return None


def plan(wanted: Sequence[WantedTopic], of: Situation, *, prune: bool = False, adopt: bool = False) -> Plan:
    """Return what makes `of` what is wanted.

    Args:
        wanted: each topic once per output.
        of: what there is now.
        prune: delete topics of ours that nothing wants, of sources that are not vague.
        adopt: take over wanted topics that another deployment made, which must be gone.
    """
    there = {(each.namespace, each.topic): each for each in of.found}
    placing = _Placing(of, there, wanted)
    actions: list[Action] = []
    findings: list[Finding] = []
    kept: set[tuple[str, str]] = set()
    unchanged = 0
    for each in sorted(wanted, key=lambda one: (one.output, one.topic)):
        placement, is_stored = placing.place(each)
        if placement is None:
            continue
        kept.add((placement.namespace, placement.topic))
        existing = there.get((placement.namespace, placement.topic))
        if placement.namespace not in of.namespaces[each.output]:
            findings.append(_unlisted(placement))
            continue
        noticed = list(_of_topic(existing, of.owner, adopt=adopt)) if existing is not None else []
        findings += noticed
        kind = _kind(existing, of.owner, is_stored=is_stored, adopt=adopt) if each.sure else None
        if kind is not None:
            actions.append(Action(kind, placement, each.source, remembered=not is_stored))
        elif existing is not None and not any(finding.failed for finding in noticed):
            unchanged += 1
    for key, topic in there.items():
        if key in kept or topic.label is None or topic.label.owner != of.owner:
            continue
        source = topic.label.source
        if prune and source not in of.vague:
            placement = Placement("", topic.topic, topic.namespace)
            actions.append(Action("delete", placement, source, size_bytes=topic.size_bytes))
        else:
            findings += (_unused(topic, vague=source in of.vague), *_filling(topic))
    return Plan(tuple(actions), tuple(findings), unchanged)


class _Placing:
    """Where topics belong: where they were placed, else where they are, else where the fewest are."""

    def __init__(
        self,
        of: Situation,
        there: Mapping[tuple[str, str], FoundTopic],
        wanted: Sequence[WantedTopic],
    ) -> None:
        self._there = there
        self._owner = of.owner
        self._namespaces = of.namespaces
        self._stored = {(each.output, each.topic): each for each in of.placements}
        self._counts = Counter(each.namespace for each in of.found)
        to_come = (self._stored.get((each.output, each.topic)) for each in wanted)
        self._counts.update(each.namespace for each in to_come if each and (each.namespace, each.topic) not in there)

    def place(self, topic: WantedTopic) -> tuple[Placement | None, bool]:
        """Return where a topic belongs, and whether that is stored; None for one that is neither there nor sure."""
        stored = self._stored.get((topic.output, topic.topic))
        if stored is not None:
            return stored, True
        options = self._namespaces[topic.output]
        holders = [each for each in options if (each, topic.topic) in self._there]
        holders.sort(key=lambda each: not _is_ours(self._there[each, topic.topic], self._owner))
        if holders:
            return Placement(topic.output, topic.topic, holders[0]), False
        if not topic.sure:
            return None, False
        emptiest = min(options, key=lambda each: self._counts[each])  # the first of several
        self._counts[emptiest] += 1
        return Placement(topic.output, topic.topic, emptiest), False


def _kind(existing: FoundTopic | None, owner: str, *, is_stored: bool, adopt: bool) -> Kind | None:
    if existing is None:
        return "create"
    label = existing.label
    if label is not None and label.owner != owner:
        return "adopt" if adopt else None
    if label is not None and not label.ready:
        return "complete"
    if label is not None and existing.subscriptions == 0:
        return "subscribe"
    return None if is_stored else "place"


def _of_topic(topic: FoundTopic, owner: str, *, adopt: bool) -> Iterator[Finding]:
    at = (topic.namespace, topic.topic)
    if topic.label is not None and topic.label.owner != owner and not adopt:
        message = f"it belongs to another deployment of Sluice, {topic.label.owner}"
        hint = "give the source another name, or if that deployment is gone: sluice topics sync --adopt"
        yield Finding("taken", *at, message, hint, failed=True)
    elif topic.label is None and topic.subscriptions == 0:
        message = "it has no subscription: what is sent to it is discarded"
        yield Finding("discards", *at, message, "create a subscription, also one that only keeps", failed=True)
    anew = "pause its streams, let consumers empty it, delete it, resume them, and make it anew: sluice topics sync"
    if topic.partitioned or not topic.ordered:
        message = "it is partitioned" if topic.partitioned else "it does not support ordering"
        yield Finding("differs", *at, f"{message}, which cannot be changed: order is not kept", anew)
    if topic.window_s is None:
        yield Finding("differs", *at, "it detects no duplicates, which cannot be changed: repeats arrive", anew)
    elif topic.window_s != WINDOW_S:
        message = f"it detects duplicates for {topic.window_s:g} s, not for an hour"
        yield Finding("differs", *at, message, "set its duplicate detection window to PT1H")
    yield from _filling(topic)


def _filling(topic: FoundTopic) -> Iterator[Finding]:
    share = topic.size_bytes / topic.max_bytes if topic.max_bytes else 0.0
    if share > NEARLY_FULL:
        message = (
            f"{share:.0%} of its {topic.max_bytes // 1024**2} MB are taken; once it is full, its streams are parked"
        )
        hint = "let consumers catch up, empty dead letters, remove a subscription that nobody reads, or raise its size"
        yield Finding("full", topic.namespace, topic.topic, message, hint)


def _unlisted(placement: Placement) -> Finding:
    message = f"it was placed in {placement.namespace}, which output {placement.output} does not list"
    hint = f"add {placement.namespace} to the connections of the output: a topic never moves"
    return Finding("unlisted", placement.namespace, placement.topic, message, hint, failed=True)


def _unused(topic: FoundTopic, *, vague: bool) -> Finding:
    message = "no stream has it; its source does not say all of its streams now" if vague else "no stream has it"
    return Finding("unused", topic.namespace, topic.topic, message, "to delete such topics: sluice topics sync --prune")


def _is_ours(topic: FoundTopic, owner: str) -> bool:
    return topic.label is not None and topic.label.owner == owner


def ready(label: Label) -> Label:
    """Return the label of a topic once all of it was made."""
    return replace(label, ready=True)
