"""Which app settings the code reads, found in its syntax.

A name may be put together: constants, parameters with what callers give for them, and loops over literals are
followed; what remains open is written `…`.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path

HOLE = "…"
FOLDERS = ("shared", "functions", "function_app.py")
"""What is deployed."""

_READERS = {"get", "getenv", "__getitem__", "pop"}
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Read:
    """A name that is read, and where."""

    name: str
    path: Path
    line: int

    def matches(self, name: str) -> bool:
        """Return whether this may be the reading of `name`."""
        return bool(re.fullmatch(r"\w+".join(map(re.escape, self.name.split(HOLE))), name))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What one module has: expressions with the nodes around them, decorators of functions, constants."""

    asked: list[tuple[ast.expr, ast.expr, list[ast.AST]]]
    calls: list[tuple[ast.Call, list[ast.AST]]]
    decorators: list[ast.Call]
    constants: dict[str, ast.expr]


@dataclass(slots=True)
class Code:
    """The deployed modules, with the constants and the calls of all of them."""

    modules: dict[Path, _Facts]
    constants: dict[str, ast.expr] = field(default_factory=dict)
    calls: dict[str, list[tuple[ast.Call, list[ast.AST]]]] = field(default_factory=dict)

    @classmethod
    def of(cls, repository: Path) -> "Code":
        """Read what is deployed."""
        places = [repository / name for name in FOLDERS]
        paths = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
        code = cls({path: _facts(path.read_text(encoding="utf-8")) for path in paths})
        for facts in code.modules.values():
            code.constants = facts.constants | code.constants
            for call, above in facts.calls:
                code.calls.setdefault(_last(call.func), []).append((call, above))
        return code

    def environment(self) -> Iterator[Read]:
        """Yield every name that is asked of the environment."""
        for path, facts in self.modules.items():
            for node, asked, above in facts.asked:
                yield from (Read(name, path, node.lineno) for name in self.texts(asked, above) if name != HOLE)

    def decorators(self) -> Iterator[tuple[ast.Call, Path]]:
        """Yield the decorators of functions: triggers, names, routes."""
        for path, facts in self.modules.items():
            yield from ((each, path) for each in facts.decorators)

    def texts(self, node: ast.expr, above: list[ast.AST], depth: int = 6) -> set[str]:
        """Return the texts that an expression may come to."""
        match node if depth else None:
            case ast.Constant(value=str() as text):
                return {text}
            case ast.JoinedStr(values=parts):
                choices = [self.texts(part, above, depth - 1) for part in parts]
                return {re.sub(f"{HOLE}+", HOLE, "".join(chosen)) for chosen in product(*choices)}
            case ast.FormattedValue(value=value):
                return self.texts(value, above, depth - 1)
            case ast.IfExp(body=body, orelse=other):
                return self.texts(body, above, depth - 1) | self.texts(other, above, depth - 1)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return self._named(name, above, depth - 1) or {HOLE}
            case _:
                return {HOLE}

    def _named(self, name: str, above: list[ast.AST], depth: int) -> set[str]:
        for place in reversed(above):
            if isinstance(place, ast.For | ast.AsyncFor) and _last(place.target) == name:
                return self._items(place.iter, above, depth)
            generators = getattr(place, "generators", [])
            for generator in generators:
                if _last(generator.target) == name:
                    return self._items(generator.iter, above, depth)
            if isinstance(place, _FUNCTION) and name in _parameters(place):
                return self._given(place, name, depth)
        constant = self.constants.get(name)
        return self.texts(constant, [], depth) if constant is not None else set()

    def _items(self, node: ast.expr, above: list[ast.AST], depth: int) -> set[str]:
        """Return the texts in what a loop runs over."""
        if isinstance(node, ast.Name | ast.Attribute) and _last(node) in self.constants:
            node = self.constants[_last(node)]
        items = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else None
        return {text for item in items for text in self.texts(item, above, depth)} if items else {HOLE}

    def _given(self, function: _FUNCTION, name: str, depth: int) -> set[str]:
        """Return the texts that callers give for a parameter, and its default."""
        names = _parameters(function)
        defaults = dict(zip(reversed(function.args.args), reversed(function.args.defaults), strict=False))
        found = {text for each, value in defaults.items() if each.arg == name for text in self.texts(value, [], depth)}
        for call, above in self.calls.get(function.name, []):
            by_name = {keyword.arg: keyword.value for keyword in call.keywords}
            offset = 1 if names[:1] == ["self"] else 0
            place = names.index(name) - offset
            value = by_name.get(name) or (call.args[place] if 0 <= place < len(call.args) else None)
            found |= self.texts(value, above, depth) if value is not None else set()
        return found


@cache
def _facts(text: str) -> _Facts:
    tree = ast.parse(text)
    facts = _Facts([], [], [], {})
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            facts.constants.setdefault(node.targets[0].id, node.value)
    for inner, above in _nested(tree, []):
        if isinstance(inner, _FUNCTION):
            facts.decorators.extend(each for each in inner.decorator_list if isinstance(each, ast.Call))
        elif isinstance(inner, ast.expr) and (asked := _asked(inner)):
            facts.asked.append((inner, asked, above))
        elif isinstance(inner, ast.Call):
            facts.calls.append((inner, above))
    return facts


def _asked(node: ast.AST) -> ast.expr | None:
    """Return the name that an expression asks the environment for."""
    match node:
        case ast.Call(func=ast.Attribute(value=of, attr=attr), args=[name, *_]) if attr in _READERS:
            return name if _last(of).endswith("environ") or attr == "getenv" else None
        case ast.Subscript(value=of, slice=name) | ast.Compare(left=name, comparators=[of]):
            return name if _last(of).endswith("environ") else None
        case _:
            return None


def _nested(node: ast.AST, above: list[ast.AST]) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """Yield everything in a module with the nodes around it, the outermost first."""
    around = [*above, node]
    for child in ast.iter_child_nodes(node):
        yield child, around
        yield from _nested(child, around)


def _parameters(function: _FUNCTION) -> list[str]:
    return [each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]


def _last(node: ast.expr) -> str:
    """Return the last name of a dotted one."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
