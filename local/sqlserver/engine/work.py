"""A session's transactions on one database, and what change data capture adds to each: one LSN, commands, rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw

from local.sqlserver import temporal
from local.sqlserver.engine import capture_log
from local.sqlserver.engine.catalog import Catalog
from local.sqlserver.engine.database import Database
from local.sqlserver.engine.lsn import LogRange


class Work:
    """One SQLite connection and its transaction.

    A transaction begins at its first write, so that reads before it see what was committed last (READ COMMITTED).
    """

    def __init__(self, database: Database, connection: apsw.Connection, interrupted: Callable[[], None]) -> None:
        self.database = database
        self.connection = connection
        self.catalog = Catalog(connection)
        self.lock_timeout_s: float | None = None
        self.depth = 0
        self.identities: set[int] = set()
        self._interrupted = interrupted
        self._writing = False
        self._log = LogRange(0, 0)
        self._rows = 0
        self._command = 0
        self._fresh_command = False
        self._begin_time = 0
        self._keys: dict[int, list[bytes]] = {}
        self._version: int | None = None
        self._register()

    def _register(self) -> None:
        functions: dict[str, tuple[Callable[..., Any], int]] = {
            "cdc_lsn": (self._lsn, 0),
            "cdc_seq": (self._next_row, 0),
            "cdc_pair": (self._same_row, 0),
            "cdc_key": (self._key_row, 1),
            "cdc_command": (self._command_id, 0),
            "cdc_mask": (_mask, -1),
            "next_version": (self._next_version, 0),
        }
        for name, (function, count) in functions.items():
            self.connection.create_scalar_function(name, function, count)

    def _lsn(self) -> bytes:
        return self._log.commit

    def _next_row(self) -> bytes:
        if self._fresh_command:
            self._fresh_command = False
            self._command += 1
        self._rows += 1
        return self._log.row(self._rows - 1)

    def _same_row(self) -> bytes:
        return self._log.row(self._rows - 1)

    def _key_row(self, table: int) -> bytes:
        row = self._next_row()
        self._keys.setdefault(table, []).append(row)
        return row

    def _command_id(self) -> int:
        return self._command

    def _next_version(self) -> bytes:
        if self._version is None:
            self._version = int(self.catalog.state("rowversion"))
        self._version += 1
        return self._version.to_bytes(8)

    @property
    def writing(self) -> bool:
        """Whether the transaction has written."""
        return self._writing

    def start_writing(self) -> None:
        """Begin the SQLite transaction, unless it runs."""
        if self._writing:
            return
        self.database.take_turn(self._interrupted, self.lock_timeout_s)
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            self._log = LogRange(self.catalog.state("vlf"), self.catalog.state("block"))
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self.database.end_turn()
            raise
        self._writing = True
        self._rows = self._command = 0
        utc, minutes = temporal.now()
        self._begin_time = utc + minutes * temporal.MINUTE

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Run one writing statement: undone alone when it fails, committed when no transaction is open."""
        self.start_writing()
        self._fresh_command = True
        self.connection.execute("SAVEPOINT statement")
        try:
            yield
            self._settle_keys()
        except BaseException:
            self._keys.clear()
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO statement; RELEASE statement")
            if not self.depth or not self.connection.in_transaction:
                self.rollback()
            raise
        self.connection.execute("RELEASE statement")
        if not self.depth:
            self.commit()

    def _settle_keys(self) -> None:
        """Give updates of a key their final place.

        One row: the insert takes the delete's sequence value and the next command. Several: all deletes come first.
        """
        for table, rows in self._keys.items():
            if len(rows) == 1:
                self._command += 1
                capture_log.move(self.catalog, table, rows[0], self._log.row(self._row_of(rows[0]) - 1), self._command)
                continue
            for row in rows:
                self._rows += 1
                capture_log.move(self.catalog, table, row, self._log.row(self._rows - 1), None)
        self._keys.clear()

    def _row_of(self, row: bytes) -> int:
        return next(number for number in range(self._rows - 1, -1, -1) if self._log.row(number) == row)

    def allocate_lsn(self) -> bytes:
        """Return an LSN of its own inside the running transaction, for a definition."""
        lsn = self._log.commit
        if not self._rows:  # the transaction's own rows keep the LSN they were given
            self._log = self._log.after()
            self._store_position(self._log)
        return lsn

    def _store_position(self, log: LogRange) -> None:
        self.catalog.put_state("vlf", log.vlf)
        self.catalog.put_state("block", log.block)

    def commit(self) -> None:
        """Commit what was written, with its row in the LSN time mapping when something was captured."""
        self.depth = 0
        if not self._writing:
            return
        try:
            if self._rows:
                capture_log.commit(self.catalog, self._log, self._begin_time, held=self.database.capture != "on")
                self._store_position(self._log.after())
            self.database.save_identities(self.catalog, self.identities)
            if self._version is not None:
                self.catalog.put_state("rowversion", self._version)
            self.connection.execute("COMMIT")
        except BaseException:
            self.rollback()
            raise
        self.database.committed(self.catalog)
        self._end()

    def rollback(self) -> None:
        """Undo everything since the transaction began."""
        self.depth = 0
        if self._writing:
            try:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
            finally:
                self._end()

    def _end(self) -> None:
        self._writing = False
        self._version = None
        self.identities.clear()
        self.database.end_turn()

    def save(self, name: str) -> None:
        """Set a savepoint."""
        self.start_writing()
        self.connection.execute(f"SAVEPOINT p{name.encode().hex()}")

    def rollback_to(self, name: str) -> None:
        """Go back to a savepoint; apsw.SQLError when there is none."""
        self.connection.execute(f"ROLLBACK TO p{name.encode().hex()}")

    def close(self) -> None:
        """Undo what is open and close the connection."""
        self.rollback()
        self.connection.close()


def _mask(columns: int, *parts: int) -> bytes:
    """Return the update mask: column ordinal 1 is the lowest bit of the last byte; each part holds 32 columns."""
    bits = sum(part << 32 * number for number, part in enumerate(parts))
    return bits.to_bytes((columns + 7) // 8)


def full_mask(columns: int) -> bytes:
    """Return the mask of an insert or delete: every bit of every column."""
    return ((1 << columns) - 1).to_bytes((columns + 7) // 8)
