"""The HTTP server: routes, blocking queries, headers, and the edge where faults happen."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from local.consul.answers import Bodies
from local.consul.catalog import Catalog
from local.consul.cluster import Cluster
from local.consul.datacenter import Datacenter
from local.consul.errors import NO_LEADER, ConsulError
from local.consul.faults import Cut, Faults
from local.consul.query import COMMON, Query, parse, with_jitter
from local.consul.reads import CA_WATCH, READS, Read, View
from local.consul.requests import Requests
from local.consul.writes import Handler, Writes, parameters
from local.ports import HOST

MAX_CONNECTIONS = 200
_TOO_MANY = "Your IP is issuing too many concurrent connections, please rate limit your calls\n"
_RAFT = f"{HOST}:8300"
_VIEW = {"X-Consul-Knownleader": "false", "X-Consul-Lastcontact": "0", "X-Consul-Query-Backend": "streaming"}
"""What an agent says of an answer from its own view: nothing of the leader that means anything.

https://github.com/hashicorp/consul/blob/main/agent/rpcclient/health/view.go
"""


class Server:
    """A Consul server; `Cluster` is what it knows, `Faults` what goes wrong."""

    def __init__(self, cluster: Cluster, max_connections: int = MAX_CONNECTIONS) -> None:
        self.cluster = cluster
        self.faults = Faults()
        self.requests = Requests()
        self.is_streaming = False
        self.is_stale_by_default = False
        self.port = 0
        self._max_connections = max_connections
        self._bodies = Bodies()
        self._admitted: set[web.RequestHandler] = set()
        self._runner = web.AppRunner(self._app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.0)

    @asynccontextmanager
    async def serving(self, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        """Serve on a port, 0 for a free one, until the block ends."""
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, HOST, port, ssl_context=tls, backlog=1024)
            await site.start()
            self.port = self._runner.addresses[0][1]
            yield
        finally:
            self.cluster.agent.stop()
            self.faults.end()
            await self._runner.cleanup()

    def state(self) -> dict[str, Any]:
        """Return what `GET /state` shows."""
        server = self._runner.server
        connections = len(server.connections) if server else 0
        return {
            **self.requests.state(),
            "connections": connections,
            "most_connections": max(self.requests.most_connections, connections),
            "paused": self.faults.paused(),
            "datacenters": {
                name: {"index": one.index, "cluster": one.cluster, "has_leader": one.has_leader, **one.catalog.counts()}
                for name, one in self.cluster.datacenters.items()
            },
        }

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._edge])
        for read in READS:
            app.router.add_get(read.path, self._reading(read))
        for path, write in Writes(self.cluster).routes():
            app.router.add_put(path, self._plain(write))
        for path, told in (
            ("/v1/acl/token/self", self._token),
            ("/v1/agent/self", self._self),
            ("/v1/agent/services", self._agent_services),
            ("/v1/catalog/datacenters", self._datacenters),
            ("/v1/status/leader", self._leader),
            ("/v1/status/peers", self._peers),
        ):
            app.router.add_get(path, self._plain(told))
        app.router.add_get("/v1/connect/ca/roots", self._roots)
        return app

    # The edge.

    @web.middleware
    async def _edge(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Count a request, do to it what faults say, and answer errors the way Consul does."""
        if not self._admit(request.protocol):
            refusal = web.Response(status=429, text=_TOO_MANY)
            refusal.force_close()
            self.requests.answered(429)
            return refusal
        self.requests.seen(request)
        target = f"{request.method} {request.path_qs}"
        try:
            await self.faults.before(target)
            response: web.StreamResponse = await handler(request)
            await self.faults.after(target)
        except Cut:
            if request.transport is not None:
                request.transport.abort()
            await asyncio.Event().wait()  # until the loss of the connection cancels this
            raise
        except ConsulError as why:
            response = _error(why)
        except web.HTTPNotFound:
            response = _error(ConsulError(404, f"Unsupported endpoint: {request.path}"))
        except web.HTTPMethodNotAllowed as why:
            allowed = ", ".join(sorted(why.allowed_methods))
            response = _error(ConsulError(405, f"method {request.method} not allowed; {allowed} is"))
            response.headers["Allow"] = allowed
        response.headers["X-Consul-Default-Acl-Policy"] = self.cluster.acl.policy
        body = response.body if isinstance(response, web.Response) else None
        self.requests.answered(response.status, len(body) if isinstance(body, bytes) else 0)
        return response

    def _admit(self, connection: web.RequestHandler) -> bool:
        """Whether a connection is among those that one client may have; it is asked once per connection."""
        if connection in self._admitted:
            return True
        assert self._runner.server is not None
        self._admitted.intersection_update(self._runner.server.connections)
        if len(self._admitted) >= self._max_connections:
            return False
        self._admitted.add(connection)
        self.requests.connected(len(self._admitted))
        return True

    # Reads.

    def _reading(self, read: Read) -> Any:
        async def answer(request: web.Request) -> web.Response:
            name = request.match_info.get("name", "")
            if read.missing and not name:
                raise ConsulError(400, read.missing)
            default = "stale" if self.is_stale_by_default else "leader"
            query = parse(request.query, read.parameters, self.cluster.local.name, default)
            token = self.cluster.token(request)
            keeps = read.filter(request.query.get("filter", ""))
            datacenter = self.cluster.datacenter(query.datacenter)
            catalog = await self._changed(read.watch, name, datacenter, query)
            index = read.watch(catalog, name)[1]
            view = View(catalog, token, name, request.query, keeps)
            key = (catalog.number, request.path, index) if read.is_coarse and self._is_whole(request) else None
            headers = _meta(datacenter, query, index, catalog)
            if self.is_streaming and query.index and read.path.startswith("/v1/health/service/"):
                headers |= _VIEW
            response = self._bodies.response(
                request, lambda: self.faults.part(request, read.answer(view)), headers, key
            )
            if view.filtered and self.cluster.secret(request):  # Consul tells nobody without a token what there is
                response.headers["X-Consul-Results-Filtered-By-Acls"] = "true"
            return response

        return answer

    def _is_whole(self, request: web.Request) -> bool:
        """Whether everybody who asks for this gets the same answer."""
        return not self.cluster.acl.enabled and "filter" not in request.query and not self.faults.is_partial

    async def _changed(self, watch: Any, name: str, datacenter: Datacenter, query: Query) -> Catalog:
        """Return a catalog whose index is higher than the one asked for, or the one there is when the time is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + with_jitter(query.wait_s)
        catalog = datacenter.read(stale=query.stale)
        keys, index = watch(catalog, name)
        if not query.index or index > query.index:
            return catalog
        self.requests.waits(1)
        try:
            while index <= query.index and not catalog.abandoned:
                changes = [catalog.changed(key) for key in keys]
                done, _ = await asyncio.wait(
                    changes, timeout=max(0.0, end - loop.time()), return_when=asyncio.FIRST_COMPLETED
                )
                if not query.stale and not datacenter.has_leader:
                    raise ConsulError(500, NO_LEADER)
                if not done:
                    break
                keys, index = watch(catalog, name)
        finally:
            self.requests.waits(-1)
        return catalog

    async def _roots(self, request: web.Request) -> web.Response:
        query = parse(request.query, COMMON, self.cluster.local.name)
        self.cluster.token(request)
        datacenter = self.cluster.datacenter(query.datacenter)
        catalog = await self._changed(CA_WATCH, "", datacenter, query)
        headers = _meta(datacenter, query, CA_WATCH(catalog, "")[1], catalog)
        roots = {"ActiveRootID": "", "TrustDomain": datacenter.trust_domain, "Roots": []}
        return self._bodies.response(request, lambda: roots, headers)

    # What does not wait.

    def _plain(self, handler: Handler) -> Any:
        async def answer(request: web.Request) -> web.Response:
            value = await handler(request)
            if value is None:
                return web.Response()
            return self._bodies.response(request, lambda: value, {})

        return answer

    async def _token(self, request: web.Request) -> dict[str, Any]:
        parameters(request)
        return self.cluster.acl.describe(self.cluster.secret(request))

    async def _self(self, request: web.Request) -> dict[str, Any]:
        parameters(request)
        self.cluster.token(request).require("agent", self.cluster.agent.node.node, "read")
        return self.cluster.agent.describe()

    async def _agent_services(self, request: web.Request) -> dict[str, Any]:
        parameters(request)
        token = self.cluster.token(request)
        told = self.cluster.agent.list_services()
        return {key: one for key, one in told.items() if token.allows("service", one["Service"], "read")}

    async def _datacenters(self, request: web.Request) -> list[str]:
        parameters(request)
        self.cluster.token(request)
        return list(self.cluster.datacenters)

    async def _leader(self, request: web.Request) -> str:
        parameters(request)
        return _RAFT if self.cluster.datacenter(request.query.get("dc", "")).has_leader else ""

    async def _peers(self, request: web.Request) -> list[str]:
        parameters(request)
        self.cluster.datacenter(request.query.get("dc", ""))
        return [_RAFT]


def _meta(datacenter: Datacenter, query: Query, index: int, catalog: Catalog) -> dict[str, str]:
    """Return the headers of a read; an index is never 0, for every catalog starts with something in each table."""
    return {
        "X-Consul-Index": str(index),
        "X-Consul-Knownleader": str(datacenter.has_leader).lower(),
        "X-Consul-Lastcontact": str(datacenter.last_contact_ms(catalog)),
        "X-Consul-Effective-Consistency": query.consistency,
        "X-Consul-Query-Backend": "blocking-query",
    }


def _error(why: ConsulError) -> web.Response:
    response = web.Response(status=why.status, text=str(why))
    if why.retry_after_s is not None:
        response.headers["Retry-After"] = f"{why.retry_after_s:g}"
    return response
