"""CREATE, ALTER, DROP and TRUNCATE."""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from local.sqlserver import temporal
from local.sqlserver.engine import capture, tables
from local.sqlserver.engine.catalog import Index, Table, TableColumn, quote
from local.sqlserver.engine.work import Work
from local.sqlserver.errors import SqlError, syntax, unknown_object
from local.sqlserver.sql import commands, tree
from local.sqlserver.sql.scope import converted
from local.sqlserver.sqltypes import INT, Family


def place_of(name: tree.Name, work: Work) -> tuple[str, str]:
    """Return schema and name of an object of this database; dbo is the default schema.

    Raises:
        SqlError: 102 for a temporary table, 40515 for another database.
    """
    if name.parts[-1].startswith("#"):
        raise syntax(name.parts[-1])
    if len(name.parts) > 2 and name.parts[-3].casefold() not in {"", work.database.name.casefold()}:
        raise SqlError(
            40515, f"Reference to database '{name.parts[-3]}' in '{name}' is not supported in this server.", 15
        )
    return (name.parts[-2] if len(name.parts) > 1 else "") or "dbo", name.parts[-1]


def find_table(name: tree.Name, work: Work, action: str) -> Table:
    """Return a user table; SqlError 4902 or 3701 when there is none."""
    table = work.catalog.table(*place_of(name, work))
    if table is None or table.is_ms_shipped:
        if action == "ALTER":
            text = f'Cannot find the object "{name}" because it does not exist or you do not have permissions.'
            raise SqlError(4902, text)
        text = f"Cannot {action.lower()} the table '{name}', because it does not exist or you do not have permission."
        raise SqlError(3701, text, 11, 5)
    return table


def create_table(work: Work, node: commands.CreateTable) -> None:
    """CREATE TABLE."""
    catalog = work.catalog
    schema, name = place_of(node.name, work)
    if schema.lower() in {"sys", "cdc", "information_schema"}:
        raise SqlError(
            2760, f'The specified schema name "{schema}" either does not exist or you do not have permission to use it.'
        )
    keys = [c for c in node.constraints if c.kind != "CHECK"]
    keys += [commands.Constraint(c.key, None, ((c.name, False),)) for c in node.columns if c.key is not None]
    primary = {label.casefold() for key in keys if key.kind == "PRIMARY" for label, _ in key.columns}
    columns = _columns(node.columns, primary)
    if len({column.name.casefold() for column in columns}) != len(columns):
        raise SqlError(
            2705,
            f"Column names in each table must be unique. A column name in table '{name}' is specified more than once.",
        )
    number = catalog.add_object(schema, name, "U ")
    for column in columns:
        catalog.add_column(number, column)
    _add_checks(work, number, node.columns, node.constraints)
    table = catalog.table_of(number)
    assert table is not None
    tables.create(catalog, table)
    for key in keys:
        _add_key(work, table, key)
    catalog.touch()


def _columns(
    nodes: tuple[commands.ColumnDefinition, ...], primary: set[str], before: tuple[TableColumn, ...] = ()
) -> list[TableColumn]:
    plain = []
    for number, node in enumerate(nodes, max((column.number for column in before), default=0) + 1):
        nullable = node.nullable is not False and node.name.casefold() not in primary
        if node.kind is not None and node.kind.name == "timestamp":
            nullable = False
        seed, step = node.identity or (None, None)
        plain.append(
            TableColumn(number, node.name, node.kind or INT, nullable, seed, step, node.default, node.computed)
        )
    found = tuple(plain)
    return [
        column if column.computed is None
        else replace(column, kind=tables.own_expression(column.computed, (*before, *found)).kind or INT, nullable=True)
        for column in found
    ]  # fmt: skip


def _add_checks(
    work: Work, table: int, columns: tuple[commands.ColumnDefinition, ...], constraints: tuple[commands.Constraint, ...]
) -> None:
    found: list[tuple[str | None, str]] = [(None, column.check) for column in columns if column.check is not None]
    found += [(c.name, c.check) for c in constraints if c.check is not None]
    for count, (name, text) in enumerate(found, 1):
        label = name or f"CK__{table:X}__{count}"
        work.catalog.rows("INSERT INTO m_check VALUES (?, ?, ?)", table, label, text)


def _add_key(work: Work, table: Table, key: commands.Constraint) -> None:
    primary = key.kind == "PRIMARY"
    existing = work.catalog.indexes(table.number)
    if primary and any(index.primary for index in existing):
        raise SqlError(1779, f"Table '{table.name}' already has a primary key defined on it.")
    clustered = (primary if key.clustered is None else key.clustered) and not any(i.clustered for i in existing)
    name = key.name or f"{'PK' if primary else 'UQ'}__{table.name[:8]}__{table.number:08X}{len(existing) or ''}"
    _add_index(work, table, Index(name, clustered, True, primary, True, _numbers(table, key.columns)))  # noqa: FBT003


