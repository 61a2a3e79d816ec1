"""Which service each instance is in: one that comes to a service may have left another; pure.

Consul moves the index of the service that an instance comes to, not that of the one it leaves.

Source:
    https://github.com/hashicorp/consul/blob/main/agent/consul/state/catalog.go (`ensureServiceTxn`)
"""

from collections.abc import Iterable


class Homes:
    """The service of each instance of a datacenter, by name; instances are told apart by the hash of their key."""

    def __init__(self) -> None:
        self._homes: dict[int, str] = {}

    def settle(self, name: str, came: Iterable[str], gone: Iterable[str]) -> set[str]:
        """Note who came to a service and who is gone from it; return the other services that somebody came from."""
        left: set[str] = set()
        for key in map(hash, came):
            before = self._homes.get(key)
            if before not in {None, name}:
                left.add(before)
            self._homes[key] = name
        for key in map(hash, gone):
            if self._homes.get(key) == name:
                del self._homes[key]
        return left
