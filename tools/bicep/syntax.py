"""What a Bicep file says: expressions and declarations, each with its line.

Source:
    https://learn.microsoft.com/azure/azure-resource-manager/bicep/file
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Node:
    """An expression."""

    line: int


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A number, true, false or null."""

    value: int | bool | None


@dataclass(frozen=True, slots=True)
class Text(Node):
    """A string: literal texts, and expressions where it has `${…}`."""

    parts: tuple["str | Node", ...]

    @property
    def literal(self) -> str | None:
        """The string, None when it depends on an expression."""
        return "".join(map(str, self.parts)) if all(isinstance(part, str) for part in self.parts) else None


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A parameter, variable, resource, module, or a lambda's or loop's own name."""

    name: str


@dataclass(frozen=True, slots=True)
class Entry(Node):
    """A property of an object."""

    key: Text
    value: Node


@dataclass(frozen=True, slots=True)
class Object(Node):
    """`{ … }`."""

    entries: tuple[Entry, ...]

    def get(self, *path: str) -> Node | None:
        """Return what stands at a path of literal keys, None when nothing does."""
        found: Node | None = self
        for key in path:
            entries = found.entries if isinstance(found, Object) else ()
            found = next((entry.value for entry in entries if entry.key.literal == key), None)
        return found


@dataclass(frozen=True, slots=True)
class Array(Node):
    """`[ … ]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function with its arguments."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Member(Node):
    """`of.name`."""

    of: Node
    name: str


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`of[index]`."""

    of: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Choice(Node):
    """`condition ? yes : no`."""

    condition: Node
    yes: Node
    no: Node


@dataclass(frozen=True, slots=True)
class Operation(Node):
    """An operator with one or two operands."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Lambda(Node):
    """`name => body`."""

    names: tuple[str, ...]
    body: Node


@dataclass(frozen=True, slots=True)
class Loop(Node):
    """`[for name in over: body]`; `names` has the index too when it is asked for."""

    names: tuple[str, ...]
    over: Node
    body: Node


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """`param`; `decorators` by name, with their arguments."""

    name: str
    type: str
    default: Node | None
    decorators: dict[str, tuple[Node, ...]]


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """`var`."""

    name: str
    value: Node


@dataclass(frozen=True, slots=True)
class Output(Node):
    """`output`."""

    name: str
    type: str
    value: Node


@dataclass(frozen=True, slots=True)
class Resource(Node):
    """`resource`; once, or for each of a loop, or only where the condition holds."""

    name: str
    type: str
    version: str
    existing: bool
    body: Object
    condition: Node | None = None
    loop: Loop | None = None


@dataclass(frozen=True, slots=True)
class Module(Node):
    """`module`; `file` as it is written."""

    name: str
    file: str
    body: Object
    condition: Node | None = None
    loop: Loop | None = None

    @property
    def arguments(self) -> tuple[Entry, ...]:
        """What is given for its parameters."""
        given = self.body.get("params")
        return given.entries if isinstance(given, Object) else ()


@dataclass(frozen=True, slots=True)
class Template:
    """One file."""

    path: Path
    scope: str = "resourceGroup"
    parameters: dict[str, Parameter] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    modules: dict[str, Module] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)

    def declared(self) -> Iterator[Node]:
        """Yield every declaration."""
        for kind in (self.parameters, self.variables, self.resources, self.modules, self.outputs):
            yield from kind.values()


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and everything in it."""
    yield node
    for each in fields(node):
        value = getattr(node, each.name)
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
        for part in parts:
            inner = part if isinstance(part, tuple) else (part,)
            for one in inner:
                if isinstance(one, Node):
                    yield from walk(one)
