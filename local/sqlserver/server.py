"""The server: its databases, logins and connections, and what the control port may do to them."""

import socket
import threading
from pathlib import Path
from typing import Any

from local.sqlserver import temporal
from local.sqlserver.connection import Connection
from local.sqlserver.engine import capture_log
from local.sqlserver.engine.catalog import Catalog
from local.sqlserver.engine.database import Database
from local.sqlserver.engine.databases import Databases
from local.sqlserver.engine.logins import Logins
from local.sqlserver.engine.lsn import LogRange
from local.sqlserver.faults import Faults
from local.sqlserver.session import Shared
from local.sqlserver.tds.packets import Wire
from local.sqlserver.tds.pages import Pages

_FIRST_SESSION = 51


class SqlServer:
    """Accepts connections on 127.0.0.1, one thread each."""

    def __init__(self, folder: Path, databases: list[str], password: str, *, recovery: bool, port: int = 0) -> None:
        self.faults = Faults(recovery=recovery)
        self.databases = Databases(folder, databases)
        self.logins = Logins(folder, password)
        self.pages = Pages()
        self._shared = Shared(self.databases, self.logins, self.pages)
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, Connection] = {}
        self._next = _FIRST_SESSION
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="accept", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._acceptor.start()

    def stop(self) -> None:
        """Cut every connection and wait for its thread."""
        self.faults.stopping = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._acceptor.join()
        self.kill("all", wait_s=None)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                return
            wire = Wire(accepted, self._next)
            if self.faults.refusing:
                wire.kill(busy=False)
                wire.close()
                continue
            connection = Connection(wire, self._next, self._shared, self.faults)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._connections[thread] = connection
                self._next = _FIRST_SESSION + (self._next - _FIRST_SESSION + 1) % 30_000
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]

    def kill(self, which: str, wait_s: float | None = 5.0) -> None:
        """Cut all connections, or those that run nothing, and wait until they are gone."""
        if which not in {"all", "idle"}:
            message = f"kill: all or idle, not {which}"
            raise ValueError(message)
        with self._lock:
            chosen = {t: each for t, each in self._connections.items() if which == "all" or not each.busy}
        for connection in chosen.values():
            connection.kill()
        for thread in chosen:
            thread.join(wait_s)

    def _named(self, name: str | None) -> Database:
        found = self.databases.default if name is None else self.databases.find(name)
        if found is None:
            message = f"no database {name}"
            raise ValueError(message)
        return found

    def capture(self, mode: str, name: str | None, count: int) -> int:
        """Let the capture job run (`on`), hold it (`off`), or let it take `count` transactions (`step`)."""
        database = self._named(name)
        if mode not in {"on", "off", "step"}:
            message = f"capture: on, off or step, not {mode}"
            raise ValueError(message)
        with _Writing(database) as catalog:
            if mode != "step":
                database.capture = mode
            return 0 if mode == "off" else capture_log.release(catalog, None if mode == "on" else count)

    def clean(self, name: str | None, low: bytes | None, instance: str | None) -> None:
        """Run the clean-up job: raise the low watermark to an LSN, or to the last one captured."""
        with _Writing(self._named(name)) as catalog:
            last = catalog.rows("SELECT max(start_lsn) FROM m_lsn")[0][0]
            if low is None and last is None:
                return
            capture_log.clean(catalog, low or last, instance)

    def idle(self, name: str | None, count: int) -> None:
        """Write the empty rows that an idle capture job adds to the time mapping."""
        with _Writing(self._named(name)) as catalog:
            log = LogRange(catalog.state("vlf"), catalog.state("block"))
            for _ in range(count):
                utc, minutes = temporal.now()
                now = temporal.thirds_to_ticks(temporal.ticks_to_thirds(utc + minutes * temporal.MINUTE))
                catalog.rows("INSERT INTO m_lsn VALUES (?, ?, ?, x'00', ?)", log.commit, now, now, log.begin)
                log = log.after()
            catalog.put_state("vlf", log.vlf)
            catalog.put_state("block", log.block)

    def state(self) -> dict[str, Any]:
        """Return what GET /state shows."""
        with self._lock:
            sessions = len(self._connections)
        databases = {
            database.name: {"capture": database.capture, "held": self._held(database)}
            for database in self.databases.all()
        }
        return {**self.faults.state(), "connections": sessions, "databases": databases}

    def _held(self, database: Database) -> int:
        connection = database.connect()
        count = Catalog(connection).rows("SELECT count(*) FROM m_lsn_log")[0][0]
        connection.close()
        return int(count)


class _Writing:
    """A short write transaction of the control port."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connect()

    def __enter__(self) -> Catalog:
        self._database.take_turn(lambda: None, 10)
        self._connection.execute("BEGIN IMMEDIATE")
        return Catalog(self._connection)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.execute("COMMIT" if kind is None else "ROLLBACK")
        self._database.committed(Catalog(self._connection))
        self._database.end_turn()
        self._connection.close()
