"""What names mean while a statement is translated: sources with their columns, variables, and the plan's bindings."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from local.sqlserver.convert import Conversion, conversion
from local.sqlserver.errors import SqlError, unknown_column
from local.sqlserver.sql import tree
from local.sqlserver.sqltypes import SqlType


@dataclass(frozen=True, slots=True)
class Typed:
    """A translated expression: SQLite text and its type; no type for NULL or for an undeclared parameter."""

    sql: str
    kind: SqlType | None
    undeclared: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a source: its name, empty when it has none, its type and its SQLite text."""

    name: str
    kind: SqlType
    sql: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A source in FROM, under the name the statement knows it by."""

    alias: str
    schema: str
    fields: tuple[Field, ...]


@dataclass(slots=True)
class Scope:
    """The sources of one SELECT, and the scope around it; `grouped` holds the texts of its GROUP BY."""

    parent: "Scope | None" = None
    relations: list[Relation] = field(default_factory=list)
    common: dict[str, Relation] = field(default_factory=dict)
    grouped: frozenset[str] | None = None

    def find_common(self, name: str) -> Relation | None:
        """Return a common table expression in sight."""
        scope: Scope | None = self
        while scope is not None:
            if name.casefold() in scope.common:
                return scope.common[name.casefold()]
            scope = scope.parent
        return None


class Names(Protocol):
    """What a translation has to know of the database."""

    def source(self, name: tree.Name, arguments: tuple[Typed, ...] | None) -> "Found":
        """Return what a name in FROM stands for; SqlError 208 when nothing does, 229 without permission."""
        ...


class Found(NamedTuple):
    """A source: its SQLite text, its schema, its columns with text in which {0} is the alias."""

    sql: str
    schema: str
    columns: tuple[tuple[str, SqlType, str], ...]


CONVERSIONS: list[Conversion] = []
_INDEX: dict[int, int] = {}
_NUMBERING = threading.Lock()


def converted(sql: str, source: SqlType, target: SqlType, style: int | None = None, *, cast: bool = False) -> str:
    """Return the SQLite text that converts a value, unchanged where both types are held alike."""
    step = conversion(source, target, style, cast=cast)
    if step is None:
        return sql
    with _NUMBERING:
        number = _INDEX.setdefault(id(step), len(CONVERSIONS))
        if number == len(CONVERSIONS):
            CONVERSIONS.append(step)
    return f"cv({number}, {sql})"


class Binding:
    """The variables of a statement: each becomes a numbered parameter of the SQLite statement."""

    def __init__(self, variables: Mapping[str, SqlType | None]) -> None:
        self._variables = variables
        self.used: list[str] = []
        self.inferred: dict[str, SqlType] = {}

    def bind(self, name: str) -> Typed:
        """Return the text of a variable; SqlError 137 when it is not declared."""
        key = name.lower()
        if key not in self._variables:
            raise SqlError(137, f'Must declare the scalar variable "{name}".', 15, 2)
        if key not in self.used:
            self.used.append(key)
        kind = self._variables[key]
        return Typed(f":v{self.used.index(key)}", kind, key if kind is None else None)

    def infer(self, value: Typed, kind: SqlType | None) -> None:
        """Note the type an undeclared parameter is used as."""
        if value.undeclared is not None and kind is not None:
            self.inferred.setdefault(value.undeclared, kind)


def resolve(scope: Scope | None, name: tree.Name) -> tuple[Field, Scope]:
    """Return the field a column reference means; SqlError 207, 209 or 4104 when it means none or several."""
    column = name.parts[-1].casefold()
    place = scope
    while place is not None:
        found = [
            match
            for relation in place.relations
            if _called(relation, name.parts[:-1])
            for match in relation.fields
            if match.name.casefold() == column
        ]
        if len(found) > 1:
            raise SqlError(209, f"Ambiguous column name '{name.parts[-1]}'.")
        if found:
            return found[0], place
        if len(name.parts) > 1 and any(_called(relation, name.parts[:-1]) for relation in place.relations):
            raise unknown_column(name.parts[-1])
        place = place.parent
    if len(name.parts) > 1:
        raise SqlError(4104, f'The multi-part identifier "{name}" could not be bound.')
    raise unknown_column(name.parts[0])


def _called(relation: Relation, qualifier: tuple[str, ...]) -> bool:
    if not qualifier:
        return True
    if relation.alias.casefold() != qualifier[-1].casefold():
        return False
    return len(qualifier) == 1 or relation.schema.casefold() == qualifier[-2].casefold()


def text_literal(value: str) -> str:
    """Return a SQLite string constant."""
    if "\0" in value:
        return f"CAST(x'{value.encode().hex()}' AS TEXT)"
    return "'" + value.replace("'", "''") + "'"


def constant(value: Any) -> str:
    """Return any held value as a SQLite constant."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, str):
        return text_literal(value)
    return repr(value)
