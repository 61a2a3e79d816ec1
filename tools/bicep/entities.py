"""Queues, topics and subscriptions: as the code relies on them and creates them, and as the local broker has them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from local import entities
from tools.bicep import syntax
from tools.bicep.findings import Finding
from tools.bicep.reads import Code
from tools.bicep.syntax import Resource
from tools.bicep.tree import Given, Placed, Tree, Value

NEVER = "P10675199DT2H48M5.4775807S"
_NAMESPACE = "Microsoft.ServiceBus/namespaces"


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity by the expression of its name, and the properties that it must have."""

    type: str
    name: str
    relies: dict[str, Value]
    local: dict[str, Value]


def wanted() -> list[Entity]:
    """Return the entities that the code relies on, each with what the local broker gives it."""
    [namespace] = entities.config(["topic"])["UserConfig"]["Namespaces"]
    ingest, rejected = (_camel(queue["Properties"]) for queue in namespace["Queues"])
    [topic] = namespace["Topics"]
    [subscription] = topic["Subscriptions"]
    queue: dict[str, Value] = {
        "defaultMessageTimeToLive": NEVER,
        "enablePartitioning": False,
        "maxSizeInMegabytes": 5120,
        "requiresDuplicateDetection": False,
    }
    ordered: dict[str, Value] = {
        "defaultMessageTimeToLive": NEVER,
        "duplicateDetectionHistoryTimeWindow": "PT1H",
        "enablePartitioning": False,
        "requiresDuplicateDetection": True,
        "supportOrdering": True,
    }
    sessions: dict[str, Value] = {"requiresSession": True, "maxDeliveryCount": 100}
    return [
        Entity(f"{_NAMESPACE}/queues", "ingestQueue", queue | sessions, ingest),
        Entity(f"{_NAMESPACE}/queues", "rejectedQueue", queue | {"requiresSession": False}, rejected),
        Entity(f"{_NAMESPACE}/topics", "topic", ordered, _camel(topic["Properties"])),
        Entity(
            f"{_NAMESPACE}/topics/subscriptions",
            "subscriptionName",
            {"deadLetteringOnMessageExpiration": True, "requiresSession": False},
            _camel(subscription["Properties"]),
        ),
    ]


def check(tree: Tree, repository: Path) -> Iterator[Finding]:
    """Yield what is wrong with entities."""
    code = Code.of(repository)
    for entity in wanted():
        found = [place for place in tree.resources(entity.type) if _named(place.node, entity.name)]
        if len(found) != 1:
            yield Finding(tree.main.path, 1, "entity", f"{entity.name}: {len(found)} resources create it")
            continue
        for rule, other, properties in (
            ("entity", "the code relies on", entity.relies),
            ("entity-local", "the local broker has", entity.local),
            ("entity-sync", "sluice topics sync creates it with", created(code, entity.type)),
        ):
            for name, value in properties.items():
                said = _value(tree, found[0], name)
                if said != {value}:
                    shown = ", ".join(map(repr, said)) or "not said"
                    yield found[0].finding(rule, f"{name} of {entity.name} is {shown}; {other} {value!r}")
    for place in tree.resources(f"{_NAMESPACE}/topics/subscriptions"):
        expiry = place.node.body.get("properties", "defaultMessageTimeToLive")
        if not isinstance(expiry, syntax.Name) or expiry.name != "subscriptionExpiry":
            yield place.finding("entity", "the expiry of a subscription is the parameter subscriptionExpiry")


def created(code: Code, type_: str) -> dict[str, Value]:
    """Return the constant properties that the code gives entities of a type when it creates them."""
    function = {"topics": "create_topic", "subscriptions": "create_subscription"}.get(type_.rpartition("/")[2], "")
    found: dict[str, Value] = {}
    for call, _ in code.calls.get(function, []):
        for keyword in call.keywords:
            head, *rest = (keyword.arg or "").split("_")
            match keyword.value:
                case ast.Constant(value=bool() | int() as value):
                    found[head + "".join(map(str.capitalize, rest))] = value
                case ast.Call(
                    func=ast.Name(id="timedelta"), keywords=[ast.keyword(arg="seconds", value=ast.Name(id=name))]
                ):
                    seconds = code.constants.get(name)
                    if isinstance(seconds, ast.Constant) and isinstance(seconds.value, float | int):
                        length = timedelta(seconds=seconds.value)
                        found[head + "".join(map(str.capitalize, rest))] = _text(length)
                case _:
                    pass
    return found


def _text(length: timedelta) -> str:
    """Return a duration of whole hours or minutes as a template writes it."""
    minutes = int(length.total_seconds() // 60)
    return f"PT{minutes // 60}H" if minutes % 60 == 0 else f"PT{minutes}M"


def _named(resource: Resource, name: str) -> bool:
    said = resource.body.get("name")
    return isinstance(said, syntax.Name) and said.name == name


def _value(tree: Tree, place: Placed[Resource], name: str, given: Given | None = None) -> frozenset[Value]:
    node = place.node.body.get("properties", name)
    return tree.possible(Placed(place.template, node), given) if node else frozenset()


def _camel(properties: dict[str, Value]) -> dict[str, Value]:
    return {name[0].lower() + name[1:]: value for name, value in properties.items()}
