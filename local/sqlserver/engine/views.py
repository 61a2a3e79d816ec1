"""Catalog views: their columns with types, and the SQLite query over the catalog's own tables that each stands for.

https://learn.microsoft.com/sql/relational-databases/system-catalog-views/catalog-views-transact-sql
"""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from functools import cache

from local.sqlserver.sql.scope import Found
from local.sqlserver.sqltypes import TYPE_NAMES, SqlType, declared, nvarchar

_NUMBERS = "(WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < 2399) SELECT n FROM s)"
_OBJECT_COLUMNS = """name sysname, object_id int, principal_id int, schema_id int, parent_object_id int, type char(2),
    type_desc nvarchar(60), create_date datetime, modify_date datetime, is_ms_shipped bit, is_published bit,
    is_schema_published bit"""
_OBJECTS = """SELECT name, object_id, NULL AS principal_id, schema_id, parent AS parent_object_id, type,
    CASE type WHEN 'U ' THEN 'USER_TABLE' ELSE 'SYSTEM_TABLE' END AS type_desc, create_date, create_date AS modify_date,
    is_ms_shipped, 0 AS is_published, 0 AS is_schema_published FROM m_object"""
_LENGTH = """type_length(c.type, c.length, c.precision, c.scale)"""
_COLUMNS = f"""SELECT object_id, name, column_id, type_number(c.type, 0) AS system_type_id,
    type_number(c.type, 1) AS user_type_id, {_LENGTH} AS max_length, type_precision(c.type, c.precision) AS precision,
    scale, CASE WHEN c.type IN ('varchar', 'nvarchar', 'char', 'nchar', 'text', 'ntext')
      THEN 'SQL_Latin1_General_CP1_CI_AS' END AS collation_name, nullable AS is_nullable,
    seed IS NOT NULL AS is_identity, computed_text IS NOT NULL AS is_computed, 0 AS is_rowguidcol, 0 AS is_sparse,
    0 AS is_column_set, 0 AS is_hidden, 0 AS default_object_id FROM m_column c"""
_INSTANCES = """SELECT object_id, 0 AS version, source AS source_object_id, name AS capture_instance, start_lsn,
    NULL AS end_lsn, net AS supports_net_changes, 0 AS has_drop_pending, role AS role_name, index_name,
    NULL AS filegroup_name, create_date, 1 AS partition_switch FROM m_instance"""
_JOBS = """SELECT 1 + db_id(NULL) AS database_id, type AS job_type, NULL AS job_id, maxtrans, maxscans, continuous,
    interval AS pollinginterval, retention, threshold FROM m_job"""
_JOB_COLUMNS = """database_id int, job_type nvarchar(20), job_id uniqueidentifier, maxtrans int, maxscans int,
    continuous bit, pollinginterval bigint, retention bigint, threshold bigint"""

