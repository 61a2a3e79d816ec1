"""Reads whose answers can be trusted, at a pace that Consul can bear.

Source:
    https://developer.hashicorp.com/consul/api-docs/features/blocking
    https://developer.hashicorp.com/consul/api-docs/features/consistency
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import msgspec

from shared.errors import ConfigError, SluiceError, TransientError
from shared.ports import Clock
from shared.settings.model import ConsulSettings
from shared.sources.consul.http import Answer, Http, Mode, Parameters, Wait
from shared.sources.consul.refusals import NO_ACLS, NOT_ENABLED, NOT_KNOWN, NOT_READY

BURST_S: Final = 0.1
"""How much of the agreed rate may come at once, in seconds of it."""

_ANONYMOUS: Final = "00000000-0000-0000-0000-000000000002"

_NOBODY: Final = (("filter", 'Service.ID == ""'),)
"""Leaves out every instance: the answer is its headers alone."""


class Bucket:
    """Lets `rate` per second pass, `burst` of them at once."""

    def __init__(self, rate: float, burst: float, clock: Clock) -> None:
        self._each_s = 1 / rate
        self._ahead_s = max(burst - 1, 0) / rate
        self._clock = clock
        self._next_at = float("-inf")

    async def take(self) -> None:
        """Wait for one's turn."""
        now = self._clock.monotonic()
        self._next_at = max(self._next_at, now - self._ahead_s)
        wait_s = self._next_at - now
        self._next_at += self._each_s
        if wait_s > 0:
            await self._clock.sleep(wait_s)


class _Roots(msgspec.Struct, rename="pascal"):
    trust_domain: str = ""


class _Token(msgspec.Struct):
    accessor_id: str = msgspec.field(name="AccessorID")


class _Config(msgspec.Struct, rename="pascal"):
    datacenter: str


class _Agent(msgspec.Struct, rename="pascal"):
    config: _Config


class _OnNode(msgspec.Struct, rename="pascal"):
    service: str


class _Node(msgspec.Struct, rename="pascal"):
    node: Any = None
    services: list[_OnNode] | None = None


_NODE: Any = _Node | None


