"""The reads of the catalog and of health: what each waits for, and what it answers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import Struct
from multidict import MultiMapping

from local.consul.acl import Token
from local.consul.catalog import CA, CHECKS, NODES, SERVICES, Catalog
from local.consul.errors import ConsulError
from local.consul.filters import Filter, compiled, selectors
from local.consul.query import COMMON
from local.consul.rows import PASSING, STATUSES, CatalogService, Check, Instance, Node, Service, catalog_service

type Watch = tuple[tuple[str, ...], int]
_BOOLEANS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False, "": True}


@dataclass(slots=True)
class View:
    """One request's look at a catalog: what it asked for, and what its token lets it see."""

    catalog: Catalog
    token: Token
    name: str
    parameters: MultiMapping[str]
    keeps: Filter
    filtered: bool = False

    def sees(self, node: str = "", service: str = "") -> bool:
        """Whether the token may read these; an answer that leaves something out says so."""
        allowed = (not node or self.token.allows("node", node, "read")) and (
            not service or self.token.allows("service", service, "read")
        )
        self.filtered |= not allowed
        return allowed


@dataclass(frozen=True, slots=True)
class Read:
    """An endpoint: its path, its parameters, what a blocking query waits for, and its answer."""

    path: str
    watch: Callable[[Catalog, str], Watch]
    answer: Callable[[View], Any]
    row: type[Struct] | None = None
    more: frozenset[str] = frozenset()
    is_coarse: bool = False
    missing: str = ""

    @property
    def parameters(self) -> frozenset[str]:
        """The query parameters that are understood."""
        return COMMON | self.more | ({"filter"} if self.row else set())

    def filter(self, expression: str) -> Filter:
        """Return the compiled filter.

        Raises:
            ConsulError: it is not one for these rows.
        """
        return compiled(expression, selectors(self.row)) if self.row and expression else _keep_all


def _keep_all(_: Any) -> bool:
    return True


def _table(name: str) -> Callable[[Catalog, str], Watch]:
    return lambda catalog, _: ((name,), catalog.index_of(name))


def _services(view: View) -> Mapping[str, Iterable[str]]:
    if view.keeps is _keep_all:
        return {name: tags for name, tags in view.catalog.tags() if view.sees(service=name)}
    found: dict[str, set[str]] = {}
    for name, _ in view.catalog.tags():
        if view.sees(service=name):
            for node, service in view.catalog.instances(name):
                if service.service == name and view.keeps(catalog_service(node, service)):
                    found.setdefault(name, set()).update(service.tags)
    return {name: sorted(tags) for name, tags in found.items()}


def _instances(view: View) -> Iterable[tuple[Node, Service]]:
    """Return what the token sees of a service, with all the tags asked for."""
    tags = {tag.lower() for tag in view.parameters.getall("tag", [])}
    for node, service in view.catalog.instances(view.name):
        if view.sees(node.node, service.service) and tags <= {tag.lower() for tag in service.tags}:
            yield node, service


def _catalog_service(view: View) -> list[CatalogService]:
    return [row for row in (catalog_service(*pair) for pair in _instances(view)) if view.keeps(row)]


def _health_service(view: View) -> list[Instance]:
    only_passing = _passing(view.parameters)
    catalog, found = view.catalog, []
    for node, service in _instances(view):
        checks = (*catalog.checks_of(node.node, ""), *catalog.checks_of(node.node, service.id))
        if only_passing and any(check.status != PASSING for check in checks):
            continue
        instance = Instance(node, service, checks)
        if view.keeps(instance):
            found.append(instance)
    return found


def _passing(parameters: MultiMapping[str]) -> bool:
    text = parameters.get("passing")
    if text is None:
        return False
    if text.lower() not in _BOOLEANS:
        raise ConsulError(400, "Invalid value for ?passing")
    return _BOOLEANS[text.lower()]


def _nodes(view: View) -> list[Node]:
    return [node for _, node in sorted(view.catalog.nodes.items()) if view.sees(node.node) and view.keeps(node)]


def _on_node(view: View) -> tuple[Node, list[Service]] | None:
    node = view.catalog.nodes.get(view.name.lower())
    if node is None or not view.sees(node.node):
        return None
    services = [one for one in view.catalog.services_of(view.name) if view.sees(service=one.service)]
    return node, [one for one in services if view.keeps(one)]


def _node(view: View) -> dict[str, Any] | None:
    found = _on_node(view)
    return found and {"Node": found[0], "Services": {service.id: service for service in found[1]}}


def _node_services(view: View) -> dict[str, Any]:
    node, services = _on_node(view) or (None, [])
    return {"Node": node, "Services": services or None}  # as Go writes a list of nothing


def _checks(view: View, checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if view.sees(check.node, check.service_name) and view.keeps(check)]


def _health_node(view: View) -> list[Check]:
    catalog = view.catalog
    ids = ["", *(service.id for service in catalog.services_of(view.name))]
    return _checks(view, (check for one in ids for check in catalog.checks_of(view.name, one)))


def _health_checks(view: View) -> list[Check]:
    catalog = view.catalog
    return _checks(
        view, (c for node, one in catalog.instances(view.name) for c in catalog.checks_of(node.node, one.id))
    )


def _health_state(view: View) -> list[Check]:
    if view.name not in {"any", *STATUSES}:
        raise ConsulError(400, f"Unsupported state {view.name!r}: any, {', '.join(STATUSES)}")
    return _checks(view, view.catalog.checks_in(view.name))


_NO_SERVICE, _NO_NODE = "Missing service name", "Missing node name"

READS = (
    Read("/v1/catalog/services", _table(SERVICES), _services, CatalogService, is_coarse=True),
    Read(
        "/v1/catalog/service/{name:.*}",
        Catalog.watch_service,
        _catalog_service,
        CatalogService,
        frozenset({"tag"}),
        missing=_NO_SERVICE,
    ),
    Read("/v1/catalog/nodes", _table(NODES), _nodes, Node, is_coarse=True),
    Read("/v1/catalog/node/{name:.*}", Catalog.watch_node, _node, Service, missing=_NO_NODE),
    Read("/v1/catalog/node-services/{name:.*}", Catalog.watch_node, _node_services, Service, missing=_NO_NODE),
    Read(
        "/v1/health/service/{name:.*}",
        Catalog.watch_service,
        _health_service,
        Instance,
        frozenset({"tag", "passing"}),
        missing=_NO_SERVICE,
    ),
    Read("/v1/health/node/{name:.*}", _table(CHECKS), _health_node, Check, missing=_NO_NODE),
    Read("/v1/health/checks/{name:.*}", _table(CHECKS), _health_checks, Check, missing=_NO_SERVICE),
    Read(
        "/v1/health/state/{name:.*}",
        Catalog.watch_state,
        _health_state,
        Check,
        is_coarse=True,
        missing="Missing check state",
    ),
)

CA_WATCH = _table(CA)
