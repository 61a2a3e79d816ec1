"""SQLite functions that depend on the session: who, where, when, what was numbered last, and the capture functions."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.sqlserver import temporal
from local.sqlserver.convert import conversion
from local.sqlserver.engine import lsn
from local.sqlserver.engine.security import Login
from local.sqlserver.engine.work import Work
from local.sqlserver.errors import SqlError
from local.sqlserver.sql.cursor import Cursor
from local.sqlserver.sql.parse_queries import parse_query
from local.sqlserver.sqltypes import INT, TYPE_NAMES, VARIANT, SqlType, declared, nvarchar
from local.sqlserver.tds.tokens import SERVER

VERSION = "Microsoft SQL Server 2022 (local stand-in) - 16.0.4232.0 (X64)"
_PROPERTIES: dict[str, tuple[SqlType, Any]] = {
    "productversion": (nvarchar(128), "16.0.4232.0"),
    "productmajorversion": (nvarchar(128), "16"),
    "productlevel": (nvarchar(128), "RTM"),
    "edition": (nvarchar(128), "Developer Edition (64-bit)"),
    "engineedition": (INT, 3),
    "servername": (nvarchar(128), SERVER),
    "machinename": (nvarchar(128), SERVER),
    "collation": (nvarchar(128), "SQL_Latin1_General_CP1_CI_AS"),
    "isclustered": (INT, 0),
    "ishadrenabled": (INT, 0),
}


@dataclass(slots=True)
class Context:
    """What the functions of a session look at; `databases` lists name, number and whether capture is on."""

    login: Login
    spid: int
    databases: Callable[[], list[tuple[str, int, bool]]]
    may_enter: Callable[[str], bool]
    row_count: int = 0
    error: int = 0
    identity: int | None = None
    depth: Callable[[], int] = lambda: 0
    clock: tuple[int, int] = (0, 0)
    variables: dict[str, Any] = field(default_factory=dict)


class Functions:
    """The functions of one session on one database."""

    def __init__(self, work: Work, context: Context) -> None:
        self._work = work
        self._context = context
        self._catalog = work.catalog
        table: dict[str, tuple[Callable[..., Any], int]] = {
            "sysvar": (self._variable, 1),
            "moment": (self._moment, 1),
            "next_identity": (self._next_identity, 1),
            "ident_current": (self._current_identity, 1),
            "note_identity": (self._note_identity, 2),
            "new_id": (lambda: str(uuid.uuid4()).upper(), 0),
            "object_id": (self._object_id, 2),
            "object_name": (lambda number: self._object(number, 1), 1),
            "object_schema_name": (lambda number: self._object(number, 0), 1),
            "schema_name": (lambda number: "dbo" if number is None else self._catalog.schema_name(number), 1),
            "schema_id": (lambda name: self._catalog.schema_id("dbo" if name is None else name), 1),
            "type_name": (_type_name, 1),
            "col_name": (self._column_name, 2),
            "col_length": (self._column_length, 2),
            "db_name": (self._database_name, 1),
            "db_id": (self._database_id, 1),
            "server_property": (_server_property, 1),
            "login_name": (lambda: self._context.login.name, 0),
            "has_dbaccess": (self._has_access, 1),
            "has_perms": (self._has_permission, 3),
            "sees": (self._sees, 1),
            "server_databases": (self._databases, 0),
            "cdc_min_lsn": (self._min_lsn, 1),
            "cdc_step_lsn": (lambda value, by: None if value is None else lsn.stepped(value, by), 2),
            "cdc_time_to_lsn": (self._time_to_lsn, 2),
            "cdc_bit_set": (_bit_set, 2),
            "cdc_ordinal": (self._ordinal, 2),
            "cdc_changed": (self._changed, 3),
            "type_number": (_type_number, 2),
            "type_length": (lambda *parts: SqlType(*parts).max_length, 4),
            "type_precision": (_type_precision, 2),
        }
        for name, (function, count) in table.items():
            work.connection.create_scalar_function(name, function, count)

    def _variable(self, name: str) -> Any:
        context = self._context
        values: Mapping[str, Any] = {
            "@@rowcount": context.row_count,
            "@@trancount": context.depth(),
            "xact_state": int(context.depth() > 0),
            "@@error": context.error,
            "@@spid": context.spid,
            "@@identity": None if context.identity is None else str(context.identity),
            "@@version": VERSION,
            "@@servername": SERVER,
            "@@language": "us_english",
            "@@lock_timeout": -1,
            "@@options": 5496,
            "@@dbts": int(self._catalog.state("rowversion")).to_bytes(8),
            "@@max_precision": 38,
        }
        return values[name]

    def _moment(self, kind: str) -> Any:
        utc, minutes = self._context.clock
        local = utc + minutes * temporal.MINUTE
        if kind == "offset":
            return temporal.pack_offset(utc, minutes)
        ticks = utc if kind.startswith("utc") else local
        return temporal.round_moment(ticks, declared("datetime")) if kind.endswith("datetime") else ticks

    def _next_identity(self, table: int) -> int:
        self._work.identities.add(table)
        self._context.identity = self._work.database.next_identity(self._catalog, table)
        return self._context.identity

    def _note_identity(self, table: int, value: int) -> int:
        if value is not None:
            self._work.identities.add(table)
            self._work.database.note_identity(self._catalog, table, value)
            self._context.identity = value
        return value

    def _current_identity(self, name: str) -> str | None:
        number = self._object_id(name, None)
        last = None if number is None else self._work.database.last_identity(self._catalog, number)
        return None if last is None else str(last)

    def _object_id(self, name: str | None, kind: str | None) -> int | None:
        if name is None or (kind is not None and kind.strip().upper() not in {"U", "TABLE"}):
            return None
        parts = _name_parts(name)
        if parts is None:
            return None
        if len(parts) > 2 and parts[-3].casefold() != self._work.database.name.casefold():
            return None
        schema = parts[-2] if len(parts) > 1 and parts[-2] else "dbo"
        if not self._context.login.sees(self._catalog, schema, parts[-1]):
            return None
        return self._catalog.object_id(schema, parts[-1])

    def _object(self, number: int | None, part: int) -> str | None:
        found = None if number is None else self._catalog.object_name(number)
        return None if found is None else found[part]

    def _column_name(self, table: int, column: int) -> str | None:
        found = self._catalog.rows("SELECT name FROM m_column WHERE object_id = ? AND column_id = ?", table, column)
        return found[0][0] if found else None

    def _column_length(self, name: str, column: str) -> int | None:
        number = self._object_id(name, None)
        table = None if number is None else self._catalog.table_of(number)
        found = None if table is None or column is None else table.column(column)
        return None if found is None else found.kind.max_length

    def _database_name(self, number: int | None) -> str | None:
        if number is None:
            return self._work.database.name
        return next((name for name, known, _ in self._context.databases() if known == number), None)

    def _database_id(self, name: str | None) -> int | None:
        if name is None:
            return self._work.database.number
        return next((n for known, n, _ in self._context.databases() if known.casefold() == name.casefold()), None)

    def _has_access(self, name: str | None) -> int | None:
        if name is None or self._database_id(name) is None:
            return None
        return int(name.casefold() == self._work.database.name.casefold() or self._context.may_enter(name))

    def _sees(self, number: int) -> int:
        found = self._catalog.object_name(number)
        return int(found is not None and self._context.login.sees(self._catalog, *found))

    def _has_permission(self, securable: str | None, kind: str | None, permission: str | None) -> int | None:
        """HAS_PERMS_BY_NAME of an object, a schema or the database; NULL for what does not exist."""
        login, wanted = self._context.login, (permission or "").upper()
        if kind is None or kind.upper() == "DATABASE":
            return int(login.allows(self._catalog, wanted, "", ""))
        parts = _name_parts(securable)
        if parts is None:
            return None
        if kind.upper() == "SCHEMA":
            return (
                None
                if self._catalog.schema_id(parts[-1]) is None
                else int(login.allows(self._catalog, wanted, parts[-1]))
            )
        schema = parts[-2] if len(parts) > 1 and parts[-2] else "dbo"
        if kind.upper() != "OBJECT" or self._catalog.object_id(schema, parts[-1]) is None:
            return None
        return int(login.allows(self._catalog, wanted, schema, parts[-1]))

    def _databases(self) -> str:
        found = self._context.databases()
        return json.dumps([{"name": name, "id": number, "cdc": int(cdc)} for name, number, cdc in found])

    def _min_lsn(self, instance: str | None) -> bytes:
        login = self._context.login
        found = self._catalog.rows("SELECT start_lsn, role FROM m_instance WHERE name = ?", instance)
        if not found or not login.allows(self._catalog, "SELECT", "cdc", f"{instance}_CT"):
            return lsn.ZERO
        start, role = found[0]
        return start if role is None or login.is_member(self._catalog, role) else lsn.ZERO

    def _time_to_lsn(self, operator: str, time: int) -> bytes | None:
        choices = {
            "smallest greater than": "min(start_lsn) FROM m_lsn WHERE end_time > ?",
            "smallest greater than or equal": "min(start_lsn) FROM m_lsn WHERE end_time >= ?",
            "largest less than": "max(start_lsn) FROM m_lsn WHERE end_time < ?",
            "largest less than or equal": "max(start_lsn) FROM m_lsn WHERE end_time <= ?",
        }
        if operator.lower() not in choices:
            raise SqlError(22993, f"The relational operator '{operator}' is not valid.")
        found = self._catalog.rows(f"SELECT {choices[operator.lower()]}", time)
        lsn_or_none: bytes | None = found[0][0]
        return lsn_or_none

    def _ordinal(self, instance: str, column: str) -> int | None:
        sql = "SELECT ordinal FROM m_captured c JOIN m_instance i USING (object_id) WHERE i.name = ? AND c.name = ?"
        found = self._catalog.rows(sql, instance, column)
        return found[0][0] if found else None

    def _changed(self, instance: str, column: str, mask: bytes) -> int | None:
        return _bit_set(self._ordinal(instance, column), mask)


def _name_parts(name: str | None) -> tuple[str, ...] | None:
    try:
        cursor = Cursor(name or "", parse_query)
        parts = cursor.name().parts
    except SqlError:
        return None
    return parts if cursor.ended else None


def _bit_set(ordinal: int | None, mask: bytes | None) -> int | None:
    if ordinal is None or mask is None:
        return None
    return int.from_bytes(mask) >> (ordinal - 1) & 1


def _type_name(number: int) -> str | None:
    if number == 256:
        return "sysname"
    return next((name for name in TYPE_NAMES if SqlType(name).user_number == number), None)


def _type_number(name: str, user: int) -> int:
    return SqlType(name).user_number if user else SqlType(name).number


def _type_precision(name: str, precision: int) -> int:
    return precision or declared(name).precision if name not in {"char", "varchar", "nchar", "nvarchar"} else 0


def _server_property(name: str | None) -> bytes | None:
    found = _PROPERTIES.get((name or "").lower())
    if found is None:
        return None
    step = conversion(found[0], VARIANT)
    assert step is not None
    return bytes(step(found[1]))