_OF_OBJECTS = frozenset(
    f"sys.{name}"
    for name in ("objects", "tables", "columns", "computed_columns", "identity_columns", "indexes", "index_columns")
)
_VIEWS = {
    "sys.databases": (
        """name sysname, database_id int, create_date datetime, compatibility_level tinyint, collation_name sysname,
        state tinyint, state_desc nvarchar(60), recovery_model_desc nvarchar(60), is_read_only bit,
        snapshot_isolation_state tinyint, is_read_committed_snapshot_on bit, is_cdc_enabled bit""",
        """SELECT json_extract(value, '$.name') AS name, json_extract(value, '$.id') AS database_id,
        630822816000000000 AS create_date, 160 AS compatibility_level, 'SQL_Latin1_General_CP1_CI_AS' AS collation_name,
        0 AS state, 'ONLINE' AS state_desc, 'FULL' AS recovery_model_desc, 0 AS is_read_only,
        1 AS snapshot_isolation_state, 1 AS is_read_committed_snapshot_on,
        json_extract(value, '$.cdc') AS is_cdc_enabled FROM json_each(server_databases())""",
    ),
    "sys.schemas": (
        "name sysname, schema_id int, principal_id int",
        "SELECT name, schema_id, 1 AS principal_id FROM m_schema",
    ),
    "sys.objects": (_OBJECT_COLUMNS, _OBJECTS),
    "sys.tables": (
        _OBJECT_COLUMNS + ", is_tracked_by_cdc bit, temporal_type tinyint, is_memory_optimized bit, is_replicated bit",
        """SELECT o.name, object_id, NULL AS principal_id, schema_id, parent AS parent_object_id, o.type,
        'USER_TABLE' AS type_desc, o.create_date, o.create_date AS modify_date, is_ms_shipped, 0 AS is_published,
        0 AS is_schema_published, EXISTS (SELECT 1 FROM m_instance i WHERE i.source = o.object_id) AS is_tracked_by_cdc,
        0 AS temporal_type, 0 AS is_memory_optimized, 0 AS is_replicated FROM m_object o WHERE o.type = 'U '""",
    ),
    "sys.columns": (
        """object_id int, name sysname, column_id int, system_type_id tinyint, user_type_id int, max_length smallint,
        precision tinyint, scale tinyint, collation_name sysname, is_nullable bit, is_identity bit, is_computed bit,
        is_rowguidcol bit, is_sparse bit, is_column_set bit, is_hidden bit, default_object_id int""",
        _COLUMNS,
    ),
    "sys.computed_columns": (
        "object_id int, name sysname, column_id int, definition nvarchar(max), is_persisted bit",
        """SELECT object_id, name, column_id, '(' || computed_text || ')' AS definition, 0 AS is_persisted FROM m_column
        WHERE computed_text IS NOT NULL""",
    ),
    "sys.identity_columns": (
        "object_id int, name sysname, column_id int, seed_value bigint, increment_value bigint",
        """SELECT object_id, name, column_id, seed AS seed_value, step AS increment_value FROM m_column
        WHERE seed IS NOT NULL""",
    ),
    "sys.indexes": (
        """object_id int, name sysname, index_id int, type tinyint, type_desc nvarchar(60), is_unique bit,
        is_primary_key bit, is_unique_constraint bit, is_disabled bit, is_hypothetical bit, has_filter bit""",
        """SELECT object_id, name, index_id, CASE clustered WHEN 1 THEN 1 ELSE 2 END AS type,
        CASE clustered WHEN 1 THEN 'CLUSTERED' ELSE 'NONCLUSTERED' END AS type_desc, is_unique,
        is_primary AS is_primary_key, is_constraint AND NOT is_primary AS is_unique_constraint, 0 AS is_disabled,
        0 AS is_hypothetical, 0 AS has_filter FROM m_index
        UNION ALL SELECT object_id, NULL, 0, 0, 'HEAP', 0, 0, 0, 0, 0, 0 FROM m_object o WHERE type = 'U '
        AND NOT EXISTS (SELECT 1 FROM m_index i WHERE i.object_id = o.object_id AND i.clustered)""",
    ),
    "sys.index_columns": (
        """object_id int, index_id int, index_column_id int, column_id int, key_ordinal tinyint,
        partition_ordinal tinyint, is_descending_key bit, is_included_column bit""",
        """SELECT object_id, index_id, ordinal AS index_column_id, column_id, ordinal AS key_ordinal,
        0 AS partition_ordinal, descending AS is_descending_key, 0 AS is_included_column FROM m_index_column""",
    ),
    "sys.all_objects": (
        "name sysname, object_id int, type char(2)",
        f"SELECT 'object' || n AS name, -1 - n AS object_id, 'S ' AS type FROM {_NUMBERS}",
    ),
    "sys.all_columns": (
        "object_id int, name sysname, column_id int",
        f"SELECT -1 - n AS object_id, 'column' || n AS name, 1 AS column_id FROM {_NUMBERS}",
    ),
    "cdc.change_tables": (
        """object_id int, version int, source_object_id int, capture_instance sysname, start_lsn binary(10),
        end_lsn binary(10), supports_net_changes bit, has_drop_pending bit, role_name sysname, index_name sysname,
        filegroup_name sysname, create_date datetime, partition_switch bit""",
        _INSTANCES,
    ),
    "cdc.captured_columns": (
        "object_id int, column_name sysname, column_id int, column_type sysname, column_ordinal int, is_computed bit",
        """SELECT object_id, name AS column_name, column_id, type AS column_type, ordinal AS column_ordinal,
        computed AS is_computed FROM m_captured""",
    ),
    "cdc.index_columns": (
        "object_id int, column_name sysname, index_ordinal tinyint, column_id int",
        "SELECT object_id, name AS column_name, ordinal AS index_ordinal, column_id FROM m_capture_key",
    ),
    "cdc.lsn_time_mapping": (
        """start_lsn binary(10), tran_begin_time datetime, tran_end_time datetime, tran_id varbinary(10),
        tran_begin_lsn binary(10)""",
        """SELECT start_lsn, begin_time AS tran_begin_time, end_time AS tran_end_time, tran_id,
        begin_lsn AS tran_begin_lsn FROM m_lsn""",
    ),
    "cdc.ddl_history": (
        """source_object_id int, object_id int, required_column_update bit, ddl_command nvarchar(max),
        ddl_lsn binary(10), ddl_time datetime""",
        """SELECT source AS source_object_id, object_id, required AS required_column_update, command AS ddl_command,
        lsn AS ddl_lsn, time AS ddl_time FROM m_ddl""",
    ),
    "msdb.dbo.cdc_jobs": (_JOB_COLUMNS, _JOBS),
    "sys.dm_cdc_errors": (
        """session_id int, phase_number int, entry_time datetime, error_number int, error_severity int, error_state int,
        error_message nvarchar(1024), start_lsn nvarchar(23), begin_lsn nvarchar(23), sequence_value nvarchar(23)""",
        """SELECT NULL AS session_id, NULL AS phase_number, NULL AS entry_time, NULL AS error_number,
        NULL AS error_severity, NULL AS error_state, NULL AS error_message, NULL AS start_lsn, NULL AS begin_lsn,
        NULL AS sequence_value WHERE 0""",
    ),
}


