"""The catalog of one datacenter as one server has it: rows, the index of every table, and who waits for them.

Names are compared without regard to case, as Consul's own tables do.
https://github.com/hashicorp/consul/blob/main/agent/consul/state/catalog.go
"""

import asyncio
import itertools
from collections.abc import Iterable, Iterator

from msgspec import structs

from local.consul.errors import ConsulError
from local.consul.rows import PASSING, STATUSES, Check, Node, Service

NODES, SERVICES, CHECKS, CA = "nodes", "services", "checks", "ca"
EXTINCTION = "service_last_extinction"

_NUMBERS = itertools.count(1)

type Key = tuple[str, str]
"""Node and id of a service or a check, both folded."""


def service_key(name: str) -> str:
    """Return the name of the index of one service."""
    return f"service.{name.lower()}"


def node_key(name: str) -> str:
    """Return the name of the index of one node."""
    return f"node.{name.lower()}"


def state_key(status: str) -> str:
    """Return the name of what moves with the checks of one status; it has no index."""
    return f"{CHECKS}.{status}"


class Catalog:
    """Rows and indexes; every method that writes takes the index of the raft entry that does it."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.checks: dict[Key, Check] = {}
        self.indexes: dict[str, int] = {}
        self.number = next(_NUMBERS)
        self.abandoned = False
        self._services: dict[Key, Service] = {}
        self._of_name: dict[str, dict[Key, Service]] = {}
        self._of_node: dict[str, dict[str, Service]] = {}
        self._checks_of: dict[Key, tuple[Check, ...]] = {}
        self._failing: dict[str, dict[Key, Check]] = {status: {} for status in STATUSES if status != PASSING}
        self._tags: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {}
        self._node_of_id: dict[str, str] = {}
        self._watches: dict[str, asyncio.Future[None]] = {}

    # Reads.

    def instances(self, name: str) -> Iterator[tuple[Node, Service]]:
        """Return the instances of a service, ordered by node and id."""
        of_name = self._of_name.get(name.lower(), {})
        return ((self.nodes[key[0]], of_name[key]) for key in sorted(of_name))

    def services_of(self, node: str) -> list[Service]:
        """Return the instances on a node, ordered by id."""
        of_node = self._of_node.get(node.lower(), {})
        return [of_node[key] for key in sorted(of_node)]

    def service(self, node: str, service_id: str) -> Service | None:
        """Return one instance."""
        return self._services.get((node.lower(), service_id.lower()))

    def check(self, node: str, check_id: str) -> Check | None:
        """Return one check."""
        return self.checks.get((node.lower(), check_id))

    def checks_of(self, node: str, service_id: str) -> tuple[Check, ...]:
        """Return the checks of an instance without those of its node; those of the node for an empty id."""
        return self._checks_of.get((node.lower(), service_id.lower()), ())

    def checks_in(self, status: str) -> Iterable[Check]:
        """Return all checks, or those with a status."""
        if status == "any":
            return self.checks.values()
        if status in self._failing:
            return self._failing[status].values()
        return (check for check in self.checks.values() if check.status == status)

    def tags(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Return the name of every service, as it is spelled each time, with the tags of all of its instances."""
        for key in self._of_name:
            yield from self._tags.get(key) or self._collect(key)

    def counts(self) -> dict[str, int]:
        """Return how much there is of what."""
        named = {"services": len(self._of_name), "instances": len(self._services)}
        return {"nodes": len(self.nodes), **named, "checks": len(self.checks)}

    # Indexes.

    def index_of(self, *tables: str) -> int:
        """Return the highest index of these tables."""
        return max(self.indexes.get(table, 0) for table in tables)

    def watch_service(self, name: str) -> tuple[tuple[str, ...], int]:
        """Return what changes with a service, and its index: the last extinction's where it has no instances."""
        key = service_key(name)
        if name.lower() in self._of_name:
            return (key,), self.indexes[key]
        index = self.indexes.get(EXTINCTION) or self.indexes.get(key) or self.index_of(NODES, SERVICES, CHECKS)
        return (key, EXTINCTION), index

    def watch_state(self, status: str) -> tuple[tuple[str, ...], int]:
        """Return what wakes who waits for the checks with a status, and the index, which is that of all checks.

        As long as some fail with that status, no other check wakes.
        """
        return (state_key(status) if self._failing.get(status) else CHECKS,), self.index_of(CHECKS)

    def watch_node(self, name: str) -> tuple[tuple[str, ...], int]:
        """Return what changes with a node, and its index."""
        key = node_key(name)
        return (key,), self.indexes.get(key) or self.index_of(NODES, SERVICES)

    def changed(self, key: str) -> asyncio.Future[None]:
        """Return what is done when this index moves; shared, so wait for it and do not cancel it."""
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = asyncio.get_running_loop().create_future()
        return watch

    def bump(self, index: int, *keys: str) -> None:
        """Move indexes and wake who waits for them."""
        for key in keys:
            self.indexes[key] = index
            self._wake(key)

    def abandon(self) -> None:
        """Wake everybody: this state is not the cluster's any more."""
        self.abandoned = True
        self.wake()

    def wake(self) -> None:
        """Wake everybody, that they look again."""
        for key in list(self._watches):
            self._wake(key)

    # Writes.

    def put_node(self, index: int, node: Node) -> None:
        """Add or change a node.

        Raises:
            ConsulError: another node has its id.
        """
        key = node.node.lower()
        old = self.nodes.get(key)
        if node.id and self._node_of_id.setdefault(node.id, key) != key:
            taken = self.nodes[self._node_of_id[node.id]].node
            raise ConsulError(500, f"node ID {node.id} belongs to {taken!r}: this server does not rename nodes")
        if old is not None:
            node = structs.replace(
                node, id=node.id or old.id, create_index=old.create_index, modify_index=old.modify_index
            )
            if node == old:
                return
        created = old.create_index if old else index
        self.nodes[key] = structs.replace(node, create_index=created, modify_index=index)
        self.bump(index, NODES, node_key(key), *self._services_on(key))

    def put_service(self, index: int, node: str, service: Service) -> None:
        """Add or change an instance on a node that is there.

        When it takes another name, its old service keeps its index: no index says that it lost an instance.
        """
        key = (node.lower(), service.id.lower())
        old = self._services.get(key)
        if old is not None:
            same = structs.replace(service, create_index=old.create_index, modify_index=old.modify_index)
            if same == old:
                return
            if old.service.lower() != service.service.lower():
                self._unlist(key, old)
        created = old.create_index if old else index
        service = structs.replace(service, create_index=created, modify_index=index)
        name = service.service.lower()
        self._services[key] = service
        self._of_name.setdefault(name, {})[key] = service
        self._of_node.setdefault(key[0], {})[key[1]] = service
        self._tags.pop(name, None)
        self.bump(index, SERVICES, service_key(name), NODES, node_key(node))

    def put_check(self, index: int, check: Check) -> None:
        """Add or change a check on a node that is there.

        Raises:
            ConsulError: it is of an instance that is not there.
        """
        if check.service_id:
            service = self.service(check.node, check.service_id)
            if service is None:
                raise ConsulError(500, "Missing service registration")
            check = structs.replace(check, service_name=service.service, service_tags=service.tags)
        key = (check.node.lower(), check.check_id)
        old = self.checks.get(key)
        if old is not None:
            same = structs.replace(check, create_index=old.create_index, modify_index=old.modify_index)
            if same == old:
                return
            self._unlist_check(key, old)
        created = old.create_index if old else index
        check = structs.replace(check, create_index=created, modify_index=index)
        self.checks[key] = check
        home = (key[0], check.service_id.lower())
        self._checks_of[home] = (*self._checks_of.get(home, ()), check)
        if check.status in self._failing:
            self._failing[check.status][key] = check
        self._bump_checks(index, check, *([old] if old else []))

    def remove_node(self, index: int, node: str) -> None:
        """Remove a node with everything on it; nothing happens when it is not there."""
        key = node.lower()
        if key not in self.nodes:
            return
        for service in self.services_of(key):
            self.remove_service(index, key, service.id)
        for check in self.checks_of(key, ""):
            self.remove_check(index, key, check.check_id)
        self._node_of_id.pop(self.nodes.pop(key).id, None)
        self.bump(index, NODES, node_key(key))
        del self.indexes[node_key(key)]

    def remove_service(self, index: int, node: str, service_id: str) -> None:
        """Remove an instance with its checks; nothing happens when it is not there."""
        key = (node.lower(), service_id.lower())
        service = self._services.get(key)
        if service is None:
            return
        for check in self.checks_of(node, service_id):
            self.remove_check(index, node, check.check_id)
        del self._services[key]
        del self._of_node[key[0]][key[1]]
        self._unlist(key, service)
        of_name = service_key(service.service)
        self.bump(index, SERVICES, CHECKS, NODES, node_key(node), of_name)
        if service.service.lower() not in self._of_name:
            del self.indexes[of_name]
            self.bump(index, EXTINCTION)

    def remove_check(self, index: int, node: str, check_id: str) -> None:
        """Remove a check; nothing happens when it is not there."""
        key = (node.lower(), check_id)
        check = self.checks.pop(key, None)
        if check is None:
            return
        self._unlist_check(key, check)
        self._bump_checks(index, check)
        if not check.service_id:
            self.indexes[SERVICES] = index  # which wakes nobody

    def copy(self) -> "Catalog":
        """Return a catalog with the same rows and indexes, that nobody waits for."""
        other = Catalog()
        other.nodes, other.checks, other.indexes = dict(self.nodes), dict(self.checks), dict(self.indexes)
        other._services, other._checks_of = dict(self._services), dict(self._checks_of)
        other._of_name = {name: dict(rows) for name, rows in self._of_name.items()}
        other._of_node = {name: dict(rows) for name, rows in self._of_node.items()}
        other._failing = {status: dict(rows) for status, rows in self._failing.items()}
        other._tags, other._node_of_id = dict(self._tags), dict(self._node_of_id)
        return other

    def _collect(self, key: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        tags: dict[str, set[str]] = {}
        for row in self._of_name[key].values():
            tags.setdefault(row.service, set()).update(row.tags)
        found = self._tags[key] = tuple((name, tuple(sorted(of_name))) for name, of_name in tags.items())
        return found

    def _services_on(self, node: str) -> Iterable[str]:
        return {service_key(service.service) for service in self._of_node.get(node, {}).values()}

    def _touched(self, check: Check) -> Iterable[str]:
        """Return the indexes of the services whose health a check is part of."""
        if not check.service_id:
            return self._services_on(check.node.lower())
        service = self.service(check.node, check.service_id)
        return [service_key(service.service)] if service else ()

    def _bump_checks(self, index: int, check: Check, *others: Check) -> None:
        """Move the index of the checks and of the services that one is part of; `others` is how it was before."""
        self.bump(index, CHECKS, *self._touched(check))
        for status in {each.status for each in (check, *others)}:
            self._wake(state_key(status))

    def _unlist(self, key: Key, service: Service) -> None:
        """Take an instance from its name."""
        name = service.service.lower()
        rows = self._of_name[name]
        del rows[key]
        self._tags.pop(name, None)
        if not rows:
            del self._of_name[name]

    def _unlist_check(self, key: Key, check: Check) -> None:
        home = (key[0], check.service_id.lower())
        left = tuple(other for other in self._checks_of[home] if other.check_id != check.check_id)
        if left:
            self._checks_of[home] = left
        else:
            del self._checks_of[home]
        if check.status in self._failing:
            del self._failing[check.status][key]

    def _wake(self, key: str) -> None:
        watch = self._watches.pop(key, None)
        if watch is not None:
            watch.set_result(None)