class Reads:
    """What there is to read of Consul.

    With `consistency` "stale", any server may answer. Its answer counts when it has a leader, heard from it within
    `max_stale_s`, and is not below the index that is known already; otherwise the leader is asked.

    `lost` are the datacenters of which some read failed: another cluster may answer next time.
    """

    def __init__(self, settings: ConsulSettings, http: Http, clock: Clock) -> None:
        self._settings = settings
        self._http = http
        self.lost: set[str] = set()
        rate = settings.requests_per_second
        self._bucket = Bucket(rate, max(rate * BURST_S, 8), clock)
        self._narrowed = (
            *(("tag", tag) for tag in settings.tags),
            *((("filter", settings.filter),) if settings.filter else ()),
        )

    async def read[T](
        self,
        path: str,
        shape: type[T],
        datacenter: str,
        *,
        at_least: int = 0,
        fresh: bool = False,
        wait: Wait | None = None,
        parameters: Parameters = (),
        mode: Mode | None = None,
    ) -> Answer[T]:
        """Return an answer whose index is below `at_least` only if the index fell.

        `fresh`: as new as this call. `mode` stands above the configured one.
        """
        mode = mode or ("default" if fresh and self._settings.consistency == "stale" else self._settings.consistency)
        ask = partial(self._http.get, path, shape, datacenter=datacenter, parameters=parameters)
        try:
            await self._bucket.take()
            answer = await ask(mode=mode, wait=wait)
            if mode == "stale" and (answer.index < at_least or not self._is_bounded(answer)):
                await self._bucket.take()
                answer = await ask(mode="default")
            if not answer.known_leader:
                msg = f"{path} in {datacenter}: the cluster has no leader"
                raise TransientError(msg, hint="Consul elects a leader; nothing is taken for gone meanwhile")
        except SluiceError:
            self.lost.add(datacenter)
            raise
        return answer

    async def catalog(
        self, datacenter: str, *, at_least: int = 0, fresh: bool = False, mode: Mode | None = None
    ) -> Answer[dict[str, list[str]]]:
        """Return the tags of every service by its name."""
        return await self.read(
            "/v1/catalog/services", dict[str, list[str]], datacenter, at_least=at_least, fresh=fresh, mode=mode
        )

    async def instances(
        self, datacenter: str, service: str, *, at_least: int = 0, fresh: bool = False, mode: Mode | None = None
    ) -> Answer[list[dict[str, Any]]]:
        """Return the instances of a service that have the configured tags and meet the filter, with their checks."""
        return await self.read(
            _health(service),
            list[dict[str, Any]],
            datacenter,
            at_least=at_least,
            fresh=fresh,
            mode=mode,
            parameters=self._narrowed,
        )

    async def index(self, datacenter: str, service: str, wait: Wait | None = None) -> int:
        """Return the index of a service, without its instances; fresh, unless it is waited for."""
        answer = await self.read(
            _health(service),
            list[Any],
            datacenter,
            at_least=0 if wait is None else wait.index,
            fresh=wait is None,
            wait=wait,
            parameters=_NOBODY,
        )
        return answer.index

    async def services_on(self, datacenter: str, node: str) -> frozenset[str] | None:
        """Return the names of the services that have instances on a node; None when there is no such node."""
        path = f"/v1/catalog/node-services/{quote(node, safe='')}"
        found: _Node | None = (await self.read(path, _NODE, datacenter, fresh=True)).data
        if found is None or found.node is None:
            return None
        return frozenset(each.service for each in found.services or ())

    async def trust_domain(self, datacenter: str) -> str:
        """Return the identity of the cluster; "" when it has none, or the token may not see it.

        Source:
            https://github.com/hashicorp/consul/blob/main/agent/consul/server_connect.go
        """
        self.lost.discard(datacenter)  # before it is asked: what fails meanwhile is lost again
        try:
            answer = await self.read("/v1/connect/ca/roots", _Roots, datacenter, fresh=True)
        except SluiceError as why:
            if not isinstance(why, ConfigError) and not any(text in why.message for text in (NOT_ENABLED, NOT_READY)):
                raise
            if NOT_KNOWN not in why.message:  # which may be known in a moment
                self.lost.discard(datacenter)
            return ""
        return answer.data.trust_domain

    async def is_nobody(self) -> bool:
        """Return whether we are anonymous, without a token even of the agent's, where tokens count.

        Source:
            https://developer.hashicorp.com/consul/api-docs/acl/tokens (read self)
        """
        if self._settings.token:
            return False
        await self._bucket.take()
        try:
            token = (await self._http.get("/v1/acl/token/self", _Token)).data
        except ConfigError as why:
            return NO_ACLS not in why.message
        return token.accessor_id == _ANONYMOUS

    async def datacenters(self) -> Sequence[str]:
        """Return the configured datacenters; without any, the agent's own.

        Raises:
            ConfigError: which one that is cannot be seen.
        """
        if self._settings.datacenters:
            return self._settings.datacenters
        await self._bucket.take()
        everywhere = (await self._http.get("/v1/catalog/datacenters", list[str])).data
        if len(everywhere) == 1:
            return everywhere
        await self._bucket.take()
        try:
            return [(await self._http.get("/v1/agent/self", _Agent)).data.config.datacenter]
        except ConfigError as why:
            msg = f"which of the datacenters {', '.join(everywhere)} is the agent's own, the token may not see"
            raise ConfigError(msg, hint="name those to observe in datacenters of the source") from why

    def _is_bounded(self, answer: Answer[Any]) -> bool:
        return answer.known_leader and answer.last_contact_s <= self._settings.max_stale_s


def _health(service: str) -> str:
    return f"/v1/health/service/{quote(service, safe='')}"
