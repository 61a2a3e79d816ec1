"""The T-SQL of the source: identifiers quoted, values bound, text constant for a constant set of tables."""

from collections.abc import Sequence

KEY_COLUMNS = ("__$start_lsn", "__$command_id", "__$seqval", "__$operation")
"""The order of a change table, and what its clustered index must be so that reading in that order is a seek."""

CHANGED_AT_ONCE = 500
"""Change tables that one statement asks: the server compiles one of that size in a fraction of a second."""

SESSION = "SET NOCOUNT ON; SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCK_TIMEOUT 10000"
"""READ COMMITTED whatever a pool or a login trigger set; a lock is waited for 10 s, then error 1222."""

DATABASE = "SELECT DB_NAME(), d.is_cdc_enabled FROM sys.databases AS d WHERE d.database_id = DB_ID()"

SCAN = (
    "SELECT MAX(m.start_lsn), DATEPART(TZOFFSET, SYSDATETIMEOFFSET()),"
    " (SELECT COUNT(*) FROM cdc.change_tables AS c), (SELECT MAX(c.create_date) FROM cdc.change_tables AS c)"
    " FROM cdc.lsn_time_mapping AS m"
)
"""The last scanned LSN, the minutes by which local time is ahead of UTC, and what tells that capture instances changed.

At READ COMMITTED: the scan commits a transaction's changes and its mapping together, so everything up to it is there.
"""

INSTANCES = (
    "SELECT s.name, t.name, t.object_id, c.object_id, c.capture_instance, c.start_lsn,"
    " HAS_PERMS_BY_NAME(N'cdc.' + QUOTENAME(c.capture_instance + N'_CT'), N'OBJECT', N'SELECT')"
    " FROM cdc.change_tables AS c"
    " JOIN sys.tables AS t ON t.object_id = c.source_object_id"
    " JOIN sys.schemas AS s ON s.schema_id = t.schema_id"
    " ORDER BY c.create_date, c.object_id"
)
"""Every capture instance whose table the login can see, oldest first, and whether its changes may be read."""

CLUSTERED_KEYS = (
    "SELECT i.object_id, n.name FROM sys.index_columns AS i"
    " JOIN sys.columns AS n ON n.object_id = i.object_id AND n.column_id = i.column_id"
    " WHERE i.index_id = 1 AND i.key_ordinal > 0 AND i.object_id IN (SELECT c.object_id FROM cdc.change_tables AS c)"
    " ORDER BY i.object_id, i.key_ordinal"
)

WATERMARKS = "SELECT c.object_id, c.start_lsn FROM cdc.change_tables AS c WHERE c.source_object_id = ?"
"""Up to where each capture instance of one table was cleaned up: it holds everything from its start LSN on."""

COLUMNS = (
    "SELECT n.name, COALESCE(b.name, u.name), n.max_length FROM sys.columns AS n"
    " LEFT JOIN sys.types AS b ON b.user_type_id = n.system_type_id"
    " LEFT JOIN sys.types AS u ON u.user_type_id = n.user_type_id"
    " WHERE n.object_id = ? ORDER BY n.column_id"
)
"""The columns of a change table with their system types; `hierarchyid` and its like have only their own."""

CAPTURED_COLUMNS = (
    "SELECT k.column_name, k.column_ordinal, k.is_computed FROM cdc.captured_columns AS k"
    " WHERE k.object_id = ? ORDER BY k.column_ordinal"
)

INDEX_COLUMNS = "SELECT k.column_name FROM cdc.index_columns AS k WHERE k.object_id = ? ORDER BY k.index_ordinal"
"""The key of the source table: its primary key, or the unique index that was named when capture was enabled."""

TABLE_ID = "SELECT OBJECT_ID(?, N'U')"

RETENTIONS = (
    "EXEC sys.sp_cdc_help_jobs",
    "SELECT j.job_type, j.retention FROM msdb.dbo.cdc_jobs AS j WHERE j.database_id = DB_ID()",
    "SELECT j.job_type, j.retention FROM cdc.cdc_jobs AS j",
)
"""Where the clean-up job's retention (minutes) may be found: as owner, with access to msdb, on Azure SQL Database."""

