"""System procedures by name: change data capture, and what the driver asks the catalog.

https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/change-data-capture-stored-procedures-transact-sql
"""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.sqlserver.engine import capture, capture_log
from local.sqlserver.engine.catalog import Table
from local.sqlserver.errors import SqlError, unknown_procedure
from local.sqlserver.sql import commands, tree
from local.sqlserver.sql.cursor import Cursor
from local.sqlserver.sql.parse_queries import parse_query
from local.sqlserver.sql.parse_statements import parse_declarations
from local.sqlserver.sqltypes import BIGINT, BIT, INT, LSN, SYSNAME, SqlType, declared, nvarchar
from local.sqlserver.tds.answer import WireAnswer
from local.sqlserver.tds.tokens import Column

if TYPE_CHECKING:
    from local.sqlserver.session import Session, Variables

type Body = Callable[["Session", dict[str, Any], WireAnswer], None]
_REQUIRED = object()


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    kind: SqlType
    default: Any = None


@dataclass(frozen=True, slots=True)
class _Procedure:
    parameters: tuple[_Parameter, ...]
    body: Body


def execute(session: "Session", node: commands.Procedure, variables: "Variables", answer: WireAnswer) -> None:
    """Run EXEC of a system procedure; SqlError 2812 for one this server does not know."""
    label = node.name.parts[-1].lower()
    if label == "sp_executesql":
        _execute_sql(session, node, variables, answer)
        return
    procedure = _PROCEDURES.get(label)
    if procedure is None or (len(node.name.parts) > 1 and node.name.parts[-2].lower() not in {"sys", "dbo", ""}):
        raise unknown_procedure(str(node.name))
    values: dict[str, Any] = {}
    for position, argument in enumerate(node.arguments):
        parameter = _matching(procedure, label, argument.name, position)
        if argument.value is not None:
            values[parameter.name] = session.evaluate(argument.value, parameter.kind, variables)[0]
    call(session, label, values, answer)
    for argument in node.arguments:
        if (
            argument.output
            and isinstance(argument.value, tree.Variable)
            and argument.value.name.lower() in variables.kinds
        ):
            parameter = _matching(procedure, label, argument.name, node.arguments.index(argument))
            if parameter.name in values:
                variables.values[argument.value.name.lower()] = values[parameter.name]
    if node.status is not None:
        variables.values[node.status.lower()] = 0


def call(session: "Session", name: str, values: dict[str, Any], answer: WireAnswer) -> None:
    """Run a system procedure with values by parameter name; output parameters are written back into `values`."""
    procedure = _PROCEDURES.get(name)
    if procedure is None:
        raise unknown_procedure(name)
    for parameter in procedure.parameters:
        if parameter.name not in values:
            if parameter.default is _REQUIRED:
                text = f"Procedure or function '{name}' expects parameter '{parameter.name}', which was not supplied."
                raise SqlError(201, text, state=4)
            values[parameter.name] = parameter.default
    procedure.body(session, values, answer)


def knows(name: str) -> bool:
    """Whether this server has the procedure."""
    return name in _PROCEDURES


def parameter_names(name: str) -> tuple[str, ...]:
    """Return the names of a procedure's parameters, in order."""
    return tuple(parameter.name for parameter in _PROCEDURES[name].parameters)


def _matching(procedure: _Procedure, label: str, name: str | None, position: int) -> _Parameter:
    if name is None:
        if position >= len(procedure.parameters):
            raise SqlError(8144, f"Procedure or function {label} has too many arguments specified.", state=2)
        return procedure.parameters[position]
    for parameter in procedure.parameters:
        if parameter.name == name.lower():
            return parameter
    raise SqlError(8145, f"{name} is not a parameter for procedure {label}.")


def _execute_sql(session: "Session", node: commands.Procedure, variables: "Variables", answer: WireAnswer) -> None:
    texts = [session.evaluate(a.value, nvarchar(-1), variables)[0] for a in node.arguments[:2] if a.value is not None]
    if not texts:
        raise SqlError(
            201, "Procedure or function 'sp_executesql' expects parameter '@statement', which was not supplied."
        )
    inner = type(variables)()
    found = parse_declarations(texts[1]) if len(texts) > 1 and texts[1] else ()
    for (name, kind, _), argument in zip(found, node.arguments[2:], strict=False):
        value = None if argument.value is None else session.evaluate(argument.value, kind, variables)[0]
        inner.declare(argument.name or name, kind, value)
    session.batch(texts[0], inner, answer)


