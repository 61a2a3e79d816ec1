"""Expressions and conditions: T-SQL in, typed SQLite out.

Every value carries its T-SQL type, so that comparisons, sorting and arithmetic happen by T-SQL's rules: text without
regard to case, decimals exactly, dates as dates.
"""

from collections.abc import Callable

from local.sqlserver.errors import SqlError, cannot_convert, syntax
from local.sqlserver.sql import tree
from local.sqlserver.sql.functions import AGGREGATES, call_function, clr_method, clr_static
from local.sqlserver.sql.scope import Binding, Scope, Typed, constant, converted, resolve
from local.sqlserver.sqltypes import BIT, INT, MAX, Family, SqlType, as_decimal, common, declared, nvarchar

_COLLATIONS = {Family.TEXT: " COLLATE CI", Family.DECIMAL: " COLLATE DEC", Family.GUID: " COLLATE GUID"}
_COMPARISONS = frozenset({"=", "<>", "<", ">", "<=", ">="})
_LARGE = frozenset({"text", "ntext", "image", "xml"})
type Translate = Callable[[tree.Query, Scope], "tuple[str, SqlType | None]"]

SYSTEM_VARIABLES = {
    "@@rowcount": INT,
    "@@trancount": INT,
    "@@error": INT,
    "@@spid": declared("smallint"),
    "@@identity": SqlType("numeric", 0, 38, 0),
    "@@version": nvarchar(300),
    "@@servername": nvarchar(128),
    "@@language": nvarchar(128),
    "@@lock_timeout": INT,
    "@@options": INT,
    "@@dbts": declared("timestamp"),
    "@@max_precision": declared("tinyint"),
}


