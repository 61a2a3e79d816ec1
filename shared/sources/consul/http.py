"""The HTTP client: `requests` in threads of its own, that neither hold up others nor keep the process from ending.

Source:
    https://developer.hashicorp.com/consul/api-docs/api-structure
    https://developer.hashicorp.com/consul/api-docs/features/consistency
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Literal

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from shared.errors import SluiceError, TransientError
from shared.settings.consul import COARSE, MAX_CONNECTIONS
from shared.settings.model import ConsulSettings
from shared.sources.consul.refusals import refused, unreachable

type Mode = Literal["stale", "default", "consistent"]
type Parameters = Sequence[tuple[str, str]]

_KEEP_ALIVE_S = 45
"""Azure forgets a connection that was silent for four minutes; a blocking query may be for ten."""
_KEEP_ALIVE = ("TCP_KEEPIDLE", "TCP_KEEPINTVL")

_PATIENCE_S = 1.0
"""How long closing waits for threads to end."""

_here = threading.local()
"""Whose thread this is: a connection is made deep inside `requests`, and its socket has to be known to be cut."""


@dataclass(frozen=True, slots=True)
class Answer[T]:
    """What Consul answered, and what it said about it.

    `index` is 1 or more. `known_leader` and `last_contact_s` say how old the data may be; an agent that answers from a
    view of its own knows neither, whatever it says, and counts as fresh. `filtered`: the token may not see everything.
    `denied_by_default`: whoever has no token sees what is granted to everybody, and nothing else.

    Source:
        https://github.com/hashicorp/consul/blob/main/agent/rpcclient/health/view.go
    """

    data: T
    index: int
    known_leader: bool
    last_contact_s: float
    filtered: bool
    denied_by_default: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """A blocking query: answered when the index is above `index`, or after `wait_s` seconds and a sixteenth of it."""

    index: int
    wait_s: float


class Http:
    """The connections to one agent, each with a thread of its own that is started when all others are busy.

    Reads that are answered at once have `connections` of them; blocking queries have the rest of what Consul grants,
    and no fewer than the coarse watches need.
    """

    def __init__(self, settings: ConsulSettings) -> None:
        self._settings = settings
        self._address = settings.address.rstrip("/")
        held = max(MAX_CONNECTIONS - settings.connections, COARSE * (len(settings.datacenters) or 1))
        self._reading = _Crew(max(MAX_CONNECTIONS - held, 1), self._session)
        self._waiting = _Crew(held, self._session)

    async def get[T](
        self,
        path: str,
        shape: type[T],
        *,
        datacenter: str = "",
        mode: Mode | None = None,
        wait: Wait | None = None,
        parameters: Parameters = (),
    ) -> Answer[T]:
        """Return the answer to one read; `shape` is what its body has to be.

        `mode` is who may answer; without one, whom the agent's `discovery_max_stale` lets.

        Cancelled, it gives its connection up, so that the server does not wait for nobody.

        Raises:
            TransientError: Consul is away, busy, without a leader, or answered what nobody can read.
            ConfigError: it refuses what the settings ask for.
        """
        asked = [*parameters]
        if datacenter:
            asked.append(("dc", datacenter))
        if mode:
            asked.append(("leader" if mode == "default" else mode, ""))
        timeout_s = self._settings.request_timeout_s
        if wait is not None:
            asked += [("index", str(max(wait.index, 1))), ("wait", f"{round(wait.wait_s * 1000)}ms")]
            timeout_s += wait.wait_s + wait.wait_s / 16
        crew = self._reading if wait is None else self._waiting
        return await crew.run(lambda session: self._get(session, path, shape, asked, timeout_s))

    async def close(self) -> None:
        """End every connection, also one whose answer is still to come; idempotent."""
        await asyncio.gather(self._reading.close(), self._waiting.close())

    def _session(self) -> requests.Session:
        settings, session = self._settings, requests.Session()
        session.trust_env = False  # a .netrc or a proxy of the machine's is not for Consul
        session.headers.update({"Accept": "application/json", "Accept-Encoding": "gzip"})
        if settings.token:
            session.headers["X-Consul-Token"] = settings.token
        session.verify = settings.ca_file or True
        if settings.client_cert:
            session.cert = (settings.client_cert, settings.client_key) if settings.client_key else settings.client_cert
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(pool_connections=1, pool_maxsize=1))
        return session

    def _get[T](
        self, session: requests.Session, path: str, shape: type[T], asked: Parameters, timeout_s: float
    ) -> Answer[T]:
        timeouts_s = self._settings.request_timeout_s, timeout_s  # to connect, to answer
        try:
            response = session.get(self._address + path, params=list(asked), timeout=timeouts_s, allow_redirects=False)
        except (requests.RequestException, OSError, UnicodeError) as why:
            raise unreachable(why, self._address) from None  # whose chain would show the address in full
        if response.status_code != requests.codes.ok:
            said = response.content.decode(errors="replace")
            raise refused(response.status_code, said, response.headers, path, dict(asked).get("dc", ""))
        return _answer(response, shape, path)


def _answer[T](response: requests.Response, shape: type[T], path: str) -> Answer[T]:
    try:
        data = msgspec.json.decode(response.content, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as why:
        msg = f"the answer to {path} is not one of Consul's: {why}"
        raise TransientError(
            msg, lasting=True, hint="is there a proxy before Consul that answers in its place?"
        ) from why
    headers = response.headers
    is_view = headers.get("X-Consul-Query-Backend", "") == "streaming"
    return Answer(
        data=data,
        index=max(_number(headers.get("X-Consul-Index")), 1),
        known_leader=is_view or headers.get("X-Consul-KnownLeader", "true").lower() != "false",
        last_contact_s=0.0 if is_view else _number(headers.get("X-Consul-LastContact")) / 1000,
        filtered=headers.get("X-Consul-Results-Filtered-By-ACLs", "").lower() == "true",
        denied_by_default=headers.get("X-Consul-Default-ACL-Policy", "").lower() == "deny",
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() else 0


class _Crew:
    """Daemon threads, up to `most`, each with a session of its own; what comes when all are busy waits in line."""

    def __init__(self, most: int, session: Callable[[], requests.Session]) -> None:
        self._most = most
        self._session = session
        self._line: SimpleQueue[_Task | None] = SimpleQueue()
        self._workers: list[_Worker] = []
        self._busy = 0  # tasks in line or at work; only the event loop's thread counts them
        self._is_closed = False

    async def run[T](self, work: Callable[[requests.Session], T]) -> T:
        if self._is_closed:
            raise _closed()
        task = _Task(work)
        self._busy += 1
        if self._busy > len(self._workers) and len(self._workers) < self._most:
            self._workers.append(_Worker(self._line, self._session))
        self._line.put(task)
        try:
            result: T = await asyncio.wrap_future(task.future)
        except asyncio.CancelledError:
            task.abort()
            raise
        except SluiceError:
            if self._is_closed:
                raise _closed() from None
            raise
        finally:
            self._busy -= 1
        return result

    async def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(Empty):
            while (waiting := self._line.get_nowait()) is not None:
                waiting.refuse()
        workers, self._workers = self._workers, []
        for worker in workers:
            self._line.put(None)
            worker.cut()
        await asyncio.to_thread(_join, workers)


def _join(workers: Sequence["_Worker"]) -> None:
    """Wait for threads to end, a moment for all; one that is still connecting ends later, by itself."""
    ends = time.monotonic() + _PATIENCE_S
    for worker in workers:
        worker.thread.join(max(ends - time.monotonic(), 0.0))


class _Task:
    """One request on its way to a thread, or in it."""

    def __init__(self, work: Callable[[requests.Session], Any]) -> None:
        self.work = work
        self.future: Future[Any] = Future()
        self.worker: _Worker | None = None

    def refuse(self) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(_closed())

    def abort(self) -> None:
        self.future.cancel()
        worker = self.worker
        if worker is not None and worker.task is self:
            worker.cut()


class _Worker:
    """A thread and its connection; other threads may cut it, so that what it waits for ends."""

    def __init__(self, line: "SimpleQueue[_Task | None]", session: Callable[[], requests.Session]) -> None:
        self.task: _Task | None = None
        self.socket: socket.socket | None = None
        self.thread = threading.Thread(target=self._work, args=(line, session), name="consul", daemon=True)
        self.thread.start()

    def cut(self) -> None:
        connected = self.socket
        if connected is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # a TLS socket's own would touch its state

    def _work(self, line: "SimpleQueue[_Task | None]", made: Callable[[], requests.Session]) -> None:
        _here.worker = self
        with made() as session:
            while (task := line.get()) is not None:
                self.task, task.worker = task, self
                if task.future.set_running_or_notify_cancel():
                    self._do(task, session)
                self.task = None

    def _do(self, task: _Task, session: requests.Session) -> None:
        try:
            result = task.work(session)
        except BaseException as why:  # noqa: BLE001 - it belongs to whoever asked
            task.future.set_exception(why)
        else:
            task.future.set_result(result)


class _Known:
    """A connection that its thread's worker knows the socket of."""

    sock: socket.socket

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        _here.worker.socket = self.sock


class _PlainConnection(_Known, HTTPConnection):
    pass


class _TlsConnection(_Known, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """Connections that stay alive while nothing is said, and that can be cut."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        options = [
            *HTTPConnection.default_socket_options,
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            *(
                (socket.IPPROTO_TCP, getattr(socket, name), _KEEP_ALIVE_S)
                for name in _KEEP_ALIVE
                if hasattr(socket, name)
            ),
        ]
        super().init_poolmanager(*args, socket_options=options, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


def _closed() -> TransientError:
    return TransientError("the request was stopped, as the source is closed")
