"""Queries: SELECT blocks, set operators, common tables, joins."""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from dataclasses import dataclass, replace

from local.sqlserver.errors import SqlError
from local.sqlserver.sql import tree
from local.sqlserver.sql.expressions import Expressions
from local.sqlserver.sql.functions import AGGREGATES
from local.sqlserver.sql.scope import Binding, Field, Names, Relation, Scope, Typed, converted
from local.sqlserver.sqltypes import BIGINT, INT, SqlType, common
from local.sqlserver.tds.tokens import Column


@dataclass(frozen=True, slots=True)
class Translated:
    """A query in SQLite's words: its columns are c0, c1, …; `unknown` are those that are NULL without a type.

    `branches` are the texts whose results, one after the other, are the result: SQLite joins at most 500 SELECTs.
    """

    sql: str
    columns: tuple[Column, ...]
    unknown: frozenset[int] = frozenset()
    branches: tuple[str, ...] = ()


class Queries:
    """Translates the queries of one statement."""

    def __init__(self, names: Names, binding: Binding) -> None:
        self._names = names
        self.binding = binding
        self.expressions = Expressions(binding, self._as_scalar)
        self._relations = 0

    def query(self, node: tree.Query, parent: Scope | None, *, nested: bool = False) -> Translated:
        """Translate a whole query; nested, ORDER BY needs TOP or OFFSET (error 1033)."""
        scope = Scope(parent)
        clauses = [self._common(common_table, scope) for common_table in node.common]
        if isinstance(node.body, tree.Select):
            body = self._select(node.body, scope, node, nested=nested)
        else:
            body = self._combined(node, scope, nested=nested)
        if not clauses:
            return body
        return replace(body, sql=f"WITH RECURSIVE {', '.join(clauses)} {body.sql}", branches=())

    def _combined(self, node: tree.Query, scope: Scope, *, nested: bool) -> Translated:
        if isinstance(node.body, tree.Query):
            return self.query(node.body, scope, nested=nested)
        assert isinstance(node.body, tree.Compound)
        body = self.compound(self._branches(node.body, scope))
        if not node.order and node.offset is None:
            return body
        self._check_order(node, nested=nested, top=False)
        fields = tuple(Field(column.name, column.kind, f"c{n}") for n, column in enumerate(body.columns))
        inner = Scope(scope, [Relation("", "", fields)])
        keys = self._order(node, inner, fields)
        return replace(body, sql=f"SELECT * FROM ({body.sql}){keys}{self._page(node, None, inner)}", branches=())

    def _branches(self, node: tree.Compound, scope: Scope) -> list[tuple[str, Translated]]:
        branches = [("", self._branch(node.first, scope))]
        for operator, query in node.rest:
            branches.append((operator, self._branch(query, scope)))
        return branches

    def _branch(self, node: tree.Query, scope: Scope) -> Translated:
        if node.order:
            raise SqlError(156, "Incorrect syntax near the keyword 'ORDER'.", 15)
        branch = self.query(node, scope)
        limited = isinstance(node.body, tree.Compound) or (
            isinstance(node.body, tree.Select) and node.body.top is not None
        )
        return replace(branch, sql=f"SELECT * FROM ({branch.sql})", branches=()) if limited else branch

    def compound(self, branches: list[tuple[str, Translated]]) -> Translated:
        """Join branches by their operators, each column in the type all of its branches meet in."""
        width = len(branches[0][1].columns)
        if any(len(branch.columns) != width for _, branch in branches):
            text = (
                "All queries combined using a UNION, INTERSECT or EXCEPT operator must "
                "have an equal number of expressions in their target lists."
            )
            raise SqlError(205, text)
        kinds = [self._meeting([branch for _, branch in branches], n) for n in range(width)]
        keyed = any(operator not in {"", "UNION ALL"} for operator, _ in branches)
        texts = [self._aligned(branch, kinds, keyed=keyed) for _, branch in branches]
        joined = " ".join(f"{operator} {text}" for (operator, _), text in zip(branches, texts, strict=True))
        names = branches[0][1].columns
        columns = tuple(Column(column.name, kind) for column, kind in zip(names, kinds, strict=True))
        return Translated(joined.strip(), columns, branches=() if keyed else tuple(texts))

    def _meeting(self, branches: list[Translated], at: int) -> SqlType:
        known = [branch.columns[at].kind for branch in branches if at not in branch.unknown]
        kind = known[0] if known else INT
        for other in known[1:]:
            kind = common(kind, other)
        return kind

    def _aligned(self, branch: Translated, kinds: list[SqlType], *, keyed: bool) -> str:
        items = []
        for n, (column, kind) in enumerate(zip(branch.columns, kinds, strict=True)):
            item = f"c{n}" if n in branch.unknown else converted(f"c{n}", column.kind, kind)
            items.append(self.expressions.sort_key(Typed(item, kind)) if keyed else item)
        if all(item == f"c{n}" for n, item in enumerate(items)):
            return branch.sql
        return f"SELECT {', '.join(f'{item} AS c{n}' for n, item in enumerate(items))} FROM ({branch.sql})"

    def _common(self, node: tree.Common, scope: Scope) -> str:
        self._relations += 1
        name = f"w{self._relations}"
        body = node.query.body
        if isinstance(body, tree.Compound) and _mentions(body.rest, node.name):
            anchor = self.query(body.first, scope)
            scope.common[node.name.casefold()] = self._as_common(node, name, anchor)
            steps = " ".join(f"UNION ALL {self.query(step, scope).sql}" for _, step in body.rest)
            sql, width = f"{anchor.sql} {steps}", len(anchor.columns)
        else:
            translated = self.query(node.query, scope, nested=True)
            scope.common[node.name.casefold()] = self._as_common(node, name, translated)
            sql, width = translated.sql, len(translated.columns)
        return f"{name}({', '.join(f'c{n}' for n in range(width))}) AS ({sql})"

    def _as_common(self, node: tree.Common, name: str, body: Translated) -> Relation:
        fields = _named_fields(node.name, node.columns, body.columns)
        return Relation(name, "", tuple(Field(label, kind, f"c{n}") for n, (label, kind) in enumerate(fields)))

    def _as_scalar(self, node: tree.Query, scope: Scope) -> tuple[str, SqlType | None]:
        translated = self.query(node, scope, nested=True)
        return translated.sql, None if 0 in translated.unknown else translated.columns[0].kind

    def _select(self, node: tree.Select, scope: Scope, query: tree.Query, *, nested: bool) -> Translated:
        if node.into is not None:
            raise SqlError(156, "Incorrect syntax near the keyword 'INTO'.", 15)
        self._check_order(query, nested=nested, top=node.top is not None)
        source = f" FROM {self.source(node.source, scope)}" if node.source is not None else ""
        where = f" WHERE {self.expressions.condition(node.where, scope)}" if node.where is not None else ""
        grouping = self._group(node, scope)
        items, columns, unknown = self._items(node, scope)
        having = f" HAVING {self.expressions.condition(node.having, scope)}" if node.having is not None else ""
        fields = tuple(Field(column.name, column.kind, sql) for sql, column in zip(items, columns, strict=True))
        order = self._order(query, scope, fields)
        if node.distinct:
            items = [
                self.expressions.sort_key(Typed(sql, column.kind)) for sql, column in zip(items, columns, strict=True)
            ]
        listed = ", ".join(f"{sql} AS c{n}" for n, sql in enumerate(items))
        head = "SELECT DISTINCT" if node.distinct else "SELECT"
        page = self._page(query, node.top, scope)
        return Translated(
            f"{head} {listed}{source}{where}{grouping}{having}{order}{page}", tuple(columns), frozenset(unknown)
        )

    def _group(self, node: tree.Select, scope: Scope) -> str:
        if not node.group:
            if node.having is not None or any(_aggregates(item.value) for item in node.items):
                scope.grouped = frozenset()
            return ""
        keys = [self.expressions.value(key, scope) for key in node.group]
        scope.grouped = frozenset(key.sql for key in keys)
        return f" GROUP BY {', '.join(self.expressions.sort_key(key) for key in keys)}"

    def _items(self, node: tree.Select, scope: Scope) -> tuple[list[str], list[Column], list[int]]:
        items: list[str] = []
        columns: list[Column] = []
        unknown: list[int] = []
        for item in node.items:
            if isinstance(item.value, tree.Star):
                for field in self.star(item.value, scope):
                    items.append(field.sql)
                    columns.append(Column(field.name, field.kind))
                continue
            typed = self.expressions.value(item.value, scope)
            if typed.kind is None:
                unknown.append(len(items))
            name = item.alias if item.alias is not None else _own_name(item.value)
            items.append(typed.sql)
            columns.append(Column(name, typed.kind or INT))
        return items, columns, unknown

    def star(self, node: tree.Star, scope: Scope) -> list[Field]:
        """Return the fields of `*` or `alias.*`."""
        wanted = None if node.table is None else node.table.parts[-1].casefold()
        found = [relation for relation in scope.relations if wanted in {None, relation.alias.casefold()}]
        if not found:
            if wanted is None:
                raise SqlError(263, "Must specify table to select from.")
            raise SqlError(
                107,
                f"The column prefix '{node.table}' does not match with a table name or alias name used in the query.",
                15,
            )
        if scope.grouped is not None:
            raise SqlError(
                8120, "Column '*' is invalid in the select list because of the GROUP BY clause or an aggregate."
            )
        return [field for relation in found for field in relation.fields]

    def _order(self, node: tree.Query, scope: Scope, fields: tuple[Field, ...]) -> str:
        keys = []
        for key in node.order:
            value = self._order_key(key.value, scope, fields)
            keys.append(self.expressions.sort_key(value) + (" DESC" if key.descending else ""))
        return f" ORDER BY {', '.join(keys)}" if keys else ""

    def _order_key(self, node: tree.Expression, scope: Scope, fields: tuple[Field, ...]) -> Typed:
        if isinstance(node, tree.Literal) and isinstance(node.value, int):
            if not 1 <= node.value <= len(fields):
                text = (
                    f"The ORDER BY position number {node.value} is out of "
                    "range of the number of items in the select list."
                )
                raise SqlError(108, text, 15)
            field = fields[node.value - 1]
            return Typed(field.sql, field.kind)
        if isinstance(node, tree.Column) and len(node.name.parts) == 1:
            name = node.name.parts[0].casefold()
            for field in fields:
                if field.name.casefold() == name:
                    return Typed(field.sql, field.kind)
        return self.expressions.value(node, scope)

    def _check_order(self, node: tree.Query, *, nested: bool, top: bool) -> None:
        if nested and node.order and not top and node.offset is None:
            text = (
                "The ORDER BY clause is invalid in views, inline functions, derived tables, subqueries, "
                "and common table expressions, unless TOP, OFFSET or FOR XML is also specified."
            )
            raise SqlError(1033, text, 15)

    def _page(self, node: tree.Query, top: tree.Expression | None, scope: Scope) -> str:
        if top is not None and node.offset is not None:
            raise SqlError(10741, "A TOP can not be used in the same query or sub-query as a OFFSET.", 15)
        if top is not None:
            return f" LIMIT row_count({self._count(top, scope)})"
        if node.offset is None:
            return ""
        count = "-1" if node.fetch is None else f"row_count({self._count(node.fetch, scope)})"
        return f" LIMIT {count} OFFSET row_count({self._count(node.offset, scope)})"

    def _count(self, node: tree.Expression, scope: Scope) -> str:
        return self.expressions.as_type(node, Scope(scope.parent), BIGINT)

    def source(self, node: tree.Source, scope: Scope) -> str:
        """Translate what FROM names, and bring it into scope."""
        if isinstance(node, tree.Join):
            return self._join(node, scope)
        self._relations += 1
        alias = f"r{self._relations}"
        if isinstance(node, tree.Derived):
            return self._derived(node, scope, alias)
        shared = scope.find_common(node.name.parts[0]) if len(node.name.parts) == 1 else None
        if shared is not None:
            sql, schema = shared.alias, ""
            fields = tuple(Field(field.name, field.kind, f"{alias}.{field.sql}") for field in shared.fields)
        else:
            arguments = None
            if node.arguments is not None:
                arguments = tuple(self.expressions.value(argument, scope.parent) for argument in node.arguments)
            sql, schema, found = self._names.source(node.name, arguments)
            fields = tuple(Field(name, kind, text.format(alias)) for name, kind, text in found)
        label = node.alias or node.name.parts[-1]
        self._enter(scope, Relation(label, "" if node.alias else schema, fields))
        return f"{sql} AS {alias}"

    def _enter(self, scope: Scope, relation: Relation) -> None:
        for other in scope.relations:
            if (other.alias.casefold(), other.schema) == (relation.alias.casefold(), relation.schema):
                text = (
                    f'The objects "{relation.alias}" and "{other.alias}" in the FROM clause have '
                    "the same exposed names. Use correlation names to distinguish them."
                )
                raise SqlError(1013, text)
        scope.relations.append(relation)

    def _derived(self, node: tree.Derived, scope: Scope, alias: str) -> str:
        if isinstance(node.query, tree.Values):
            body = self.values(node.query, scope)
        else:
            body = self.query(node.query, _outer(scope), nested=True)
        fields = _named_fields(node.alias, node.columns, body.columns)
        relation = Relation(
            node.alias, "", tuple(Field(name, kind, f"{alias}.c{n}") for n, (name, kind) in enumerate(fields))
        )
        self._enter(scope, relation)
        return f"({body.sql}) AS {alias}"

    def values(self, node: tree.Values, scope: Scope) -> Translated:
        """Translate VALUES as a derived table."""
        branches = []
        for number, row in enumerate(node.rows):
            if any(value is None for value in row):
                raise SqlError(156, "Incorrect syntax near the keyword 'DEFAULT'.", 15)
            typed = [self.expressions.value(value, scope.parent) for value in row if value is not None]
            sql = "SELECT " + ", ".join(f"{value.sql} AS c{n}" for n, value in enumerate(typed))
            columns = tuple(Column("", value.kind or INT) for value in typed)
            unknown = frozenset(n for n, value in enumerate(typed) if value.kind is None)
            branches.append(("UNION ALL" if number else "", Translated(sql, columns, unknown)))
        return self.compound(branches)

    def _join(self, node: tree.Join, scope: Scope) -> str:
        left = self.source(node.left, scope)
        right = self.source(node.right, scope)
        if isinstance(node.right, tree.Join):
            right = f"({right})"
        if node.condition is None:
            return f"{left} CROSS JOIN {right}"
        return f"{left} {node.kind} JOIN {right} ON {self.expressions.condition(node.condition, scope)}"


