"""What clients send when they write, checked against types; a field that is not understood is refused.

https://developer.hashicorp.com/consul/api-docs/catalog#register-entity
https://developer.hashicorp.com/consul/api-docs/agent/service#register-service
https://developer.hashicorp.com/consul/api-docs/agent/check#register-check
"""

import msgspec
from msgspec import UNSET, Struct

from local.consul.durations import seconds
from local.consul.errors import ConsulError
from local.consul.rows import CRITICAL, STATUSES, Check, Endpoint, Node, Service, Weights, go_name


class ServiceForm(Struct, frozen=True, forbid_unknown_fields=True, rename=go_name):
    """`Service` of a catalog registration."""

    service: str
    id: str = ""
    tags: tuple[str, ...] | None = None
    address: str = ""
    tagged_addresses: dict[str, Endpoint] | None = None
    meta: dict[str, str] | None = None
    port: int = 0
    weights: Weights | None = None
    enable_tag_override: bool = False
    datacenter: str = ""
    create_index: int = 0
    modify_index: int = 0

    def row(self) -> Service:
        """Return the instance; its id is its name unless it has one."""
        return Service(
            self.id or self.service,
            self.service,
            tuple(self.tags or ()),
            self.address,
            self.tagged_addresses or UNSET,
            self.meta,
            self.port,
            self.weights or Weights(),
            self.enable_tag_override,
        )


class CheckForm(Struct, frozen=True, forbid_unknown_fields=True, rename=go_name):
    """`Check` of a catalog registration."""

    node: str = ""
    check_id: str = ""
    name: str = ""
    status: str = CRITICAL
    notes: str = ""
    output: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: tuple[str, ...] | None = None
    type: str = ""
    definition: dict[str, object] | None = None
    create_index: int = 0
    modify_index: int = 0

    def row(self, node: str) -> Check:
        """Return the check on a node; its id is its name unless it has one."""
        checked(self.status)
        names = self.check_id or self.name, self.name or self.check_id
        return Check(self.node or node, *names, self.status, self.notes, self.output, self.service_id, type=self.type)


class Registration(Struct, frozen=True, forbid_unknown_fields=True, rename=go_name):
    """Body of `PUT /v1/catalog/register`."""

    node: str = ""
    address: str = ""
    id: str = ""
    datacenter: str = ""
    tagged_addresses: dict[str, str] | None = None
    node_meta: dict[str, str] | None = None
    service: ServiceForm | None = None
    check: CheckForm | None = None
    checks: tuple[CheckForm, ...] | None = None
    skip_node_update: bool = False

    def row(self, datacenter: str) -> Node:
        """Return the node."""
        return Node(self.id, self.node, self.address, datacenter, self.tagged_addresses, self.node_meta)


class Deregistration(Struct, frozen=True, forbid_unknown_fields=True, rename=go_name):
    """Body of `PUT /v1/catalog/deregister`."""

    node: str = ""
    datacenter: str = ""
    service_id: str = ""
    check_id: str = ""


class AgentCheckForm(Struct, frozen=True, forbid_unknown_fields=True, rename=go_name):
    """A check of an agent; only those that clients report themselves (TTL) are run."""

    name: str = ""
    id: str = ""
    check_id: str = ""
    ttl: str = ""
    status: str = CRITICAL
    notes: str = ""
    service_id: str = ""

    def row(self, default_id: str = "", default_name: str = "") -> tuple[Check, float]:
        """Return the check and its time to live in seconds; its node is yet to be said."""
        checked(self.status)
        try:
            ttl_s = seconds(self.ttl)
        except ValueError as why:
            raise ConsulError(
                400, f"Invalid check: TTL must be > 0 for TTL checks, the only ones this server runs ({why})"
            ) from None
        check_id = self.check_id or self.id or default_id or self.name
        name = self.name or default_name or check_id
        return Check("", check_id, name, self.status, self.notes, "", self.service_id, type="ttl"), ttl_s


class AgentServiceForm(Struct, frozen=True, forbid_unknown_fields=True, rename=go_name):
    """Body of `PUT /v1/agent/service/register`."""

    name: str
    id: str = ""
    tags: tuple[str, ...] | None = None
    address: str = ""
    tagged_addresses: dict[str, Endpoint] | None = None
    meta: dict[str, str] | None = None
    port: int = 0
    weights: Weights | None = None
    enable_tag_override: bool = False
    check: AgentCheckForm | None = None
    checks: tuple[AgentCheckForm, ...] | None = None

    def row(self) -> Service:
        """Return the instance; its id is its name unless it has one."""
        return Service(
            self.id or self.name,
            self.name,
            tuple(self.tags or ()),
            self.address,
            self.tagged_addresses or UNSET,
            self.meta or {},
            self.port,
            self.weights or Weights(),
            self.enable_tag_override,
        )

    def check_rows(self) -> list[tuple[Check, float]]:
        """Return its checks; their ids are `service:<id>`, numbered when there are several."""
        forms = [*([self.check] if self.check else []), *(self.checks or ())]
        base, title = f"service:{self.id or self.name}", f"Service '{self.name}' check"
        ids = [base] if len(forms) == 1 else [f"{base}:{number}" for number in range(1, len(forms) + 1)]
        return [form.row(one, title) for form, one in zip(forms, ids, strict=True)]


class CheckUpdate(Struct, frozen=True, forbid_unknown_fields=True, rename=go_name):
    """Body of `PUT /v1/agent/check/update/<id>`."""

    status: str
    output: str = ""


def decoded[T](body: bytes, kind: type[T]) -> T:
    """Return what a body says.

    Raises:
        ConsulError: it is not JSON of that form, 400.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as why:
        raise ConsulError(400, f"Request decode failed: {why}") from None


def checked(status: str) -> str:
    """Return a status.

    Raises:
        ConsulError: it is none, 400.
    """
    if status not in STATUSES:
        raise ConsulError(400, f"Invalid check status: {status!r}; {', '.join(STATUSES)}")
    return status


def required(value: str, text: str) -> None:
    """Refuse a body that lacks something.

    Raises:
        ConsulError: the value is empty, 400.
    """
    if not value:
        raise ConsulError(400, text)