@cache
def find(name: str, *, filtered: bool) -> Found | None:
    """Return a view by its full name, or None; `filtered` leaves out objects the session's login may not see."""
    if name == "sys.types":
        return _types()
    found = _VIEWS.get(name)
    if found is None:
        return None
    spec, sql = found
    columns = tuple(_column(part) for part in spec.replace("\n", " ").split(", "))
    if filtered and name in _OF_OBJECTS:
        sql = f"SELECT * FROM ({sql}) WHERE sees(object_id)"
    return Found(f"({sql})", name.split(".")[-2], columns)


def _column(spec: str) -> tuple[str, SqlType, str]:
    name, kind = spec.split()
    word, _, size = kind.partition("(")
    sizes = () if not size else (-1,) if size == "max)" else (int(size[:-1]),)
    return name, declared(word, sizes), "{0}." + name


def _types() -> Found:
    rows = []
    for name in (*TYPE_NAMES, "sysname"):
        kind = nvarchar(128) if name == "sysname" else declared(name)
        user = 256 if name == "sysname" else kind.user_number
        numbers = f"{kind.number}, {user}, {kind.max_length}, {kind.precision}, {kind.scale}"
        rows.append(f"('{name}', {numbers}, 0, {int(kind.number == 240)}, 4, 1)")
    columns = """name sysname, system_type_id tinyint, user_type_id int, max_length smallint, precision tinyint,
        scale tinyint, is_user_defined bit, is_assembly_type bit, schema_id int, is_nullable bit"""
    labels = [part.split()[0] for part in columns.split(", ")]
    listed = ", ".join(f"column{number} AS {label}" for number, label in enumerate(labels, 1))
    sql = f"(SELECT {listed} FROM (VALUES {', '.join(rows)}))"
    return Found(sql, "sys", tuple(_column(part) for part in columns.replace("\n", " ").split(", ")))
