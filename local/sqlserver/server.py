"""The server: its databases, logins and connections, and what the control port may do to them."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

from local.sqlserver import temporal
from local.sqlserver.connection import Connection, failed_login
from local.sqlserver.engine import capture_log
from local.sqlserver.engine.catalog import Catalog
from local.sqlserver.engine.database import Database
from local.sqlserver.engine.lsn import LogRange
from local.sqlserver.engine.security import Login
from local.sqlserver.errors import SqlError
from local.sqlserver.faults import Faults
from local.sqlserver.tds.packets import Wire
from local.sqlserver.tds.pages import Pages

_FIRST_USER_DATABASE = 5
_FIRST_SESSION = 51
_LOGINS = "logins.json"


class SqlServer:
    """Accepts connections on 127.0.0.1, one thread each."""

    def __init__(self, folder: Path, databases: list[str], password: str, *, recovery: bool, port: int = 0) -> None:
        self.faults = Faults(recovery=recovery)
        self.pages = Pages()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._databases: dict[str, Database] = {}
        self._logins = {login.name.casefold(): login for login in self._stored_logins()}
        self._logins["sa"] = Login("sa", password, owner=True)
        self._connections: dict[threading.Thread, Connection] = {}
        self._next = _FIRST_SESSION
        for name in [*databases, *self._stored(databases)]:
            self._open(name)
        self._default = self._databases[databases[0].casefold()]
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="accept", daemon=True)

    def _stored(self, known: list[str]) -> list[str]:
        names = [bytes.fromhex(path.stem).decode() for path in sorted(self._folder.glob("*.sqlite"))]
        return [name for name in names if name not in known]

    def _open(self, name: str) -> Database:
        database = Database(name, _FIRST_USER_DATABASE + len(self._databases), self._folder)
        self._databases[name.casefold()] = database
        return database

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
            connection = Connection(wire, self._next, self, self.faults)
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

    def database(self, name: str) -> Database | None:
        """Return a database by its name; master, msdb and tempdb are not kept."""
        return self._databases.get(name.casefold())

    def listed(self) -> list[tuple[str, int, bool]]:
        """Return name, number and capture of every database."""
        return [(database.name, database.number, database.cdc) for database in list(self._databases.values())]

    def create_database(self, name: str) -> None:
        """Create a database; SqlError 1801 when it exists."""
        with self._lock:
            if name.casefold() in self._databases:
                raise SqlError(1801, f"Database '{name}' already exists. Choose a different database name.", state=3)
            self._open(name)

    def admit(self, user: str, password: str, database: str) -> tuple[Login, Database]:
        """Check a login."""
        login = self._logins.get(user.casefold())
        if login is None or login.password != password:
            raise failed_login(user)
        found = self.database(database) if database else self._default
        if found is None or not self.may_enter(login, found):
            text = f'Cannot open database "{database or self._default.name}" requested by the login. The login failed.'
            raise SqlError(4060, text, 11)
        return login, found

    def may_enter(self, login: Login, database: Database) -> bool:
        """Whether a login can use a database."""
        if login.owner:
            return True
        connection = database.connect()
        try:
            return login.may_enter(Catalog(connection), database.name)
        finally:
            connection.close()

    def add_login(self, login: Login) -> None:
        """Add a login from the control port, or change one: open sessions have what it has from now on."""
        with self._lock:
            known = self._logins.setdefault(login.name.casefold(), login)
            known.password, known.denied = login.password, login.denied
            known.databases, known.roles = login.databases, login.roles

    def create_login(self, name: str, password: str) -> None:
        """CREATE LOGIN."""
        with self._lock:
            if name.casefold() in self._logins:
                raise SqlError(15025, f"The server principal '{name}' already exists.")
            self._logins[name.casefold()] = Login(name, password, limited=True)
            self._store_logins()

    def drop_login(self, name: str) -> None:
        """DROP LOGIN."""
        with self._lock:
            if self._logins.pop(name.casefold(), None) is None:
                text = f"Cannot drop the login '{name}', because it does not exist or you do not have permission."
                raise SqlError(15151, text)
            self._store_logins()

    def _store_logins(self) -> None:
        kept = {login.name: login.password for login in self._logins.values() if login.limited}
        (self._folder / _LOGINS).write_text(json.dumps(kept))

    def _stored_logins(self) -> list[Login]:
        path = self._folder / _LOGINS
        kept = json.loads(path.read_text()) if path.exists() else {}
        return [Login(name, password, limited=True) for name, password in kept.items()]

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
        found = self._default if name is None else self.database(name)
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
            for database in list(self._databases.values())
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
