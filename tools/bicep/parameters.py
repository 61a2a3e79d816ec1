"""The two parameter files against the parameters of `main.bicep`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tools.bicep import syntax
from tools.bicep.findings import Finding
from tools.bicep.modules import check_value
from tools.bicep.parse import parse_parameters
from tools.bicep.syntax import Node, Template
from tools.bicep.tree import MAIN, Placed, Tree

BICEP, AZD = "main.bicepparam", "main.parameters.json"


def check(tree: Tree) -> Iterator[Finding]:
    """Yield what is wrong with the parameter files."""
    path = tree.folder / BICEP
    template, findings = parse_parameters(path, path.read_text(encoding="utf-8"))
    yield from findings
    if not findings:
        if template.scope != MAIN:
            yield Finding(path, 1, "parameters", f"has to say: using '{MAIN}'")
        yield from _check(tree, template, {name: each.value for name, each in template.variables.items()})
    path = tree.folder / AZD
    text = path.read_text(encoding="utf-8")
    try:
        given = json.loads(text)["parameters"]
    except (ValueError, KeyError, TypeError) as why:
        yield Finding(path, 1, "parameters", f"cannot be read: {why}")
        return
    yield from _check(tree, Template(path), {name: _node(each, _line(text, name)) for name, each in given.items()})


def _check(tree: Tree, template: Template, given: dict[str, Node]) -> Iterator[Finding]:
    for name, value in given.items():
        parameter = tree.main.parameters.get(name)
        place = Placed(template, value)
        if parameter is None:
            yield place.finding("parameters", f"{MAIN} has no parameter {name}")
        else:
            yield from check_value(tree, parameter, place)
    for name, parameter in tree.main.parameters.items():
        if parameter.default is None and name not in given:
            yield Finding(template.path, 1, "parameters", f"{name} is missing, which {MAIN} needs")


def _node(value: object, line: int) -> Node:
    """Return JSON as syntax; a text that azd completes is an expression."""
    match value:
        case {"value": inner}:
            made = _node(inner, line)
        case dict():
            entries = (
                syntax.Entry(line, syntax.Text(line, (key,)), _node(inner, line)) for key, inner in value.items()
            )
            made = syntax.Object(line, tuple(entries))
        case list():
            made = syntax.Array(line, tuple(_node(item, line) for item in value))
        case str() if "${" in value:
            made = syntax.Text(line, (syntax.Call(line, "readEnvironmentVariable", ()),))
        case str():
            made = syntax.Text(line, (value,))
        case _:
            made = syntax.Literal(line, value if isinstance(value, bool | int) else None)
    return made


def _line(text: str, name: str) -> int:
    found = re.search(rf'"{re.escape(name)}"\s*:', text)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def given(tree: Tree, name: str) -> Iterator[tuple[Path, Node | None]]:
    """Yield both files with what each gives for a parameter; None where it gives nothing, or cannot be read."""
    path = tree.folder / BICEP
    template, _ = parse_parameters(path, path.read_text(encoding="utf-8"))
    yield path, template.variables[name].value if name in template.variables else None
    path = tree.folder / AZD
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["parameters"][name]
    except (ValueError, KeyError, TypeError):
        yield path, None
    else:
        yield path, _node(found, 1)
