"""Answers of Consul become rows: of the catalog one per service, of a service one per instance; pure.

Equal states are equal rows: tags are a set, so they come sorted; checks go by their id. What a check prints (`Output`,
`Notes`) is left out: it changes with every run of many checks and is no change of the catalog.

Source:
    https://developer.hashicorp.com/consul/api-docs/catalog#list-services
    https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-service
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared.errors import TransientError

type Row = dict[str, Any]
type Rows = Mapping[str, Row]

PASSING, WARNING, CRITICAL, MAINTENANCE = "passing", "warning", "critical", "maintenance"

_NODE_MAINTENANCE = "_node_maintenance"
_SERVICE_MAINTENANCE = "_service_maintenance:"
_NOTHING: Rows = {}


class _Weights(msgspec.Struct, rename="pascal"):
    passing: int
    warning: int


class _Node(msgspec.Struct, rename="pascal"):
    node: str
    address: str = ""


class _Service(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(name="ID")
    service: str
    address: str = ""
    port: int = 0
    tags: list[str] | None = None
    meta: dict[str, str] | None = None
    weights: _Weights | None = None


class _Check(msgspec.Struct, rename="pascal"):
    check_id: str = msgspec.field(name="CheckID")
    status: str


class _Instance(msgspec.Struct, rename="pascal"):
    node: _Node
    service: _Service
    checks: list[_Check] | None = None


def catalog(answer: Mapping[str, Sequence[str]], datacenter: str, known: Rows = _NOTHING) -> dict[str, Row]:
    """Return the row of each service by its name; one that equals the `known` row is that very row."""
    rows: dict[str, Row] = {}
    for name, listed in answer.items():
        row = known.get(name)
        if row is None or (row["Tags"] != listed and row["Tags"] != _as_set(listed)):
            row = {"Datacenter": datacenter, "ServiceName": name, "Tags": _as_set(listed)}
        rows[name] = row
    return rows


def instances(answer: Sequence[Mapping[str, Any]], datacenter: str) -> dict[str, Row]:
    """Return the row of each instance of a service by `instance_key`.

    Raises:
        TransientError: this is no answer about the health of a service.
    """
    try:
        found = msgspec.convert(answer, list[_Instance])
    except msgspec.ValidationError as why:
        msg = f"the answer is not one of Consul's: {why}"
        raise TransientError(msg, hint="is there a proxy before Consul that answers in its place?") from why
    return {instance_key(each.node.node, each.service.id): _row(each, datacenter) for each in found}


def instance_key(node: str, service_id: str) -> str:
    """Return the key of an instance, another one for every other; a service id is unique only on its node."""
    return f"{node.replace('%', '%25').replace('/', '%2F')}/{service_id}"


def aggregate(checks: Mapping[str, str]) -> str:
    """Return the health of an instance as Consul sums it up: its worst check, of those of its node too.

    Maintenance stands above critical. Without checks it is passing; "" when a status is none that Consul documents.

    Source:
        https://github.com/hashicorp/consul/blob/main/api/health.go (`AggregatedStatus`)
    """
    maintained = False
    found = set[str]()
    for check, status in checks.items():
        if check == _NODE_MAINTENANCE or check.startswith(_SERVICE_MAINTENANCE):
            maintained = True
        else:
            found.add(status)
    if not found <= {PASSING, WARNING, CRITICAL}:
        return ""
    if maintained:
        return MAINTENANCE
    return next((status for status in (CRITICAL, WARNING) if status in found), PASSING)


def _row(instance: _Instance, datacenter: str) -> Row:
    node, service = instance.node, instance.service
    checks = {check.check_id: check.status for check in instance.checks or ()}
    return {
        "Datacenter": datacenter,
        "Node": node.node,
        "ServiceID": service.id,
        "ServiceName": service.service,
        "Address": service.address or node.address,
        "Port": service.port,
        "Tags": _as_set(service.tags),
        "Meta": dict(sorted((service.meta or {}).items())),
        "Weights": {}
        if service.weights is None
        else {"Passing": service.weights.passing, "Warning": service.weights.warning},
        "NodeAddress": node.address,
        "Status": aggregate(checks),
        "Checks": dict(sorted(checks.items())),
    }


def _as_set(tags: Sequence[str] | None) -> list[str]:
    return sorted(set(tags)) if tags else []
