"""The grammar of expressions and conditions.

https://learn.microsoft.com/sql/t-sql/language-elements/expressions-transact-sql
"""

from collections.abc import Callable

from local.sqlserver.errors import SqlError
from local.sqlserver.sql import tree
from local.sqlserver.sql.cursor import Cursor
from local.sqlserver.sql.tokens import BINARY, NAME, NUMBER, STRING, SYMBOL, VARIABLE, Token
from local.sqlserver.sqltypes import FLOAT, INT, MAX, SqlType, nvarchar, varbinary
from local.sqlserver.tds.values import units

_COMPARISONS = {"=": "=", "<>": "<>", "!=": "<>", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!<": ">=", "!>": "<="}


def parse_expression(cursor: Cursor) -> tree.Expression:
    """Take an expression or condition."""
    left = _conjunction(cursor)
    while cursor.accept("OR"):
        left = tree.Binary("OR", left, _conjunction(cursor))
    return left


def _conjunction(cursor: Cursor) -> tree.Expression:
    left = _negation(cursor)
    while cursor.accept("AND"):
        left = tree.Binary("AND", left, _negation(cursor))
    return left


def _negation(cursor: Cursor) -> tree.Expression:
    if cursor.accept("NOT"):
        return tree.Unary("NOT", _negation(cursor))
    return _predicate(cursor)


def _predicate(cursor: Cursor) -> tree.Expression:
    if cursor.accept("EXISTS"):
        cursor.expect("(")
        query = cursor.subquery(cursor)
        cursor.expect(")")
        return tree.Exists(query)
    left = _sum(cursor)
    if cursor.token.kind == SYMBOL and cursor.token.word in _COMPARISONS:
        operator = _COMPARISONS[cursor.advance().word]
        return tree.Binary(operator, left, _sum(cursor))
    if cursor.accept("IS"):
        negated = cursor.accept("NOT")
        cursor.expect("NULL")
        return _negated(tree.IsNull(left), negated)
    negated = cursor.at("NOT") and cursor.ahead().word in {"IN", "LIKE", "BETWEEN"}
    if negated:
        cursor.advance()
    word = cursor.accept_any("IN", "LIKE", "BETWEEN")
    return left if word is None else _negated(_range(cursor, left, word), negated)


def _negated(value: tree.Expression, negated: bool) -> tree.Expression:  # noqa: FBT001 - reads as the rule does
    return tree.Unary("NOT", value) if negated else value


def _range(cursor: Cursor, left: tree.Expression, word: str) -> tree.Expression:
    if word == "BETWEEN":
        low = _sum(cursor)
        cursor.expect("AND")
        return tree.Between(left, low, _sum(cursor))
    if word == "LIKE":
        pattern = _sum(cursor)
        return tree.Like(left, pattern, _sum(cursor) if cursor.accept("ESCAPE") else None)
    cursor.expect("(")
    options = cursor.subquery(cursor) if cursor.token.word in {"SELECT", "WITH"} else _list(cursor)
    cursor.expect(")")
    return tree.In(left, options)


def _list(cursor: Cursor) -> tuple[tree.Expression, ...]:
    found = [parse_expression(cursor)]
    while cursor.accept(","):
        found.append(parse_expression(cursor))
    return tuple(found)


def _sum(cursor: Cursor) -> tree.Expression:
    left = _product(cursor)
    while (operator := cursor.accept_any("+", "-", "&", "|", "^")) is not None:
        left = tree.Binary(operator, left, _product(cursor))
    return left


def _product(cursor: Cursor) -> tree.Expression:
    left = _signed(cursor)
    while (operator := cursor.accept_any("*", "/", "%")) is not None:
        left = tree.Binary(operator, left, _signed(cursor))
    return left


def _signed(cursor: Cursor) -> tree.Expression:
    operator = cursor.accept_any("-", "+", "~")
    return _postfix(cursor) if operator is None else tree.Unary(operator, _signed(cursor))


def _postfix(cursor: Cursor) -> tree.Expression:
    value = _primary(cursor)
    while True:
        if cursor.accept("COLLATE"):
            value = tree.Collated(value, cursor.identifier())
        elif cursor.at(".") and cursor.ahead(2).word == "(":
            cursor.advance()
            name = cursor.identifier()
            value = tree.Method(value, name, _arguments(cursor))
        else:
            return value


def _arguments(cursor: Cursor) -> tuple[tree.Expression, ...]:
    cursor.expect("(")
    found = () if cursor.at(")") else _list(cursor)
    cursor.expect(")")
    return found


def _primary(cursor: Cursor) -> tree.Expression:
    token = cursor.token
    if token.kind in {STRING, NUMBER, BINARY}:
        return literal(cursor.advance())
    if token.kind == VARIABLE:
        return tree.Variable(cursor.advance().value)
    if cursor.accept("("):
        return _grouped(cursor)
    if token.kind == NAME:
        special = _special(cursor, token.word)
        if special is not None:
            return special
    return _named(cursor)


def _grouped(cursor: Cursor) -> tree.Expression:
    value: tree.Expression
    value = (
        tree.Scalar(cursor.subquery(cursor)) if cursor.token.word in {"SELECT", "WITH"} else parse_expression(cursor)
    )
    cursor.expect(")")
    return value


def _special(cursor: Cursor, word: str) -> tree.Expression | None:
    rule = _SPECIAL.get(word)
    if rule is not None:
        return rule(cursor)
    if cursor.ahead().word != "(":
        return None
    rule = _SPECIAL_FUNCTIONS.get(word)
    return None if rule is None else rule(cursor)


def _null(cursor: Cursor) -> tree.Expression:
    cursor.advance()
    return tree.Literal(None, None)


def _niladic(cursor: Cursor) -> tree.Expression:
    return tree.Call(tree.Name((cursor.advance().word,)), ())


def _keyword_function(cursor: Cursor) -> tree.Expression:
    return tree.Call(tree.Name((cursor.advance().word,)), _arguments(cursor))


def _case(cursor: Cursor) -> tree.Expression:
    cursor.expect("CASE")
    operand = None if cursor.at("WHEN") else parse_expression(cursor)
    branches = []
    while cursor.accept("WHEN"):
        condition = parse_expression(cursor)
        cursor.expect("THEN")
        branches.append((condition, parse_expression(cursor)))
    otherwise = parse_expression(cursor) if cursor.accept("ELSE") else None
    if not branches:
        raise cursor.fail()
    cursor.expect("END")
    return tree.Case(operand, tuple(branches), otherwise)


def _cast(cursor: Cursor) -> tree.Expression:
    attempt = cursor.advance().word == "TRY_CAST"
    cursor.expect("(")
    value = parse_expression(cursor)
    cursor.expect("AS")
    kind = cursor.type(cast=True)
    cursor.expect(")")
    return tree.Cast(value, kind, None, attempt)


def _convert(cursor: Cursor) -> tree.Expression:
    attempt = cursor.advance().word == "TRY_CONVERT"
    cursor.expect("(")
    kind = cursor.type(cast=True)
    cursor.expect(",")
    value = parse_expression(cursor)
    style = cursor.integer() if cursor.accept(",") else None
    cursor.expect(")")
    return tree.Cast(value, kind, style, attempt)


def _named(cursor: Cursor) -> tree.Expression:
    if cursor.is_name() and cursor.ahead().word == "::":
        kind = cursor.type()
        cursor.expect("::")
        method = cursor.identifier()
        return tree.Method(kind, method, _arguments(cursor))
    name = cursor.name()
    if not cursor.at("("):
        return tree.Column(name)
    return _call(cursor, name)


def _call(cursor: Cursor, name: tree.Name) -> tree.Expression:
    cursor.expect("(")
    distinct = cursor.accept("DISTINCT")
    arguments: tuple[tree.Expression | tree.Star, ...] = ()
    if cursor.accept("*"):
        arguments = (tree.Star(None),)
    elif not cursor.at(")"):
        arguments = _list(cursor)
    cursor.expect(")")
    within: tuple[tree.Order, ...] = ()
    if cursor.accept("WITHIN", "GROUP"):
        cursor.expect("(")
        within = parse_order(cursor)
        cursor.expect(")")
    over = _window(cursor) if cursor.accept("OVER") else None
    return tree.Call(name, arguments, distinct, over, within)


def _window(cursor: Cursor) -> tree.Window:
    cursor.expect("(")
    partition = _list(cursor) if cursor.accept("PARTITION", "BY") else ()
    order = parse_order(cursor) if cursor.at("ORDER") else ()
    cursor.expect(")")
    return tree.Window(partition, order)


def parse_order(cursor: Cursor) -> tuple[tree.Order, ...]:
    """Take ORDER BY and its keys."""
    cursor.expect("ORDER", "BY")
    keys = []
    while True:
        value = parse_expression(cursor)
        keys.append(tree.Order(value, cursor.accept_any("ASC", "DESC") == "DESC"))
        if not cursor.accept(","):
            return tuple(keys)


def literal(token: Token) -> tree.Literal:
    """Return a constant with the type T-SQL gives it."""
    if token.kind == STRING:
        return _string(token)
    if token.kind == BINARY:
        digits = token.value[2:]
        data = bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))
        return tree.Literal(varbinary(max(len(data), 1)), data)
    if "e" in token.value.lower():
        return tree.Literal(FLOAT, float(token.value))
    whole, _, fraction = token.value.partition(".")
    if "." not in token.value and int(whole) <= INT.bounds[1]:
        return tree.Literal(INT, int(whole))
    digits = (whole.lstrip("0") + fraction) or "0"
    if len(digits) > 38:
        raise SqlError(1007, f"The number '{token.value}' is out of the range for numeric representation.", 15)
    text = f"{int(whole or '0')}.{fraction}" if fraction else str(int(whole))
    return tree.Literal(SqlType("numeric", 0, max(len(digits), len(fraction), 1), len(fraction)), text)


def _string(token: Token) -> tree.Literal:
    if token.text[0] in "Nn":
        return tree.Literal(nvarchar(max(units(token.value), 1)), token.value)
    value = token.value.encode("cp1252", "replace").decode("cp1252", "replace")
    return tree.Literal(SqlType("varchar", len(value) if 0 < len(value) <= 8000 else (MAX if value else 1)), value)


_SPECIAL: dict[str, Callable[[Cursor], tree.Expression]] = {
    "NULL": _null,
    "CASE": _case,
    "CURRENT_TIMESTAMP": _niladic,
    "CURRENT_USER": _niladic,
    "SESSION_USER": _niladic,
    "SYSTEM_USER": _niladic,
    "USER": _niladic,
}
_SPECIAL_FUNCTIONS: dict[str, Callable[[Cursor], tree.Expression]] = {
    "CAST": _cast,
    "TRY_CAST": _cast,
    "CONVERT": _convert,
    "TRY_CONVERT": _convert,
    "COALESCE": _keyword_function,
    "NULLIF": _keyword_function,
    "LEFT": _keyword_function,
    "RIGHT": _keyword_function,
}
