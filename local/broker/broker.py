"""What all connections of the broker share."""

from dataclasses import dataclass, field
from typing import Protocol

from local.broker.conditions import AmqpError, not_found
from local.broker.faults import Faults
from local.broker.namespace import Entity, Namespace
from local.broker.sas import AccessKey


class Peer(Protocol):
    """A client's connection."""

    def abort(self) -> None:
        """End it without a word."""
        ...

    def detach(self, path: str, problem: AmqpError) -> None:
        """End the links to an entity."""
        ...


@dataclass(slots=True)
class Traffic:
    """What went over the wire since the start: transfers of entities (a batch is one), settlements, requests."""

    transfers_received: int = 0
    transfers_sent: int = 0
    dispositions_received: int = 0
    management_requests: int = 0
    connections_opened: int = 0
    administration_reads: int = 0
    administration_writes: int = 0


@dataclass(slots=True)
class Broker:
    """The entities, the key, the faults and the connections."""

    key: AccessKey
    namespace: Namespace = field(default_factory=Namespace)
    faults: Faults = field(default_factory=Faults)
    traffic: Traffic = field(default_factory=Traffic)
    peers: set[Peer] = field(default_factory=set)
    is_out: bool = False

    def remove(self, path: str) -> list[Entity]:
        """Remove an entity and what belongs to it, and end the links to them; return all of it.

        Raises:
            AmqpError: there is none.
        """
        removed = self.namespace.remove(path)
        for entity in removed:
            for peer in list(self.peers):
                peer.detach(entity.path, not_found(entity.path))
        return removed
