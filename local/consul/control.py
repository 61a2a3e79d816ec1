"""The control port of the stand-in: faults, bulk loading, and what there is to see.

`POST /faults` takes any of these; `match` is a regular expression, searched in `METHOD /path?query`:

| fault | does |
|---|---|
| `{"reset": {"index": 1, "new_cluster": true, "wipe": true, "dc": "dc1"}}` | indexes start low again, as after a \
restored snapshot, or, with a new identity and no data, after a restart of `-dev`; queries that wait are answered \
from what was |
| `{"leader": "lost"}`, `{"leader": "back"}` | no leader: only stale reads are answered, older and older |
| `{"refuse": {"status": 429, "retry_after_s": 1, "text": "…", "match": "…", "count": 2}}` | throttling (429, 503) and \
other errors; without `count` until `clear` |
| `{"delay_s": 0.2, "match": "…"}` | every request comes later; 0 ends it |
| `{"cut": {"match": "…", "count": 1}}` | the connection ends instead of an answer |
| `{"pause": {"match": "…", "after": 1, "when": "before"}}` | holds the n-th such request before it is looked at, or \
`"after"` its answer is made; listed under `paused` |
| `{"resume": 1}`, `{"resume": "all", "drop": true}` | lets it go on, or cuts its connection |
| `{"lag": {"behind": 3, "every": 2, "last_contact_ms": 50, "dc": "dc1"}}` | every n-th stale read gets to a \
server that is so many entries behind; 0 ends it |
| `{"partial": {"percent": 40, "match": "…", "count": 1}}` | leaves rows out of an answer |
| `{"token": {"secret": "…", "rules": {…}}}` | adds a token or changes its rules; `null` removes it |
| `{"agent_token": "…"}` | requests without a token have this one, as where the agent's `acl.tokens.default` is set |
| `{"bump": {"indexes": ["services", "service.web"], "dc": "dc1"}}` | indexes move and nothing has changed |
| `{"streaming": true}` | blocking reads of `/v1/health/service` are answered by the streaming backend, which says \
that it knows no leader; `false` ends it |
| `{"stale_by_default": true}` | reads of the catalog and of health that name no consistency are answered by any \
server, as where `discovery_max_stale` is set; `false` ends it |
| `{"clear": true}` | ends every fault but a reset and the rules of tokens |
| `{"reset_counts": true}` | starts counting requests again |

`POST /load` takes `{"services": 10000, "instances_per_service": 10, "nodes": 1000, "prefix": "service", "dc": "dc1"}`.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from local.consul.datacenter import Datacenter
from local.consul.errors import ConsulError
from local.consul.faults import known
from local.consul.server import Server


class Control:
    """What the control port does to a running server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        faults = server.faults
        self._faults: dict[str, Callable[[Any], None]] = {
            "reset": self._reset,
            "leader": self._leader,
            "refuse": faults.refuse,
            "cut": faults.cut,
            "pause": faults.pause,
            "lag": self._lag,
            "partial": faults.shorten,
            "token": server.cluster.acl.put,
            "agent_token": self._agent_token,
            "bump": self._bump,
            "streaming": self._streaming,
            "stale_by_default": self._stale_by_default,
            "clear": self._clear,
            "reset_counts": lambda _: server.requests.reset(),
        }

    @property
    def routes(self) -> tuple[web.RouteDef, ...]:
        """The routes besides those of every part."""
        return (web.post("/load", self._load),)

    async def fault(self, wanted: dict[str, Any]) -> None:
        """Set faults.

        Raises:
            ValueError: one is not known, or cannot be.
        """
        rest = dict(wanted)
        if "delay_s" in rest:
            self._server.faults.delay(float(rest.pop("delay_s")), rest.pop("match", ""))
        elif "resume" in rest:
            self._server.faults.resume(rest.pop("resume"), drop=bool(rest.pop("drop", False)))
        if (unknown := rest.keys() - self._faults.keys()) or not wanted:
            message = f"unknown fault {', '.join(sorted(unknown))}; known: delay_s, resume, {', '.join(self._faults)}"
            raise ValueError(message)
        try:
            for name, given in rest.items():
                self._faults[name](given)
        except ConsulError as why:
            raise ValueError(str(why)) from why

    async def state(self) -> dict[str, Any]:
        """Return what `GET /state` shows."""
        return self._server.state()

    def _datacenter(self, given: dict[str, Any], *names: str) -> Datacenter:
        known(given, {"dc", *names})
        return self._server.cluster.datacenter(given.get("dc", ""))

    def _reset(self, given: dict[str, Any]) -> None:
        datacenter = self._datacenter(given, "index", "new_cluster", "wipe")
        wipe = bool(given.get("wipe", False))
        datacenter.reset(int(given.get("index", 1)), new_cluster=bool(given.get("new_cluster", False)), wipe=wipe)
        if wipe and datacenter is self._server.cluster.local:
            self._server.cluster.agent.forget()

    def _leader(self, given: str | dict[str, Any]) -> None:
        asked = given if isinstance(given, dict) else {"state": given}
        datacenter = self._datacenter(asked, "state")
        match asked.get("state"):
            case "lost":
                datacenter.lose_leader()
            case "back":
                datacenter.elect()
            case other:
                message = f"leader: lost or back, not {other}"
                raise ValueError(message)

    def _lag(self, given: dict[str, Any]) -> None:
        datacenter = self._datacenter(given, "behind", "every", "last_contact_ms")
        datacenter.lag(int(given["behind"]), int(given.get("every", 1)), int(given.get("last_contact_ms", 0)))

    def _agent_token(self, given: str) -> None:
        self._server.cluster.agent_token = given

    def _bump(self, given: dict[str, Any]) -> None:
        self._datacenter(given, "indexes").touch(list(given["indexes"]))

    def _streaming(self, given: bool) -> None:  # noqa: FBT001 - the value of a fault
        self._server.is_streaming = given

    def _stale_by_default(self, given: bool) -> None:  # noqa: FBT001 - the value of a fault
        self._server.is_stale_by_default = given

    def _clear(self, _: Any) -> None:
        self._server.faults.end()
        self._server.is_streaming = self._server.is_stale_by_default = False
        self._server.cluster.agent_token = ""
        for datacenter in self._server.cluster.datacenters.values():
            datacenter.elect()
            datacenter.lag(0)

    async def _load(self, request: web.Request) -> web.Response:
        try:
            given = await request.json()
            known(given, {"services", "instances_per_service", "nodes", "prefix", "dc"})
            services, instances, nodes = (int(given[n]) for n in ("services", "instances_per_service", "nodes"))
            cluster = self._server.cluster
            cluster.load(services, instances, nodes, given.get("prefix", "service"), given.get("dc", ""))
        except (ValueError, KeyError, TypeError, ConsulError) as why:
            return web.json_response({"error": str(why)}, status=400)
        return web.json_response({"done": True})