class Expressions:
    """Translates the expressions of one statement."""

    def __init__(self, binding: Binding, subquery: Translate) -> None:
        self.binding = binding
        self._subquery = subquery
        self._aggregating = 0
        self._values: dict[type, Callable[..., Typed]] = {
            tree.Literal: self._literal,
            tree.Variable: self._variable,
            tree.Column: self._column,
            tree.Call: self._call,
            tree.Method: self._method,
            tree.Cast: self._cast,
            tree.Unary: self._unary,
            tree.Binary: self._binary,
            tree.Case: self._case,
            tree.Scalar: self._scalar,
            tree.Collated: self._collated,
        }
        self._conditions: dict[type, Callable[..., str]] = {
            tree.Unary: self._negation,
            tree.Binary: self._comparison,
            tree.Between: self._between,
            tree.In: self._in,
            tree.Like: self._like,
            tree.IsNull: self._is_null,
            tree.Exists: self._exists,
        }

    def value(self, node: tree.Expression, scope: Scope | None) -> Typed:
        """Translate an expression that yields a value."""
        rule = self._values.get(type(node))
        if rule is None or (isinstance(node, tree.Binary) and node.operator in {*_COMPARISONS, "AND", "OR"}):
            raise syntax("=" if isinstance(node, tree.Binary) else type(node).__name__.upper())
        if scope is not None and scope.grouped and not self._aggregating and not isinstance(node, tree.Column):
            grouped = self._as_grouped(node, scope, rule)
            if grouped is not None:
                return grouped
        return rule(node, scope)

    def _as_grouped(self, node: tree.Expression, scope: Scope, rule: Callable[..., Typed]) -> Typed | None:
        texts, scope.grouped = scope.grouped, None
        try:
            typed = rule(node, scope)
        finally:
            scope.grouped = texts
        return typed if typed.sql in (texts or ()) else None

    def condition(self, node: tree.Expression, scope: Scope | None) -> str:
        """Translate a condition; SqlError 4145 for an expression that is none."""
        rule = self._conditions.get(type(node))
        if rule is None:
            raise SqlError(
                4145, "An expression of non-boolean type specified in a context where a condition is expected.", 15
            )
        return rule(node, scope)

    def as_type(self, node: tree.Expression, scope: Scope | None, kind: SqlType) -> str:
        """Translate an expression and convert it as an assignment does."""
        return self.fit(self.value(node, scope), kind)

    def fit(self, value: Typed, kind: SqlType, *, cast: bool = False, style: int | None = None) -> str:
        """Convert a translated value to a type."""
        if value.kind is None:
            self.binding.infer(value, kind)
            return value.sql
        return converted(value.sql, value.kind, kind, style, cast=cast)

    def sort_key(self, value: Typed) -> str:
        """Return the text by which a value sorts and groups."""
        if value.kind is None:
            return value.sql
        if value.kind.name in _LARGE or value.kind.family is Family.VARIANT:
            text = (
                f"The {value.kind} data type cannot be compared or sorted, except when using IS NULL or LIKE operator."
            )
            raise SqlError(306, text)
        return value.sql + _COLLATIONS.get(value.kind.family, "")

    def _literal(self, node: tree.Literal, _scope: Scope | None) -> Typed:
        return Typed(constant(node.value), node.kind)

    def _variable(self, node: tree.Variable, _scope: Scope | None) -> Typed:
        if not node.name.startswith("@@"):
            return self.binding.bind(node.name)
        kind = SYSTEM_VARIABLES.get(node.name.lower())
        if kind is None:
            raise SqlError(137, f'Must declare the scalar variable "{node.name}".', 15, 2)
        return Typed(f"sysvar('{node.name.lower()}')", kind)

    def _column(self, node: tree.Column, scope: Scope | None) -> Typed:
        if len(node.name.parts) == 1 and scope is None:
            text = (
                f'The name "{node.name}" is not permitted in this context. Valid expressions are constants, variables.'
            )
            raise SqlError(128, text, 15)
        field, place = resolve(scope, node.name)
        if place.grouped is not None and not self._aggregating and field.sql not in place.grouped:
            text = (
                f"Column '{node.name}' is invalid in the select list because it is not "
                "contained in either an aggregate function or the GROUP BY clause."
            )
            raise SqlError(8120, text)
        return Typed(field.sql, field.kind)

    def _call(self, node: tree.Call, scope: Scope | None) -> Typed:
        name = node.name.parts[-1].upper()
        if len(node.name.parts) > 1 and node.name.parts[0].lower() not in {"sys", "cdc", "dbo"}:
            target = tree.Column(tree.Name(node.name.parts[:-1]))
            return self._method(tree.Method(target, node.name.parts[-1], node.arguments), scope)  # type: ignore[arg-type]
        aggregate = name in AGGREGATES and node.over is None and len(node.name.parts) == 1
        self._aggregating += aggregate
        try:
            return call_function(self, node, scope)
        finally:
            self._aggregating -= aggregate

    def _method(self, node: tree.Method, scope: Scope | None) -> Typed:
        if isinstance(node.target, SqlType):
            return clr_static(node.target, node.name, [self.value(each, scope) for each in node.arguments])
        return clr_method(self.value(node.target, scope), node.name, node.arguments)

    def _cast(self, node: tree.Cast, scope: Scope | None) -> Typed:
        value = self.value(node.value, scope)
        if value.kind is None:
            self.binding.infer(value, node.kind)
            return Typed(value.sql, node.kind)
        sql = converted(value.sql, value.kind, node.kind, node.style, cast=True)
        if node.attempt and sql.startswith("cv("):
            sql = "try_" + sql
        return Typed(sql, node.kind)

    def _unary(self, node: tree.Unary, scope: Scope | None) -> Typed:
        value = self.value(node.value, scope)
        if value.kind is None or node.operator == "+":
            return value
        if value.kind.family in {Family.INTEGER, Family.FLOAT}:
            return Typed(f"({node.operator} {value.sql})", value.kind)
        if value.kind.family is Family.DECIMAL and node.operator == "-":
            return Typed(f"dec_minus({value.sql})", value.kind)
        raise SqlError(8117, f"Operand data type {value.kind.name} is invalid for minus operator.")

    def _binary(self, node: tree.Binary, scope: Scope | None) -> Typed:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        self.binding.infer(left, right.kind)
        self.binding.infer(right, left.kind)
        kinds = [value.kind for value in (left, right) if value.kind is not None]
        if not kinds:
            return Typed("NULL", INT)
        kind = common(kinds[0], kinds[-1])
        rule = _ARITHMETIC.get(kind.family)
        if (
            rule is None
            or (kind.family in {Family.TEXT, Family.BINARY} and node.operator != "+")
            or kind.name in _LARGE
        ):
            raise SqlError(8117, f"Operand data type {kind.name} is invalid for {node.operator} operator.")
        return rule(self, node.operator, left, right)

    def _case(self, node: tree.Case, scope: Scope | None) -> Typed:
        branches = []
        for when, then in node.branches:
            test = when if node.operand is None else tree.Binary("=", node.operand, when)
            branches.append((self.condition(test, scope), self.value(then, scope)))
        otherwise = Typed("NULL", None) if node.otherwise is None else self.value(node.otherwise, scope)
        kind = self.meeting([value for _, value in branches] + [otherwise])
        parts = [f"WHEN {test} THEN {self.fit(value, kind)}" for test, value in branches]
        return Typed(f"CASE {' '.join(parts)} ELSE {self.fit(otherwise, kind)} END", kind)

    def meeting(self, values: list[Typed]) -> SqlType:
        """Return the type several values meet in; SqlError 8133 when all are NULL."""
        kind: SqlType | None = None
        for value in values:
            if value.kind is not None:
                kind = value.kind if kind is None else common(kind, value.kind)
        if kind is None:
            raise SqlError(
                8133, "At least one of the result expressions must be an expression other than the NULL constant."
            )
        return kind

    def _scalar(self, node: tree.Scalar, scope: Scope | None) -> Typed:
        sql, kind = self._subquery(node.query, scope or Scope())
        return Typed(f"({sql})", kind)

    def _collated(self, node: tree.Collated, scope: Scope | None) -> Typed:
        if node.collation.upper() not in {"DATABASE_DEFAULT", "SQL_LATIN1_GENERAL_CP1_CI_AS", "CATALOG_DEFAULT"}:
            raise SqlError(448, f"Invalid collation '{node.collation}'.")
        return self.value(node.value, scope)

    def _negation(self, node: tree.Unary, scope: Scope | None) -> str:
        if node.operator != "NOT":
            raise SqlError(
                4145, "An expression of non-boolean type specified in a context where a condition is expected.", 15
            )
        return f"(NOT {self.condition(node.value, scope)})"

    def _comparison(self, node: tree.Binary, scope: Scope | None) -> str:
        if node.operator in {"AND", "OR"}:
            return f"({self.condition(node.left, scope)} {node.operator} {self.condition(node.right, scope)})"
        if node.operator not in _COMPARISONS:
            raise SqlError(
                4145, "An expression of non-boolean type specified in a context where a condition is expected.", 15
            )
        return self.compared(node.operator, self.value(node.left, scope), self.value(node.right, scope))

    def compared(self, operator: str, left: Typed, right: Typed) -> str:
        """Return the comparison of two values in the type they meet in."""
        self.binding.infer(left, right.kind)
        self.binding.infer(right, left.kind)
        if left.kind is None or right.kind is None:
            return f"({left.sql} {operator} {right.sql})"
        kind = common(left.kind, right.kind)
        if kind.name in _LARGE or kind.family is Family.VARIANT or {left.kind.name, right.kind.name} & _LARGE:
            text = f"The data types {left.kind.name} and {right.kind.name} are incompatible in the comparison operator."
            raise SqlError(402, text)
        first, second = self._side(left, kind), self._side(right, kind)
        return f"({first} {operator} {second}{_COLLATIONS.get(kind.family, '')})"

    def _side(self, value: Typed, kind: SqlType) -> str:
        assert value.kind is not None
        if value.kind.family is not kind.family:
            wide = kind if kind.family is not Family.DECIMAL else _exact(value.kind, kind)
            value = Typed(converted(value.sql, value.kind, wide, cast=True), wide)
        return f"substr({value.sql}, 1, 8)" if kind.family is Family.OFFSET else value.sql

    def _between(self, node: tree.Between, scope: Scope | None) -> str:
        value, low, high = (self.value(each, scope) for each in (node.value, node.low, node.high))
        return f"({self.compared('>=', value, low)} AND {self.compared('<=', value, high)})"

    def _in(self, node: tree.In, scope: Scope | None) -> str:
        value = self.value(node.value, scope)
        if isinstance(node.options, tuple):
            return "(" + " OR ".join(self.compared("=", value, self.value(each, scope)) for each in node.options) + ")"
        sql, kind = self._subquery(node.options, scope or Scope())
        if kind is None or value.kind is None or kind.family is not value.kind.family or kind.family is Family.OFFSET:
            raise cannot_convert(str(kind), str(value.kind))
        return f"({value.sql}{_COLLATIONS.get(kind.family, '')} IN ({sql}))"

    def _like(self, node: tree.Like, scope: Scope | None) -> str:
        parts = [node.value, node.pattern] if node.escape is None else [node.value, node.pattern, node.escape]
        texts = [self.as_type(part, scope, nvarchar(MAX)) for part in parts]
        return f"tsql_like({', '.join(texts)})"

    def _is_null(self, node: tree.IsNull, scope: Scope | None) -> str:
        value = self.value(node.value, scope)
        return f"({value.sql} IS NULL)"

    def _exists(self, node: tree.Exists, scope: Scope | None) -> str:
        sql, _ = self._subquery(node.query, scope or Scope())
        return f"EXISTS ({sql})"


