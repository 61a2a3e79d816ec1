"""What a request asks for: parameters, consistency and waiting, as every read of Consul takes them.

https://developer.hashicorp.com/consul/api-docs/features/blocking
https://developer.hashicorp.com/consul/api-docs/features/consistency
"""

import random
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from multidict import MultiMapping

from local.consul.durations import seconds
from local.consul.errors import ConsulError

DEFAULT_WAIT_S = 300.0
MAX_WAIT_S = 600.0
JITTER = 1 / 16
_MAX_INDEX = 2**64 - 1

COMMON = frozenset({"dc", "index", "wait", "stale", "consistent", "leader", "pretty", "token"})
_ENTERPRISE = frozenset({"ns", "partition"})


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters that every read has."""

    datacenter: str
    index: int
    wait_s: float
    consistency: str

    @property
    def stale(self) -> bool:
        """Whether any server may answer."""
        return self.consistency == "stale"


def parse(
    parameters: MultiMapping[str], known: AbstractSet[str], datacenter: str, consistency: str = "leader"
) -> Query:
    """Return what a query string says; `datacenter` is the server's own, `consistency` that of who names none.

    Raises:
        ConsulError: a parameter is unknown or makes no sense.
    """
    for name in parameters:
        if name in _ENTERPRISE:
            raise ConsulError(400, f'Invalid query parameter: "{name}" - it is a Consul Enterprise feature')
        if name not in known:
            raise ConsulError(
                400, f'Unsupported query parameter: "{name}"; this server knows {", ".join(sorted(known))} here'
            )
    if "stale" in parameters and "consistent" in parameters:
        raise ConsulError(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
    consistency = next((mode for mode in ("stale", "consistent", "leader") if mode in parameters), consistency)
    return Query(
        parameters.get("dc") or datacenter,
        _index(parameters.get("index", "")),
        _wait_s(parameters.get("wait", "")),
        consistency,
    )


def with_jitter(wait_s: float) -> float:
    """Return how long a server really waits: up to a sixteenth longer."""
    return wait_s * (1 + random.random() * JITTER)


def _index(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()) or int(text) > _MAX_INDEX:
        raise ConsulError(400, "Invalid index")
    return int(text)


def _wait_s(text: str) -> float:
    try:
        wait_s = seconds(text) if text else 0.0
    except ValueError:
        raise ConsulError(400, "Invalid wait time") from None
    return min(wait_s, MAX_WAIT_S) if wait_s > 0 else DEFAULT_WAIT_S
