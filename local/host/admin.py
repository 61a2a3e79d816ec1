"""The `/admin` endpoints: whether the host runs, which functions it has, and running a timer by hand.

Source: https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http
"""

import time
from collections.abc import Mapping

from aiohttp import web

from local.host.timer import BY_HAND
from local.host.worker import Worker

REASON = "This function was programmatically called via the host APIs."


class Admin:
    """Answers about one loaded app; `errors` holds, by function, why it was not started."""

    def __init__(self, worker: Worker, host_id: str, errors: Mapping[str, str]) -> None:
        self._worker = worker
        self._host_id = host_id
        self._errors = errors
        self._started = time.monotonic()

    @property
    def routes(self) -> tuple[web.RouteDef, ...]:
        """The endpoints, without any check of keys."""
        return (
            web.get("/admin/host/status", self._status),
            web.get("/admin/functions", self._list),
            web.post("/admin/functions/{name}", self._run),
        )

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "id": self._host_id,
                "state": "Running",
                "processUptime": round((time.monotonic() - self._started) * 1000),
                "errors": [f"The '{name}' function is in error: {why}" for name, why in self._errors.items()],
            }
        )

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response(
            [{"name": function.name, "config": {"bindings": [function.trigger]}} for function in self._worker.functions]
        )

    async def _run(self, request: web.Request) -> web.Response:
        name = request.match_info["name"].lower()
        found = [function for function in self._worker.functions if function.name.lower() == name]
        if not found:
            return web.Response(status=404)
        if found[0].kind != "timerTrigger":
            return web.json_response({"error": "only timer functions can be run by hand here"}, status=400)
        self._worker.start(found[0], BY_HAND, REASON)
        return web.Response(status=202)
