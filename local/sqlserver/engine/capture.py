"""Change data capture of a table: change tables, and the triggers that fill them.

https://learn.microsoft.com/sql/relational-databases/track-changes/about-change-data-capture-sql-server
"""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from local.sqlserver import temporal
from local.sqlserver.engine.catalog import Catalog, Index, Table, TableColumn, quote
from local.sqlserver.engine.tables import storage
from local.sqlserver.engine.work import Work, full_mask
from local.sqlserver.errors import SqlError
from local.sqlserver.sqltypes import INT, LSN, MASK, SqlType

_ALWAYS_LEFT_OUT = frozenset({"text", "ntext", "image"})
_MOST_INSTANCES = 2
_SYSTEM_BEFORE = (
    ("__$start_lsn", LSN, False),
    ("__$end_lsn", LSN, True),
    ("__$seqval", LSN, False),
    ("__$operation", INT, False),
    ("__$update_mask", MASK, True),
)


def enable_database(work: Work) -> None:
    """sys.sp_cdc_enable_db."""
    catalog = work.catalog
    if catalog.state("cdc"):
        return
    catalog.put_state("cdc", 1)
    catalog.add_schema("cdc")
    catalog.rows(
        "INSERT OR IGNORE INTO m_job VALUES ('capture', 500, 10, 1, 5, 0, 0), ('cleanup', 0, 0, 0, 0, 4320, 5000)"
    )
    catalog.touch()


def disable_database(work: Work) -> None:
    """sys.sp_cdc_disable_db."""
    catalog = work.catalog
    for (number,) in catalog.rows("SELECT object_id FROM m_instance"):
        _drop_instance(catalog, number)
    for table in ("m_lsn", "m_lsn_log", "m_ddl", "m_job"):
        catalog.rows(f"DELETE FROM {table}")
    if catalog.state("cdc"):
        catalog.drop_schema("cdc")
    catalog.put_state("cdc", 0)
    catalog.touch()


def require_enabled(work: Work) -> None:
    """Raise error 22901 unless the database captures."""
    if not work.catalog.state("cdc"):
        text = (
            f"The database '{work.database.name}' is not enabled for Change Data Capture. Ensure that the "
            "correct database context is set and retry the operation. To report on the databases enabled for "
            "Change Data Capture, query the is_cdc_enabled column in the sys.databases catalog view."
        )
        raise SqlError(22901, text)


def enable_table(
    work: Work,
    table: Table,
    *,
    role: str | None,
    instance: str | None,
    net_changes: bool | None,
    index_name: str | None,
    columns: tuple[str, ...] | None,
) -> None:
    """sys.sp_cdc_enable_table."""
    catalog = work.catalog
    name = instance or f"{table.schema}_{table.name}"
    _check_instance(catalog, table, name)
    key = _key_index(catalog, table, index_name)
    if net_changes and key is None:
        text = (
            "The parameter @supports_net_changes is set to 1, but the source table does not "
            "have a primary key defined and no alternate unique index has been specified."
        )
        raise SqlError(22939, text)
    captured = _captured(table, columns)
    if key is not None and columns is not None:
        named = {column.number for column in captured}
        if not all(number in named for number, _ in key.columns):
            raise SqlError(
                22944, "The columns specified in the captured column list must include the columns of the index."
            )
    number = _create_change_table(catalog, name, captured)
    utc, minutes = temporal.now()
    values = (
        number,
        table.number,
        name,
        work.allocate_lsn(),
        int(key is not None if net_changes is None else net_changes),
    )
    created = utc + minutes * temporal.MINUTE
    catalog.rows(
        "INSERT INTO m_instance VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values, role, key.name if key else None, created
    )
    for ordinal, column in enumerate(captured, 1):
        row = (number, ordinal, column.name, column.number, column.kind.name, int(column.computed is not None))
        catalog.rows("INSERT INTO m_captured VALUES (?, ?, ?, ?, ?, ?)", *row)
    for ordinal, (column_number, _) in enumerate(key.columns if key else (), 1):
        label = next(column.name for column in table.columns if column.number == column_number)
        catalog.rows("INSERT INTO m_capture_key VALUES (?, ?, ?, ?)", number, ordinal, label, column_number)
    _create_triggers(catalog, table, number)
    catalog.touch()


