"""Plans: what a SELECT, INSERT, UPDATE or DELETE runs in SQLite."""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from local.sqlserver.engine.catalog import Table, TableColumn, quote
from local.sqlserver.errors import SqlError, unknown_column
from local.sqlserver.sql import commands, tree
from local.sqlserver.sql.cursor import Cursor
from local.sqlserver.sql.parse_expressions import parse_expression
from local.sqlserver.sql.parse_queries import parse_query
from local.sqlserver.sql.queries import Queries
from local.sqlserver.sql.scope import Binding, Field, Names, Relation, Scope, Typed
from local.sqlserver.sqltypes import BIGINT, SqlType
from local.sqlserver.tds.tokens import DELETE, INSERT, SELECT, UPDATE, Column


@dataclass(frozen=True, slots=True)
class Deferred:
    """An UPDATE of keys as SQL Server does it: find the new rows, delete the old ones, insert.

    SQLite checks keys row by row, so a set of rows that move onto each other's keys needs this.
    """

    select: str
    delete: str
    insert: str


@dataclass(frozen=True, slots=True)
class Plan:
    """SQLite statements run one after the other as one T-SQL statement, and what they need and yield.

    `uses` are the variables bound, as `:v0`, `:v1`, …; `columns` describe the rows, None for a statement without;
    `assigns` are the variables a SELECT sets instead of returning rows.
    """

    statements: tuple[str, ...]
    uses: tuple[str, ...]
    command: int
    columns: tuple[Column, ...] | None = None
    assigns: tuple[str, ...] = ()
    table: Table | None = None
    inferred: Mapping[str, SqlType] | None = None
    deferred: Deferred | None = None


class Targets(Names, Protocol):
    """What a change has to know of the database besides names in queries."""

    def target(self, name: tree.Name, action: str) -> Table:
        """Return the table a statement changes; SqlError 208 or 229."""
        ...

    def identity_insert(self, table: Table) -> bool:
        """Whether the session gives the identity values of this table itself."""
        ...


def plan_statement(
    node: tree.Query | commands.Insert | commands.Update | commands.Delete,
    targets: Targets,
    variables: Mapping[str, SqlType | None],
) -> Plan:
    """Translate one statement."""
    planner = _Planner(targets, Binding(variables))
    if isinstance(node, tree.Query):
        return planner.query(node)
    if isinstance(node, commands.Insert):
        return planner.insert(node)
    if isinstance(node, commands.Update):
        return planner.update(node)
    return planner.delete(node)


def expression_query(node: tree.Expression, *, condition: bool = False) -> tree.Query:
    """Return the query that yields one expression, or 1 and 0 for a condition."""
    if condition:
        one, nought = tree.Literal(SqlType("int"), 1), tree.Literal(SqlType("int"), 0)
        node = tree.Case(None, ((node, one),), nought)
    return tree.Query(tree.Select((tree.Item(node),)))


