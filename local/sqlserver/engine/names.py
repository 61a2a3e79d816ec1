"""What names mean in one session: tables, change tables, catalog views, permissions."""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from collections.abc import Callable

from local.sqlserver.engine import tables, views
from local.sqlserver.engine.catalog import Table, TableColumn, quote
from local.sqlserver.engine.definitions import place_of
from local.sqlserver.engine.security import Login
from local.sqlserver.engine.work import Work
from local.sqlserver.errors import denied, unknown_object
from local.sqlserver.sql import tree
from local.sqlserver.sql.scope import Found, Typed
from local.sqlserver.sqltypes import BIGINT, SqlType


class SessionNames:
    """Resolves names for the translation of one session's statements."""

    def __init__(self, work: Callable[[], Work], login: Login) -> None:
        self._work = work
        self._login = login
        self.identity_table: int | None = None

    def source(self, name: tree.Name, arguments: tuple[Typed, ...] | None) -> Found:
        """Return what a name in FROM stands for."""
        if arguments is not None:
            return self._function(name, arguments)
        view = self._view(name)
        if view is not None:
            self._check("SELECT", view.schema, name.parts[-1].lower())
            return view
        work = self._work()
        schema, label = place_of(name, work)
        table = work.catalog.table(schema, label)
        if table is None:
            raise unknown_object(str(name))
        self._check("SELECT", table.schema, table.name)
        return Found(table.sqlite_name, table.schema, tuple(_field(column, table) for column in table.columns))

    def target(self, name: tree.Name, action: str) -> Table:
        """Return the table a statement changes."""
        work = self._work()
        table = work.catalog.table(*place_of(name, work))
        if table is None:
            raise unknown_object(str(name))
        self._check(action, table.schema, table.name)
        return table

    def identity_insert(self, table: Table) -> bool:
        """Whether this session gives the identity values of a table."""
        return self.identity_table == table.number

    def _check(self, action: str, schema: str, name: str) -> None:
        work = self._work()
        if schema != "sys" and not self._login.allows(work.catalog, action, schema, name):
            raise denied(action, name, work.database.name, schema)

    def _view(self, name: tree.Name) -> Found | None:
        work = self._work()
        parts = [part.lower() for part in name.parts]
        if len(parts) == 3 and parts[0] in {work.database.name.lower(), "master"} and parts[1] == "sys":
            parts = parts[1:]
        if len(parts) == 3 and parts[0] == work.database.name.lower() and parts[1] == "cdc":
            parts = parts[1:]
        if parts[0] == "cdc" and not work.catalog.state("cdc"):
            return None
        return views.find(".".join(parts), filtered=not self._login.owner)

    def _function(self, name: tree.Name, arguments: tuple[Typed, ...]) -> Found:
        label = ".".join(part.lower() for part in name.parts)
        if label == "generate_series" and 2 <= len(arguments) <= 3:
            low, high, step = (*(argument.sql for argument in arguments), "1")[:3]
            sql = f"""(WITH RECURSIVE g(value) AS (SELECT {low} WHERE {low} <= {high} UNION ALL
                SELECT value + {step} FROM g WHERE value + {step} <= {high}) SELECT value FROM g)"""
            return Found(sql, "", (("value", arguments[0].kind or BIGINT, "{0}.value"),))
        raise unknown_object(str(name))


def _field(column: TableColumn, table: Table) -> tuple[str, SqlType, str]:
    if column.computed is None:
        return column.name, column.kind, "{0}." + quote(column.name).replace("{", "{{").replace("}", "}}")
    return column.name, column.kind, tables.own_expression(column.computed, table.columns).sql
