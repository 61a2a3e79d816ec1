"""Tables in SQLite as the catalog describes them: creating, rebuilding, and what a broken constraint means."""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

import re
from collections.abc import Mapping

import apsw

from local.sqlserver.engine.catalog import Catalog, Index, Table, TableColumn, quote
from local.sqlserver.errors import SqlError
from local.sqlserver.sql.cursor import Cursor
from local.sqlserver.sql.parse_expressions import parse_expression
from local.sqlserver.sql.parse_queries import parse_query
from local.sqlserver.sql.queries import Queries
from local.sqlserver.sql.scope import Binding, Field, Found, Relation, Scope, Typed
from local.sqlserver.sql.tree import Name
from local.sqlserver.sqltypes import Family, SqlType

_STORAGE = {
    Family.INTEGER: "INTEGER",
    Family.DATE: "INTEGER",
    Family.TIME: "INTEGER",
    Family.MOMENT: "INTEGER",
    Family.FLOAT: "REAL",
    Family.TEXT: "TEXT COLLATE CI",
    Family.DECIMAL: "TEXT COLLATE DEC",
    Family.GUID: "TEXT COLLATE GUID",
}


def storage(kind: SqlType) -> str:
    """Return the SQLite type and collation of a column."""
    return _STORAGE.get(kind.family, "BLOB")


class _NoNames:
    """A definition's expressions see the table's own columns only."""

    def source(self, name: Name, _arguments: tuple[Typed, ...] | None) -> Found:
        raise SqlError(
            1046, f"Subqueries are not allowed in this context. Only scalar expressions are allowed: '{name}'.", 15
        )


def own_expression(text: str, columns: tuple[TableColumn, ...], *, condition: bool = False) -> Typed:
    """Translate an expression over a table's own columns; `{0}` in its text stands for the table."""
    queries = Queries(_NoNames(), Binding({}))
    fields = tuple(Field(c.name, c.kind, "\0." + quote(c.name)) for c in columns if c.computed is None)
    scope = Scope(None, [Relation("", "", fields)])
    node = parse_expression(Cursor(text, parse_query))
    if condition:
        return Typed(queries.expressions.condition(node, scope).replace("\0.", ""), None)
    typed = queries.expressions.value(node, scope)
    escaped = typed.sql.replace("{", "{{").replace("}", "}}")
    return Typed(escaped.replace("\0.", "{0}."), typed.kind)


def create(catalog: Catalog, table: Table, name: str | None = None) -> None:
    """Create the SQLite table, without its indexes."""
    parts = []
    for column in table.columns:
        if column.computed is None:
            required = "" if column.nullable else " NOT NULL"
            parts.append(f"{quote(column.name)} {storage(column.kind)}{required}")
    for check, text in catalog.rows("SELECT name, text FROM m_check WHERE object_id = ?", table.number):
        parts.append(f"CONSTRAINT {quote(check)} CHECK ({own_expression(text, table.columns, condition=True).sql})")
    ending = "STRICT"
    if table.is_ms_shipped:
        parts.append('PRIMARY KEY ("__$start_lsn", "__$command_id", "__$seqval", "__$operation")')
        ending = "STRICT, WITHOUT ROWID"
    catalog.rows(f"CREATE TABLE {name or table.sqlite_name} ({', '.join(parts)}) {ending}")


def create_index(catalog: Catalog, table: Table, index: Index, number: int) -> None:
    """Create one index in SQLite."""
    names = {column.number: column for column in table.columns}
    keys = ", ".join(
        quote(names[column].name) + (" DESC" if descending else "") for column, descending in index.columns
    )
    unique = "UNIQUE " if index.unique else ""
    try:
        catalog.rows(f"CREATE {unique}INDEX i{table.number}_{number} ON {table.sqlite_name} ({keys})")
    except apsw.ConstraintError as why:
        text = (
            "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the "
            f"object name '{table.schema}.{table.name}' and the index name '{index.name}'."
        )
        raise SqlError(1505, text) from why


def rebuild(catalog: Catalog, before: Table, after: Table, values: Mapping[str, str]) -> None:
    """Give a table other columns: `values` is the SQLite text of each column of `after`, over those of `before`."""
    columns = [column for column in after.columns if column.computed is None]
    create(catalog, after, "rebuilt")
    names = ", ".join(quote(column.name) for column in columns)
    texts = ", ".join(values[column.name] for column in columns)
    catalog.rows(f"INSERT INTO rebuilt ({names}) SELECT {texts} FROM {before.sqlite_name}")
    catalog.rows(f"DROP TABLE {before.sqlite_name}")
    catalog.rows(f"ALTER TABLE rebuilt RENAME TO {after.sqlite_name}")
    if not after.is_ms_shipped:
        restore_indexes(catalog, after)


def restore_indexes(catalog: Catalog, table: Table) -> None:
    """Create every index the catalog knows of a table."""
    sql = "SELECT index_id FROM m_index WHERE object_id = ? ORDER BY index_id"
    for (number,), index in zip(catalog.rows(sql, table.number), catalog.indexes(table.number), strict=True):
        create_index(catalog, table, index, number)


def broken_constraint(catalog: Catalog, database: str, why: apsw.ConstraintError, verb: str) -> SqlError:
    """Return the SQL Server error for a constraint SQLite found broken."""
    text = str(why)
    found = re.match(r"(UNIQUE|NOT NULL|CHECK|PRIMARY KEY) constraint failed: (.*)", text)
    if found is None:
        return SqlError(547, text)
    kind, detail = found.groups()
    if kind == "CHECK":
        return SqlError(547, f'The {verb} statement conflicted with the CHECK constraint "{detail}".')
    pairs = re.findall(r"t(\d+)\.(.+?)(?=, t\d+\.|$)", detail)
    table = catalog.table_of(int(pairs[0][0])) if pairs else None
    if table is None:
        return SqlError(2627, text)
    if kind == "NOT NULL":
        place = f"{database}.{table.schema}.{table.name}"
        words = (
            f"Cannot insert the value NULL into column '{pairs[0][1]}', table "
            f"'{place}'; column does not allow nulls. {verb} fails."
        )
        return SqlError(515, words, state=2)
    return _duplicate(catalog, table, {name for _, name in pairs})


def _duplicate(catalog: Catalog, table: Table, columns: set[str]) -> SqlError:
    names = {column.number: column.name for column in table.columns}
    place = f"{table.schema}.{table.name}"
    for index in catalog.indexes(table.number):
        if {names[number] for number, _ in index.columns} != columns or not index.unique:
            continue
        if index.constraint:
            word = "PRIMARY KEY" if index.primary else "UNIQUE KEY"
            return SqlError(
                2627,
                f"Violation of {word} constraint '{index.name}'. Cannot insert duplicate key in object '{place}'.",
                14,
            )
        return SqlError(
            2601, f"Cannot insert duplicate key row in object '{place}' with unique index '{index.name}'.", 14
        )
    return SqlError(2627, f"Violation of UNIQUE KEY constraint. Cannot insert duplicate key in object '{place}'.", 14)