class _Planner:
    def __init__(self, targets: Targets, binding: Binding) -> None:
        self._targets = targets
        self._binding = binding
        self._queries = Queries(targets, binding)
        self._expressions = self._queries.expressions

    def _plan(self, statement: str, command: int, table: Table | None, output: tuple[Column, ...] | None) -> Plan:
        return Plan((statement,), tuple(self._binding.used), command, output, (), table, self._binding.inferred)

    def query(self, node: tree.Query) -> Plan:
        translated = self._queries.query(node, None)
        assigns: tuple[str, ...] = ()
        if isinstance(node.body, tree.Select) and any(item.assign for item in node.body.items):
            if not all(item.assign for item in node.body.items):
                text = (
                    "A SELECT statement that assigns a value to a variable must "
                    "not be combined with data-retrieval operations."
                )
                raise SqlError(141, text, 15)
            assigns = tuple(str(item.assign) for item in node.body.items)
            for name in assigns:
                self._binding.bind(name)
        statements = translated.branches or (translated.sql,)
        used = tuple(self._binding.used)
        return Plan(statements, used, SELECT, translated.columns, assigns, None, self._binding.inferred)

    def insert(self, node: commands.Insert) -> Plan:
        table = self._targets.target(node.table, "INSERT")
        columns = self._insertable(table, node.columns)
        width = _width(node.rows)
        if width is not None and width != len(columns):
            raise _wrong_count(table, node, more=width > len(columns))
        if isinstance(node.rows, tree.Query):
            rows = self._from_query(table, columns, node, node.rows)
        elif isinstance(node.rows, tree.Values):
            rows = self._from_values(table, columns, node.rows)
        else:
            columns, rows = [], ""
        names, rows = self._completed(table, columns, rows, node)
        output, returning = self._output(node.output, table, "INSERTED")
        sql = f"INSERT INTO {table.sqlite_name} ({names}) {rows}{returning}"
        return self._plan(sql, INSERT, table, output)

    def _insertable(self, table: Table, names: tuple[str, ...]) -> list[TableColumn]:
        given = self._targets.identity_insert(table)
        if not names:
            return [c for c in table.columns if _is_stored(c) and (given or c.seed is None)]
        columns = []
        for name in names:
            column = table.column(name)
            if column is None:
                raise unknown_column(name)
            if column in columns:
                raise SqlError(
                    264,
                    f"The column name '{name}' is specified more than once "
                    "in the SET clause or column list of an INSERT.",
                )
            _check_writable(table, column)
            if column.seed is not None and not given:
                text = (
                    "Cannot insert explicit value for identity column in table "
                    f"'{table.name}' when IDENTITY_INSERT is set to OFF."
                )
                raise SqlError(544, text)
            columns.append(column)
        return columns

    def _from_query(self, table: Table, columns: list[TableColumn], node: commands.Insert, query: tree.Query) -> str:
        body = self._queries.query(query, None)
        if len(body.columns) != len(columns):
            raise _wrong_count(table, node, more=len(body.columns) > len(columns))
        items = []
        for n, column in enumerate(columns):
            kind = None if n in body.unknown else body.columns[n].kind
            value = self._expressions.fit(Typed(f"c{n}", kind), column.kind)
            items.append(f"{_noted(table, column, value)} AS c{n}")
        return f"SELECT {', '.join(items)} FROM ({body.sql})"

    def _from_values(self, table: Table, columns: list[TableColumn], node: tree.Values) -> str:
        rows = []
        for row in node.rows:
            values = [
                self._default(column)
                if value is None
                else _noted(table, column, self._expressions.as_type(value, None, column.kind))
                for column, value in zip(columns, row, strict=True)
            ]
            rows.append(f"SELECT {', '.join(f'{value} AS c{n}' for n, value in enumerate(values))}")
        return " UNION ALL ".join(rows) if len(rows) <= 400 else _wide_union(rows)

    def _default(self, column: TableColumn) -> str:
        if column.default is None:
            return "NULL"
        return self._expressions.as_type(_stored_expression(column.default), None, column.kind)

    def _completed(self, table: Table, columns: list[TableColumn], rows: str, node: commands.Insert) -> tuple[str, str]:
        names = [quote(column.name) for column in columns]
        extra = []
        for column in table.columns:
            if column in columns or column.computed is not None:
                continue
            if column.seed is not None:
                value = f"next_identity({table.number})"
            elif column.kind.name == "timestamp":
                value = "next_version()"
            elif column.default is not None:
                value = self._default(column)
            else:
                continue
            names.append(quote(column.name))
            extra.append(value)
        if node.rows is None:
            return ", ".join(names), f"SELECT {', '.join(extra)}" if extra else "DEFAULT VALUES"
        if not extra:
            return ", ".join(names), rows
        listed = ", ".join([f"c{n}" for n in range(len(columns))] + extra)
        return ", ".join(names), f"SELECT {listed} FROM ({rows}) WHERE true"

    def _output(self, items: tuple[tree.Item, ...], table: Table, prefix: str) -> tuple[tuple[Column, ...] | None, str]:
        if not items:
            return None, ""
        fields = tuple(
            Field(column.name, column.kind, quote(column.name)) for column in table.columns if column.computed is None
        )
        scope = Scope(None, [Relation(prefix, "", fields)])
        texts, columns = [], []
        for item in items:
            if isinstance(item.value, tree.Star):
                found = [(field.sql, Column(field.name, field.kind)) for field in self._queries.star(item.value, scope)]
            else:
                typed = self._expressions.value(item.value, scope)
                own = item.value.name.parts[-1] if isinstance(item.value, tree.Column) else ""
                found = [(typed.sql, Column(item.alias or own, typed.kind or SqlType("int")))]
            texts += [sql for sql, _ in found]
            columns += [column for _, column in found]
        return tuple(columns), f" RETURNING {', '.join(texts)}"

    def update(self, node: commands.Update) -> Plan:
        name, source = self._target_of(node.table, node.source)
        table = self._targets.target(name, "UPDATE")
        scope = Scope()
        clause = self._queries.source(source, scope)
        where = f" WHERE {self._expressions.condition(node.where, scope)}" if node.where is not None else ""
        target = self._target_relation(node.table, scope, table)
        key = f"{_alias(target)}.{table.row_id}"
        changes = [self._change(table, target, change, scope) for change in node.changes]
        changes += [(c, "next_version()") for c in table.columns if c.kind.name == "timestamp"]
        output, returning = self._output(node.output, table, "INSERTED")
        if node.source is None and node.top is None:
            sets = ", ".join(f"{quote(column.name)} = {sql}" for column, sql in changes)
            plan = self._plan(f"UPDATE {clause} SET {sets}{where}{returning}", UPDATE, table, output)
            if returning or not any(column.number in table.unique for column, _ in changes):
                return plan
            return replace(plan, deferred=_deferred(table, key, changes, f"FROM {clause}{where}"))
        limit = self._limit(node.top, scope)
        listed = ", ".join([f"{key} AS k", *(f"{sql} AS u{n}" for n, (_, sql) in enumerate(changes))])
        inner = f"SELECT {listed} FROM {clause}{where}{limit}"
        sets = ", ".join(f"{quote(column.name)} = s.u{n}" for n, (column, _) in enumerate(changes))
        sql = (
            f"UPDATE {table.sqlite_name} SET {sets} FROM ({inner}) AS s "
            f"WHERE {table.sqlite_name}.{table.row_id} = s.k{returning}"
        )
        return self._plan(sql, UPDATE, table, output)

    def _change(self, table: Table, target: Relation, change: commands.Change, scope: Scope) -> tuple[TableColumn, str]:
        column = table.column(change.column)
        if column is None:
            raise unknown_column(change.column)
        _check_writable(table, column)
        if column.seed is not None:
            raise SqlError(8102, f"Cannot update identity column '{column.name}'.")
        if change.value is None:
            return column, self._default(column)
        value = change.value
        if change.operator is not None:
            value = tree.Binary(change.operator, tree.Column(tree.Name((target.alias, column.name))), value)
        return column, self._expressions.as_type(value, scope, column.kind)

    def delete(self, node: commands.Delete) -> Plan:
        name, source = self._target_of(node.table, node.source)
        table = self._targets.target(name, "DELETE")
        scope = Scope()
        clause = self._queries.source(source, scope)
        where = f" WHERE {self._expressions.condition(node.where, scope)}" if node.where is not None else ""
        key = f"{_alias(self._target_relation(node.table, scope, table))}.{table.row_id}"
        output, returning = self._output(node.output, table, "DELETED")
        if node.source is None and node.top is None:
            return self._plan(f"DELETE FROM {clause}{where}{returning}", DELETE, table, output)
        inner = f"SELECT {key} FROM {clause}{where}{self._limit(node.top, scope)}"
        sql = f"DELETE FROM {table.sqlite_name} WHERE {table.row_id} IN ({inner}){returning}"
        return self._plan(sql, DELETE, table, output)

    def _limit(self, top: tree.Expression | None, scope: Scope) -> str:
        return "" if top is None else f" LIMIT row_count({self._expressions.as_type(top, scope, BIGINT)})"

    def _target_of(self, name: tree.Name, source: tree.Source | None) -> tuple[tree.Name, tree.Source]:
        """A target may be an alias of FROM."""
        if source is None:
            return name, tree.Table(name, None)
        found = _aliased(source, name.parts[-1]) if len(name.parts) == 1 else None
        return (found.name if found is not None else name), source

    def _target_relation(self, name: tree.Name, scope: Scope, table: Table) -> Relation:
        folded = name.parts[-1].casefold()
        for relation in scope.relations:
            if relation.alias.casefold() == folded and relation.fields:
                return relation
        raise SqlError(208, f"Invalid object name '{table.name}'.")