def _exact(kind: SqlType, target: SqlType) -> SqlType:
    """Return the decimal type that keeps all of a number or text that meets a decimal."""
    if kind.family is Family.INTEGER:
        return as_decimal(kind)
    return SqlType("decimal", 0, 38, target.scale) if kind.family is Family.TEXT else target


def _integers(expressions: Expressions, operator: str, left: Typed, right: Typed) -> Typed:
    kind = common(left.kind or BIT, right.kind or BIT)
    first, second = expressions.fit(left, kind), expressions.fit(right, kind)
    functions = {"/": "int_div", "%": "int_mod", "^": "int_xor"}
    if operator in functions:
        return Typed(f"{functions[operator]}({first}, {second})", kind)
    return Typed(f"({first} {operator} {second})", kind)


def _floats(expressions: Expressions, operator: str, left: Typed, right: Typed) -> Typed:
    kind = common(left.kind or INT, right.kind or INT)
    first, second = expressions.fit(left, kind), expressions.fit(right, kind)
    if operator not in {"+", "-", "*", "/"}:
        raise SqlError(402, f"The data types float and float are incompatible in the {operator} operator.")
    if operator == "/":
        return Typed(f"float_div({first}, {second})", kind)
    return Typed(f"({first} {operator} {second})", kind)


