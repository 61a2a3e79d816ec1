"""The logins of a server."""

import json
import threading
from pathlib import Path

from local.sqlserver.engine.catalog import Catalog
from local.sqlserver.engine.database import Database
from local.sqlserver.engine.security import Login
from local.sqlserver.errors import SqlError


class Logins:
    """Checks passwords; keeps what CREATE LOGIN made beside the databases."""

    def __init__(self, folder: Path, password: str) -> None:
        self._path = folder / "logins.json"
        self._lock = threading.Lock()
        kept = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._known = {name.casefold(): Login(name, secret, limited=True) for name, secret in kept.items()}
        self._known["sa"] = Login("sa", password, owner=True)

    def admit(self, user: str, password: str) -> Login:
        """Return who logs in; SqlError 18456 for an unknown name or a wrong password."""
        login = self._known.get(user.casefold())
        if login is None or login.password != password:
            raise failed_login(user)
        return login

    def may_enter(self, login: Login, database: Database) -> bool:
        """Whether a login can use a database."""
        if login.owner:
            return True
        connection = database.connect()
        try:
            return login.may_enter(Catalog(connection), database.name)
        finally:
            connection.close()

    def put(self, login: Login) -> None:
        """Add a login from the control port, or change one: open sessions have what it has from now on."""
        with self._lock:
            known = self._known.setdefault(login.name.casefold(), login)
            known.password, known.denied = login.password, login.denied
            known.databases, known.roles = login.databases, login.roles

    def create(self, name: str, password: str) -> None:
        """CREATE LOGIN; SqlError 15025 when it exists."""
        with self._lock:
            if name.casefold() in self._known:
                raise SqlError(15025, f"The server principal '{name}' already exists.")
            self._known[name.casefold()] = Login(name, password, limited=True)
            self._store()

    def drop(self, name: str) -> None:
        """DROP LOGIN; SqlError 15151 when there is none."""
        with self._lock:
            if self._known.pop(name.casefold(), None) is None:
                text = f"Cannot drop the login '{name}', because it does not exist or you do not have permission."
                raise SqlError(15151, text)
            self._store()

    def _store(self) -> None:
        kept = {login.name: login.password for login in self._known.values() if login.limited}
        self._path.write_text(json.dumps(kept))


def failed_login(user: str) -> SqlError:
    """Return error 18456."""
    return SqlError(18456, f"Login failed for user '{user}'.", 14)
