"""A datacenter: its leader's catalog, a server that may lag behind, and what becomes of both in a disaster."""

import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from local.consul.catalog import CA, CHECKS, NODES, SERVICES, Catalog, node_key, service_key
from local.consul.errors import NO_LEADER, ConsulError

type Change = Callable[[Catalog, int], None]
"""What a raft entry does to a catalog; it is applied on every server, so it holds all it needs."""


@dataclass(slots=True)
class Follower:
    """A server that applies every entry when `behind` more were written; `every` n-th stale read gets to it."""

    catalog: Catalog
    behind: int
    every: int
    last_contact_ms: int = 0
    reads: int = 0
    waiting: deque[tuple[int, Change]] = field(default_factory=deque)

    def catch_up(self, index: int) -> None:
        """Apply what is not withheld when the leader is at `index`."""
        while self.waiting and self.waiting[0][0] + self.behind <= index:
            at, change = self.waiting.popleft()
            change(self.catalog, at)


class Datacenter:
    """The servers of one datacenter; use it in the event loop that serves it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.catalog = Catalog()
        self.index = 0
        self.cluster = str(uuid.uuid4())
        self.follower: Follower | None = None
        self._lost_at: float | None = None
        self._seed: list[Change] = []

    @property
    def has_leader(self) -> bool:
        """Whether there is a leader."""
        return self._lost_at is None

    def last_contact_ms(self, catalog: Catalog) -> int:
        """Return how long ago the server of this catalog heard of the leader."""
        if self._lost_at is not None:
            return round((time.monotonic() - self._lost_at) * 1000)
        return self.follower.last_contact_ms if self.follower and self.follower.catalog is catalog else 0

    @property
    def trust_domain(self) -> str:
        """The identity of the cluster, which a new cluster does not share."""
        return f"{self.cluster}.consul"

    def seed(self, change: Change) -> None:
        """Write what every new cluster starts with."""
        self._seed.append(change)
        self.write(change)

    def write(self, change: Change) -> None:
        """Commit one raft entry; what it does not change keeps its index.

        Raises:
            ConsulError: there is no leader, or the change is refused.
        """
        if not self.has_leader:
            raise ConsulError(500, NO_LEADER)
        self.index += 1
        change(self.catalog, self.index)
        if self.follower is not None:
            self.follower.waiting.append((self.index, change))
            self.follower.catch_up(self.index)

    def read(self, *, stale: bool) -> Catalog:
        """Return the catalog of a server that may answer.

        Raises:
            ConsulError: the leader has to, and there is none.
        """
        if not stale:
            if not self.has_leader:
                raise ConsulError(500, NO_LEADER)
            return self.catalog
        if self.follower is not None:
            self.follower.reads += 1
            if self.follower.reads % self.follower.every == 0:
                return self.follower.catalog
        return self.catalog

    def lag(self, behind: int, every: int = 1, last_contact_ms: int = 0) -> None:
        """Let a server fall behind from now on, that last heard of the leader so long ago; 0 makes it catch up.

        Raises:
            ValueError: a number is out of range.
        """
        if behind < 0 or every < 1:
            message = f"lag: 0 or more indexes, every 1st or later read, not {behind}, {every}"
            raise ValueError(message)
        if self.follower is None:
            self.follower = Follower(self.catalog.copy(), behind, every)
        self.follower.behind, self.follower.every = behind, every
        self.follower.last_contact_ms = last_contact_ms
        self.follower.catch_up(self.index)
        if not behind:
            self._drop_follower()

    def lose_leader(self) -> None:
        """Have no leader until `elect`; queries that wait for the leader's data fail."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            self.catalog.wake()

    def elect(self) -> None:
        """Have a leader again."""
        self._lost_at = None

    def reset(self, index: int, *, new_cluster: bool, wipe: bool) -> None:
        """Become what a restored snapshot or a restarted `-dev` agent is: indexes low, perhaps data and identity new.

        Args:
            index: the highest index afterwards; entries go on from there.
            new_cluster: take a new identity.
            wipe: lose all data but what a new cluster starts with.

        Raises:
            ValueError: the index is not positive.
        """
        if index < 1:
            message = f"reset: an index of 1 or more, not {index}"
            raise ValueError(message)
        self._drop_follower()
        old, self.index = self.catalog, index
        self.catalog = Catalog() if wipe else _lowered(old, index)
        if wipe:
            for change in self._seed:
                change(self.catalog, index)
        if new_cluster:
            self.cluster = str(uuid.uuid4())
            self.catalog.bump(index, CA)
        old.abandon()

    def _drop_follower(self) -> None:
        if self.follower is not None:
            self.follower.catalog.abandon()
            self.follower = None

    def touch(self, keys: list[str]) -> None:
        """Move indexes without a change; a raft entry like any other.

        Raises:
            ValueError: there is no such index.
        """
        known = [key if key in {NODES, SERVICES, CHECKS, CA} else _folded(key) for key in keys]
        if missing := [key for key in known if key not in self.catalog.indexes]:
            message = f"no such index: {', '.join(missing)}"
            raise ValueError(message)
        self.write(lambda catalog, index: catalog.bump(index, *known))


def _folded(key: str) -> str:
    kind, _, name = key.partition(".")
    return {"service": service_key, "node": node_key}.get(kind, lambda _: key)(name)


def _lowered(catalog: Catalog, index: int) -> Catalog:
    """Return the same rows with no index above `index`."""
    other = Catalog()
    for node in catalog.nodes.values():
        other.put_node(min(node.modify_index, index), node)
    for name, node in catalog.nodes.items():
        for service in catalog.services_of(name):
            other.put_service(min(service.modify_index, index), node.node, service)
    for check in catalog.checks.values():
        other.put_check(min(check.modify_index, index), check)
    other.indexes = {key: min(value, index) for key, value in catalog.indexes.items()}
    return other
