"""The catalog of one database: schemas, objects, columns and indexes, kept in tables of its SQLite file.

User tables and change tables are SQLite tables `t<object_id>` whose columns keep their names; nothing a client writes
becomes a SQLite name unquoted.
"""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from dataclasses import dataclass
from typing import Any

import apsw

from local.sqlserver import temporal
from local.sqlserver.errors import SqlError
from local.sqlserver.sqltypes import SqlType

SCHEMA = """
CREATE TABLE m_state(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE m_schema(schema_id INTEGER PRIMARY KEY, name TEXT UNIQUE COLLATE CI);
CREATE TABLE m_object(object_id INTEGER PRIMARY KEY, schema_id INTEGER, name TEXT COLLATE CI, type TEXT, parent INTEGER,
  create_date INTEGER, is_ms_shipped INTEGER, UNIQUE(schema_id, name));
CREATE TABLE m_column(object_id INTEGER, column_id INTEGER, name TEXT COLLATE CI, type TEXT, length INTEGER,
  precision INTEGER, scale INTEGER, nullable INTEGER, seed INTEGER, step INTEGER, default_text TEXT, computed_text TEXT,
  PRIMARY KEY(object_id, column_id)) WITHOUT ROWID;
CREATE TABLE m_index(object_id INTEGER, index_id INTEGER, name TEXT COLLATE CI, clustered INTEGER, is_unique INTEGER,
  is_primary INTEGER, is_constraint INTEGER, PRIMARY KEY(object_id, index_id)) WITHOUT ROWID;
CREATE TABLE m_index_column(object_id INTEGER, index_id INTEGER, ordinal INTEGER, column_id INTEGER, descending INTEGER,
  PRIMARY KEY(object_id, index_id, ordinal)) WITHOUT ROWID;
CREATE TABLE m_check(object_id INTEGER, name TEXT COLLATE CI, text TEXT);
CREATE TABLE m_identity(object_id INTEGER PRIMARY KEY, last INTEGER);
CREATE TABLE m_instance(object_id INTEGER PRIMARY KEY, source INTEGER, name TEXT UNIQUE COLLATE CI, start_lsn BLOB,
  net INTEGER, role TEXT, index_name TEXT, create_date INTEGER);
CREATE TABLE m_captured(object_id INTEGER, ordinal INTEGER, name TEXT COLLATE CI, column_id INTEGER, type TEXT,
  computed INTEGER, PRIMARY KEY(object_id, ordinal)) WITHOUT ROWID;
CREATE TABLE m_capture_key(object_id INTEGER, ordinal INTEGER, name TEXT COLLATE CI, column_id INTEGER,
  PRIMARY KEY(object_id, ordinal)) WITHOUT ROWID;
CREATE TABLE m_lsn(start_lsn BLOB PRIMARY KEY, begin_time INTEGER, end_time INTEGER, tran_id BLOB, begin_lsn BLOB)
  WITHOUT ROWID;
CREATE TABLE m_lsn_log(start_lsn BLOB PRIMARY KEY, begin_time INTEGER, end_time INTEGER, tran_id BLOB, begin_lsn BLOB)
  WITHOUT ROWID;
CREATE TABLE m_ddl(source INTEGER, object_id INTEGER, required INTEGER, command TEXT, lsn BLOB, time INTEGER);
CREATE TABLE m_user(name TEXT PRIMARY KEY COLLATE CI, login TEXT COLLATE CI) WITHOUT ROWID;
CREATE TABLE m_role(name TEXT PRIMARY KEY COLLATE CI) WITHOUT ROWID;
CREATE TABLE m_member(role TEXT COLLATE CI, member TEXT COLLATE CI);
CREATE TABLE m_grant(action TEXT, permission TEXT, kind TEXT, target TEXT, principal TEXT);
CREATE TABLE m_job(type TEXT PRIMARY KEY, maxtrans INTEGER, maxscans INTEGER, continuous INTEGER, interval INTEGER,
  retention INTEGER, threshold INTEGER) WITHOUT ROWID;
INSERT INTO m_schema VALUES (1, 'dbo'), (2, 'guest'), (3, 'INFORMATION_SCHEMA'), (4, 'sys');
INSERT INTO m_state VALUES ('version', 1), ('object', 581577110), ('cdc', 0), ('vlf', 42), ('block', 256),
  ('rowversion', 2000), ('transaction', 900);
"""
_OBJECT_STEP = 16_000_057  # what SQL Server adds from one object id to the next


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of a table."""

    number: int
    name: str
    kind: SqlType
    nullable: bool
    seed: int | None
    step: int | None
    default: str | None
    computed: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the catalog."""

    number: int
    schema: str
    name: str
    columns: tuple[TableColumn, ...]
    is_ms_shipped: bool
    unique: frozenset[int] = frozenset()  # the numbers of the columns of its keys

    @property
    def sqlite_name(self) -> str:
        """The name of its SQLite table."""
        return f"t{self.number}"

    @property
    def row_id(self) -> str:
        """The name by which SQLite's row id can be reached, whatever the columns are called."""
        taken = {column.name.lower() for column in self.columns}
        return next(name for name in ("rowid", "_rowid_", "oid") if name not in taken)

    def column(self, name: str) -> TableColumn | None:
        """Return a column by its name, or None."""
        folded = name.casefold()
        return next((column for column in self.columns if column.name.casefold() == folded), None)