def _decimals(_expressions: Expressions, operator: str, left: Typed, right: Typed) -> Typed:
    if operator not in {"+", "-", "*", "/", "%"}:
        raise SqlError(402, f"The data types decimal and decimal are incompatible in the {operator} operator.")
    kinds = [
        as_decimal(value.kind) if value.kind is not None else SqlType("decimal", 0, 1, 0) for value in (left, right)
    ]
    if "money" in {left.kind and left.kind.name, right.kind and right.kind.name}:
        kind = declared("money")
    else:
        kind = _decimal_result(operator, *kinds)
    sides = []
    for value, wide in zip((left, right), kinds, strict=True):
        source = value.kind if value.kind is not None and value.kind.family is Family.TEXT else None
        sides.append(converted(value.sql, source, kind) if source else value.sql)
        assert wide.scale <= 38
    return Typed(f"dec_math('{operator}', {sides[0]}, {sides[1]}, {kind.precision}, {kind.scale})", kind)


def _decimal_result(operator: str, left: SqlType, right: SqlType) -> SqlType:
    """Return precision and scale of a result.

    https://learn.microsoft.com/sql/t-sql/data-types/precision-scale-and-length-transact-sql
    """
    p1, s1, p2, s2 = left.precision, left.scale, right.precision, right.scale
    if operator in {"+", "-"}:
        scale = max(s1, s2)
        precision = scale + max(p1 - s1, p2 - s2) + 1
    elif operator == "*":
        precision, scale = p1 + p2 + 1, s1 + s2
    elif operator == "/":
        scale = max(6, s1 + p2 + 1)
        precision = p1 - s1 + s2 + scale
    else:
        scale = max(s1, s2)
        precision = min(p1 - s1, p2 - s2) + scale
    if precision > 38:
        scale = max(min(scale, 38 - (precision - scale)), min(scale, 6))
        precision = 38
    return SqlType("numeric", 0, precision, scale)


def _texts(expressions: Expressions, _operator: str, left: Typed, right: Typed) -> Typed:
    kind = common(left.kind or nvarchar(1), right.kind or nvarchar(1))
    length = _joined(left, right, 4000 if kind.name in {"nvarchar", "nchar"} else 8000)
    kind = SqlType("nvarchar" if kind.name in {"nvarchar", "nchar"} else "varchar", length)
    return Typed(f"({expressions.fit(left, kind)} || {expressions.fit(right, kind)})", kind)


def _joined(left: Typed, right: Typed, most: int) -> int:
    lengths = [value.kind.length for value in (left, right) if value.kind is not None]
    return MAX if MAX in lengths else min(sum(lengths), most)


def _binaries(expressions: Expressions, _operator: str, left: Typed, right: Typed) -> Typed:
    kind = SqlType("varbinary", _joined(left, right, 8000))
    return Typed(f"bin_join({expressions.fit(left, kind)}, {expressions.fit(right, kind)})", kind)


_ARITHMETIC = {
    Family.INTEGER: _integers,
    Family.FLOAT: _floats,
    Family.DECIMAL: _decimals,
    Family.TEXT: _texts,
    Family.BINARY: _binaries,
}
