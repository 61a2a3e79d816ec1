"""Queues, topics and subscriptions: what the code relies on, and the same that the local broker has."""

from collections.abc import Iterator
from dataclasses import dataclass

from local import entities
from tools.bicep import syntax
from tools.bicep.findings import Finding
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


def check(tree: Tree) -> Iterator[Finding]:
    """Yield what is wrong with entities."""
    for entity in wanted():
        found = [place for place in tree.resources(entity.type) if _named(place.node, entity.name)]
        if len(found) != 1:
            yield Finding(tree.main.path, 1, "entity", f"{entity.name}: {len(found)} resources create it")
            continue
        for rule, properties in (("entity", entity.relies), ("entity-local", entity.local)):
            for name, value in properties.items():
                said = _value(tree, found[0], name)
                if said != {value}:
                    other = "the local broker" if rule == "entity-local" else "the code"
                    shown = ", ".join(map(repr, said)) or "not said"
                    yield found[0].finding(rule, f"{name} of {entity.name} is {shown}; {other} has {value!r}")
    for place in tree.resources(f"{_NAMESPACE}/topics/subscriptions"):
        expiry = place.node.body.get("properties", "defaultMessageTimeToLive")
        if not isinstance(expiry, syntax.Name) or expiry.name != "subscriptionExpiry":
            yield place.finding("entity", "the expiry of a subscription is the parameter subscriptionExpiry")


def _named(resource: Resource, name: str) -> bool:
    said = resource.body.get("name")
    return isinstance(said, syntax.Name) and said.name == name


def _value(tree: Tree, place: Placed[Resource], name: str, given: Given | None = None) -> frozenset[Value]:
    node = place.node.body.get("properties", name)
    return tree.possible(Placed(place.template, node), given) if node else frozenset()


def _camel(properties: dict[str, Value]) -> dict[str, Value]:
    return {name[0].lower() + name[1:]: value for name, value in properties.items()}
