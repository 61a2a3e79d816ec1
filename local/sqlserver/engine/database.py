"""Databases: one SQLite file each, with what all sessions of a database share."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from local.sqlserver.engine import scalars
from local.sqlserver.engine.catalog import SCHEMA, Catalog
from local.sqlserver.errors import SqlError

_CACHED_STATEMENTS = 3000
_TURN_S = 0.02


class Database:
    """A database: opens connections, lets one writer in at a time, counts identities.

    SQLite has one writer at a time; waiting for the turn happens here, so that a waiting client can be told to stop.
    """

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name = name
        self.number = number
        self.capture = "on"
        self.cdc = False  # sys.databases.is_cdc_enabled, as committed
        self.commits = 0
        self.plans: dict[Any, tuple[Any, Any]] = {}  # shared by all sessions: the key names what a plan depends on
        self._path = folder / f"{name.encode().hex()}.sqlite"
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._identities: dict[int, int] = {}
        self._row_version: int | None = None
        fresh = not self._path.exists()
        connection = self.connect()
        if fresh:
            with connection:
                connection.execute(SCHEMA)
        self.committed(Catalog(connection))
        connection.close()

    def connect(self) -> apsw.Connection:
        """Open a connection with all collations and pure functions."""
        connection = apsw.Connection(str(self._path), statementcachesize=_CACHED_STATEMENTS)
        scalars.register(connection)
        connection.set_busy_timeout(10_000)
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
        # A killed process loses nothing: the pages are with the operating system. Power cuts are not considered.
        for pragma in ("journal_mode = WAL", "synchronous = OFF", "temp_store = MEMORY", "cache_size = -65536"):
            connection.execute(f"PRAGMA {pragma}")
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
        return connection

    def take_turn(self, interrupted: Callable[[], None], timeout_s: float | None = None) -> None:
        """Become the writer; `interrupted` is called while waiting and raises to give up.

        Raises:
            SqlError: 1222 after `timeout_s`.
        """
        waited = 0.0
        while not self._turn.acquire(timeout=_TURN_S):
            interrupted()
            waited += _TURN_S
            if timeout_s is not None and waited >= timeout_s:
                raise SqlError(1222, "Lock request time out period exceeded.", state=45)

    def end_turn(self) -> None:
        """Let the next writer in."""
        self._turn.release()

    def committed(self, catalog: Catalog) -> None:
        """Take note of a commit."""
        self.commits += 1
        self.cdc = bool(catalog.state("cdc"))

    def next_identity(self, catalog: Catalog, table: int) -> int:
        """Return the next identity of a table; as in SQL Server, a rolled back one is not used again."""
        with self._counting:
            sql = "SELECT seed, step FROM m_column WHERE object_id = ? AND seed IS NOT NULL"
            [(seed, step)] = catalog.rows(sql, table)
            last = self._identities.get(table)
            if last is None:
                found = catalog.rows("SELECT last FROM m_identity WHERE object_id = ?", table)
                last = int(found[0][0]) if found else seed - step
            following: int = last + step
            self._identities[table] = following
            return following

    def note_identity(self, catalog: Catalog, table: int, value: int) -> None:
        """Go on counting above a value given by hand."""
        last = self.last_identity(catalog, table)
        with self._counting:
            self._identities[table] = value if last is None else max(value, last)

    def last_identity(self, catalog: Catalog, table: int) -> int | None:
        """Return the last identity given, or None."""
        with self._counting:
            if table in self._identities:
                return self._identities[table]
        found = catalog.rows("SELECT last FROM m_identity WHERE object_id = ?", table)
        return found[0][0] if found else None

    def forget_identity(self, table: int) -> None:
        """Start a table's identities again (TRUNCATE, DROP)."""
        with self._counting:
            self._identities.pop(table, None)

    def save_identities(self, catalog: Catalog, tables: set[int]) -> None:
        """Write the last identities of some tables into the running transaction."""
        with self._counting:
            last = {table: self._identities[table] for table in tables if table in self._identities}
        for table, value in last.items():
            catalog.rows("INSERT OR REPLACE INTO m_identity VALUES (?, ?)", table, value)
