"""Connections of the ODBC driver, in threads of their own; its errors told by the server's numbers."""

import asyncio
import contextlib
import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from shared.errors import ConfigError, SluiceError, TransientError
from shared.settings.model import SqlServerSettings
from shared.sources.sqlserver import queries
from shared.sources.sqlserver.driver import INSTALL
from shared.sources.sqlserver.values import OUTPUT_CONVERTERS

try:
    import pyodbc
except ImportError:  # `find_driver` says why
    pass
else:
    pyodbc.pooling = False  # a pool of the driver manager's would share connections between identities

LOGIN_TIMEOUT_S: Final = 15.0
RETRY_THROTTLED_S: Final = 10.0
"""Azure SQL asks for ten seconds when it throttles."""

_NUMBER = re.compile(r"\((-?\d+)\) \(SQL\w+\)")
_PREFIX = re.compile(r"^(\[[^\]]*\]\s*)+")
_USER = re.compile(r"(?:^|;)\s*uid\s*=\s*(?:\{((?:[^}]|\}\})*)\}|([^;]*))", re.IGNORECASE)

_AT_ONCE = 16
"""Rows that are fetched before their size is looked at."""

_WIDE_TYPES = (-8, -9, -10)  # SQL_WCHAR, SQL_WVARCHAR, SQL_WLONGVARCHAR
_GONE = frozenset({207, 208})
_LOGIN = frozenset({18452, 18456, 18486, 18487, 18488, 40532, 40615})
_NO_DATABASE, _NO_USER = 4060, 916
_PERMISSION = frozenset({229, 230, 262, 297, 300, 15247})
_THROTTLED = frozenset({10928, 10929, 40501, 49918, 49919, 49920})
_BUSY = frozenset({1204, 1205, 1222, 3960, 615, 926, 4221, 40143, 40166, 40197, 40540, 40613, 42108, 42109})
_LOST_STATES = ("08", "HYT00", "HYT01", "IMC0")
_DRIVER_STATES = ("IM002", "IM003")
_NO_LIBRARY = "Can't open lib"  # the driver manager's, in state 01000: a driver is registered and its file is missing


class GoneError(ConfigError):
    """A table or column that the statement names does not exist (207, 208): what is known of it is out of date."""


class Session:
    """One connection to the database, used by one thread at a time."""

    def __init__(self, connection: "pyodbc.Connection", user: str, server: str) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._user = user
        self._server = server
        self.described: Sequence[tuple[Any, ...]] = ()
        self.is_cut = False
        self.is_lost = False
        self._is_cancelled = False

    def rows(self, sql: str, *parameters: object, most_bytes: int | None = None) -> Sequence[Sequence[Any]]:
        """Execute one statement and return its rows, if it has any; `described` then has its columns.

        With `most_bytes`, fetching ends soon after that many bytes of values; `is_cut` tells whether it did.

        Raises:
            GoneError: a table or column does not exist.
            ConfigError: the server refuses the login or the permission.
            TransientError: anything else.
        """
        try:
            rows = self._fetch_any_text(sql, parameters, most_bytes)
        except pyodbc.Error as why:
            error = told(why, self._user, self._server)
            self.is_lost = _is_lost(why)
            raise error from why
        if self._is_cancelled:  # the driver may call a cancelled statement a success without rows
            msg = "the statement was stopped, as the source is closed"
            raise TransientError(msg)
        return rows

    def _fetch(self, sql: str, parameters: tuple[object, ...], most_bytes: int | None) -> Sequence[Sequence[Any]]:
        self._cursor.execute(sql, *parameters)
        self.described = self._cursor.description or ()
        self.is_cut = False
        if not self.described:
            return ()
        if most_bytes is None:
            return self._cursor.fetchall()  # type: ignore[no-any-return]
        rows: list[Sequence[Any]] = []
        fetched_bytes = 0
        while some := self._cursor.fetchmany(_AT_ONCE):
            rows += some
            fetched_bytes += sum(len(value) for row in some for value in row if isinstance(value, str | bytes))
            if fetched_bytes >= most_bytes:
                self.is_cut = True
                break
        return rows

    def _fetch_any_text(
        self, sql: str, parameters: tuple[object, ...], most_bytes: int | None
    ) -> Sequence[Sequence[Any]]:
        """Fetch rows; where nvarchar holds an unpaired surrogate, which the driver's decoder refuses, fetch again."""
        try:
            return self._fetch(sql, parameters, most_bytes)
        except UnicodeDecodeError:
            self._cursor.close()
            self._cursor = self._connection.cursor()
        for odbc_type in _WIDE_TYPES:
            self._connection.add_output_converter(odbc_type, _any_utf_16)
        try:
            return self._fetch(sql, parameters, most_bytes)
        finally:
            for odbc_type in _WIDE_TYPES:
                self._connection.remove_output_converter(odbc_type)

    def cancel(self) -> None:
        """Stop what runs in another thread, for good."""
        self._is_cancelled = True
        with contextlib.suppress(pyodbc.Error):
            self._cursor.cancel()

    def close(self) -> None:
        """Close the connection; quiet about one that is lost."""
        with contextlib.suppress(pyodbc.Error):
            self._connection.close()


