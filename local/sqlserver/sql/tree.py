"""The syntax tree of the T-SQL this server knows."""

from dataclasses import dataclass
from typing import Any

from local.sqlserver.sqltypes import SqlType


@dataclass(frozen=True, slots=True)
class Name:
    """A name of up to four parts, as written: `cdc.[dbo_Persons_CT]`."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant with its type; value None is NULL."""

    kind: SqlType | None
    value: Any


@dataclass(frozen=True, slots=True)
class Variable:
    """`@name` or `@@name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column reference."""

    name: Name


@dataclass(frozen=True, slots=True)
class Star:
    """`*` or `alias.*`."""

    table: Name | None


@dataclass(frozen=True, slots=True)
class Window:
    """OVER (PARTITION BY … ORDER BY …)."""

    partition: "tuple[Expression, ...]"
    order: "tuple[Order, ...]"


@dataclass(frozen=True, slots=True)
class Call:
    """A function call."""

    name: Name
    arguments: "tuple[Expression | Star, ...]"
    distinct: bool = False
    over: Window | None = None
    within: "tuple[Order, ...]" = ()


@dataclass(frozen=True, slots=True)
class Method:
    """A call of a CLR type: `hierarchyid::Parse('/1/')` (static) or `col.ToString()`."""

    target: "SqlType | Expression"
    name: str
    arguments: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Cast:
    """CAST, CONVERT and their TRY_ forms."""

    value: "Expression"
    kind: SqlType
    style: int | None = None
    attempt: bool = False


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x`, `+x`, `~x`, `NOT x`."""

    operator: str
    value: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and an operator: arithmetic, comparison, AND, OR."""

    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Between:
    """`x BETWEEN a AND b`."""

    value: "Expression"
    low: "Expression"
    high: "Expression"


@dataclass(frozen=True, slots=True)
class In:
    """`x IN (…)`, of values or of a query."""

    value: "Expression"
    options: "tuple[Expression, ...] | Query"


@dataclass(frozen=True, slots=True)
class Like:
    """`x LIKE y ESCAPE z`."""

    value: "Expression"
    pattern: "Expression"
    escape: "Expression | None"


@dataclass(frozen=True, slots=True)
class IsNull:
    """`x IS NULL`."""

    value: "Expression"


@dataclass(frozen=True, slots=True)
class Exists:
    """`EXISTS (query)`."""

    query: "Query"


@dataclass(frozen=True, slots=True)
class Case:
    """CASE, with an operand or without."""

    operand: "Expression | None"
    branches: "tuple[tuple[Expression, Expression], ...]"
    otherwise: "Expression | None"


@dataclass(frozen=True, slots=True)
class Scalar:
    """A query in parentheses used as one value."""

    query: "Query"


@dataclass(frozen=True, slots=True)
class Collated:
    """`x COLLATE name`."""

    value: "Expression"
    collation: str


type Expression = (
    Literal | Variable | Column | Call | Method | Cast | Unary | Binary | Between | In | Like | IsNull | Exists | Case
    | Scalar | Collated
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Order:
    """One key of an ORDER BY."""

    value: Expression
    descending: bool


@dataclass(frozen=True, slots=True)
class Item:
    """One thing selected; `assign` is the variable of `SELECT @x = …`."""

    value: Expression | Star
    alias: str | None = None
    assign: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table, view or table-valued function in FROM."""

    name: Name
    alias: str | None
    arguments: tuple[Expression, ...] | None = None


@dataclass(frozen=True, slots=True)
class Derived:
    """A query or a list of VALUES in FROM."""

    query: "Query | Values"
    alias: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """Two sources joined: INNER, LEFT, RIGHT, FULL or CROSS."""

    kind: str
    left: "Source"
    right: "Source"
    condition: Expression | None


type Source = Table | Derived | Join


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT block."""

    items: tuple[Item, ...]
    distinct: bool = False
    top: Expression | None = None
    into: Name | None = None
    source: Source | None = None
    where: Expression | None = None
    group: tuple[Expression, ...] = ()
    having: Expression | None = None
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compound:
    """UNION, UNION ALL, EXCEPT or INTERSECT of blocks, evaluated from the left."""

    first: "Query"
    rest: "tuple[tuple[str, Query], ...]"


@dataclass(frozen=True, slots=True)
class Common:
    """One common table expression."""

    name: str
    columns: tuple[str, ...]
    query: "Query"


@dataclass(frozen=True, slots=True)
class Query:
    """A whole query: common tables, a body, its order and its page."""

    body: "Select | Compound | Query"
    common: tuple[Common, ...] = ()
    order: tuple[Order, ...] = ()
    offset: Expression | None = None
    fetch: Expression | None = None


@dataclass(frozen=True, slots=True)
class Values:
    """VALUES (…), (…); None stands for DEFAULT."""

    rows: tuple[tuple[Expression | None, ...], ...]
