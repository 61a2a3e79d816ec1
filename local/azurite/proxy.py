"""The HTTP proxy before one storage service: it forwards byte for byte, so that request signatures still verify."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from local.azurite.faults import Faults, Seen
from local.ports import HOST, reserve

MAX_BODY_BYTES = 1 << 30
REMEMBERED = 50
KEEP_ALIVE_S = 2.0  # well below the 5 s after which Node closes: a request never meets a closing connection

# RFC 9110, 7.6.1: these belong to one connection. aiohttp has answered Expect by itself.
_HOP_BY_HOP = ("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Transfer-Encoding", "Upgrade", "Expect")
_CODES = {403: "AuthorizationFailure", 404: "ResourceNotFound", 412: "ConditionNotMet", 503: "ServerBusy"}


class Proxy:
    """Serves `service` on `port` (0: a free one); `upstream` tells where Azurite listens now."""

    def __init__(self, service: str, port: int, upstream: Callable[[], int], faults: Faults) -> None:
        self.service = service
        self.count = 0
        self.last: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)
        self._upstream = upstream
        self._faults = faults
        self._reserved = reserve(port)
        self._listener: asyncio.Server | None = None
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    @property
    def port(self) -> int:
        """The port clients connect to; it stays the same over outages."""
        port: int = self._reserved.getsockname()[1]
        return port

    async def start(self) -> None:
        """Serve."""
        # The signature covers content type and encoding as the client sent them, present or not.
        self._client = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
            timeout=ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        await self._runner.setup()
        await self.open()

    async def open(self) -> None:
        """Accept connections."""
        if self._listener is None:
            assert self._runner.server
            self._listener = await asyncio.get_running_loop().create_server(self._runner.server, HOST, self.port)

    def shut(self) -> None:
        """Cut all connections and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener.abort_clients()
            self._listener = None

    async def stop(self) -> None:
        """Stop serving and give the port back."""
        self.shut()
        await self._runner.cleanup()
        await self._client.close()
        self._reserved.close()

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        seen = Seen.of(request.method, request.raw_path, request.headers.get("x-ms-lease-action", ""), body)
        self.count += 1
        self.last.append((seen.method, seen.path))
        pauses = self._faults.due(seen)
        await self._faults.delay(seen)
        if status := self._faults.failure(seen):
            return self._refusal(status)
        if "before" in pauses and await self._faults.hold(seen, "before"):
            return _cut(request)
        try:
            answer = await self._forward(request, body)
        except ClientError:
            return _cut(request)  # Azurite is going down: its client would see the same
        if "after" in pauses and await self._faults.hold(seen, "after"):
            return _cut(request)
        return answer

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        # From the raw request line: the query has to reach Azurite as it was signed.
        url = URL(f"http://{HOST}:{self._upstream()}{request.raw_path}", encoded=True)
        headers = _end_to_end(request.headers)
        async with self._client.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            content = await answer.read()
            return web.Response(status=answer.status, headers=_end_to_end(answer.headers), body=content)

    def _refusal(self, status: int) -> web.Response:
        """Return an error in the form the service gives it, so that the SDKs read its code.

        https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2
        """
        code = _CODES.get(status, "InternalError")
        headers = {"x-ms-error-code": code}
        if self.service == "table":
            body = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": "refused by a fault"}}}
            return web.json_response(body, status=status, headers=headers)
        text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>a fault</Message></Error>'
        return web.Response(status=status, headers=headers, text=text, content_type="application/xml")


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    kept = CIMultiDict(headers)
    for name in _HOP_BY_HOP:
        kept.popall(name, None)
    return kept


def _cut(request: web.Request) -> web.Response:
    """Close the connection without an answer; the response returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