class Odbc:
    """The connections of one source, as many as threads at most: one more is opened only when all are in use."""

    def __init__(self, settings: SqlServerSettings, driver: str) -> None:
        self._settings = settings
        self._driver = driver
        self._threads = ThreadPoolExecutor(settings.connections, thread_name_prefix=f"sqlserver-{settings.name}")
        self._idle: list[Session] = []
        self._open: set[Session] = set()

    async def run[T](self, work: Callable[[Session], T]) -> T:
        """Do `work` in a thread with a session; one whose connection was lost is replaced next time.

        Raises:
            ConfigError: the server refuses the login.
            TransientError: the server cannot be reached.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, work)

    async def close(self) -> None:
        """Stop what is running, and close every connection; idempotent."""
        for session in tuple(self._open):
            session.cancel()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        for session in self._open:
            session.close()
        self._open.clear()

    def _work[T](self, work: Callable[[Session], T]) -> T:
        try:
            session = self._idle.pop()
        except IndexError:
            session = self._connect()
            self._open.add(session)
        try:
            return work(session)
        finally:
            if session.is_lost:
                self._open.discard(session)
                session.close()
            else:
                self._idle.append(session)

    def _connect(self) -> Session:
        settings = self._settings
        text = f"Driver={{{self._driver}}};{settings.odbc}"
        user = user_of(settings.odbc)
        try:
            connection = pyodbc.connect(
                text, autocommit=True, timeout=math.ceil(min(settings.query_timeout_s, LOGIN_TIMEOUT_S))
            )
        except pyodbc.Error as why:
            raise told(why, user, settings.server) from why
        connection.timeout = math.ceil(settings.query_timeout_s)
        for odbc_type, convert in OUTPUT_CONVERTERS.items():
            connection.add_output_converter(odbc_type, convert)
        session = Session(connection, user, settings.server)
        try:
            session.rows(queries.SESSION)
        except SluiceError:
            session.close()
            raise
        return session


def user_of(odbc: str) -> str:
    """Return the user that a connection string names; a placeholder for an identity that it does not name."""
    found = _USER.search(odbc)
    if found is None:
        return "<the app's identity>"
    braced, plain = found.groups()
    return braced.replace("}}", "}") if braced is not None else plain.strip()


def told(error: "pyodbc.Error", user: str, server: str = "the server") -> SluiceError:
    """Return our error for the driver's, by the server's number first: many states are all 42000.

    Source:
        https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues
    """
    number = number_of(error)
    said = _PREFIX.sub("", str(error.args[-1] if error.args else error)).strip()
    if number in _GONE:
        return GoneError(said, hint="re-create the capture instance, or correct the table's name")
    hint = INSTALL if _NO_LIBRARY in said else _remedy(_state(error), number, user)
    if hint:
        return ConfigError(said, hint=hint)
    if number in _BUSY or number in _THROTTLED:
        return TransientError(said, retry_after=RETRY_THROTTLED_S if number in _THROTTLED else None)
    if "certificate verify failed" in said:
        hint = "trust the server's certificate; for local use only: TrustServerCertificate=yes"
    elif _is_lost(error):
        return TransientError(said, hint=f"is {server} running, and reachable from here?")
    return TransientError(said, lasting=True, hint=hint)


def number_of(error: "pyodbc.Error") -> int | None:
    """Return the server's number of an error, which the driver puts into the text: `… (313) (SQLExecDirectW)`."""
    found = _NUMBER.search(str(error.args[-1] if error.args else ""))
    return int(found.group(1)) if found else None


def _remedy(state: str, number: int | None, user: str) -> str:
    """Return what the operator has to do about an error that does not go away; "" for one that may."""
    create = f"CREATE USER {queries.quoted(user)} FOR LOGIN {queries.quoted(user)}; {queries.grant_changes(user)}"
    if number == _NO_USER:
        return create
    if number == _NO_DATABASE:
        return f"check the database's name, or in it: {create}"
    if number in _PERMISSION:
        return queries.grant_changes(user)
    if number in _LOGIN or state == "28000":
        return "check user, password and database of the connection string, and the server's firewall"
    return INSTALL if state in _DRIVER_STATES else ""


def _any_utf_16(raw: bytes) -> str:
    return raw.decode("utf-16-le", "surrogatepass")


def _state(error: "pyodbc.Error") -> str:
    return str(error.args[0]) if error.args else ""


def _is_lost(error: "pyodbc.Error") -> bool:
    """Whether the connection cannot be used again, or should not be: HYT00 may have left a statement behind."""
    return _state(error).startswith(_LOST_STATES)