def _table(session: "Session", values: dict[str, Any]) -> Table:
    schema, name = values["@source_schema"], values["@source_name"]
    table = session.work.catalog.table(schema, name)
    if table is None or table.is_ms_shipped:
        text = (
            f"Source table '{schema}.{name}' does not exist in the current "
            "database. Ensure that the correct database context is set."
        )
        raise SqlError(22931, text)
    return table


def _require_owner(session: "Session") -> None:
    if not (session.login.owner or session.login.is_member(session.work.catalog, "db_owner")):
        raise SqlError(22904, "Caller is not authorized to initiate the requested action. DBO privileges are required.")


def _enable_db(session: "Session", _values: dict[str, Any], _answer: WireAnswer) -> None:
    _require_owner(session)
    with session.work.statement():
        capture.enable_database(session.work)


def _disable_db(session: "Session", _values: dict[str, Any], _answer: WireAnswer) -> None:
    _require_owner(session)
    with session.work.statement():
        capture.disable_database(session.work)


def _enable_table(session: "Session", values: dict[str, Any], _answer: WireAnswer) -> None:
    _require_owner(session)
    capture.require_enabled(session.work)
    table = _table(session, values)
    columns = values["@captured_column_list"]
    with session.work.statement():
        capture.enable_table(
            session.work,
            table,
            role=values["@role_name"],
            instance=values["@capture_instance"],
            net_changes=None if values["@supports_net_changes"] is None else bool(values["@supports_net_changes"]),
            index_name=values["@index_name"],
            columns=None if columns is None else _column_list(columns),
        )


def _column_list(text: str) -> tuple[str, ...]:
    cursor = Cursor(text, parse_query)
    names = [cursor.identifier()]
    while cursor.accept(","):
        names.append(cursor.identifier())
    if not cursor.ended:
        raise cursor.fail()
    return tuple(names)


def _disable_table(session: "Session", values: dict[str, Any], _answer: WireAnswer) -> None:
    _require_owner(session)
    capture.require_enabled(session.work)
    with session.work.statement():
        capture.disable_table(session.work, _table(session, values), values["@capture_instance"])


def _cleanup(session: "Session", values: dict[str, Any], _answer: WireAnswer) -> None:
    _require_owner(session)
    catalog = session.work.catalog
    name, low = values["@capture_instance"], values["@low_water_mark"]
    found = catalog.rows("SELECT start_lsn FROM m_instance WHERE name = ?", name)
    if not found:
        raise SqlError(22985, f"The capture instance '{name}' does not exist in the current database.")
    if low is not None and not catalog.rows("SELECT 1 FROM m_lsn WHERE start_lsn = ?", low):
        text = (
            f"LSN 0x{low.hex().upper()}, specified as the new low end point for the change table "
            "cleanup operation, does not represent the commit LSN of a transaction in the database."
        )
        raise SqlError(22964, text)
    with session.work.statement():
        capture_log.clean(catalog, low or found[0][0], name)
    values["@fcleanupfailed"] = 0


def _help_jobs(session: "Session", _values: dict[str, Any], answer: WireAnswer) -> None:
    _require_owner(session)
    kinds = [
        ("job_id", declared("uniqueidentifier")),
        ("job_type", nvarchar(20)),
        ("job_name", SYSNAME),
        ("maxtrans", INT),
    ]
    kinds += [
        ("maxscans", INT),
        ("continuous", BIT),
        ("pollinginterval", BIGINT),
        ("retention", BIGINT),
        ("threshold", BIGINT),
    ]
    sql = """SELECT NULL, type, 'cdc.' || ? || '_' || type, maxtrans, maxscans, continuous, interval, retention,
             threshold FROM m_job ORDER BY type"""
    answer.rows([Column(*each) for each in kinds], session.work.catalog.rows(sql, session.work.database.name))