def _check_instance(catalog: Catalog, table: Table, name: str) -> None:
    if len(name) > 100:
        raise SqlError(
            22972, f"The value specified for the parameter '@capture_instance' exceeds 100 characters: '{name}'."
        )
    if catalog.rows("SELECT 1 FROM m_instance WHERE name = ?", name):
        text = (
            f"Could not create a capture instance because the capture instance name '{name}' already exists "
            "in the current database. Specify an explicit unique name for the parameter @capture_instance."
        )
        raise SqlError(22926, text)
    if len(catalog.rows("SELECT 1 FROM m_instance WHERE source = ?", table.number)) >= _MOST_INSTANCES:
        text = (
            "Could not create a capture instance because two capture instances already exist for the source "
            f"table '{table.schema}.{table.name}'. A table can have at most two capture instances."
        )
        raise SqlError(22962, text)


def _key_index(catalog: Catalog, table: Table, name: str | None) -> Index | None:
    indexes = catalog.indexes(table.number)
    if name is None:
        return next((index for index in indexes if index.primary), None)
    found = next((index for index in indexes if index.name.casefold() == name.casefold() and index.unique), None)
    if found is None:
        raise SqlError(
            22940,
            "Could not create a capture instance because the index "
            f"'{name}' is not a unique index of the source table.",
        )
    return found


def _captured(table: Table, names: tuple[str, ...] | None) -> list[TableColumn]:
    if names is None:
        return list(table.columns)
    wanted = []
    for name in names:
        column = table.column(name)
        if column is None:
            raise SqlError(
                22943, f"Column '{name}', specified in the column list parameter, does not exist in the source table."
            )
        wanted.append(column)
    return sorted(wanted, key=lambda column: column.number)


def _create_change_table(catalog: Catalog, instance: str, captured: list[TableColumn]) -> int:
    number = catalog.add_object("cdc", f"{instance}_CT", "U ", parent=0, shipped=True)
    described = list(_SYSTEM_BEFORE)
    for column in captured:
        kind = SqlType("binary", 8) if column.kind.name == "timestamp" else column.kind
        described.append((column.name, kind, True))
    described.append(("__$command_id", INT, True))
    for position, (name, kind, nullable) in enumerate(described, 1):
        catalog.add_column(number, TableColumn(position, name, kind, nullable, None, None, None, None))
    key = tuple((position, False) for position in (1, len(described), 3, 4))
    catalog.add_index(number, Index(f"{instance}_CT_clustered_idx", True, True, False, False, key))  # noqa: FBT003
    columns = ", ".join(f"{quote(name)} {storage(kind)}" for name, kind, _ in described)
    order = '"__$start_lsn", "__$command_id", "__$seqval", "__$operation"'
    catalog.rows(f"CREATE TABLE t{number} ({columns}, PRIMARY KEY ({order})) STRICT, WITHOUT ROWID")
    return number


def replace_triggers(catalog: Catalog, table: Table, instance: int) -> None:
    """Write the triggers of one change table anew, after its source has changed."""
    for name in "iduk":
        catalog.rows(f"DROP TRIGGER IF EXISTS t{instance}{name}")
    _create_triggers(catalog, table, instance)