def _alias(relation: Relation) -> str:
    return relation.fields[0].sql.split(".", 1)[0]


def _deferred(table: Table, key: str, changes: list[tuple[TableColumn, str]], rest: str) -> Deferred:
    new = {column.number: sql for column, sql in changes}
    stored = [column for column in table.columns if column.computed is None]
    alias = key.split(".", 1)[0]
    values = ", ".join(new.get(column.number, f"{alias}.{quote(column.name)}") for column in stored)
    names = ", ".join(quote(column.name) for column in stored)
    marks = ", ".join("?" * (len(stored) + 1))
    return Deferred(
        f"SELECT {key}, {values} {rest}",
        f"DELETE FROM {table.sqlite_name} WHERE {table.row_id} = ?",
        f"INSERT INTO {table.sqlite_name} ({table.row_id}, {names}) VALUES ({marks})",
    )


def _aliased(source: tree.Source, alias: str) -> tree.Table | None:
    if isinstance(source, tree.Join):
        return _aliased(source.left, alias) or _aliased(source.right, alias)
    if isinstance(source, tree.Table) and (source.alias or source.name.parts[-1]).casefold() == alias.casefold():
        return source
    return None


def _is_stored(column: TableColumn) -> bool:
    return column.computed is None and column.kind.name != "timestamp"