_PLACE = ", ".join(f"[{name}]" for name in KEY_COLUMNS)
_NEWEST = ", ".join(f"[{name}] DESC" for name in KEY_COLUMNS)
_FOLLOWING = (
    "[__$start_lsn] = @l AND [__$command_id] = @c AND [__$seqval] = @s AND [__$operation] > @o",
    "[__$start_lsn] = @l AND [__$command_id] = @c AND [__$seqval] > @s",
    "[__$start_lsn] = @l AND [__$command_id] > @c",
    "[__$start_lsn] > @l AND [__$start_lsn] <= @hi",
)
"""What follows a place, as four ranges of the clustered index: an OR of the four would scan the table."""


def quoted(*names: str) -> str:
    """Return an identifier with as many parts as are given, each in brackets."""
    return ".".join(f"[{name.replace(']', ']]')}]" for name in names)


def literal(text: str) -> str:
    """Return a Unicode string literal, for statements that are shown to an operator."""
    return f"N'{text.replace("'", "''")}'"


def change_table(instance: str) -> str:
    """Return the name of a capture instance's change table."""
    return quoted("cdc", f"{instance}_CT")


def page(instance: str, columns: Sequence[str]) -> str:
    """Return the statement that reads what follows a place: key, update mask, commit time, then `columns`.

    Parameters: the place (start LSN, command, sequence value, operation), the last LSN to read, the number of rows.
    `columns` are expressions over `q`. The commit time is looked up row by row and may be null: a join could drop rows
    whose mapping is gone, and a range of the mapping holds every other table's transactions too.
    """
    table = change_table(instance)
    branches = " UNION ALL ".join(
        "SELECT * FROM ("  # noqa: S608 - quoted
        f"SELECT TOP (@n) * FROM {table} WHERE {following} ORDER BY {_PLACE}) AS b{number}"
        for number, following in enumerate(_FOLLOWING)
    )
    time = "(SELECT TOP (1) m.tran_end_time FROM cdc.lsn_time_mapping AS m WHERE m.start_lsn = q.[__$start_lsn])"
    shown = ", ".join([*(f"q.[{name}]" for name in (*KEY_COLUMNS, "__$update_mask")), time, *columns])
    declared = "@l binary(10) = ?, @c int = ?, @s binary(10) = ?, @o int = ?, @hi binary(10) = ?, @n int = ?"
    return (
        f"DECLARE {declared};"  # noqa: S608 - quoted
        f" SELECT TOP (@n) {shown} FROM ({branches}) AS q"
        f" ORDER BY {', '.join(f'q.[{name}]' for name in KEY_COLUMNS)}"
    )


def last_places(instances: Sequence[str]) -> str:
    """Return the statement that finds the last place of each change table: its number in `instances`, then the key."""
    return " UNION ALL ".join(
        f"SELECT {number} AS n, k.* FROM ("  # noqa: S608 - quoted
        f"SELECT TOP (1) {_PLACE} FROM {change_table(name)} ORDER BY {_NEWEST}) AS k"
        for number, name in enumerate(instances)
    )


def enable_database() -> str:
    """Return the remedy for a database without change capture."""
    return "EXEC sys.sp_cdc_enable_db"


def enable_table(schema: str, name: str) -> str:
    """Return the remedy for a table that is not captured."""
    return (
        f"EXEC sys.sp_cdc_enable_table @source_schema = {literal(schema)}, @source_name = {literal(name)},"
        " @role_name = NULL"
    )


def rebuild_table(schema: str, name: str, instance: str) -> str:
    """Return the remedy for a change table of a server older than `__$command_id`."""
    return (
        f"EXEC sys.sp_cdc_disable_table @source_schema = {literal(schema)}, @source_name = {literal(name)},"
        f" @capture_instance = {literal(instance)}; {enable_table(schema, name)}"
    )


def grant_changes(user: str) -> str:
    """Return the remedy for a login that may not read changes."""
    return f"GRANT SELECT ON SCHEMA::cdc TO {quoted(user)}"


def grant_definition(schema: str, name: str, user: str) -> str:
    """Return the remedy for a login that cannot see a table."""
    return f"GRANT VIEW DEFINITION ON {quoted(schema, name)} TO {quoted(user)}"
