import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyodbc
import pytest

DEADLINE_S = 20.0


@dataclass(frozen=True)
class Local:
    """A running stand-in: its connection string and its control port."""

    odbc: str
    control: str
    pid: int

    def connect(self, *, autocommit: bool = True, timeout: int = 10, **keys: str) -> pyodbc.Connection:
        """Connect, with some keys of the connection string changed."""
        given = "".join(f"{key}={{{value}}};" for key, value in keys.items())  # the first of a key counts
        return pyodbc.connect(given + self.odbc, autocommit=autocommit, timeout=timeout)

    def fault(self, **wanted: Any) -> None:
        request = urllib.request.Request(
            f"{self.control}/faults", json.dumps(wanted).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer) == {"done": True}

    def refused_fault(self, **wanted: Any) -> str:
        with pytest.raises(urllib.error.HTTPError) as told:
            self.fault(**wanted)
        with told.value as answer:
            return str(json.load(answer)["error"])

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.control}/state") as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def wait(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until the state of the server meets a condition."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition(state := self.state()):
            assert time.monotonic() < deadline, state
        return state


@dataclass(frozen=True)
class Client:
    """A connection with short ways to say what tests say often."""

    connection: pyodbc.Connection

    def run(self, sql: str, *values: Any) -> int:
        cursor = self.connection.cursor()
        try:
            return int(cursor.execute(sql, *values).rowcount)
        finally:
            cursor.close()

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.connection.execute(sql, *values).fetchall()]

    def value(self, sql: str, *values: Any) -> Any:
        return self.connection.execute(sql, *values).fetchval()

    def fails(self, number: int, sql: str, *values: Any) -> str:
        """Execute a statement that must fail with an error number; return its SQLSTATE."""
        with pytest.raises(pyodbc.Error) as told:
            self.connection.execute(sql, *values).fetchall()
        state, text = told.value.args
        assert f"({number})" in text, text
        return str(state)

    def table(self, columns: str, *, capture: bool = False, name: str = "t") -> str:
        """Create a table with a name of its own and return that name."""
        full = f"{name}_{uuid.uuid4().hex[:10]}"
        self.run(f"CREATE TABLE dbo.[{full}] ({columns})")
        if capture:
            self.capture(full)
        return full

    def capture(self, name: str, **options: str) -> None:
        listed = "".join(f", @{option} = N'{value}'" for option, value in options.items())
        self.run(f"EXEC sys.sp_cdc_enable_table N'dbo', N'{name}', @role_name = NULL{listed}")

    def changes(self, instance: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """Return a change table in its order."""
        order = "__$start_lsn, __$command_id, __$seqval, __$operation"
        return self.rows(f"SELECT {columns} FROM cdc.[{instance}_CT] ORDER BY {order}")


@contextmanager
def running(*options: str, capture: bool = True) -> Iterator[Local]:
    command = [sys.executable, "-m", "local.sqlserver", "--with-parent", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as part:
        assert part.stdout
        try:
            ready = json.loads(part.stdout.readline())
            server = Local(ready["settings"]["SqlServerOdbc"], ready["control"], ready["pid"])
            if capture:
                connection = server.connect()
                connection.execute("EXEC sys.sp_cdc_enable_db")
                connection.close()
            yield server
        finally:
            part.terminate()
    assert part.returncode == 0


def close_quietly(connections: Sequence[pyodbc.Connection]) -> None:
    for connection in connections:
        connection.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Local]:
    """A server that tests share: they use tables of their own and set no faults."""
    with running() as local:
        yield local


@pytest.fixture
def client(server: Local) -> Iterator[Client]:
    connection = server.connect()
    yield Client(connection)
    connection.close()


@pytest.fixture
def alone() -> Iterator[Local]:
    """A server of the test's own."""
    with running() as local:
        yield local


@pytest.fixture
def visitor(alone: Local) -> Iterator[Client]:
    connection = alone.connect()
    yield Client(connection)
    connection.close()
