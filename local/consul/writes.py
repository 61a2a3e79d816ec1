"""The writes of the catalog and of the agent, as routes."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from local.consul.acl import Token
from local.consul.catalog import Catalog
from local.consul.cluster import Cluster
from local.consul.errors import ConsulError
from local.consul.forms import (
    AgentCheckForm,
    AgentServiceForm,
    CheckUpdate,
    Deregistration,
    Registration,
    checked,
    decoded,
    required,
)
from local.consul.rows import CRITICAL, PASSING, WARNING, Check

type Handler = Callable[[web.Request], Awaitable[Any]]
"""Does what a request says and returns the JSON value to answer, or None for an empty answer."""


def parameters(request: web.Request, *more: str) -> None:
    """Refuse query parameters that mean nothing here.

    Raises:
        ConsulError: there is one, 400.
    """
    if unknown := request.query.keys() - {"token", "dc", "pretty", *more}:
        raise ConsulError(400, f"Unsupported query parameter: {', '.join(sorted(unknown))}")


class Writes:
    """What changes the catalog."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def routes(self) -> list[tuple[str, Handler]]:
        """Return path and handler of every write."""
        return [
            ("/v1/catalog/register", self._register),
            ("/v1/catalog/deregister", self._deregister),
            ("/v1/agent/service/register", self._register_service),
            ("/v1/agent/service/deregister/{id}", self._deregister_service),
            ("/v1/agent/check/register", self._register_check),
            ("/v1/agent/check/deregister/{id}", self._deregister_check),
            ("/v1/agent/check/pass/{id}", self._set_check(PASSING)),
            ("/v1/agent/check/warn/{id}", self._set_check(WARNING)),
            ("/v1/agent/check/fail/{id}", self._set_check(CRITICAL)),
            ("/v1/agent/check/update/{id}", self._update_check),
        ]

    async def _register(self, request: web.Request) -> bool:
        parameters(request)
        form = decoded(await request.read(), Registration)
        required(form.node, "Must provide node and address")
        required(form.address, "Must provide node and address")
        datacenter = self._cluster.datacenter(form.datacenter or request.query.get("dc", ""))
        checks = tuple(one.row(form.node) for one in (*([form.check] if form.check else []), *(form.checks or ())))
        if strangers := {check.node for check in checks if check.node.lower() != form.node.lower()}:
            raise ConsulError(400, f"Node in the check ({', '.join(strangers)}) is not the node {form.node}")
        token = self._cluster.token(request)
        if not form.skip_node_update:
            token.require("node", form.node, "write")
        _require_writes(token, form, checks, datacenter.catalog)
        node, service = form.row(datacenter.name), form.service.row() if form.service else None
        if service is not None:
            required(service.service, "Must provide service name (Service.Service) when service ID is provided")

        def change(catalog: Catalog, index: int) -> None:
            if not form.skip_node_update or node.node.lower() not in catalog.nodes:
                catalog.put_node(index, node)
            if service is not None:
                catalog.put_service(index, node.node, service)
            for check in checks:
                catalog.put_check(index, check)

        datacenter.write(change)
        return True

    async def _deregister(self, request: web.Request) -> bool:
        parameters(request)
        form = decoded(await request.read(), Deregistration)
        required(form.node, "Must provide node")
        datacenter = self._cluster.datacenter(form.datacenter or request.query.get("dc", ""))
        token, catalog = self._cluster.token(request), datacenter.catalog
        service = catalog.service(form.node, form.service_id)
        check = catalog.check(form.node, form.check_id)
        named = service.service if service else check.service_name if check else ""
        if not token.allows("node", form.node, "write"):
            _require(token, named, form.node)

        def change(catalog: Catalog, index: int) -> None:
            if form.service_id:
                catalog.remove_service(index, form.node, form.service_id)
            elif form.check_id:
                catalog.remove_check(index, form.node, form.check_id)
            else:
                catalog.remove_node(index, form.node)

        datacenter.write(change)
        return True

    async def _register_service(self, request: web.Request) -> None:
        parameters(request, "replace-existing-checks")
        form = decoded(await request.read(), AgentServiceForm)
        required(form.name, "Missing service name")
        self._cluster.token(request).require("service", form.name, "write")
        self._cluster.agent.put_service(form.row(), form.check_rows())

    async def _deregister_service(self, request: web.Request) -> None:
        parameters(request)
        service_id, agent, token = request.match_info["id"], self._cluster.agent, self._cluster.token(request)
        if service_id in agent.services:
            token.require("service", agent.services[service_id].service, "write")
        agent.remove_service(service_id)

    async def _register_check(self, request: web.Request) -> None:
        parameters(request)
        form = decoded(await request.read(), AgentCheckForm)
        required(form.name, "Missing check name")
        check, ttl_s = form.row()
        self._allow(self._cluster.token(request), check)
        self._cluster.agent.put_check(check, ttl_s)

    async def _deregister_check(self, request: web.Request) -> None:
        parameters(request)
        self._cluster.agent.remove_check(self._named(request).check_id)

    def _set_check(self, status: str) -> Handler:
        async def update(request: web.Request) -> None:
            parameters(request, "note")
            self._change_check(request, status, request.query.get("note", ""))

        return update

    async def _update_check(self, request: web.Request) -> None:
        parameters(request)
        form = decoded(await request.read(), CheckUpdate)
        self._change_check(request, checked(form.status), form.output)

    def _change_check(self, request: web.Request, status: str, output: str) -> None:
        self._cluster.agent.update_check(self._named(request).check_id, status, output)

    def _named(self, request: web.Request) -> Check:
        """Return the check a request names and may write."""
        token = self._cluster.token(request)
        check = self._cluster.agent.find_check(request.match_info["id"])
        self._allow(token, check)
        return check

    def _allow(self, token: Token, check: Check) -> None:
        agent = self._cluster.agent
        service = agent.services.get(check.service_id)
        _require(token, service.service if service else "", agent.node.node)


def _require(token: Token, service: str, node: str) -> None:
    """Require to write a service, or the node where there is none."""
    token.require(*(("service", service) if service else ("node", node)), "write")


def _require_writes(token: Token, form: Registration, checks: tuple[Check, ...], catalog: Catalog) -> None:
    """Require to write what is registered, and the service whose instance is replaced."""
    if form.service is not None:
        token.require("service", form.service.service, "write")
        old = catalog.service(form.node, form.service.id or form.service.service)
        if old is not None:
            token.require("service", old.service, "write")
    for check in checks:
        new = form.service and (form.service.id or form.service.service) == check.service_id and form.service.service
        held = catalog.service(form.node, check.service_id)
        _require(token, new or (held.service if held else ""), form.node)