def _numbers(table: Table, columns: tuple[tuple[str, bool], ...]) -> tuple[tuple[int, bool], ...]:
    found = []
    for name, descending in columns:
        column = table.column(name)
        if column is None or column.computed is not None:
            raise SqlError(1911, f"Column name '{name}' does not exist in the target table or view.")
        if column.kind.is_lob or column.kind.family is Family.VARIANT or column.kind.name in {"geometry", "geography"}:
            text = (
                f"Column '{name}' in table '{table.name}' is of a type that "
                "is invalid for use as a key column in an index."
            )
            raise SqlError(1919, text)
        found.append((column.number, descending))
    return tuple(found)


def _add_index(work: Work, table: Table, index: Index) -> None:
    if any(other.name.casefold() == index.name.casefold() for other in work.catalog.indexes(table.number)):
        text = (
            "The operation failed because an index or statistics with name "
            f"'{index.name}' already exists on table '{table.schema}.{table.name}'."
        )
        raise SqlError(1913, text)
    number = work.catalog.add_index(table.number, index)
    tables.create_index(work.catalog, table, index, number)


def create_index(work: Work, node: commands.CreateIndex) -> None:
    """CREATE INDEX."""
    table = work.catalog.table(*place_of(node.table, work))
    if table is None:
        raise SqlError(
            1088, f'Cannot find the object "{node.table}" because it does not exist or you do not have permissions.'
        )
    clustered = node.clustered and not any(index.clustered for index in work.catalog.indexes(table.number))
    index = Index(node.name, clustered, node.unique, False, False, _numbers(table, node.columns))  # noqa: FBT003
    _add_index(work, table, index)
    work.catalog.touch()


def alter_table(work: Work, node: commands.AlterTable) -> None:
    """ALTER TABLE."""
    table = find_table(node.name, work, "ALTER")
    rules: dict[str, Callable[[Work, Table, commands.AlterTable], None]] = {
        "ADD": _add,
        "DROP COLUMN": _drop_columns,
        "ALTER COLUMN": _alter_column,
    }
    rules[node.action](work, table, node)
    _note_definition(work, table, node)
    work.catalog.touch()


def _note_definition(work: Work, table: Table, node: commands.AlterTable) -> None:
    changed = work.catalog.table_of(table.number)
    assert changed is not None
    utc, minutes = temporal.now()
    for (instance,) in work.catalog.rows("SELECT object_id FROM m_instance WHERE source = ?", table.number):
        capture.replace_triggers(work.catalog, changed, instance)
        values = (
            table.number,
            instance,
            int(node.action == "ALTER COLUMN"),
            node.text,
            work.allocate_lsn(),
            utc + minutes * temporal.MINUTE,
        )
        work.catalog.rows("INSERT INTO m_ddl VALUES (?, ?, ?, ?, ?, ?)", *values)


def _replace_columns(work: Work, table: Table, columns: list[TableColumn], values: dict[str, str]) -> None:
    after = replace(table, columns=tuple(columns))
    work.catalog.rows("DELETE FROM m_column WHERE object_id = ?", table.number)
    for column in columns:
        work.catalog.add_column(table.number, column)
    tables.rebuild(work.catalog, table, after, values)


def _add(work: Work, table: Table, node: commands.AlterTable) -> None:
    added = _columns(node.columns, set(), table.columns)
    for column in added:
        if table.column(column.name) is not None:
            text = (
                "Column names in each table must be unique. Column name "
                f"'{column.name}' in table '{table.name}' is specified more than once."
            )
            raise SqlError(2705, text)
    _add_checks(work, table.number, node.columns, node.constraints)
    values = {column.name: quote(column.name) for column in table.columns}
    empty = not work.catalog.rows(f"SELECT 1 FROM {table.sqlite_name} LIMIT 1")
    for column in added:
        values[column.name] = _filling(work, table, column, empty=empty)
    _replace_columns(work, table, [*table.columns, *added], values)
    after = work.catalog.table_of(table.number)
    assert after is not None
    for key in [c for c in node.constraints if c.kind != "CHECK"]:
        _add_key(work, after, key)


def _filling(work: Work, table: Table, column: TableColumn, *, empty: bool) -> str:
    if column.kind.name == "timestamp":
        return "next_version()"
    if column.seed is not None:
        work.identities.add(table.number)
        return f"next_identity({table.number})"
    if column.default is not None and not column.nullable:
        typed = tables.own_expression(column.default, ())
        return "NULL" if typed.kind is None else converted(typed.sql.format(""), typed.kind, column.kind)
    if not column.nullable and not empty and column.computed is None:
        text = (
            "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT "
            f"definition specified. Column '{column.name}' cannot be added to non-empty table '{table.name}'."
        )
        raise SqlError(4901, text)
    return "NULL"


