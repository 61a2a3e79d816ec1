"""A catalog that changes at random, all that it ever was, and a consumer who has nothing but the events of it."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec

from local.consul.catalog import Catalog
from local.consul.datacenter import Datacenter
from local.consul.rows import Check, Instance, Node, Service, Weights
from shared import naming
from shared.events import ChangeEvent, Position, Stream

SOURCE, DATACENTER = "registry", "dc1"
NAMED, PATTERN, UNSELECTED = ("web", "db"), "api-*", "batch"
NAMES = (*NAMED, "api-1", "api-2", UNSELECTED)
NODES = ("n1", "n2", "n3")
STATUSES = ("passing", "warning", "critical")
HEALTH = ("Status", "Checks")
RENAMED = 0.2
CATALOG = naming.stream(SOURCE, DATACENTER, "catalog")

type Row = dict[str, Any]
type Key = tuple[str, ...]
type Picture = dict[Stream, dict[Key, Row]]


def stream_of(service: str) -> Stream:
    return naming.stream(SOURCE, DATACENTER, "service", service)


def key_of(row: Row) -> Key:
    return (row["Node"], row["ServiceID"]) if "ServiceID" in row else (row["ServiceName"],)


def rows_of_catalog(answer: Mapping[str, Sequence[str]]) -> list[Row]:
    return [{"Datacenter": DATACENTER, "ServiceName": name, "Tags": sorted(tags)} for name, tags in answer.items()]


def row_of_instance(entry: Mapping[str, Any]) -> Row:
    """Return what docs/consul.md says of an element of `/v1/health/service/<name>`."""
    node, service = entry["Node"], entry["Service"]
    checks = {check["CheckID"]: check["Status"] for check in entry["Checks"]}
    own = [status for check, status in checks.items() if "_maintenance" not in check]
    return {
        "Datacenter": DATACENTER,
        "Node": node["Node"],
        "ServiceID": service["ID"],
        "ServiceName": service["Service"],
        "Address": service["Address"] or node["Address"],
        "Port": service["Port"],
        "Tags": sorted(service["Tags"]),
        "Meta": service["Meta"] or {},
        "Weights": service["Weights"],
        "NodeAddress": node["Address"],
        "Status": "maintenance" if len(own) < len(checks) else max(own, key=STATUSES.index, default="passing"),
        "Checks": checks,
    }


def picture_of(catalog: Catalog) -> Picture:
    """Return the rows of every stream."""
    found: Picture = {CATALOG: {key_of(row): row for row in rows_of_catalog(dict(catalog.tags()))}}
    for name in NAMES:
        if name != UNSELECTED:
            rows = [row_of_instance(msgspec.to_builtins(each)) for each in _instances(catalog, name)]
            found[stream_of(name)] = {key_of(row): row for row in rows}
    return found


def _instances(catalog: Catalog, name: str) -> Iterable[Instance]:
    for node, service in catalog.instances(name):
        checks = (*catalog.checks_of(node.node, ""), *catalog.checks_of(node.node, service.id))
        yield Instance(node, service, checks)


def _remove(catalog: Catalog, index: int, instances: Iterable[tuple[str, str]]) -> None:
    for node, service_id in instances:
        catalog.remove_service(index, node, service_id)


class Registrations:
    """What is registered in a datacenter, changed at random; `history` has every row in every form that it had."""

    def __init__(self, datacenter: Datacenter, rng: random.Random) -> None:
        self.datacenter = datacenter
        self.rng = rng
        self.history: dict[tuple[Stream, Key], list[Row | None]] = defaultdict(list)
        self._numbers = count(1)
        self.record()

    def record(self) -> None:
        """Write down what there is now."""
        there = {(stream, key): row for stream, rows in self.picture().items() for key, row in rows.items()}
        for place in self.history.keys() | there.keys():
            self.history[place].append(there.get(place))

    def picture(self) -> Picture:
        return picture_of(self.datacenter.catalog)

    def change(self) -> None:
        """Make one change."""
        instances = [
            (node, service.id)
            for node in self.datacenter.catalog.nodes
            for service in self.datacenter.catalog.services_of(node)
            if service.id != "consul"
        ]
        roll = self.rng.random()
        if not instances or roll < 0.45:
            self._register()
        elif roll < 0.65:
            self._judge(*self.rng.choice(instances))
        elif roll < 0.75:
            self._judge_node(self.rng.choice(instances)[0])
        elif roll < 0.88:
            node, service_id = self.rng.choice(instances)
            self._write(lambda catalog, index: catalog.remove_service(index, node, service_id))
        elif roll < 0.94:
            name = self.rng.choice(NAMES)
            gone = [(node.node, service.id) for node, service in self.datacenter.catalog.instances(name)]
            self._write(lambda catalog, index: _remove(catalog, index, gone))
        else:
            node = self.rng.choice(NODES)
            self._write(lambda catalog, index: catalog.remove_node(index, node))

    def change_everything(self) -> None:
        """Move the index of every service, and the tags of one: who was shown too little at one sees the rest now."""
        name = UNSELECTED
        service = Service(name, name, tags=(f"mended-{next(self._numbers)}",))

        def change(catalog: Catalog, index: int) -> None:
            catalog.bump(index, *catalog.indexes)
            catalog.put_node(index, Node("", "n1", "10.0.0.1", DATACENTER))
            catalog.put_service(index, "n1", service)

        self._write(change)

    def _register(self) -> None:
        """Register an instance, perhaps in place of another or under another name, or a node's address alone."""
        rng, number = self.rng, next(self._numbers)
        name, node = rng.choice(NAMES), Node("", rng.choice(NODES), f"10.0.0.{rng.randint(1, 2)}", DATACENTER)
        others = [each for each in NAMES if UNSELECTED not in {each, name}]  # who is not selected is read by nobody
        service = Service(
            f"{rng.choice(others) if others and rng.random() < RENAMED else name}-{rng.randint(1, 2)}",
            name,
            tags=tuple(rng.sample(("blue", "green", "red"), rng.randint(0, 2))),
            address=rng.choice(("", "10.1.0.1")),
            meta={"number": str(number)},
            port=rng.randint(80, 82),
            weights=Weights(rng.randint(1, 2)),
        )
        is_node_alone, is_checked = rng.random() < 0.15, rng.random() < 0.4
        check = Check(node.node, f"{service.id}:up", "up", rng.choice(STATUSES), service_id=service.id)

        def change(catalog: Catalog, index: int) -> None:
            catalog.put_node(index, node)
            if not is_node_alone:
                catalog.put_service(index, node.node, service)
                if is_checked:
                    catalog.put_check(index, check)

        self._write(change)

    def _judge(self, node: str, service_id: str) -> None:
        check_id = self.rng.choice((f"{service_id}:up", f"{service_id}:disk", f"_service_maintenance:{service_id}"))
        self._put_or_remove(node, check_id, service_id)

    def _judge_node(self, node: str) -> None:
        self._put_or_remove(node, self.rng.choice(("serfHealth", "_node_maintenance")), "")

    def _put_or_remove(self, node: str, check_id: str, service_id: str) -> None:
        status, output = self.rng.choice(STATUSES), self.rng.choice(("", "said"))
        check = Check(node, check_id, check_id, status, output=output, service_id=service_id)
        if self.rng.random() < 0.3:
            self._write(lambda catalog, index: catalog.remove_check(index, node, check_id))
        else:
            self._write(lambda catalog, index: catalog.put_check(index, check))

    def _write(self, change: Callable[[Catalog, int], None]) -> None:
        self.datacenter.write(change)
        self.record()


