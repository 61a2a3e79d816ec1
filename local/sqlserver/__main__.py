"""`python -m local.sqlserver`: the stand-in as a process of its own.

`POST /faults` takes any of:

| switch | value | does |
|---|---|---|
| `capture` | `"off"`, `"step"`, `"on"`, `{"mode", "database", "count"}` | holds the capture job or lets it go on |
| `cleanup` | `{"lsn": hex, "instance", "database"}` | raises the low watermarks and deletes below them |
| `idle_lsn` | n | adds the empty rows of an idle capture job to the time mapping |
| `login` | `{"name", "password", "deny": [schema], "databases": [name], "roles": [name]}` | adds or changes a login |
| `kill` | `"all"`, `"idle"` | resets connections |
| `kill_mid_result` | n | resets the next connection that has sent n rows of a result |
| `refuse` | seconds | refuses new connections |
| `recovery` | bool | offers new connections to resume after they were idle |
| `delay_s` | seconds | delays every statement |
| `error` | `{"match": regex, "number", "class", "state", "message", "count"}` | answers statements with an error |
| `pause` | `{"match": regex, "after": n, "when": "before" or "after"}` | holds the n-th statement, or its answer |
| `resume` | id or `"all"` | lets paused statements go on |
| `reset_counts` | true | starts counting statements again |
| `keep_pages_mb` | n | keeps encoded results, for benchmarks |

`match` sees batches, prepared statements and `BEGIN`, `COMMIT`, `ROLLBACK TRANSACTION`. `GET /state` shows the number
of `statements`, the `last` of them, those `paused`, open `connections`, and per database the capture mode and how many
transactions are held.
"""

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from local.part import Part, main
from local.sqlserver import driver
from local.sqlserver.engine.security import Login
from local.sqlserver.errors import SqlError
from local.sqlserver.server import SqlServer


def describe(parser: argparse.ArgumentParser) -> None:
    """Add this part's options."""
    parser.add_argument("--port", type=int, default=0, help="port of the server; 0: a free one")
    parser.add_argument("--data", type=Path, help="folder that keeps the databases; default: forgotten at the end")
    parser.add_argument("--database", action="append", help="database to create; repeatable; default: TestDB")
    parser.add_argument("--password", default="Sluice-local-1", help="password of sa")
    parser.add_argument("--keep-pages-mb", type=int, default=0, help="keep encoded results, for benchmarks")
    parser.add_argument("--no-recovery", action="store_true", help="do not offer to resume idle connections")


@asynccontextmanager
async def start(arguments: argparse.Namespace) -> AsyncIterator[Part]:
    """Run the server; its databases are gone with it unless a data folder is given."""
    with tempfile.TemporaryDirectory(prefix="sqlserver-", dir=_memory()) as scratch:
        folder: Path = arguments.data or Path(scratch)
        databases = arguments.database or ["TestDB"]
        recovery = not arguments.no_recovery
        server = SqlServer(folder, databases, arguments.password, recovery=recovery, port=arguments.port)
        server.pages.size = arguments.keep_pages_mb << 20
        server.start()
        try:
            yield Part(
                _settings(server, databases[0], arguments.password), partial(_faults, server), partial(_inspect, server)
            )
        finally:
            await asyncio.to_thread(server.stop)


def _memory() -> Path | None:
    """Return a file system in memory, where there is one."""
    memory = Path("/dev/shm")  # noqa: S108 - the one Linux has
    return memory if memory.is_dir() else None


def _settings(server: SqlServer, database: str, password: str) -> dict[str, str]:
    url = (
        f"sqlserver://sa:{quote(password, safe='')}@127.0.0.1:{server.port}?database={quote(database)}&encrypt=disable"
    )
    return {"SqlServer": url, "SqlServerOdbc": driver.connection_string(server.port, database, "sa", password)}


async def _inspect(server: SqlServer) -> dict[str, Any]:
    return await asyncio.to_thread(server.state)


async def _faults(server: SqlServer, wanted: dict[str, Any]) -> None:
    unknown = wanted.keys() - _FAULTS.keys()
    if unknown or not wanted:
        message = f"unknown fault {', '.join(sorted(unknown)) or '(none given)'}; known: {', '.join(_FAULTS)}"
        raise ValueError(message)
    for name, value in wanted.items():
        await asyncio.to_thread(_FAULTS[name], server, value)


def _capture(server: SqlServer, value: Any) -> None:
    given = value if isinstance(value, dict) else {"mode": value}
    server.capture(given["mode"], given.get("database"), given.get("count", 1))


def _cleanup(server: SqlServer, value: Any) -> None:
    given = value if isinstance(value, dict) else {}
    low = bytes.fromhex(given["lsn"].removeprefix("0x")) if given.get("lsn") else None
    server.clean(given.get("database"), low, given.get("instance"))


def _idle(server: SqlServer, value: Any) -> None:
    given = value if isinstance(value, dict) else {"count": value}
    server.idle(given.get("database"), int(given.get("count", 1)))


def _login(server: SqlServer, value: dict[str, Any]) -> None:
    databases = value.get("databases")
    server.logins.put(
        Login(
            value["name"],
            value["password"],
            denied=frozenset(schema.casefold() for schema in value.get("deny", [])),
            databases=None if databases is None else frozenset(name.casefold() for name in databases),
            roles=frozenset(role.casefold() for role in value.get("roles", [])),
        )
    )


def _error(server: SqlServer, value: dict[str, Any]) -> None:
    number = int(value["number"])
    message = value.get("message", f"Error {number}, as asked for.")
    error = SqlError(number, message, int(value.get("class", 16)), int(value.get("state", 1)))
    server.faults.fail(value["match"], error, int(value.get("count", 1)))


def _pause(server: SqlServer, value: dict[str, Any]) -> None:
    server.faults.pause(value["match"], int(value.get("after", 1)), value.get("when", "before"))


def _recovery(server: SqlServer, value: Any) -> None:
    server.faults.recovery = bool(value)


def _keep_pages(server: SqlServer, value: Any) -> None:
    server.pages.size = int(value) << 20


_FAULTS: dict[str, Callable[[SqlServer, Any], None]] = {
    "capture": _capture,
    "cleanup": _cleanup,
    "idle_lsn": _idle,
    "login": _login,
    "kill": lambda server, value: server.kill("all" if value is True else value),
    "kill_mid_result": lambda server, value: server.faults.cut_after(None if value is None else int(value)),
    "delay_s": lambda server, value: server.faults.delay(float(value)),
    "refuse": lambda server, value: server.faults.refuse(float(value)),
    "error": _error,
    "keep_pages_mb": _keep_pages,
    "recovery": _recovery,
    "pause": _pause,
    "resume": lambda server, value: server.faults.resume(value),
    "reset_counts": lambda server, _value: server.faults.reset_counts(),
}


if __name__ == "__main__":
    main("sqlserver", start, describe)