def _change_job(session: "Session", values: dict[str, Any], _answer: WireAnswer) -> None:
    columns = {
        "@maxtrans": "maxtrans",
        "@maxscans": "maxscans",
        "@pollinginterval": "interval",
        "@retention": "retention",
    }
    with session.work.statement():
        for parameter, column in columns.items():
            if values[parameter] is not None:
                sql = f"UPDATE m_job SET {column} = ? WHERE type = ?"
                session.work.catalog.rows(sql, values[parameter], values["@job_type"].lower())


_HELP_SQL = """SELECT s.name, o.name, i.name, i.object_id, i.source, i.start_lsn, NULL, i.net, 0, i.role,
    i.index_name, NULL, i.create_date,
    (SELECT group_concat('[' || name || ']', ', ') FROM m_capture_key k WHERE k.object_id = i.object_id),
    (SELECT group_concat('[' || name || ']', ', ') FROM m_captured c WHERE c.object_id = i.object_id)
    FROM m_instance i JOIN m_object o ON o.object_id = i.source JOIN m_schema s USING (schema_id)
    WHERE (?1 IS NULL OR s.name = ?1) AND (?2 IS NULL OR o.name = ?2) ORDER BY i.object_id"""


def _help_capture(session: "Session", values: dict[str, Any], answer: WireAnswer) -> None:
    names = (
        "source_schema source_table capture_instance object_id source_object_id start_lsn end_lsn supports_net_changes"
    )
    names += " has_drop_pending role_name index_name filegroup_name create_date index_column_list captured_column_list"
    kinds = [SYSNAME, SYSNAME, SYSNAME, INT, INT, LSN, LSN, BIT, BIT, SYSNAME, SYSNAME, SYSNAME, declared("datetime")]
    kinds += [nvarchar(-1), nvarchar(-1)]
    rows: Sequence[tuple[Any, ...]] = ()
    if session.login.allows(session.work.catalog, "SELECT", "cdc"):
        rows = session.work.catalog.rows(_HELP_SQL, values["@source_schema"], values["@source_name"])
    answer.rows([Column(*each) for each in zip(names.split(), kinds, strict=True)], rows)


def _nothing(_session: "Session", _values: dict[str, Any], _answer: WireAnswer) -> None:
    """The capture job runs by itself; scanning by hand finds nothing left to do."""


def _parameters(text: str, *required: str) -> tuple[_Parameter, ...]:
    found = parse_declarations(text)
    return tuple(_Parameter(name.lower(), kind, _REQUIRED if name in required else None) for name, kind, _ in found)


_SOURCE = "@source_schema sysname, @source_name sysname"
_PROCEDURES: dict[str, _Procedure] = {
    "sp_cdc_enable_db": _Procedure((), _enable_db),
    "sp_cdc_disable_db": _Procedure((), _disable_db),
    "sp_cdc_enable_table": _Procedure(
        _parameters(
            _SOURCE + """, @capture_instance sysname, @supports_net_changes bit, @role_name sysname,
            @index_name sysname, @captured_column_list nvarchar(max), @filegroup_name sysname,
            @allow_partition_switch bit""",
            "@source_schema", "@source_name", "@role_name",
        ),
        _enable_table,
    ),
    "sp_cdc_disable_table": _Procedure(
        _parameters(
            _SOURCE + ", @capture_instance sysname", "@source_schema", "@source_name", "@capture_instance"
        ),
        _disable_table,
    ),
    "sp_cdc_cleanup_change_table": _Procedure(
        _parameters(
            "@capture_instance sysname, @low_water_mark binary(10), @threshold bigint, @fCleanupFailed bit",
            "@capture_instance", "@low_water_mark",
        ),
        _cleanup,
    ),
    "sp_cdc_help_jobs": _Procedure((), _help_jobs),
    "sp_cdc_change_job": _Procedure(
        _parameters(
            """@job_type nvarchar(20), @maxtrans int, @maxscans int, @continuous bit, @pollinginterval bigint,
            @retention bigint, @threshold bigint""",
            "@job_type",
        ),
        _change_job,
    ),
    "sp_cdc_help_change_data_capture": _Procedure(_parameters(_SOURCE), _help_capture),
    "sp_cdc_scan": _Procedure((), _nothing),
}  # fmt: skip
