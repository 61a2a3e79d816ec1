"""The statements of a batch."""

from dataclasses import dataclass

from local.sqlserver.sql.tree import Expression, Item, Name, Query, Source, Values
from local.sqlserver.sqltypes import SqlType


@dataclass(frozen=True, slots=True)
class Procedure:
    """EXEC of a procedure: its arguments by position and by name, and the variable of its status."""

    name: Name
    arguments: "tuple[Argument, ...]"
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of EXEC; value None is DEFAULT."""

    name: str | None
    value: Expression | None
    output: bool


@dataclass(frozen=True, slots=True)
class Insert:
    """INSERT; `rows` None is DEFAULT VALUES."""

    table: Name
    columns: tuple[str, ...]
    rows: Values | Query | Procedure | None
    output: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """`column = value`, or `column += value` with its operator; value None is DEFAULT."""

    column: str
    value: Expression | None
    operator: str | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """UPDATE, with an optional FROM."""

    table: Name
    changes: "tuple[Change, ...]"
    where: Expression | None
    source: Source | None = None
    top: Expression | None = None
    output: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """DELETE, with an optional FROM."""

    table: Name
    where: Expression | None
    source: Source | None = None
    top: Expression | None = None
    output: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """One variable of DECLARE."""

    name: str
    kind: SqlType
    value: Expression | None


@dataclass(frozen=True, slots=True)
class Declare:
    """DECLARE."""

    variables: tuple[Declared, ...]


@dataclass(frozen=True, slots=True)
class Assign:
    """SET @x = …."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Option:
    """SET of a session option, IDENTITY_INSERT included."""

    words: tuple[str, ...]
    table: Name | None = None


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """A column of CREATE TABLE; `kind` None with `computed` for a computed column; expressions as written."""

    name: str
    kind: SqlType | None
    nullable: bool | None = None
    identity: tuple[int, int] | None = None
    default: str | None = None
    computed: str | None = None
    key: str | None = None
    check: str | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """A table constraint: `kind` PRIMARY, UNIQUE or CHECK."""

    kind: str
    name: str | None
    columns: tuple[tuple[str, bool], ...] = ()
    check: str | None = None
    clustered: bool | None = None


@dataclass(frozen=True, slots=True)
class CreateTable:
    """CREATE TABLE."""

    name: Name
    columns: tuple[ColumnDefinition, ...]
    constraints: tuple[Constraint, ...]


@dataclass(frozen=True, slots=True)
class CreateIndex:
    """CREATE INDEX."""

    name: str
    table: Name
    columns: tuple[tuple[str, bool], ...]
    unique: bool
    clustered: bool


@dataclass(frozen=True, slots=True)
class AlterTable:
    """ALTER TABLE: `action` is ADD, DROP COLUMN or ALTER COLUMN; `text` the statement as written."""

    name: Name
    action: str
    columns: tuple[ColumnDefinition, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    names: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """CREATE SCHEMA or CREATE DATABASE."""

    what: str
    name: str


@dataclass(frozen=True, slots=True)
class Drop:
    """DROP TABLE, SCHEMA, DATABASE or INDEX."""

    what: str
    names: tuple[Name, ...]
    if_exists: bool
    on: Name | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """CREATE LOGIN (`detail` its password), USER (its login) or ROLE."""

    what: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """ALTER ROLE … ADD or DROP MEMBER."""

    role: str
    member: str
    add: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """GRANT, DENY or REVOKE on a DATABASE (no target), SCHEMA or OBJECT."""

    action: str
    permissions: tuple[str, ...]
    kind: str
    target: Name | None
    principal: str


@dataclass(frozen=True, slots=True)
class Truncate:
    """TRUNCATE TABLE."""

    name: Name


@dataclass(frozen=True, slots=True)
class Use:
    """USE database."""

    name: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """BEGIN, COMMIT, ROLLBACK or SAVE TRANSACTION; `name` of a savepoint."""

    action: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class If:
    """IF … ELSE …."""

    condition: Expression
    then: "Statement"
    otherwise: "Statement | None"


@dataclass(frozen=True, slots=True)
class While:
    """WHILE …."""

    condition: Expression
    body: "Statement"


@dataclass(frozen=True, slots=True)
class Block:
    """BEGIN … END."""

    statements: "tuple[Statement, ...]"


@dataclass(frozen=True, slots=True)
class Jump:
    """BREAK, CONTINUE or RETURN."""

    word: str


@dataclass(frozen=True, slots=True)
class Print:
    """PRINT."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Throw:
    """THROW number, message, state, or RAISERROR(message, severity, state)."""

    number: Expression
    message: Expression
    severity: Expression | None
    state: Expression


type Statement = (
    Query | Insert | Update | Delete | Declare | Assign | Option | CreateTable | CreateIndex | AlterTable | Create
    | Drop | Principal | Membership | Grant | Truncate | Use | Transaction | Procedure | If | While | Block | Jump
    | Print | Throw
)  # fmt: skip
