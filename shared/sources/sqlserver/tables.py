"""What the server says about the configured tables: their capture instances, and what is wrong with them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared import naming
from shared.errors import ConfigError
from shared.events import Stream
from shared.settings.model import SqlServerSettings, TableSettings
from shared.sources.sqlserver import queries
from shared.sources.sqlserver.changes import Changes
from shared.sources.sqlserver.instances import Instance, in_order
from shared.sources.sqlserver.odbc import GoneError, Session, user_of
from shared.sources.sqlserver.values import Column, select


@dataclass(frozen=True, slots=True)
class Table:
    """A captured table: its usable capture instances in reading order, and the ids of all it has."""

    stream: Stream
    settings: TableSettings
    object_id: int
    instances: tuple[Instance, ...]
    known: frozenset[int]


@dataclass(frozen=True, slots=True)
class Catalog:
    """The configured tables that can be read, and a problem for each that cannot."""

    tables: Mapping[Stream, Table]
    problems: Mapping[Stream, ConfigError]


@dataclass(slots=True)
class Layout:
    """How to read one capture instance: the page statement, and what makes events of its rows.

    `is_wide` tells that a row can be of any size. `described` is how the driver described the first page's columns:
    another description means that they were altered.
    """

    page: str
    changes: Changes
    is_wide: bool
    described: Sequence[tuple[Any, ...]] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """One row of `queries.INSTANCES`."""

    schema: str
    name: str
    table_id: int
    instance: Instance
    readable: bool


def load(session: Session, settings: SqlServerSettings) -> Catalog:
    """Ask the server about every configured table.

    Raises:
        ConfigError: change capture is off in the database, or the login may not look.
        TransientError: the server cannot be reached.
    """
    database, enabled = session.rows(queries.DATABASE)[0]
    if not enabled:
        msg = f"change data capture is off in database {database}"
        raise ConfigError(msg, where=_where(settings), hint=f"{queries.enable_database()} in {database}, as sysadmin")
    found = _Finding(session)
    tables: dict[Stream, Table] = {}
    problems: dict[Stream, ConfigError] = {}
    for table in settings.tables:
        instances = found.of(table)
        schema, name = (instances[0].schema, instances[0].name) if instances else (table.schema, table.name)
        stream = naming.stream(settings.name, database, schema, name)
        usable = [each.instance for each in instances if each.readable and found.is_ordered(each)]
        if usable:
            tables[stream] = Table(
                stream=stream,
                settings=table,
                object_id=instances[0].table_id,
                instances=in_order(usable),
                known=frozenset(each.instance.object_id for each in instances),
            )
        else:
            message, hint = _problem(session, settings, table, instances)
            problems[stream] = ConfigError(message, where=f"{_where(settings)}, table {schema}.{name}", hint=hint)
    return Catalog(tables, problems)


def layout(session: Session, settings: SqlServerSettings, table: Table, instance: Instance) -> Layout:
    """Ask the server about the columns of one capture instance.

    Raises:
        ConfigError: a column has a type that cannot be read.
        GoneError: the instance is gone.
        TransientError: the server cannot be reached.
    """
    types = session.rows(queries.COLUMNS, instance.object_id)
    by_name = {name: (type_name, max_length) for name, type_name, max_length in types}
    captured = session.rows(queries.CAPTURED_COLUMNS, instance.object_id)
    key = session.rows(queries.INDEX_COLUMNS, instance.object_id)
    missing = [name for name, _, _ in captured if name not in by_name]
    if missing or not captured:
        msg = f"change table {queries.change_table(instance.name)} has no column {', '.join(missing)}".rstrip()
        raise GoneError(msg, hint="it was dropped, or the login cannot see it")
    columns = [
        Column(name, ordinal, by_name[name][0], by_name[name][1], bool(computed))
        for name, ordinal, computed in captured
    ]
    changes = Changes(table.stream, (name for (name,) in key), columns, settings.values)
    try:
        expressions = [select(column, f"q.{queries.quoted(column.name)}") for column in changes.columns]
    except ValueError as why:
        raise ConfigError(
            str(why),
            where=f"{_where(settings)}, table {table.settings.schema}.{table.settings.name}",
            hint="capture the table without it: @captured_column_list of sys.sp_cdc_enable_table",
        ) from why
    return Layout(queries.page(instance.name, expressions), changes, any(column.is_large for column in changes.columns))


class _Finding:
    """The capture instances of the database, by table, oldest first."""

    def __init__(self, session: Session) -> None:
        self._exact: defaultdict[tuple[str, str], list[_Found]] = defaultdict(list)
        self._folded: defaultdict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
        for schema, name, table_id, object_id, instance, start_lsn, readable in session.rows(queries.INSTANCES):
            self._exact[schema, name].append(
                _Found(schema, name, table_id, Instance(object_id, instance, start_lsn), bool(readable))
            )
            self._folded[schema.casefold(), name.casefold()].add((schema, name))
        self._keys: defaultdict[int, list[str]] = defaultdict(list)
        for object_id, column in session.rows(queries.CLUSTERED_KEYS):
            self._keys[object_id].append(column)

    def of(self, table: TableSettings) -> Sequence[_Found]:
        """Return the instances of a table, whose name may be written in another case where only one is meant."""
        exact = self._exact.get((table.schema, table.name))
        if exact:
            return exact
        meant = self._folded.get((table.schema.casefold(), table.name.casefold()), set())
        return self._exact[next(iter(meant))] if len(meant) == 1 else ()

    def is_ordered(self, found: _Found) -> bool:
        """Whether the change table can be read in commit order by a seek."""
        return tuple(self._keys[found.instance.object_id]) == queries.KEY_COLUMNS


def _problem(
    session: Session, settings: SqlServerSettings, table: TableSettings, instances: Sequence[_Found]
) -> tuple[str, str]:
    """Return why a table cannot be read, and what to do."""
    user = user_of(settings.odbc)
    if not instances:
        [(object_id,)] = session.rows(queries.TABLE_ID, queries.quoted(table.schema, table.name))
        if object_id is None:
            hint = f"correct the name, or {queries.grant_definition(table.schema, table.name, user)}"
            return "there is no such table, or the login cannot see it", hint
        return "the table is not captured", queries.enable_table(table.schema, table.name)
    newest = instances[-1]
    if not newest.readable:
        return f"the login may not read capture instance {newest.instance.name}", queries.grant_changes(user)
    return (
        f"the clustered index of {queries.change_table(newest.instance.name)} is not {', '.join(queries.KEY_COLUMNS)}",
        queries.rebuild_table(newest.schema, newest.name, newest.instance.name),
    )


def _where(settings: SqlServerSettings) -> str:
    return f'source "sqlserver" "{settings.name}"'
