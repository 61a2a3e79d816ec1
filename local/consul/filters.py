"""Filter expressions, `Service.Meta.env == "prod" and "v2" in Service.Tags`, compiled against the rows of an endpoint.

A selector that goes through a list (`Checks.Status`) holds when it does for any element.
https://developer.hashicorp.com/consul/api-docs/features/filtering
"""

import re
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from local.consul.errors import ConsulError

type Filter = Callable[[Any], bool]
type _Values = Callable[[Any], Iterable[Any]]

_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<mark>==|!=|[()\[\]])|(?P<word>[^\s()"`=!\[\]]+))')
_NOT_FILTERED = frozenset({"CreateIndex", "ModifyIndex"})
_MISSING = object()
_NEGATED = frozenset({"!=", "not in", "not matches", "is empty"})
"""What holds of a key that a map does not have."""

_OPERATORS = {
    "text": frozenset({"==", "!=", "in", "not in", "matches", "not matches"}),
    "number": frozenset({"==", "!="}),
    "bool": frozenset({"==", "!="}),
    "list": frozenset({"in", "not in", "is empty", "is not empty"}),
    "map": frozenset({"in", "not in", "is empty", "is not empty"}),
    "rows": frozenset({"is empty", "is not empty"}),
}


@dataclass(frozen=True, slots=True)
class Selector:
    """A field of a row: what kind it is of, and its values in a row."""

    kind: str
    values: _Values
    row: type[Struct] | None = None


@cache
def selectors(row: type[Struct]) -> dict[str, Selector]:
    """Return the fields of a kind of row that expressions may name."""
    return dict(_fields(row, "", lambda one: (one,)))


def compiled(expression: str, known: dict[str, Selector]) -> Filter:
    """Return what tells whether a row meets an expression.

    Raises:
        ConsulError: it cannot be understood, 500 as of Consul.
    """
    try:
        parser = _Parser(_tokens(expression), known)
        found = parser.either()
        parser.end()
    except ValueError as why:
        raise ConsulError(500, f"Failed to create boolean expression evaluator: {why}") from None
    return found


def _fields(row: type[Struct], prefix: str, rows: _Values) -> Iterable[tuple[str, Selector]]:
    for one in fields(row):
        path = f"{prefix}{one.encode_name}"
        values = _attribute(rows, one.name)
        kind, inner = _kind(one.type)
        if one.encode_name in _NOT_FILTERED or not kind:
            continue
        if kind != "row":
            yield path, Selector(kind, values)
        if inner is not None:
            yield from _fields(inner, f"{path}.", _elements(values) if kind == "rows" else values)


def _attribute(rows: _Values, name: str) -> _Values:
    return lambda row: (getattr(one, name) for one in rows(row))


def _elements(lists: _Values) -> _Values:
    return lambda row: (one for found in lists(row) for one in found)


def _kind(of: Any) -> tuple[str, type[Struct] | None]:
    """Return the kind of a field, empty for one that cannot be filtered by, and the rows inside it."""
    plain = {str: "text", int: "number", bool: "bool"}.get(of)
    if plain:
        return plain, None
    if isinstance(of, types.UnionType):
        of = next(one for one in typing.get_args(of) if typing.get_origin(one) is dict)
    if isinstance(of, type) and issubclass(of, Struct):
        return "row", of
    match typing.get_origin(of), typing.get_args(of):
        case (origin, (inner, second)) if origin is tuple and second is ...:
            return ("list", None) if inner is str else ("rows", inner)
        case (origin, (_, second)) if origin is dict and second is str:
            return "map", None
    return "", None


def _tokens(expression: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while expression[at:].strip():
        match = _TOKEN.match(expression, at)
        if match is None:
            message = f"no match found at {at}: {expression[at:]!r}"
            raise ValueError(message)
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    return found


class _Parser:
    """Recursive descent: `or` binds least, then `and`, then `not`."""

    def __init__(self, tokens: Sequence[tuple[str, str]], known: dict[str, Selector]) -> None:
        self._tokens = tokens
        self._known = known
        self._at = 0

    def either(self) -> Filter:
        """Read alternatives."""
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def end(self) -> None:
        """Refuse what follows."""
        if self._at < len(self._tokens):
            self._fail()

    def _both(self) -> Filter:
        parts = [self._negation()]
        while self._take("and"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _negation(self) -> Filter:
        if self._take("not"):
            inner = self._negation()
            return lambda row: not inner(row)
        if self._take("("):
            inner = self.either()
            self._expect(")")
            return inner
        return self._match()

    def _match(self) -> Filter:
        kind, first = self._next()
        if kind == "word" and self._peek() == "[":
            first += self._bracketed()
        operator = self._operator()
        if operator in {"in", "not in"}:
            return _test(*self._selector(), operator, _value(kind, first))
        if kind != "word":
            self._fail()
        name, selector = first, self._found(first)
        if operator in {"is empty", "is not empty"}:
            return _test(name, selector, operator, "")
        value = _value(*self._next())
        return _test(name, selector, operator.replace("contains", "in"), value)

    def _selector(self) -> tuple[str, Selector]:
        kind, name = self._next()
        if kind != "word":
            self._fail()
        if self._peek() == "[":
            name += self._bracketed()
        return name, self._found(name)

    def _bracketed(self) -> str:
        self._expect("[")
        kind, key = self._next()
        self._expect("]")
        return f".{_value(kind, key)}"

    def _found(self, name: str) -> Selector:
        found = self._known.get(name)
        if found is not None:
            return found
        for dot in re.finditer(r"\.", name):
            container = self._known.get(name[: dot.start()])
            if container is not None and container.kind == "map":
                return _entry(container, name[dot.end() :])
        message = f'Selector "{name}" is not valid'
        raise ValueError(message)

    def _operator(self) -> str:
        words: list[str] = []
        while self._peek() in {"not", "is"} and len(words) < 2:
            words.append(self._next()[1])
        words.append(self._next()[1])
        operator = " ".join(words)
        if operator not in {*_OPERATORS["text"], *_OPERATORS["list"], "contains", "not contains"}:
            message = f"{operator!r} is not an operator"
            raise ValueError(message)
        return operator

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            message = "the expression ends too early"
            raise ValueError(message)
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            self._fail()

    def _fail(self) -> typing.NoReturn:
        message = f"unexpected {self._peek()!r}"
        raise ValueError(message)


def _entry(container: Selector, key: str) -> Selector:
    return Selector("text", lambda row: ((one or {}).get(key, _MISSING) for one in container.values(row)))


def _value(kind: str, token: str) -> str:
    if kind == "mark":
        message = f"unexpected {token!r}"
        raise ValueError(message)
    if kind == "word" or token.startswith("`"):
        return token.strip("`")
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def _test(name: str, selector: Selector, operator: str, value: str) -> Filter:
    if operator not in _OPERATORS[selector.kind]:
        message = f'Invalid match operator "{operator}" for selector "{name}"'
        raise ValueError(message)
    holds = _predicate(selector.kind, operator, value)
    negated = operator in _NEGATED
    values = selector.values
    return lambda row: any(negated if one is _MISSING else holds(one) for one in values(row))


def _predicate(kind: str, operator: str, value: str) -> Filter:
    wanted: Any = value
    if kind == "number":
        wanted = int(value)
    elif kind == "bool":
        wanted = {"true": True, "false": False}[value] if value in {"true", "false"} else _not_a_bool(value)
    match operator.removeprefix("not "):
        case "==":
            return lambda one: bool(one == wanted)
        case "!=":
            return lambda one: bool(one != wanted)
        case "matches":
            positive: Filter = _matcher(value)
        case "in":
            positive = lambda one: wanted in (one or ())  # noqa: E731 - a name for one of two
        case "is empty":
            return lambda one: not one
        case _:
            return bool
    return (lambda one: not positive(one)) if operator.startswith("not ") else positive


def _matcher(expression: str) -> Filter:
    try:
        pattern = re.compile(expression)
    except re.error as why:
        message = f"Failed to compile regular expression {expression!r}: {why}"
        raise ValueError(message) from None
    return lambda one: pattern.search(one) is not None


def _not_a_bool(value: str) -> typing.NoReturn:
    message = f"{value!r} is not true or false"
    raise ValueError(message)
