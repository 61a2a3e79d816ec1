"""What can be seen of a whole datacenter in one answer, kept small, and whom a difference concerns; pure.

| watch | its index rises with | so it shows |
|---|---|---|
| catalog | every registration that changes anything | which services there are, and their tags; not which instances |
| critical, warning | every check; others wake nobody while one fails | which checks are not passing: any change of \
health; not a new check that passes |
| nodes | every node and registration | which nodes changed, their address too |

Source:
    https://github.com/hashicorp/consul/blob/main/agent/consul/state/catalog.go
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec


class Subject(NamedTuple):
    """A service, or a node and thereby every service on it."""

    service: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of coarse watch: what it reads, what is kept of an answer, and whom an entry of that concerns."""

    name: str
    path: str
    shape: Any
    kept: Callable[[Any], dict[Any, Any]]
    subject: Callable[[Any, Any], Subject]


@dataclass(slots=True)
class Coarse:
    """A watch: the index it has seen, 0 for none yet, and what is kept of the answer.

    `is_doubted`: the index may have fallen since. `is_filtered`: the token did not see everything.
    """

    kind: Kind
    index: int = 0
    is_doubted: bool = False
    is_filtered: bool = False
    kept: Mapping[Any, Any] = field(default_factory=dict)

    def learn(self, index: int, data: Any) -> frozenset[Subject]:
        """Take an answer over, and return whom what differs concerns."""
        old, new = self.kept, self.kind.kept(data)
        self.index, self.kept = index, new
        subject = self.kind.subject
        found = {subject(key, value) for key, value in new.items() if old.get(key) != value}
        return frozenset(found | {subject(key, old[key]) for key in old.keys() - new.keys()})

    def forget(self) -> None:
        """Begin again."""
        self.index, self.kept = 0, {}


class _Check(msgspec.Struct, rename="pascal"):
    node: str
    check_id: str = msgspec.field(name="CheckID")
    service_id: str = msgspec.field(name="ServiceID", default="")
    service_name: str = ""


class _Node(msgspec.Struct, rename="pascal"):
    node: str
    modify_index: int = 0


def _tags(services: dict[str, list[str] | None]) -> dict[str, int]:
    return {name: hash(frozenset(tags)) if tags else 0 for name, tags in services.items()}


def _failing(checks: list[_Check]) -> dict[int, Subject]:
    shared: dict[Subject, Subject] = {}
    kept: dict[int, Subject] = {}
    for check in checks:
        subject = Subject(check.service_name) if check.service_id else Subject(node=sys.intern(check.node))
        kept[hash((check.node, check.check_id, check.service_id))] = shared.setdefault(subject, subject)
    return kept


def _changed_at(nodes: list[_Node]) -> dict[str, int]:
    return {node.node: node.modify_index for node in nodes}


def _service(name: str, _: int) -> Subject:
    return Subject(name)


def _itself(_: int, subject: Subject) -> Subject:
    return subject


def _node(name: str, _: int) -> Subject:
    return Subject(node=name)


CATALOG: Final = Kind("catalog", "/v1/catalog/services", dict[str, list[str] | None], _tags, _service)
CRITICAL: Final = Kind("critical", "/v1/health/state/critical", list[_Check], _failing, _itself)
WARNING: Final = Kind("warning", "/v1/health/state/warning", list[_Check], _failing, _itself)
NODES: Final = Kind("nodes", "/v1/catalog/nodes", list[_Node], _changed_at, _node)
