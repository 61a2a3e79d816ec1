"""The templates of one folder together: what a name stands for, across modules, and which values it may have."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Final
from typing import Literal as Only

from tools.bicep import syntax
from tools.bicep.findings import Finding
from tools.bicep.parse import parse
from tools.bicep.syntax import Module, Node, Resource, Template

MAIN = "main.bicep"


class _Unknown(Enum):
    UNKNOWN = "…"


UNKNOWN: Final = _Unknown.UNKNOWN
"""A value that only the deployment knows."""

type Value = str | int | bool | Only[_Unknown.UNKNOWN] | None
type Given = Mapping[str, Value]
"""What the parameters of `main.bicep` are taken to be, by name."""


@dataclass(frozen=True, slots=True)
class Placed[T]:
    """Something, and the template that it stands in."""

    template: Template
    node: T

    def finding(self, rule: str, message: str, line: int = 0) -> Finding:
        """Return what is wrong here, or at another line of the same file."""
        return Finding(self.template.path, line or getattr(self.node, "line", 1), rule, message)


class Tree:
    """Every template of a folder; `findings` has those that cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.findings: list[Finding] = []
        self.templates: dict[Path, Template] = {}
        for path in sorted(folder.rglob("*.bicep")):
            template, findings = parse(path.resolve(), path.read_text(encoding="utf-8"))
            self.templates[path.resolve()] = template
            self.findings += findings
        self._callers: dict[Path, list[Placed[Module]]] = {}
        for template in self.templates.values():
            for module in template.modules.values():
                target = (template.path.parent / module.file).resolve()
                self._callers.setdefault(target, []).append(Placed(template, module))
        self._main = (folder / MAIN).resolve()
        if self._main not in self.templates:
            self.findings.append(Finding(folder / MAIN, 1, "syntax", "there is no such file"))

    @property
    def main(self) -> Template:
        """The template that is deployed."""
        return self.templates[self._main]

    def resources(self, *types: str) -> Iterator[Placed[Resource]]:
        """Yield the resources of these types that are created, of all types when none is named."""
        for template in self.templates.values():
            for resource in template.resources.values():
                if not resource.existing and (not types or resource.type in types):
                    yield Placed(template, resource)

    def target(self, template: Template, module: Module) -> Template | None:
        """Return the template that a module is made of."""
        return self.templates.get((template.path.parent / module.file).resolve())

    def callers(self, template: Template) -> list[Placed[Module]]:
        """Return the modules that are made of a template."""
        return self._callers.get(template.path, [])

    def leaves(self, place: Placed[Node], given: Given | None = None) -> Iterator[Placed[Node]]:
        """Yield what an expression may come to: names followed, also into and out of modules, choices taken apart."""
        template, node = place.template, place.node
        match node:
            case syntax.Name(name=name) if name in template.variables:
                yield from self.leaves(Placed(template, template.variables[name].value), given)
            case syntax.Name(name=name) if name in template.parameters and template is not self.main:
                yield from self._arguments(template, name, given)
            case syntax.Member(of=syntax.Member(of=of, name="outputs"), name=name) if module := _module(template, of):
                source = self.target(template, module)
                if source and name in source.outputs:
                    yield from self.leaves(Placed(source, source.outputs[name].value), given)
            case syntax.Choice(condition=condition, yes=yes, no=no):
                decided = self.decide(Placed(template, condition), given)
                for branch, wanted in ((yes, True), (no, False)):
                    if decided in (wanted, None):
                        yield from self.leaves(Placed(template, branch), given)
            case _:
                yield place

    def possible(self, place: Placed[Node], given: Given | None = None) -> frozenset[Value]:
        """Return the values that an expression may have; `UNKNOWN` among them stands for any other."""
        return frozenset(value for leaf in self.leaves(place, given) for value in self._values(leaf, given))

    def decide(self, place: Placed[Node], given: Given | None = None) -> bool | None:
        """Return whether a condition holds, None when that is not known."""
        values = self.possible(place, given)
        [one] = values if len(values) == 1 else [None]
        return one if isinstance(one, bool) else None

    def _arguments(self, template: Template, name: str, given: Given | None) -> Iterator[Placed[Node]]:
        default = template.parameters[name].default
        for caller in self.callers(template):
            argument = next((each.value for each in caller.node.arguments if each.key.literal == name), None)
            if argument is not None:
                yield from self.leaves(Placed(caller.template, argument), given)
            elif default is not None:
                yield from self.leaves(Placed(template, default), given)

    def _values(self, leaf: Placed[Node], given: Given | None) -> Iterator[Value]:
        match leaf.node:
            case syntax.Literal(value=value):
                yield value
            case syntax.Text(parts=parts):
                texts = [[part] if isinstance(part, str) else self._texts(leaf.template, part, given) for part in parts]
                for chosen in product(*texts):
                    yield UNKNOWN if UNKNOWN in chosen else "".join(map(str, chosen))
            case syntax.Name(name=name) if leaf.template is self.main and name in self.main.parameters:
                yield from self._parameter(self.main.parameters[name], given)
            case syntax.Operation(operator=operator, operands=operands):
                values = [self.possible(Placed(leaf.template, operand), given) for operand in operands]
                yield from (_operate(operator, chosen) for chosen in product(*values))
            case syntax.Call(function="empty", arguments=[argument]):
                values = [self.possible(Placed(leaf.template, argument), given)]
                yield from (UNKNOWN if value is UNKNOWN else value == "" for value in values[0])
            case _:
                yield UNKNOWN

    def _texts(self, template: Template, node: Node, given: Given | None) -> list[Value]:
        return list(self.possible(Placed(template, node), given))

    def _parameter(self, parameter: syntax.Parameter, given: Given | None) -> Iterator[Value]:
        allowed = parameter.decorators.get("allowed")
        if given and parameter.name in given:
            yield given[parameter.name]
        elif allowed and isinstance(allowed[0], syntax.Array):
            for item in allowed[0].items:
                yield from self._values(Placed(self.main, item), given)
        else:
            if parameter.default is not None:
                yield from self.possible(Placed(self.main, parameter.default), given)
            yield UNKNOWN


def _module(template: Template, of: Node) -> Module | None:
    while isinstance(of, syntax.Index):
        of = of.of
    return template.modules.get(of.name) if isinstance(of, syntax.Name) else None


def _operate(operator: str, values: tuple[Value, ...]) -> Value:
    settles = {"&&": False, "||": True}.get(operator)
    if settles is not None and any(value is settles for value in values):
        return settles
    match operator, () if UNKNOWN in values else values:
        case "!", (bool() as one,):
            return not one
        case (("==" | "!="), (one, other)):
            return (one == other) is (operator == "==")
        case (("&&" | "||"), _):
            return operator == "&&"
        case ">", (int() as one, int() as other):
            return one > other
        case _:
            return UNKNOWN
