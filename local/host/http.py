"""HTTP triggers and the admin endpoints, on one port.

Source: https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger
"""

import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from local.host import protos
from local.host.errors import HostError
from local.host.protos import TypedData
from local.host.routes import Route
from local.host.worker import Function, InvocationError, Worker

BODY_LIMIT = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Keys:
    """`master` opens everything, `function` the functions of level FUNCTION."""

    master: str
    function: str

    def open(self, level: str, request: web.Request) -> bool:
        """Whether the request may reach a function of this level."""
        if level == "ANONYMOUS":
            return True
        given = (request.headers.get("x-functions-key") or request.query.get("code") or "").encode()
        accepted = [self.master] if level == "ADMIN" else [self.master, self.function]
        matches = [hmac.compare_digest(given, key.encode()) for key in accepted]  # all of them, in constant time
        return any(matches)


@dataclass(frozen=True, slots=True)
class _Endpoint:
    function: Function
    route: Route
    methods: frozenset[str]
    level: str


class HttpServer:
    """Serves the HTTP functions of an app and `/admin` on 127.0.0.1."""

    def __init__(
        self, worker: Worker, functions: Sequence[Function], prefix: str, keys: Keys, admin: Sequence[web.RouteDef]
    ) -> None:
        self._worker = worker
        self._keys = keys
        self._admin = admin
        self._prefix = prefix
        self._endpoints = sorted((_endpoint(function) for function in functions), key=lambda each: each.route.rank)
        self._draining = False
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> str:
        """Listen (port 0: a free one) and return the URL."""
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._guard])
        app.add_routes(self._admin)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def drain(self) -> None:
        """Answer 503 from now on."""
        self._draining = True

    async def close(self) -> None:
        """Wait for requests under way and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.lower().startswith("/admin/") and not self._keys.open("ADMIN", request):
            return web.Response(status=401)
        return await handler(request)

    async def _serve(self, request: web.Request) -> web.Response:
        if self._draining:
            return web.Response(status=503)
        path = request.path.strip("/")
        if not path:
            return web.Response(text="Your Functions app is up and running")
        if self._prefix:
            first, _, path = path.partition("/")
            if first.lower() != self._prefix.lower():
                return web.Response(status=404)
        for endpoint in self._endpoints:
            parameters = endpoint.route.match(path)
            if parameters is not None and request.method in endpoint.methods:  # a wrong method is a 404 in Azure too
                if not self._keys.open(endpoint.level, request):
                    return web.Response(status=401)
                return await self._invoke(endpoint.function, request, parameters)
        return web.Response(status=404)

    async def _invoke(self, function: Function, request: web.Request, parameters: Mapping[str, str]) -> web.Response:
        body = await request.read()
        value = protos.RpcHttp(
            method=request.method,
            url=str(request.url),
            headers={name.lower(): text for name, text in request.headers.items()},
            params=parameters,
            query={name: text for name, text in request.query.items() if text},
            body=TypedData(bytes=body) if body else TypedData(),
        )
        try:
            answer = await self._worker.invoke(
                function, TypedData(http=value), {}, "This function was programmatically called via the host APIs."
            )
        except InvocationError:
            return web.Response(status=500)  # the reason is in the log, not in the answer
        return _response(answer)


def _endpoint(function: Function) -> _Endpoint:
    trigger = function.trigger
    try:
        route = Route.parse(str(trigger.get("route") or function.name))
    except ValueError as why:
        message = f"function '{function.name}': {why}"
        raise HostError(message) from why
    every = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
    methods = frozenset(str(method).upper() for method in trigger.get("methods") or every)
    return _Endpoint(function, route, methods, str(trigger.get("authLevel") or "FUNCTION").upper())


def _response(answer: TypedData | None) -> web.Response:
    kind = answer.WhichOneof("data") if answer is not None else None
    if answer is None or kind is None:
        return web.Response(status=204)
    if kind == "string":
        return web.Response(text=answer.string)
    assert kind == "http", kind
    http: Any = answer.http
    response = web.Response(status=int(http.status_code), headers=http.headers, body=http.body.bytes)
    for cookie in http.cookies or ():
        _set_cookie(response, cookie)
    return response


def _set_cookie(response: web.Response, cookie: Any) -> None:
    same_site = {1: "Lax", 2: "Strict", 3: "None"}.get(cookie.same_site)
    expires = cookie.expires and time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(cookie.expires.value.seconds))
    response.set_cookie(
        cookie.name,
        cookie.value,
        domain=(cookie.domain and cookie.domain.value) or None,
        path=(cookie.path and cookie.path.value) or "/",
        expires=expires or None,
        max_age=int(cookie.max_age.value) if cookie.max_age else None,
        secure=bool(cookie.secure and cookie.secure.value),
        httponly=bool(cookie.http_only and cookie.http_only.value),
        samesite=same_site,
    )
