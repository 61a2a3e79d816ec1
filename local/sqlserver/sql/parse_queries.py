"""The grammar of queries.

https://learn.microsoft.com/sql/t-sql/queries/select-transact-sql
"""

from local.sqlserver.errors import SqlError, syntax
from local.sqlserver.sql import tree
from local.sqlserver.sql.cursor import Cursor
from local.sqlserver.sql.parse_expressions import parse_expression, parse_order
from local.sqlserver.sql.tokens import STRING, VARIABLE
from local.sqlserver.sqltypes import INT

# What these hints promise about locks and plans holds here anyway, or does not matter to the result.
_TABLE_HINTS = frozenset(
    """
    NOLOCK READUNCOMMITTED READCOMMITTED READCOMMITTEDLOCK REPEATABLEREAD READPAST UPDLOCK XLOCK HOLDLOCK
    SERIALIZABLE ROWLOCK PAGLOCK TABLOCK TABLOCKX NOWAIT SNAPSHOT FORCESEEK FORCESCAN
    """.split()  # noqa: SIM905 - a list of words reads as one
)
_QUERY_HINTS = frozenset(
    {"RECOMPILE", "MAXRECURSION", "MAXDOP", "FAST", "FORCE", "ORDER", "KEEPFIXED", "PLAN", "LOOP", "JOIN"}
)
_FUNCTION_SOURCES = frozenset({"GENERATE_SERIES"})


def parse_query(cursor: Cursor) -> tree.Query:
    """Take a query: WITH, SELECT blocks joined by set operators, ORDER BY, OFFSET."""
    common = parse_common(cursor)
    body = _compound(cursor)
    order = parse_order(cursor) if cursor.at("ORDER") else ()
    offset = fetch = None
    if order and cursor.accept("OFFSET"):
        offset = parse_expression(cursor)
        _rows_word(cursor)
        if cursor.accept("FETCH"):
            if cursor.accept_any("NEXT", "FIRST") is None:
                raise cursor.fail()
            fetch = parse_expression(cursor)
            _rows_word(cursor)
            cursor.expect("ONLY")
    parse_options(cursor)
    return tree.Query(body, common, order, offset, fetch)


def _rows_word(cursor: Cursor) -> None:
    if cursor.accept_any("ROWS", "ROW") is None:
        raise cursor.fail()


def parse_options(cursor: Cursor) -> None:
    """Take OPTION (…), if it comes; hints change no result."""
    if not cursor.accept("OPTION"):
        return
    cursor.expect("(")
    while not cursor.accept(")"):
        word = cursor.advance()
        if word.word not in _QUERY_HINTS and not word.value.isdigit() and word.word != ",":
            raise syntax(word.text)


def parse_common(cursor: Cursor) -> tuple[tree.Common, ...]:
    """Take WITH and its common table expressions, if they come."""
    if not cursor.accept("WITH"):
        return ()
    found = []
    while True:
        name = cursor.identifier()
        columns = cursor.names() if cursor.at("(") else ()
        cursor.expect("AS", "(")
        found.append(tree.Common(name, columns, parse_query(cursor)))
        cursor.expect(")")
        if not cursor.accept(","):
            return tuple(found)


def _compound(cursor: Cursor) -> tree.Select | tree.Compound | tree.Query:
    first = _intersection(cursor)
    rest = []
    while (operator := cursor.accept_any("UNION", "EXCEPT")) is not None:
        if operator == "UNION" and cursor.accept("ALL"):
            operator = "UNION ALL"
        rest.append((operator, _as_query(_intersection(cursor))))
    return tree.Compound(_as_query(first), tuple(rest)) if rest else first


def _intersection(cursor: Cursor) -> tree.Select | tree.Compound | tree.Query:
    first = _block(cursor)
    rest = []
    while cursor.accept("INTERSECT"):
        rest.append(("INTERSECT", _as_query(_block(cursor))))
    return tree.Compound(_as_query(first), tuple(rest)) if rest else first


def _as_query(body: tree.Select | tree.Compound | tree.Query) -> tree.Query:
    return body if isinstance(body, tree.Query) else tree.Query(body)


def _block(cursor: Cursor) -> tree.Select | tree.Query:
    if cursor.accept("("):
        query = parse_query(cursor)
        cursor.expect(")")
        return query
    return _select(cursor)


def _select(cursor: Cursor) -> tree.Select:
    cursor.expect("SELECT")
    distinct = cursor.accept("DISTINCT")
    if not distinct:
        cursor.accept("ALL")
    top = parse_top(cursor)
    items = parse_items(cursor)
    into = cursor.name() if cursor.accept("INTO") else None
    source = parse_sources(cursor) if cursor.accept("FROM") else None
    where = parse_expression(cursor) if cursor.accept("WHERE") else None
    group: tuple[tree.Expression, ...] = ()
    if cursor.accept("GROUP"):
        cursor.expect("BY")
        group = _expressions(cursor)
    having = parse_expression(cursor) if cursor.accept("HAVING") else None
    return tree.Select(items, distinct, top, into, source, where, group, having)


def _expressions(cursor: Cursor) -> tuple[tree.Expression, ...]:
    found = [parse_expression(cursor)]
    while cursor.accept(","):
        found.append(parse_expression(cursor))
    return tuple(found)


def parse_top(cursor: Cursor) -> tree.Expression | None:
    """Take TOP (n), if it comes; without parentheses it takes a number."""
    if not cursor.accept("TOP"):
        return None
    if cursor.accept("("):
        value = parse_expression(cursor)
        cursor.expect(")")
    else:
        value = tree.Literal(INT, cursor.integer())
    if cursor.at("PERCENT") or cursor.at("WITH", "TIES"):
        raise cursor.fail()
    return value


