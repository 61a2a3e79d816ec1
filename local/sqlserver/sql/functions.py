"""Built-in functions: their argument counts, result types and SQLite text.

https://learn.microsoft.com/sql/t-sql/functions/functions
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from local.sqlserver.errors import SqlError, syntax
from local.sqlserver.sql import tree
from local.sqlserver.sql.scope import Scope, Typed, converted
from local.sqlserver.sqltypes import (
    BIGINT,
    BIT,
    DATETIME,
    DATETIME2,
    FLOAT,
    GUID,
    INT,
    LSN,
    MAX,
    OFFSET,
    SYSNAME,
    VARIANT,
    WIDE,
    Family,
    SqlType,
    declared,
    nvarchar,
)

if TYPE_CHECKING:
    from local.sqlserver.sql.expressions import Expressions

AGGREGATES = frozenset({"COUNT", "COUNT_BIG", "SUM", "MIN", "MAX", "AVG", "STRING_AGG"})
_RANKINGS = frozenset({"ROW_NUMBER", "RANK", "DENSE_RANK"})
_NEIGHBOURS = frozenset({"LAG", "LEAD", "FIRST_VALUE", "LAST_VALUE"})
_PARTS = {
    "YEAR": "year", "YY": "year", "YYYY": "year", "QUARTER": "quarter", "QQ": "quarter",
    "MONTH": "month", "MM": "month", "DAY": "day", "DD": "day", "D": "day", "DAYOFYEAR": "dayofyear",
    "WEEKDAY": "weekday", "DW": "weekday",
    "WEEK": "week", "WK": "week", "HOUR": "hour", "HH": "hour", "MINUTE": "minute", "MI": "minute", "N": "minute",
    "SECOND": "second", "SS": "second", "S": "second", "MILLISECOND": "millisecond", "MS": "millisecond",
    "MICROSECOND": "microsecond", "MCS": "microsecond", "NANOSECOND": "nanosecond", "NS": "nanosecond",
    "TZOFFSET": "tzoffset", "TZ": "tzoffset",
}  # fmt: skip
type Rule = Callable[["Expressions", list[Typed]], Typed]


def call_function(expressions: "Expressions", node: tree.Call, scope: Scope | None) -> Typed:
    """Translate a function call; SqlError 195 or 4121 for a function this server does not know."""
    name = node.name.parts[-1].upper()
    if len(node.name.parts) > 1:
        name = ".".join(part.upper() for part in node.name.parts)
        if name not in _SIGNATURES:
            text = (
                f'Cannot find either column "{node.name.parts[0]}" or the user-defined '
                f'function or aggregate "{node.name}", or the name is ambiguous.'
            )
            raise SqlError(4121, text)
    if node.over is not None or name in _RANKINGS | _NEIGHBOURS:
        return _windowed(expressions, node, name, scope)
    if name in AGGREGATES:
        return _aggregate(expressions, node, name, scope)
    if name in {"DATEADD", "DATEDIFF", "DATEDIFF_BIG", "DATEPART", "DATENAME"}:
        return _date_function(expressions, node, name, scope)
    if name == "IIF" and len(node.arguments) == 3:
        test, then, otherwise = (_expression(argument) for argument in node.arguments)
        return expressions.value(tree.Case(None, ((test, then),), otherwise), scope)
    if name not in _SIGNATURES:
        raise SqlError(195, f"'{node.name}' is not a recognized built-in function name.", 15, 10)
    low, high, rule = _SIGNATURES[name]
    if not low <= len(node.arguments) <= high:
        raise SqlError(174, f"The {node.name} function requires {low} argument(s).", 15)
    return rule(expressions, [expressions.value(_expression(argument), scope) for argument in node.arguments])


def _expression(argument: tree.Expression | tree.Star) -> tree.Expression:
    if isinstance(argument, tree.Star):
        raise syntax(near="*")
    return argument


def _aggregate(expressions: "Expressions", node: tree.Call, name: str, scope: Scope | None) -> Typed:
    if name in {"COUNT", "COUNT_BIG"}:
        kind = INT if name == "COUNT" else BIGINT
        if isinstance(node.arguments[0], tree.Star):
            return Typed("count(*)", kind)
        value = expressions.value(node.arguments[0], scope)
        key = expressions.sort_key(value) if node.distinct else value.sql
        return Typed(f"count({'DISTINCT ' if node.distinct else ''}{key})", kind)
    value = expressions.value(_expression(node.arguments[0]), scope)
    kind = value.kind or INT
    if name == "STRING_AGG":
        separator = expressions.as_type(_expression(node.arguments[1]), scope, nvarchar(MAX))
        result = SqlType("nvarchar" if kind.name in WIDE else "varchar", MAX if kind.length == MAX else 4000)
        order = sort_list(expressions, node.within, scope)
        return Typed(f"group_concat({expressions.fit(value, result, cast=True)}, {separator}{order})", result)
    if name in {"MIN", "MAX"}:
        return Typed(f"{name.lower()}({expressions.sort_key(value)})", kind)
    distinct = "DISTINCT " if node.distinct else ""
    return _total(name, value.sql, kind, distinct)


def _total(name: str, sql: str, kind: SqlType, distinct: str) -> Typed:
    if kind.family is Family.INTEGER and kind.name != "bit":
        result = BIGINT if kind.name == "bigint" else INT
        total = f"sum({distinct}{sql})"
        return Typed(total if name == "SUM" else f"int_div({total}, count({distinct}{sql}))", result)
    if kind.family is Family.FLOAT:
        return Typed(f"{'sum' if name == 'SUM' else 'avg'}({distinct}{sql})", FLOAT)
    if kind.family is Family.DECIMAL and not distinct:
        scale = kind.scale if name == "SUM" or kind.name in {"money", "smallmoney"} else max(kind.scale, 6)
        result = declared("money") if kind.name in {"money", "smallmoney"} else SqlType("numeric", 0, 38, scale)
        return Typed(f"dec_{name.lower()}({sql}, {result.scale})", result)
    raise SqlError(8117, f"Operand data type {kind.name} is invalid for {name.lower()} operator.")


def sort_list(expressions: "Expressions", order: tuple[tree.Order, ...], scope: Scope | None) -> str:
    """Return ORDER BY of a window or an aggregate; a constant, such as (SELECT NULL), keeps any order."""
    keys = []
    for key in order:
        if isinstance(key.value, tree.Scalar):
            continue
        keys.append(expressions.sort_key(expressions.value(key.value, scope)) + (" DESC" if key.descending else ""))
    return f" ORDER BY {', '.join(keys)}" if keys else ""


def _windowed(expressions: "Expressions", node: tree.Call, name: str, scope: Scope | None) -> Typed:
    if node.over is None:
        raise SqlError(10753, f"The function '{node.name}' must have an OVER clause.", 15)
    if name in _RANKINGS and not node.arguments:
        if not node.over.order:
            raise SqlError(4112, f"The function '{node.name}' must have an OVER clause with ORDER BY.", 15)
        function, kind = f"{name.lower()}()", BIGINT
    elif name in _NEIGHBOURS:
        values = [expressions.value(_expression(argument), scope) for argument in node.arguments]
        function, kind = f"{name.lower()}({', '.join(value.sql for value in values)})", values[0].kind or INT
    elif name in AGGREGATES - {"STRING_AGG"}:
        plain = _aggregate(expressions, tree.Call(node.name, node.arguments, node.distinct), name, scope)
        function, kind = plain.sql, plain.kind or INT
        if function.startswith(("int_div", "dec_")):
            raise syntax(near="OVER")
    else:
        raise syntax(near="OVER")
    keys = [expressions.sort_key(expressions.value(each, scope)) for each in node.over.partition]
    partition = f"PARTITION BY {', '.join(keys)}" if keys else ""
    return Typed(f"{function} OVER ({partition}{sort_list(expressions, node.over.order, scope)})", kind)


def _date_function(expressions: "Expressions", node: tree.Call, name: str, scope: Scope | None) -> Typed:
    word = node.arguments[0] if node.arguments else None
    part = _PARTS.get(str(word.name).upper()) if isinstance(word, tree.Column) else None
    if part is None:
        raise SqlError(155, f"'{getattr(word, 'name', '')}' is not a recognized {name.lower()} option.", 15)
    values = [expressions.value(_expression(argument), scope) for argument in node.arguments[1:]]
    if len(values) != (1 if name in {"DATEPART", "DATENAME"} else 2):
        raise SqlError(174, f"The {name.lower()} function requires {3 if len(values) < 2 else 2} argument(s).", 15)
    if name == "DATEADD":
        kind = values[1].kind if values[1].kind and values[1].kind.family in _TEMPORAL else DATETIME
        moment = expressions.fit(values[1], kind)
        return Typed(
            f"date_add('{part}', {expressions.fit(values[0], INT)}, {moment}, '{kind.name}', {kind.scale})", kind
        )
    points = [_as_offset(expressions, value) for value in values]
    if name == "DATEPART":
        return Typed(f"date_part('{part}', {points[0]})", INT)
    if name == "DATENAME":
        raise syntax(near="DATENAME")
    return Typed(f"date_diff('{part}', {points[0]}, {points[1]})", INT if name == "DATEDIFF" else BIGINT)


_TEMPORAL = frozenset({Family.DATE, Family.TIME, Family.MOMENT, Family.OFFSET})


def _as_offset(expressions: "Expressions", value: Typed) -> str:
    if value.kind is not None and value.kind.family is Family.OFFSET:
        return value.sql
    kind = DATETIME if value.kind is not None and value.kind.family is Family.INTEGER else OFFSET
    sql = expressions.fit(value, kind, cast=True)
    return converted(sql, DATETIME, OFFSET, cast=True) if kind is DATETIME else sql


def clr_static(kind: SqlType, name: str, arguments: list[Typed]) -> Typed:
    """Translate `type::Method(…)`; SqlError 6506 for a method this server does not know."""
    key = (kind.name, name.lower())
    if key == ("hierarchyid", "getroot") and not arguments:
        return Typed("x''", kind)
    if key[0] in {"hierarchyid", "geometry", "geography"} and key[1] in {"parse", "stgeomfromtext"} and arguments:
        first = arguments[0]
        sql = converted(first.sql, first.kind or nvarchar(1), kind)
        if len(arguments) == 2 and key[1] == "stgeomfromtext":
            sql = f"clr_srid({sql}, {arguments[1].sql})"
        return Typed(sql, kind)
    if key[0] in {"geometry", "geography"} and key[1] == "point" and len(arguments) == 3:
        x, y, srid = (argument.sql for argument in arguments)
        x, y = (y, x) if kind.name == "geography" else (x, y)
        return Typed(f"clr_point('{kind.name}', {x}, {y}, {srid})", kind)
    raise SqlError(
        6506, f"Could not find method '{name}' for type '{kind.name}' in assembly 'Microsoft.SqlServer.Types'."
    )


def clr_method(value: Typed, name: str, arguments: tuple[tree.Expression, ...]) -> Typed:
    """Translate `value.Method()`; SqlError 258 for a type without methods, 6506 for an unknown method."""
    if value.kind is None or value.kind.family is not Family.CLR:
        raise SqlError(258, f"Cannot call methods on {value.kind}.", 15)
    lowered = name.lower()
    if arguments or lowered not in {"tostring", "stastext", "stasbinary"} or lowered == "stasbinary":
        raise SqlError(
            6506,
            f"Could not find method '{name}' for type '{value.kind.name}' in assembly 'Microsoft.SqlServer.Types'.",
        )
    kind = nvarchar(4000) if value.kind.name == "hierarchyid" else nvarchar(MAX)
    return Typed(converted(value.sql, value.kind, kind), kind)


def _fixed(sql: str, kind: SqlType, *arguments: SqlType) -> Rule:
    """A function of given argument types and result type; `{0}` in `sql` is the first argument."""

    def rule(expressions: "Expressions", values: list[Typed]) -> Typed:
        parts = [expressions.fit(value, wanted, cast=True) for value, wanted in zip(values, arguments, strict=False)]
        return Typed(sql.format(*parts, *["NULL"] * (len(arguments) - len(parts)), all=", ".join(parts)), kind)

    return rule


def _like_first(sql: str, *others: SqlType) -> Rule:
    """A text function whose result has the type of its first argument."""

    def rule(expressions: "Expressions", values: list[Typed]) -> Typed:
        first = values[0].kind or nvarchar(1)
        if first.family is Family.BINARY and sql.startswith("sub"):
            kind = SqlType("varbinary", first.length or MAX)
        elif first.family is Family.TEXT:
            kind = SqlType("nvarchar" if first.name in WIDE else "varchar", first.length or MAX)
        else:
            kind = SqlType("varchar", 8000)
        parts = [expressions.fit(values[0], kind, cast=True)]
        parts += [expressions.fit(value, wanted, cast=True) for value, wanted in zip(values[1:], others, strict=False)]
        return Typed(sql.format(*parts), kind)

    return rule


def _grown(sql: str, *others: SqlType) -> Rule:
    """A text function whose result may be longer than its first argument."""
    inner = _like_first(sql, *others)

    def rule(expressions: "Expressions", values: list[Typed]) -> Typed:
        typed = inner(expressions, values)
        assert typed.kind is not None
        most = MAX if typed.kind.length == MAX else 4000 if typed.kind.name == "nvarchar" else 8000
        return Typed(typed.sql, SqlType(typed.kind.name, most))

    return rule


def _coalesce(expressions: "Expressions", values: list[Typed]) -> Typed:
    kind = expressions.meeting(values)
    return Typed(f"coalesce({', '.join(expressions.fit(value, kind) for value in values)})", kind)


def _isnull(expressions: "Expressions", values: list[Typed]) -> Typed:
    kind = values[0].kind or values[1].kind or INT
    first, second = (expressions.fit(value, kind, cast=True) for value in values)
    return Typed(f"ifnull({first}, {second})", kind)


def _nullif(expressions: "Expressions", values: list[Typed]) -> Typed:
    test = expressions.compared("=", *values)
    return Typed(f"CASE WHEN {test} THEN NULL ELSE {values[0].sql} END", values[0].kind or INT)


def _concat(expressions: "Expressions", values: list[Typed]) -> Typed:
    wide = any(value.kind is not None and value.kind.name in WIDE for value in values)
    long = any(value.kind is not None and value.kind.length == MAX for value in values)
    kind = SqlType("nvarchar" if wide else "varchar", MAX if long else 4000 if wide else 8000)
    return Typed(
        " || ".join(f"ifnull({expressions.fit(value, kind, cast=True)}, '')" for value in values).join("()"), kind
    )


def _same_number(sql: str) -> Rule:
    def rule(_expressions: "Expressions", values: list[Typed]) -> Typed:
        kind = values[0].kind or INT
        if kind.family not in {Family.INTEGER, Family.DECIMAL, Family.FLOAT}:
            raise SqlError(8116, f"Argument data type {kind.name} is invalid for argument 1 of this function.")
        return Typed(sql.format(f"'{kind.family.value}'", ", ".join(value.sql for value in values)), kind)

    return rule


def _datalength(_expressions: "Expressions", values: list[Typed]) -> Typed:
    kind = values[0].kind or INT
    if kind.family in {Family.TEXT, Family.BINARY, Family.CLR}:
        code = "wide" if kind.name in WIDE else "narrow"
        return Typed(f"data_length('{code}', {values[0].sql})", BIGINT if kind.length == MAX else INT)
    return Typed(f"CASE WHEN {values[0].sql} IS NOT NULL THEN {kind.max_length} END", INT)


def _property(_expressions: "Expressions", values: list[Typed]) -> Typed:
    return Typed(f"variant_property({values[0].sql}, {values[1].sql})", VARIANT)


_TEXT = nvarchar(4000)
_LONG = nvarchar(MAX)
_MASK = SqlType("varbinary", MAX)
_SIGNATURES: dict[str, tuple[int, int, Rule]] = {
    "SYSUTCDATETIME": (0, 0, _fixed("moment('utc')", DATETIME2)),
    "SYSDATETIME": (0, 0, _fixed("moment('local')", DATETIME2)),
    "SYSDATETIMEOFFSET": (0, 0, _fixed("moment('offset')", OFFSET)),
    "GETDATE": (0, 0, _fixed("moment('datetime')", DATETIME)),
    "CURRENT_TIMESTAMP": (0, 0, _fixed("moment('datetime')", DATETIME)),
    "GETUTCDATE": (0, 0, _fixed("moment('utcdatetime')", DATETIME)),
    "YEAR": (1, 1, _fixed("date_part('year', {0})", INT, OFFSET)),
    "MONTH": (1, 1, _fixed("date_part('month', {0})", INT, OFFSET)),
    "DAY": (1, 1, _fixed("date_part('day', {0})", INT, OFFSET)),
    "SWITCHOFFSET": (2, 2, _fixed("switch_offset({0}, {1})", OFFSET, OFFSET, _TEXT)),
    "COALESCE": (2, 100, _coalesce),
    "ISNULL": (2, 2, _isnull),
    "NULLIF": (2, 2, _nullif),
    "LEN": (1, 1, _fixed("text_length({0})", INT, _LONG)),
    "DATALENGTH": (1, 1, _datalength),
    "UPPER": (1, 1, _like_first("tsql_upper({0})")),
    "LOWER": (1, 1, _like_first("tsql_lower({0})")),
    "LTRIM": (1, 1, _like_first("ltrim({0}, ' ')")),
    "RTRIM": (1, 1, _like_first("rtrim({0}, ' ')")),
    "TRIM": (1, 1, _like_first("trim({0}, ' ')")),
    "SUBSTRING": (3, 3, _like_first("substring_of({0}, {1}, {2})", INT, INT)),
    "LEFT": (2, 2, _like_first("substring_of({0}, 1, {1})", INT)),
    "RIGHT": (2, 2, _like_first("right_of({0}, {1})", INT)),
    "REVERSE": (1, 1, _like_first("reversed_text({0})")),
    "REPLACE": (3, 3, _grown("replaced({0}, {1}, {2})", _LONG, _LONG)),
    "REPLICATE": (2, 2, _grown("replicated({0}, {1})", BIGINT)),
    "SPACE": (1, 1, _fixed("replicated(' ', {0})", SqlType("varchar", 8000), INT)),
    "CHARINDEX": (2, 3, _fixed("char_index({0}, {1}, {2})", INT, _LONG, _LONG, INT)),
    "CONCAT": (2, 254, _concat),
    "NCHAR": (1, 1, _fixed("character({0})", nvarchar(2), INT)),
    "CHAR": (1, 1, _fixed("char({0})", SqlType("char", 1), INT)),
    "UNICODE": (1, 1, _fixed("unicode({0})", INT, _TEXT)),
    "QUOTENAME": (1, 1, _fixed("'[' || replace({0}, ']', ']]') || ']'", nvarchar(258), SYSNAME)),
    "NEWID": (0, 0, _fixed("new_id()", GUID)),
    "ABS": (1, 1, _same_number("absolute({0}, {1})")),
    "SIGN": (1, 1, _same_number("sign_of({0}, {1})")),
    "FLOOR": (1, 1, _same_number("floored({0}, {1})")),
    "CEILING": (1, 1, _same_number("ceiled({0}, {1})")),
    "ROUND": (2, 2, _same_number("rounded({0}, {1})")),
    "CRYPT_GEN_RANDOM": (1, 1, _fixed("randomblob({0})", SqlType("varbinary", 8000), INT)),
    "OBJECT_ID": (1, 2, _fixed("object_id({0}, {1})", INT, _TEXT, _TEXT)),
    "OBJECT_NAME": (1, 1, _fixed("object_name({0})", SYSNAME, INT)),
    "OBJECT_SCHEMA_NAME": (1, 1, _fixed("object_schema_name({0})", SYSNAME, INT)),
    "SCHEMA_NAME": (0, 1, _fixed("schema_name({0})", SYSNAME, INT)),
    "SCHEMA_ID": (0, 1, _fixed("schema_id({0})", INT, SYSNAME)),
    "TYPE_NAME": (1, 1, _fixed("type_name({0})", SYSNAME, INT)),
    "COL_NAME": (2, 2, _fixed("col_name({0}, {1})", SYSNAME, INT, INT)),
    "COL_LENGTH": (2, 2, _fixed("col_length({0}, {1})", declared("smallint"), _TEXT, SYSNAME)),
    "DB_NAME": (0, 1, _fixed("db_name({0})", SYSNAME, INT)),
    "DB_ID": (0, 1, _fixed("db_id({0})", declared("smallint"), SYSNAME)),
    "SERVERPROPERTY": (1, 1, _fixed("server_property({0})", VARIANT, SYSNAME)),
    "SQL_VARIANT_PROPERTY": (2, 2, _property),
    "USER_NAME": (0, 0, _fixed("login_name()", SYSNAME)),
    "SUSER_SNAME": (0, 0, _fixed("login_name()", SYSNAME)),
    "SUSER_NAME": (0, 0, _fixed("login_name()", SYSNAME)),
    "ORIGINAL_LOGIN": (0, 0, _fixed("login_name()", SYSNAME)),
    "SYSTEM_USER": (0, 0, _fixed("login_name()", SYSNAME)),
    "HAS_DBACCESS": (1, 1, _fixed("has_dbaccess({0})", INT, SYSNAME)),
    "SCOPE_IDENTITY": (0, 0, _fixed("sysvar('@@identity')", SqlType("numeric", 0, 38, 0))),
    "HAS_PERMS_BY_NAME": (3, 3, _fixed("has_perms({0}, {1}, {2})", INT, _TEXT, _TEXT, _TEXT)),
    "IDENT_CURRENT": (1, 1, _fixed("ident_current({0})", SqlType("numeric", 0, 38, 0), _TEXT)),
    "XACT_STATE": (0, 0, _fixed("sysvar('xact_state')", declared("smallint"))),
    "SYS.FN_CDC_GET_MIN_LSN": (1, 1, _fixed("cdc_min_lsn({0})", LSN, SYSNAME)),
    "SYS.FN_CDC_GET_MAX_LSN": (0, 0, _fixed("(SELECT max(start_lsn) FROM m_lsn)", LSN)),
    "SYS.FN_CDC_INCREMENT_LSN": (1, 1, _fixed("cdc_step_lsn({0}, 1)", LSN, LSN)),
    "SYS.FN_CDC_DECREMENT_LSN": (1, 1, _fixed("cdc_step_lsn({0}, -1)", LSN, LSN)),
    "SYS.FN_CDC_MAP_LSN_TO_TIME": (1, 1, _fixed("(SELECT end_time FROM m_lsn WHERE start_lsn = {0})", DATETIME, LSN)),
    "SYS.FN_CDC_MAP_TIME_TO_LSN": (2, 2, _fixed("cdc_time_to_lsn({0}, {1})", LSN, _TEXT, DATETIME)),
    "SYS.FN_CDC_IS_BIT_SET": (2, 2, _fixed("cdc_bit_set({0}, {1})", BIT, INT, _MASK)),
    "SYS.FN_CDC_GET_COLUMN_ORDINAL": (2, 2, _fixed("cdc_ordinal({0}, {1})", INT, SYSNAME, SYSNAME)),
    "SYS.FN_CDC_HAS_COLUMN_CHANGED": (3, 3, _fixed("cdc_changed({0}, {1}, {2})", BIT, SYSNAME, SYSNAME, _MASK)),
}