def _drop_columns(work: Work, table: Table, node: commands.AlterTable) -> None:
    gone = []
    keys = {number for index in work.catalog.indexes(table.number) for number, _ in index.columns}
    for name in node.names:
        column = table.column(name)
        if column is None:
            text = f"ALTER TABLE DROP COLUMN failed because column '{name}' does not exist in table '{table.name}'."
            raise SqlError(4924, text)
        if column.number in keys:
            raise SqlError(5074, f"The object is dependent on column '{name}'.")
        gone.append(column)
    rest = [column for column in table.columns if column not in gone]
    _replace_columns(work, table, rest, {column.name: quote(column.name) for column in rest})


def _alter_column(work: Work, table: Table, node: commands.AlterTable) -> None:
    wanted = node.columns[0]
    column = table.column(wanted.name)
    if column is None or wanted.kind is None or column.computed is not None:
        raise SqlError(
            4924,
            f"ALTER TABLE ALTER COLUMN failed because column '{wanted.name}' does not exist in table '{table.name}'.",
        )
    changed = replace(column, kind=wanted.kind, nullable=wanted.nullable is not False)
    _retype(work, table, column, changed)
    sql = """SELECT i.object_id FROM m_instance i JOIN m_captured c USING (object_id)
             WHERE i.source = ? AND c.column_id = ?"""
    for (instance,) in work.catalog.rows(sql, table.number, column.number):
        change_table = work.catalog.table_of(instance)
        assert change_table is not None
        captured = change_table.column(column.name)
        if captured is not None:
            _retype(work, change_table, captured, replace(captured, kind=wanted.kind))
        row: tuple[Any, ...] = (wanted.kind.name, instance, column.number)
        work.catalog.rows("UPDATE m_captured SET type = ? WHERE object_id = ? AND column_id = ?", *row)


def _retype(work: Work, table: Table, column: TableColumn, changed: TableColumn) -> None:
    values = {each.name: quote(each.name) for each in table.columns}
    values[column.name] = converted(quote(column.name), column.kind, changed.kind)
    _replace_columns(work, table, [changed if each == column else each for each in table.columns], values)


def drop_tables(work: Work, node: commands.Drop) -> None:
    """DROP TABLE; a table that is captured takes its capture instances with it."""
    for name in node.names:
        if node.if_exists and work.catalog.table(*place_of(name, work)) is None:
            continue
        table = find_table(name, work, "DROP")
        capture.drop_instances_of(work.catalog, table.number)
        work.catalog.rows(f"DROP TABLE {table.sqlite_name}")
        work.catalog.remove(table.number)
        work.database.forget_identity(table.number)
    work.catalog.touch()


def drop_index(work: Work, node: commands.Drop) -> None:
    """DROP INDEX … ON …."""
    assert node.on is not None
    table = find_table(node.on, work, "DROP")
    for name in node.names:
        sql = "SELECT index_id FROM m_index WHERE object_id = ? AND name = ? AND NOT is_constraint"
        found = work.catalog.rows(sql, table.number, name.parts[-1])
        if not found:
            text = (
                f"Cannot drop the index '{table.name}.{name}', because it does not exist or you do not have permission."
            )
            raise SqlError(3701, text, 11, 7)
        work.catalog.rows(f"DROP INDEX i{table.number}_{found[0][0]}")
        for part in ("m_index", "m_index_column"):
            work.catalog.rows(f"DELETE FROM {part} WHERE object_id = ? AND index_id = ?", table.number, found[0][0])
    work.catalog.touch()


def drop_schemas(work: Work, node: commands.Drop) -> None:
    """DROP SCHEMA."""
    for name in node.names:
        if not node.if_exists or work.catalog.schema_id(name.parts[-1]) is not None:
            work.catalog.drop_schema(name.parts[-1])
    work.catalog.touch()


def truncate(work: Work, node: commands.Truncate) -> None:
    """TRUNCATE TABLE; SqlError 4711 while the table is captured."""
    table = work.catalog.table(*place_of(node.name, work))
    if table is None:
        raise unknown_object(str(node.name))
    if work.catalog.rows("SELECT 1 FROM m_instance WHERE source = ?", table.number):
        text = (
            f"Cannot truncate table '{table.name}' because it is published "
            "for replication or enabled for Change Data Capture."
        )
        raise SqlError(4711, text)
    work.catalog.rows(f"DELETE FROM {table.sqlite_name}")
    work.catalog.rows("DELETE FROM m_identity WHERE object_id = ?", table.number)
    work.database.forget_identity(table.number)