def _check_writable(table: Table, column: TableColumn) -> None:
    if column.computed is not None:
        raise SqlError(
            271,
            f'The column "{column.name}" cannot be modified because it is either '
            "a computed column or is the result of a UNION operator.",
        )
    if column.kind.name == "timestamp" and not table.is_ms_shipped:
        raise SqlError(272, "Cannot update a timestamp column.")


def _noted(table: Table, column: TableColumn, value: str) -> str:
    """An identity given by hand moves the counting on."""
    return value if column.seed is None else f"note_identity({table.number}, {value})"


def _width(rows: object) -> int | None:
    return len(rows.rows[0]) if isinstance(rows, tree.Values) else None


def _wrong_count(table: Table, node: commands.Insert, *, more: bool) -> SqlError:
    if not node.columns:
        text = f"Column name or number of supplied values does not match table definition of '{table.name}'."
        return SqlError(213, text)
    word = "fewer" if more else "more"
    text = f"There are {word} columns in the INSERT statement than values specified in the VALUES clause."
    return SqlError(110 if more else 109, text, 15)


def _wide_union(rows: list[str]) -> str:
    """SQLite joins at most 500 SELECTs: nest them in groups."""
    groups = [" UNION ALL ".join(rows[at : at + 400]) for at in range(0, len(rows), 400)]
    return " UNION ALL ".join(f"SELECT * FROM ({group})" for group in groups)


def _stored_expression(text: str) -> tree.Expression:
    return parse_expression(Cursor(text, parse_query))