def parse_items(cursor: Cursor) -> tuple[tree.Item, ...]:
    """Take a list of selected things."""
    items = [_item(cursor)]
    while cursor.accept(","):
        items.append(_item(cursor))
    return tuple(items)


def _item(cursor: Cursor) -> tree.Item:
    if cursor.accept("*"):
        return tree.Item(tree.Star(None))
    if cursor.token.kind == VARIABLE and cursor.ahead().word == "=":
        name = cursor.variable()
        cursor.expect("=")
        return tree.Item(parse_expression(cursor), None, name)
    if cursor.is_name() and cursor.ahead().word == "=":
        alias = cursor.identifier()
        cursor.expect("=")
        return tree.Item(parse_expression(cursor), alias)
    star = _qualified_star(cursor)
    if star is not None:
        return tree.Item(star)
    value = parse_expression(cursor)
    named = cursor.accept("AS")
    if cursor.token.kind == STRING:
        return tree.Item(value, cursor.string())
    return tree.Item(value, cursor.identifier() if named or cursor.is_name() else None)


def _qualified_star(cursor: Cursor) -> tree.Star | None:
    count = 0
    while cursor.ahead(count).value and cursor.ahead(count + 1).word == ".":
        if cursor.ahead(count + 2).word == "*":
            parts = [cursor.identifier()]
            while not cursor.accept(".", "*"):
                cursor.expect(".")
                parts.append(cursor.identifier())
            return tree.Star(tree.Name(tuple(parts)))
        count += 2
    return None


def parse_sources(cursor: Cursor) -> tree.Source:
    """Take what follows FROM: tables, derived tables, joins, and commas."""
    left = _joined(cursor)
    while cursor.accept(","):
        left = tree.Join("CROSS", left, _joined(cursor), None)
    return left


def _joined(cursor: Cursor) -> tree.Source:
    left = _source(cursor)
    while True:
        kind = _join_kind(cursor)
        if kind is None:
            return left
        right = _source(cursor)
        condition = None
        if kind != "CROSS":
            cursor.expect("ON")
            condition = parse_expression(cursor)
        left = tree.Join(kind, left, right, condition)


def _join_kind(cursor: Cursor) -> str | None:
    if cursor.accept("CROSS", "JOIN"):
        return "CROSS"
    if cursor.accept("JOIN") or cursor.accept("INNER", "JOIN"):
        return "INNER"
    kind = cursor.accept_any("LEFT", "RIGHT", "FULL")
    if kind is not None:
        cursor.accept("OUTER")
        cursor.expect("JOIN")
    return kind


def _source(cursor: Cursor) -> tree.Source:
    if cursor.at("(") and cursor.ahead().word in {"SELECT", "WITH", "VALUES"}:
        return _derived(cursor)
    if cursor.accept("("):
        inner = _joined(cursor)
        cursor.expect(")")
        return inner
    name = cursor.name()
    arguments = None
    if cursor.at("(") and cursor.ahead().word not in _TABLE_HINTS and _is_function(name):
        cursor.expect("(")
        arguments = () if cursor.at(")") else _expressions(cursor)
        cursor.expect(")")
    alias = _alias(cursor)
    _table_hints(cursor)
    return tree.Table(name, alias, arguments)


def _is_function(name: tree.Name) -> bool:
    return len(name.parts) > 1 or name.parts[0].upper() in _FUNCTION_SOURCES


def _derived(cursor: Cursor) -> tree.Derived:
    cursor.expect("(")
    query: tree.Query | tree.Values = parse_values(cursor) if cursor.at("VALUES") else parse_query(cursor)
    cursor.expect(")")
    alias = _alias(cursor)
    if alias is None:
        raise cursor.fail()
    columns = cursor.names() if cursor.at("(") else ()
    if isinstance(query, tree.Values) and not columns:
        raise SqlError(8155, f"No column name was specified for column 1 of '{alias}'.", state=2)
    return tree.Derived(query, alias, columns)


def _alias(cursor: Cursor) -> str | None:
    if cursor.accept("AS"):
        return cursor.identifier()
    return cursor.identifier() if cursor.is_name() else None


def _table_hints(cursor: Cursor) -> None:
    if not (cursor.at("WITH", "(") or (cursor.at("(") and cursor.ahead().word in _TABLE_HINTS)):
        return
    cursor.accept("WITH")
    cursor.expect("(")
    while not cursor.accept(")"):
        if cursor.accept(","):
            continue
        if cursor.token.word not in _TABLE_HINTS:
            raise cursor.fail()
        cursor.advance()


def parse_values(cursor: Cursor) -> tree.Values:
    """Take VALUES and its rows."""
    cursor.expect("VALUES")
    rows = []
    while True:
        cursor.expect("(")
        row = [_value(cursor)]
        while cursor.accept(","):
            row.append(_value(cursor))
        cursor.expect(")")
        rows.append(tuple(row))
        if not cursor.accept(","):
            break
    if len({len(row) for row in rows}) > 1:
        raise SqlError(10709, "The number of columns for each row in a table value constructor must be the same.", 15)
    if len(rows) > 1000:
        text = "The number of row value expressions in the INSERT statement exceeds the maximum of 1000 row values."
        raise SqlError(10738, text, 15)
    return tree.Values(tuple(rows))


def _value(cursor: Cursor) -> tree.Expression | None:
    return None if cursor.accept("DEFAULT") else parse_expression(cursor)
