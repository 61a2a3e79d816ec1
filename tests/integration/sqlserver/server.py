"""A SQL Server for tests: the local stand-in as a process of its own, or a real one.

With SLUICE_TEST_SQLSERVER set to an ODBC connection string (without Driver) of an owner of a database, tests use that.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyodbc

from shared import naming
from shared.events import Stream
from shared.settings.model import SqlServerSettings, TableSettings
from shared.sources.sqlserver.driver import find_driver

LIVE = os.environ.get("SLUICE_TEST_SQLSERVER", "")
DEADLINE_S = 60.0

_DRIVER = re.compile(r"driver\s*=\s*(\{[^}]*\}|[^;]*);", re.IGNORECASE)


@dataclass(frozen=True)
class Server:
    """A server, and the address of its switches: "" for a real one."""

    odbc: str
    control: str = ""

    def connect(self, odbc: str = "", *, autocommit: bool = True) -> pyodbc.Connection:
        pyodbc.pooling = False
        text = f"Driver={{{find_driver()}}};{odbc or self.odbc}"
        return pyodbc.connect(text, autocommit=autocommit, timeout=10)

    def run(self, *statements: str | tuple[Any, ...]) -> Sequence[Sequence[Any]]:
        """Execute statements, each with its parameters if any, in one transaction; return the last one's rows."""
        connection = self.connect(autocommit=False)
        cursor = connection.cursor()
        try:
            for statement in statements:
                sql, *parameters = (statement,) if isinstance(statement, str) else statement
                cursor.execute(sql, *parameters)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return [tuple(row) for row in rows]
        finally:
            connection.close()

    def execute(self, *statements: str) -> None:
        """Execute statements one by one, each for itself."""
        connection = self.connect()
        cursor = connection.cursor()
        try:
            for statement in statements:
                cursor.execute(statement)
        finally:
            connection.close()

    def switch(self, fault: dict[str, Any]) -> None:
        """Set a fault of the stand-in."""
        request = urllib.request.Request(
            f"{self.control}/faults", json.dumps(fault).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer) == {"done": True}

    async def paused(self) -> int:
        """Wait until the stand-in holds a statement, and return its number."""
        deadline = time.monotonic() + DEADLINE_S
        while not (held := self.state()["paused"]):
            assert time.monotonic() < deadline, "no statement was paused"
            await asyncio.sleep(0.01)
        return int(held[0]["id"])

    def resume(self) -> None:
        """Let what is paused go on."""
        for held in self.state()["paused"]:
            self.switch({"resume": held["id"]})

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.control}/state") as answer:
            return dict(json.load(answer))

    def settings(self, *tables: str | tuple[str, str], **changes: Any) -> SqlServerSettings:
        """Return settings that capture these tables, of schema dbo when it is not given."""
        [(database,)] = self.run("SELECT DB_NAME()")
        named = [("dbo", table) if isinstance(table, str) else table for table in tables]
        settings = SqlServerSettings(
            name="sql1",
            odbc=self.odbc,
            database=database,
            server="localhost",
            tables=tuple(TableSettings(schema, name, 1.0, 30.0) for schema, name in named),
        )
        return replace(settings, **changes)

    def stream(self, settings: SqlServerSettings, name: str, schema: str = "dbo") -> Stream:
        return naming.stream(settings.name, settings.database, schema, name)

    async def captured(self, instance: str, rows: int) -> None:
        """Wait until a change table holds so many rows."""
        deadline = time.monotonic() + DEADLINE_S
        table = f"[cdc].[{instance.replace(']', ']]')}_CT]"
        while (found := self.run(f"SELECT COUNT(*) FROM {table}")[0][0]) < rows:
            assert time.monotonic() < deadline, f"{table} has {found} of {rows} rows"
            await asyncio.sleep(0.05)


@contextmanager
def started(*options: str) -> Iterator[Server]:
    """Start a stand-in with change capture on, or use the real server."""
    if LIVE:
        server = Server(LIVE)
        enable(server)
        yield server
        return
    command = [sys.executable, "-m", "local.sqlserver", "--with-parent", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as part:
        assert part.stdout
        try:
            ready = json.loads(part.stdout.readline())
            server = Server(_DRIVER.sub("", ready["settings"]["SqlServerOdbc"]), ready["control"])
            enable(server)
            yield server
        finally:
            part.terminate()


def enable(server: Server) -> None:
    [(enabled,)] = server.run("SELECT d.is_cdc_enabled FROM sys.databases AS d WHERE d.database_id = DB_ID()")
    if not enabled:
        server.execute("EXEC sys.sp_cdc_enable_db")


def unique(name: str) -> str:
    """Return a table's name that no other test uses."""
    return f"{name}_{uuid.uuid4().hex[:8]}"


def capture(server: Server, name: str, columns: str, schema: str = "dbo", **options: str) -> None:
    """Create a table and capture its changes."""
    server.execute(f"CREATE TABLE [{schema}].[{name.replace(']', ']]')}] ({columns})")
    enable_table(server, name, schema, **options)


def enable_table(server: Server, name: str, schema: str = "dbo", **options: str) -> None:
    named = {"source_schema": schema, "source_name": name, **options}
    arguments = ", ".join(f"@{key} = N'{value.replace("'", "''")}'" for key, value in named.items())
    server.execute(f"EXEC sys.sp_cdc_enable_table {arguments}, @role_name = NULL")
