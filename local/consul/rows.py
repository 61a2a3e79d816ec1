"""What the catalog holds, in the names and the order of Consul's JSON.

https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-service
https://developer.hashicorp.com/consul/api-docs/catalog#list-nodes-for-service
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

PASSING, WARNING, CRITICAL = "passing", "warning", "critical"
STATUSES = (PASSING, WARNING, CRITICAL)

_ABBREVIATIONS = {"id": "ID", "ttl": "TTL", "http": "HTTP", "tcp": "TCP"}
_PROXY: dict[str, Any] = {"Mode": "", "MeshGateway": {}, "Expose": {}}
_NOTHING: dict[str, Any] = {}


def go_name(name: str) -> str:
    """Return `service_id` as `ServiceID`, the way a Go field is called."""
    return "".join(_ABBREVIATIONS.get(word, word.capitalize()) for word in name.split("_"))


class Weights(Struct, frozen=True, gc=False, rename=go_name):
    """The shares of DNS answers an instance gets."""

    passing: int = 1
    warning: int = 1


class Endpoint(Struct, frozen=True, gc=False, rename=go_name):
    """An address with a port, of those an instance has besides its own."""

    address: str
    port: int = 0


class Node(Struct, frozen=True, gc=False, rename=go_name):
    """A machine."""

    id: str
    node: str
    address: str
    datacenter: str
    tagged_addresses: dict[str, str] | None = None
    meta: dict[str, str] | None = None
    create_index: int = 0
    modify_index: int = 0


class Service(Struct, frozen=True, gc=False, rename=go_name):
    """An instance of a service; which node it is on is the key it is held under."""

    id: str
    service: str
    tags: tuple[str, ...] = ()
    address: str = ""
    tagged_addresses: dict[str, Endpoint] | UnsetType = UNSET
    meta: dict[str, str] | None = None
    port: int = 0
    weights: Weights = Weights()
    enable_tag_override: bool = False
    proxy: dict[str, Any] = field(default_factory=lambda: _PROXY)
    connect: dict[str, Any] = field(default_factory=lambda: _NOTHING)
    peer_name: str = ""
    create_index: int = 0
    modify_index: int = 0


class Check(Struct, frozen=True, gc=False, rename=go_name):
    """A health check, of an instance or, without a service id, of a node."""

    node: str
    check_id: str
    name: str
    status: str = CRITICAL
    notes: str = ""
    output: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: tuple[str, ...] = ()
    type: str = ""
    interval: str = ""
    timeout: str = ""
    exposed_port: int = 0
    definition: dict[str, Any] = field(default_factory=lambda: _NOTHING)
    create_index: int = 0
    modify_index: int = 0


class Instance(Struct, frozen=True, gc=False, rename=go_name):
    """An element of `/v1/health/service/<name>`."""

    node: Node
    service: Service
    checks: tuple[Check, ...]


class CatalogService(Struct, frozen=True, gc=False, rename=go_name):
    """An element of `/v1/catalog/service/<name>`; its id is that of the node."""

    id: str
    node: str
    address: str
    datacenter: str
    tagged_addresses: dict[str, str] | None
    node_meta: dict[str, str] | None
    service_kind: str
    service_id: str
    service_name: str
    service_tags: tuple[str, ...]
    service_address: str
    service_weights: Weights
    service_meta: dict[str, str] | None
    service_port: int
    service_socket_path: str
    service_enable_tag_override: bool
    service_proxy: dict[str, Any]
    service_connect: dict[str, Any]
    create_index: int
    modify_index: int
    service_tagged_addresses: dict[str, Endpoint] | UnsetType = UNSET


def catalog_service(node: Node, service: Service) -> CatalogService:
    """Return an instance flattened with its node."""
    return CatalogService(
        id=node.id,
        node=node.node,
        address=node.address,
        datacenter=node.datacenter,
        tagged_addresses=node.tagged_addresses,
        node_meta=node.meta,
        service_kind="",
        service_id=service.id,
        service_name=service.service,
        service_tags=service.tags,
        service_address=service.address,
        service_weights=service.weights,
        service_meta=service.meta,
        service_port=service.port,
        service_socket_path="",
        service_enable_tag_override=service.enable_tag_override,
        service_proxy=service.proxy,
        service_connect=service.connect,
        create_index=service.create_index,
        modify_index=service.modify_index,
        service_tagged_addresses=service.tagged_addresses,
    )
