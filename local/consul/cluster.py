"""Datacenters that know each other, the agent of the first, and who may do what."""

import uuid
from collections.abc import Iterator, Sequence

from aiohttp import web

from local.consul.acl import AccessControl, Token
from local.consul.agent import Agent, alive
from local.consul.catalog import Catalog
from local.consul.datacenter import Datacenter
from local.consul.errors import NO_PATH, ConsulError
from local.consul.rows import PASSING, Check, Node, Service

_BEARER = "Bearer "
_TAGS = (("http", "v1"), ("http", "v2"), ("grpc", "v1"), ("grpc", "v2"))


class Cluster:
    """Everything a Consul agent knows; use it in the event loop that serves it.

    `agent_token` counts for requests that have none.
    """

    def __init__(self, datacenters: Sequence[str] = ("dc1",), node: str = "consul-1") -> None:
        self.acl = AccessControl()
        self.agent_token = ""
        self.datacenters = {name: Datacenter(name) for name in datacenters}
        self.local = self.datacenters[datacenters[0]]
        agents = [
            Agent(datacenter, _node(node if datacenter is self.local else f"{name}-{node}", name))
            for name, datacenter in self.datacenters.items()
        ]
        for agent in agents:
            agent.join()
        self.agent = agents[0]

    def datacenter(self, name: str) -> Datacenter:
        """Return a datacenter, the agent's own for no name.

        Raises:
            ConsulError: nobody knows it, 500.
        """
        if not name:
            return self.local
        if name not in self.datacenters:
            raise ConsulError(500, NO_PATH)
        return self.datacenters[name]

    def token(self, request: web.Request) -> Token:
        """Return what the bearer of a request's token may do.

        Raises:
            ConsulError: the token is unknown, 403.
        """
        return self.acl.resolve(self.secret(request))

    def secret(self, request: web.Request) -> str:
        """Return the token that counts for a request, "" for none."""
        return _secret(request) or self.agent_token

    def load(
        self, services: int, instances_per_service: int, nodes: int, prefix: str = "service", datacenter: str = ""
    ) -> None:
        """Register `prefix-00000`, … with instances spread over `prefix-node-00000`, …, a passing check each.

        Raises:
            ValueError: there would be instances and no node.
        """
        if min(services, instances_per_service, nodes) < 1:
            message = "load: services, instances_per_service and nodes are 1 or more"
            raise ValueError(message)
        where = self.datacenter(datacenter)
        rows = list(_instances(services, instances_per_service, nodes, prefix))

        def change(catalog: Catalog, index: int) -> None:
            for name in {node: None for node, _, _ in rows}:
                catalog.put_node(index, _node(name, where.name))
                catalog.put_check(index, alive(name))
            for node, service, check in rows:
                catalog.put_service(index, node, service)
                catalog.put_check(index, check)

        where.write(change)


def _secret(request: web.Request) -> str:
    bearer = request.headers.get("Authorization", "")
    return (
        request.query.get("token", "")
        or request.headers.get("X-Consul-Token", "")
        or (bearer.removeprefix(_BEARER) if bearer.startswith(_BEARER) else "")
    )


def _node(name: str, datacenter: str) -> Node:
    address = "127.0.0.1"
    number = uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.node.{datacenter}.consul")
    return Node(
        str(number), name, address, datacenter, {"lan": address, "wan": address}, {"consul-network-segment": ""}
    )


def _instances(
    services: int, instances_per_service: int, nodes: int, prefix: str
) -> Iterator[tuple[str, Service, Check]]:
    names = [f"{prefix}-node-{number:05}" for number in range(nodes)]
    metas = [{"version": str(number)} for number in range(4)]
    number = 0
    for of in range(services):
        name = f"{prefix}-{of:05}"
        for _ in range(instances_per_service):
            node, service_id = names[number % nodes], f"{name}-{number}"
            address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            service = Service(service_id, name, _TAGS[of % 4], address, meta=metas[number % 4], port=8000 + of % 1000)
            check = Check(node, f"service:{service_id}", "alive", PASSING, service_id=service_id, type="ttl")
            yield node, service, check
            number += 1
