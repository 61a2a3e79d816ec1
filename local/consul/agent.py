"""The agent that clients talk to: the services and checks it was told of, on its own node, and what it is."""

import asyncio
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET, structs

from local.consul.catalog import CA, Catalog
from local.consul.datacenter import Datacenter
from local.consul.errors import ConsulError
from local.consul.rows import CRITICAL, PASSING, Check, Node, Service

VERSION = "1.20.0"
"""The release whose answers this server gives."""

SERF_HEALTH = "serfHealth"


def alive(node: str) -> Check:
    """Return the check that gossip makes of every node with an agent."""
    return Check(node, SERF_HEALTH, "Serf Health Status", PASSING, output="Agent alive and reachable")


@dataclass(slots=True)
class Agent:
    """A server agent in development mode, in one datacenter."""

    datacenter: Datacenter
    node: Node
    services: dict[str, Service] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    _lifetimes_s: dict[str, float] = field(default_factory=dict)
    _timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)

    def join(self) -> None:
        """Register the agent's node and the `consul` service, as an agent does when it starts."""
        node = self.node
        own = Service("consul", "consul", port=8300, meta={"version": VERSION})

        def change(catalog: Catalog, index: int) -> None:
            catalog.put_node(index, node)
            catalog.put_service(index, node.node, own)
            catalog.put_check(index, alive(node.node))
            catalog.bump(index, CA)

        self.datacenter.seed(change)

    def put_service(self, service: Service, checks: list[tuple[Check, float]]) -> None:
        """Register a service with its checks, each with its time to live in seconds."""
        name = self.node.node
        rows = [self._kept(structs.replace(check, node=name, service_id=service.id)) for check, _ in checks]

        def change(catalog: Catalog, index: int) -> None:
            catalog.put_service(index, name, service)
            for row in rows:
                catalog.put_check(index, row)

        self.datacenter.write(change)
        self.services[service.id] = service
        for row, (_, ttl_s) in zip(rows, checks, strict=True):
            self._remember(row, ttl_s)

    def remove_service(self, service_id: str) -> None:
        """Deregister a service with its checks.

        Raises:
            ConsulError: it was not registered here.
        """
        if service_id not in self.services:
            text = (
                f"Unknown service ID {_quoted(service_id)}. Ensure that the service ID is passed, not the service name."
            )
            raise ConsulError(404, text)
        name = self.node.node
        self.datacenter.write(lambda catalog, index: catalog.remove_service(index, name, service_id))
        del self.services[service_id]
        for check in [check for check in self.checks.values() if check.service_id == service_id]:
            self._forget(check.check_id)

    def put_check(self, check: Check, ttl_s: float) -> None:
        """Register a check.

        Raises:
            ConsulError: it is of a service that was not registered here.
        """
        if check.service_id and check.service_id not in self.services:
            raise ConsulError(500, f"ServiceID {_quoted(check.service_id)} does not exist")
        check = self._kept(structs.replace(check, node=self.node.node))
        self.datacenter.write(lambda catalog, index: catalog.put_check(index, check))
        self._remember(check, ttl_s)

    def remove_check(self, check_id: str) -> None:
        """Deregister a check.

        Raises:
            ConsulError: it was not registered here.
        """
        name, _ = self.node.node, self.find_check(check_id)
        self.datacenter.write(lambda catalog, index: catalog.remove_check(index, name, check_id))
        self._forget(check_id)

    def update_check(self, check_id: str, status: str, output: str) -> None:
        """Say how a check went; its time to live starts again.

        Raises:
            ConsulError: it was not registered here.
        """
        check = structs.replace(self.find_check(check_id), status=status, output=output)
        self.datacenter.write(lambda catalog, index: catalog.put_check(index, check))
        self._remember(check, self._lifetimes_s[check_id])

    def find_check(self, check_id: str) -> Check:
        """Return a check that was registered here.

        Raises:
            ConsulError: it was not.
        """
        if check_id not in self.checks:
            text = f"Unknown check ID {_quoted(check_id)}. Ensure that the check ID is passed, not the check name."
            raise ConsulError(404, text)
        return self.checks[check_id]

    def stop(self) -> None:
        """Let no check expire any more."""
        for check_id in list(self._timers):
            self._timers.pop(check_id).cancel()

    def forget(self) -> None:
        """Know of no service, as after a restart."""
        self.stop()
        for known in (self.services, self.checks, self._lifetimes_s):
            known.clear()

    def describe(self) -> dict[str, Any]:
        """Return what `/v1/agent/self` tells, without what only operators read."""
        datacenter, node = self.datacenter, self.node
        config = {
            "Datacenter": datacenter.name,
            "PrimaryDatacenter": datacenter.name,
            "NodeName": node.node,
            "NodeID": node.id,
            "Revision": "local",
            "Server": True,
            "Version": VERSION,
        }
        stats = {
            "consul": {"leader": str(datacenter.has_leader).lower(), "server": "true"},
            "raft": {"last_log_index": str(datacenter.index), "commit_index": str(datacenter.index)},
            "runtime": {"os": platform.system().lower(), "arch": platform.machine()},
        }
        member = {"Name": node.node, "Addr": node.address, "Port": 8301, "Status": 1, "Tags": {"role": "consul"}}
        return {"Config": config, "Stats": stats, "Member": member, "Meta": node.meta or {}}

    def list_services(self) -> Mapping[str, dict[str, Any]]:
        """Return what `/v1/agent/services` tells of each service."""
        return {service_id: _told(service, self.datacenter.name) for service_id, service in self.services.items()}

    def _kept(self, check: Check) -> Check:
        """Return a check with the status it has: to register it again says nothing about how it goes."""
        old = self.checks.get(check.check_id)
        return check if old is None else structs.replace(check, status=old.status, output=old.output)

    def _remember(self, check: Check, ttl_s: float) -> None:
        check_id = check.check_id
        self.checks[check_id], self._lifetimes_s[check_id] = check, ttl_s
        if timer := self._timers.pop(check_id, None):
            timer.cancel()
        if ttl_s and check.status != CRITICAL:
            self._timers[check_id] = asyncio.get_running_loop().call_later(ttl_s, self._expire, check_id)

    def _forget(self, check_id: str) -> None:
        del self.checks[check_id], self._lifetimes_s[check_id]
        if timer := self._timers.pop(check_id, None):
            timer.cancel()

    def _expire(self, check_id: str) -> None:
        if not self.datacenter.has_leader:
            self._remember(self.checks[check_id], self._lifetimes_s[check_id])
            return
        self.update_check(check_id, CRITICAL, "TTL expired")


def _told(service: Service, datacenter: str) -> dict[str, Any]:
    addresses = service.tagged_addresses
    return {
        "ID": service.id,
        "Service": service.service,
        "Tags": service.tags,
        "Meta": service.meta or {},
        "Port": service.port,
        "Address": service.address,
        "TaggedAddresses": {} if addresses is UNSET else addresses,
        "Weights": service.weights,
        "EnableTagOverride": service.enable_tag_override,
        "Datacenter": datacenter,
    }


def _quoted(text: str) -> str:
    return f'"{text}"'