def _outer(scope: Scope) -> Scope:
    """A derived table sees the common tables in sight, but not its neighbours in FROM."""
    return Scope(scope.parent, [], dict(scope.common))


def _named_fields(alias: str, names: tuple[str, ...], columns: tuple[Column, ...]) -> list[tuple[str, SqlType]]:
    if names and len(names) != len(columns):
        raise SqlError(8158, f"'{alias}' has more or fewer columns than were specified in the column list.")
    fields: list[tuple[str, SqlType]] = []
    seen = set()
    for number, column in enumerate(columns):
        name = names[number] if names else column.name
        if not name:
            raise SqlError(8155, f"No column name was specified for column {number + 1} of '{alias}'.", state=2)
        if name.casefold() in seen:
            raise SqlError(8156, f"The column '{name}' was specified multiple times for '{alias}'.")
        seen.add(name.casefold())
        fields.append((name, column.kind))
    return fields


def _own_name(node: tree.Expression) -> str:
    return node.name.parts[-1] if isinstance(node, tree.Column) else ""


def _aggregates(node: object) -> bool:
    if isinstance(node, tree.Call):
        own = node.over is None and len(node.name.parts) == 1 and node.name.parts[0].upper() in AGGREGATES
        return own or any(_aggregates(argument) for argument in node.arguments)
    if isinstance(node, (tree.Scalar, tree.Exists, tree.Query)):
        return False
    if isinstance(node, tuple):
        return any(_aggregates(each) for each in node)
    slots = getattr(type(node), "__slots__", ())
    return any(_aggregates(getattr(node, slot)) for slot in slots)


def _mentions(node: object, name: str) -> bool:
    if isinstance(node, tree.Table):
        return node.name.parts[-1].casefold() == name.casefold()
    if isinstance(node, tuple):
        return any(_mentions(each, name) for each in node)
    slots = getattr(type(node), "__slots__", ())
    return any(_mentions(getattr(node, slot), name) for slot in slots)