class Consumer:
    """Somebody who applies the events as they come; what does not fit is an AssertionError.

    `sees_again`: a process that was paused at the beginning of a stream may take a second snapshot of it.
    """

    def __init__(self, *, sees_again: bool) -> None:
        self._sees_again = sees_again
        self.told: dict[Stream, dict[Position, ChangeEvent]] = defaultdict(dict)
        self.picture: Picture = defaultdict(dict)

    def take(self, events: Sequence[ChangeEvent]) -> None:
        for event in events:
            told = self.told[event.stream]
            if event.position in told:
                assert told[event.position] == event, f"{event.position} is two events: {told[event.position]}, {event}"
            else:
                last = next(reversed(told), "")
                assert event.position > last, f"{event.position} after {last}"
                self._apply(event)
                told[event.position] = event

    def _apply(self, event: ChangeEvent) -> None:
        rows = self.picture[event.stream]
        key = key_of(event.after or event.before or {})
        if event.op != "r":
            assert rows.get(key) == event.before, f"{event} does not follow {rows.get(key)}"
        elif not self._sees_again:
            assert all(each.op == "r" for each in self.told[event.stream].values()), f"a second sight: {event}"
            assert key not in rows, f"{event} twice"
        if event.after is None:
            del rows[key]
        else:
            rows[key] = event.after

    def changes(self) -> list[ChangeEvent]:
        """Return what was told, less snapshots."""
        return [event for events in self.told.values() for event in events.values() if event.op != "r"]

    def see_that_it_happened(self, history: Mapping[tuple[Stream, Key], Sequence[Row | None]]) -> None:
        """See that of each row, fields and health were told as they followed each other, though not each of them."""
        told: dict[tuple[Stream, Key], list[Row | None]] = defaultdict(lambda: [None])
        for stream, events in self.told.items():
            for event in events.values():
                told[stream, key_of(event.after or event.before or {})].append(event.after)
        for place, rows in told.items():
            for view in (_fields, _health):
                there = [None, *_distinct(map(view, history.get(place, ())))]
                unmatched = iter(there)
                for form in _distinct(map(view, rows)):
                    assert form in unmatched, f"{place} was told as {form}, after which of {there}?"


def _fields(row: Row | None) -> Row | None:
    return row and {name: value for name, value in row.items() if name not in HEALTH}


def _health(row: Row | None) -> Row | None:
    return row and {name: row[name] for name in HEALTH if name in row}


def _distinct[T](forms: Iterable[T]) -> list[T]:
    """Return the forms without those that repeat the one before."""
    found: list[T] = []
    for form in forms:
        if not found or form != found[-1]:
            found.append(form)
    return found
