"""The databases of a server, in one folder."""

import threading
from pathlib import Path

from local.sqlserver.engine.database import Database
from local.sqlserver.errors import SqlError

_FIRST_NUMBER = 5  # master, tempdb, model and msdb come before


class Databases:
    """Opens what the folder holds, and what is asked for; `default` is the first asked for."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, Database] = {}
        stored = [bytes.fromhex(path.stem).decode() for path in sorted(folder.glob("*.sqlite"))]
        for name in [*names, *(name for name in stored if name not in names)]:
            self._open(name)
        self.default = self._known[names[0].casefold()]

    def _open(self, name: str) -> None:
        self._known[name.casefold()] = Database(name, _FIRST_NUMBER + len(self._known), self.folder)

    def find(self, name: str) -> Database | None:
        """Return a database by its name, or None."""
        return self._known.get(name.casefold())

    def all(self) -> list[Database]:
        """Return every database."""
        return list(self._known.values())

    def create(self, name: str) -> None:
        """CREATE DATABASE; SqlError 1801 when it exists."""
        with self._lock:
            if name.casefold() in self._known:
                raise SqlError(1801, f"Database '{name}' already exists. Choose a different database name.", state=3)
            self._open(name)