@dataclass(frozen=True, slots=True)
class Index:
    """An index or key: columns by number, with DESC marked."""

    name: str
    clustered: bool
    unique: bool
    primary: bool
    constraint: bool
    columns: tuple[tuple[int, bool], ...]


def quote(name: str) -> str:
    """Return a SQLite identifier."""
    return '"' + name.replace('"', '""') + '"'


class Catalog:
    """Reads and changes the catalog through one SQLite connection, inside whatever transaction that has open."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement over the catalog's own tables."""
        return list(self._connection.execute(sql, values))

    def state(self, key: str) -> Any:
        """Return one of the database's counters or switches."""
        return self.rows("SELECT value FROM m_state WHERE key = ?", key)[0][0]

    def put_state(self, key: str, value: Any) -> None:
        """Change one of them."""
        self.rows("UPDATE m_state SET value = ? WHERE key = ?", value, key)

    def touch(self) -> None:
        """Make every plan made before this definition stale."""
        self.rows("UPDATE m_state SET value = value + 1 WHERE key = 'version'")

    def schema_id(self, name: str) -> int | None:
        """Return the number of a schema, or None."""
        found = self.rows("SELECT schema_id FROM m_schema WHERE name = ?", name)
        return found[0][0] if found else None

    def schema_name(self, number: int) -> str | None:
        """Return the name of a schema, or None."""
        found = self.rows("SELECT name FROM m_schema WHERE schema_id = ?", number)
        return found[0][0] if found else None

    def add_schema(self, name: str) -> None:
        """Create a schema; SqlError 2714 when it exists."""
        if self.schema_id(name) is not None:
            raise SqlError(2714, f"There is already an object named '{name}' in the database.", state=6)
        self.rows("INSERT INTO m_schema SELECT max(schema_id) + 1, ? FROM m_schema", name)

    def drop_schema(self, name: str) -> None:
        """Drop an empty schema; SqlError 15151 when it does not exist, 3729 when it holds something."""
        number = self.schema_id(name)
        if number is None:
            raise SqlError(15151, f"Cannot drop the schema '{name}', because it does not exist.")
        if found := self.rows("SELECT name FROM m_object WHERE schema_id = ?", number):
            text = f"Cannot drop schema '{name}' because it is being referenced by object '{found[0][0]}'."
            raise SqlError(3729, text)
        self.rows("DELETE FROM m_schema WHERE schema_id = ?", number)

    def object_id(self, schema: str, name: str) -> int | None:
        """Return the number of an object, or None."""
        sql = "SELECT object_id FROM m_object o JOIN m_schema s USING (schema_id) WHERE s.name = ? AND o.name = ?"
        found = self.rows(sql, schema, name)
        return found[0][0] if found else None

    def object_name(self, number: int) -> tuple[str, str] | None:
        """Return schema and name of an object, or None."""
        sql = "SELECT s.name, o.name FROM m_object o JOIN m_schema s USING (schema_id) WHERE object_id = ?"
        found = self.rows(sql, number)
        return (found[0][0], found[0][1]) if found else None

    def table(self, schema: str, name: str) -> Table | None:
        """Return a table by its name, or None."""
        number = self.object_id(schema, name)
        return None if number is None else self.table_of(number)

    def table_of(self, number: int) -> Table | None:
        """Return a table by its number, or None."""
        sql = """SELECT s.name, o.name, o.is_ms_shipped FROM m_object o JOIN m_schema s USING (schema_id)
                 WHERE object_id = ? AND type = 'U '"""
        found = self.rows(sql, number)
        if not found:
            return None
        schema, name, shipped = found[0]
        columns = self.rows("SELECT * FROM m_column WHERE object_id = ? ORDER BY column_id", number)
        sql = (
            "SELECT column_id FROM m_index_column JOIN m_index USING "
            "(object_id, index_id) WHERE object_id = ? AND is_unique"
        )
        unique = frozenset(key for (key,) in self.rows(sql, number))
        return Table(number, schema, name, tuple(_column(row) for row in columns), bool(shipped), unique)

    def add_object(self, schema: str, name: str, kind: str, *, parent: int = 0, shipped: bool = False) -> int:
        """Create an object and return its number; SqlError 2760 without its schema, 2714 when its name is taken."""
        schema_id = self.schema_id(schema)
        if schema_id is None:
            text = (
                f'The specified schema name "{schema}" either does not exist or you do not have permission to use it.'
            )
            raise SqlError(2760, text)
        if self.object_id(schema, name) is not None:
            raise SqlError(2714, f"There is already an object named '{name}' in the database.", state=6)
        number = (self.state("object") + _OBJECT_STEP) % (2**31 - 1)
        self.put_state("object", number)
        utc, minutes = temporal.now()
        created = utc + minutes * temporal.MINUTE
        values = (number, schema_id, name, kind, parent, created, int(shipped))
        self.rows("INSERT INTO m_object VALUES (?, ?, ?, ?, ?, ?, ?)", *values)
        return int(number)

    def add_column(self, table: int, column: TableColumn) -> None:
        """Add a column to a table's description."""
        kind = column.kind
        values = (
            table, column.number, column.name, kind.name, kind.length, kind.precision, kind.scale, int(column.nullable),
            column.seed, column.step, column.default, column.computed,
        )  # fmt: skip
        self.rows(f"INSERT INTO m_column VALUES ({', '.join('?' * 12)})", *values)

    def indexes(self, table: int) -> list[Index]:
        """Return the indexes of a table, the clustered one first."""
        sql = """SELECT index_id, name, clustered, is_unique, is_primary, is_constraint FROM m_index WHERE object_id = ?
                 ORDER BY index_id"""
        return [
            Index(name, bool(clustered), bool(unique), bool(primary), bool(constraint), self._key(table, number))
            for number, name, clustered, unique, primary, constraint in self.rows(sql, table)
        ]

    def _key(self, table: int, index: int) -> tuple[tuple[int, bool], ...]:
        sql = (
            """SELECT column_id, descending FROM m_index_column WHERE object_id = ? AND index_id = ? ORDER BY ordinal"""
        )
        return tuple((number, bool(descending)) for number, descending in self.rows(sql, table, index))

    def add_index(self, table: int, index: Index) -> int:
        """Add an index to a table's description and return its number: 1 for the clustered one."""
        found = self.rows("SELECT max(index_id) FROM m_index WHERE object_id = ?", table)
        number = 1 if index.clustered else max(found[0][0] or 1, 1) + 1
        flags = (int(index.clustered), int(index.unique), int(index.primary), int(index.constraint))
        self.rows("INSERT INTO m_index VALUES (?, ?, ?, ?, ?, ?, ?)", table, number, index.name, *flags)
        for ordinal, (column, descending) in enumerate(index.columns, 1):
            values = (table, number, ordinal, column, int(descending))
            self.rows("INSERT INTO m_index_column VALUES (?, ?, ?, ?, ?)", *values)
        return number

    def remove(self, number: int) -> None:
        """Forget an object and everything that describes it."""
        for table in ("m_index_column", "m_index", "m_column", "m_check", "m_identity", "m_object"):
            self.rows(f"DELETE FROM {table} WHERE object_id = ?", number)


def _column(row: tuple[Any, ...]) -> TableColumn:
    _, number, name, kind, length, precision, scale, nullable, seed, step, default, computed = row
    return TableColumn(
        number, name, SqlType(kind, length, precision, scale), bool(nullable), seed, step, default, computed
    )