def _create_triggers(catalog: Catalog, table: Table, instance: int) -> None:
    captured = catalog.rows("SELECT name, computed FROM m_captured WHERE object_id = ? ORDER BY ordinal", instance)
    columns = [None if computed else table.column(name) for name, computed in captured]
    keys = [name for (name,) in catalog.rows("SELECT name FROM m_capture_key WHERE object_id = ?", instance)]
    full = f"x'{full_mask(len(columns)).hex()}'"
    inserted = _row(instance, "cdc_seq()", 2, full, [_value(column, "NEW") for column in columns])
    deleted = _row(instance, "cdc_seq()", 1, full, [_deleted(column) for column in columns])
    moved = _row(instance, f"cdc_key({instance})", 2, full, [_value(column, "NEW") for column in columns])
    mask = _mask_text(columns)
    before = _row(instance, "cdc_seq()", 3, mask, [_before(column) for column in columns])
    after = _row(instance, "cdc_pair()", 4, mask, [_after(column) for column in columns])
    changed = " OR ".join(_changed(column.name) for column in columns if column is not None) or "0"
    triggers = {"i": ("INSERT", inserted), "d": ("DELETE", deleted)}
    if keys:
        key_changed = " OR ".join(_changed(name) for name in keys)
        triggers["k"] = (f"UPDATE ON {table.sqlite_name} WHEN {key_changed}", f"{deleted} {moved}")
        changed = f"NOT ({key_changed}) AND ({changed})"
    triggers["u"] = (f"UPDATE ON {table.sqlite_name} WHEN {changed}", f"{before} {after}")
    for name, (event, body) in triggers.items():
        place = event if " ON " in event else f"{event} ON {table.sqlite_name}"
        catalog.rows(f"CREATE TRIGGER t{instance}{name} AFTER {place} BEGIN {body} END")


def _row(instance: int, sequence: str, operation: int, mask: str, values: list[str]) -> str:
    listed = "".join(f", {value}" for value in values)
    return f"INSERT INTO t{instance} SELECT cdc_lsn(), NULL, {sequence}, {operation}, {mask}{listed}, cdc_command();"


def _value(column: TableColumn | None, row: str) -> str:
    return "NULL" if column is None else f"{row}.{quote(column.name)}"


def _deleted(column: TableColumn | None) -> str:
    return "NULL" if column is not None and column.kind.name in _ALWAYS_LEFT_OUT else _value(column, "OLD")


def _before(column: TableColumn | None) -> str:
    if column is None or column.kind.name in _ALWAYS_LEFT_OUT:
        return "NULL"
    return _if_changed(column, "OLD") if column.kind.is_lob else _value(column, "OLD")


def _after(column: TableColumn | None) -> str:
    return _if_changed(column, "NEW") if column is not None and column.kind.is_lob else _value(column, "NEW")


def _if_changed(column: TableColumn, row: str) -> str:
    return f"CASE WHEN {_changed(column.name)} THEN {_value(column, row)} END"


def _changed(name: str) -> str:
    return f"OLD.{quote(name)} COLLATE BINARY IS NOT NEW.{quote(name)}"


def _mask_text(columns: list[TableColumn | None]) -> str:
    parts = []
    for start in range(0, len(columns), 32):
        bits = [
            f"(({_changed(column.name)}) << {at})"
            for at, column in enumerate(columns[start : start + 32])
            if column is not None
        ]
        parts.append(" | ".join(bits) or "0")
    return f"cdc_mask({len(columns)}, {', '.join(parts)})"


def disable_table(work: Work, table: Table, instance: str) -> None:
    """sys.sp_cdc_disable_table; instance `all` disables every one."""
    catalog = work.catalog
    found = catalog.rows("SELECT object_id, name FROM m_instance WHERE source = ?", table.number)
    chosen = [number for number, name in found if instance.lower() == "all" or name.casefold() == instance.casefold()]
    if not chosen:
        text = f"The capture instance '{instance}' does not exist for the source table '{table.schema}.{table.name}'."
        raise SqlError(22976, text)
    for number in chosen:
        _drop_instance(catalog, number)
    catalog.touch()


def drop_instances_of(catalog: Catalog, table: int) -> None:
    """Drop what captures a table that is being dropped."""
    for (number,) in catalog.rows("SELECT object_id FROM m_instance WHERE source = ?", table):
        _drop_instance(catalog, number)


def _drop_instance(catalog: Catalog, number: int) -> None:
    for name in "iduk":
        catalog.rows(f"DROP TRIGGER IF EXISTS t{number}{name}")
    catalog.rows(f"DROP TABLE IF EXISTS t{number}log")
    catalog.rows(f"DROP TABLE t{number}")
    for table in ("m_capture_key", "m_captured", "m_instance"):
        catalog.rows(f"DELETE FROM {table} WHERE object_id = ?", number)
    catalog.remove(number)
