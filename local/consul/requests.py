"""What clients asked for: counted by endpoint, the last ones listed, secrets left out."""

from collections import Counter, deque
from typing import Any

from aiohttp import web

_LISTED = 200
_HIDDEN = "<hidden>"


class Requests:
    """The requests since the start or since the counts were reset."""

    def __init__(self) -> None:
        self.waiting = 0
        self.reset()

    def reset(self) -> None:
        """Start counting again."""
        self._counts: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._last: deque[dict[str, str]] = deque(maxlen=_LISTED)
        self._tokens_in_query = 0
        self._bytes = 0
        self.most_waiting = 0
        self.most_connections = 0

    def seen(self, request: web.Request) -> None:
        """Count a request."""
        route = request.match_info.route.resource
        self._counts[f"{request.method} {route.canonical if route else request.path}"] += 1
        if "token" in request.query:
            self._tokens_in_query += 1
        query = "&".join(f"{name}={_HIDDEN if name == 'token' else value}" for name, value in request.query.items())
        self._last.append({"method": request.method, "path": request.path, "query": query})

    def answered(self, status: int, body: int = 0) -> None:
        """Count an answer, and how many bytes its body has on the wire."""
        self._statuses[status] += 1
        self._bytes += body

    def connected(self, connections: int) -> None:
        """Note how many connections there are, now that there is one more."""
        self.most_connections = max(self.most_connections, connections)

    def waits(self, change: int) -> None:
        """Count a blocking query that begins (1) or ends (-1) to wait."""
        self.waiting += change
        self.most_waiting = max(self.most_waiting, self.waiting)

    def state(self) -> dict[str, Any]:
        """Return what `GET /state` shows."""
        return {
            "requests": sum(self._counts.values()),
            "counts": dict(self._counts),
            "statuses": {str(status): count for status, count in self._statuses.items()},
            "body_bytes": self._bytes,
            "last": list(self._last),
            "tokens_in_query": self._tokens_in_query,
            "waiting": self.waiting,
            "most_waiting": self.most_waiting,
        }
