"""Modules against the files that they are made of, and declarations against their own types."""

from collections.abc import Iterator

from tools.bicep import durations, syntax
from tools.bicep.findings import Finding
from tools.bicep.kinds import fits, kinds, wanted
from tools.bicep.syntax import Entry, Module, Parameter, Template
from tools.bicep.tree import UNKNOWN, Placed, Tree


def check(tree: Tree) -> Iterator[Finding]:
    """Yield what is wrong with modules, defaults and outputs."""
    for template in tree.templates.values():
        for module in template.modules.values():
            yield from _check_module(tree, Placed(template, module))
        for parameter in template.parameters.values():
            if parameter.default is not None:
                yield from check_value(tree, parameter, Placed(template, parameter.default))
        for output in template.outputs.values():
            found = kinds(tree, Placed(template, output.value))
            if not fits(found, wanted(output.type)):
                yield Placed(template, output).finding("type", f"{output.name} is {' or '.join(sorted(found))}")


def check_value(tree: Tree, parameter: Parameter, value: Placed[syntax.Node]) -> Iterator[Finding]:
    """Yield what is wrong with a value of a parameter: its type, or that it is not one of those allowed."""
    found, name = kinds(tree, value), parameter.name
    if not fits(found, wanted(parameter.type)):
        yield value.finding("type", f"{name} has to be of type {parameter.type}, not {' or '.join(sorted(found))}")
        return
    allowed = _allowed(parameter)
    low, high = (_number(parameter, limit) for limit in ("minValue", "maxValue"))
    for one in sorted(tree.possible(value) - {UNKNOWN}, key=str):
        if allowed and one not in allowed:
            yield value.finding("value", f"{name} is one of {', '.join(map(str, allowed))}, not {one!r}")
        if isinstance(one, int) and (
            one < (low if low is not None else one) or one > (high if high is not None else one)
        ):
            yield value.finding("value", f"{name} is not {one}: it has limits")
        if (
            isinstance(one, str)
            and name.endswith("Expiry")
            and (why := durations.fault("defaultMessageTimeToLive", one))
        ):
            yield value.finding("duration", f"{name}: {why}")


def _check_module(tree: Tree, place: Placed[Module]) -> Iterator[Finding]:
    module = place.node
    target = tree.target(place.template, module)
    if target is None:
        yield place.finding("module", f"there is no {module.file}")
        return
    if place.template.scope != target.scope and module.body.get("scope") is None:
        yield place.finding("scope", f"{module.name} needs a scope: {module.file} is of a {target.scope}")
    given = {entry.key.literal or "": entry for entry in module.arguments}
    for name, entry in given.items():
        if name not in target.parameters:
            yield place.finding("module", f"{module.file} has no parameter {name}", entry.line)
        else:
            yield from _check_argument(tree, place.template, target, entry)
    for name, parameter in target.parameters.items():
        if parameter.default is None and name not in given:
            yield place.finding("module", f"{module.name} does not say {name}, which {module.file} needs")


def _check_argument(tree: Tree, template: Template, target: Template, entry: Entry) -> Iterator[Finding]:
    parameter = target.parameters[entry.key.literal or ""]
    yield from check_value(tree, parameter, Placed(template, entry.value))
    secure = isinstance(entry.value, syntax.Name) and _secure(template, entry.value.name)
    if secure and "secure" not in parameter.decorators:
        yield Placed(template, entry).finding("secret", f"{parameter.name} of {target.path.name} is not @secure()")


def _secure(template: Template, name: str) -> bool:
    return name in template.parameters and "secure" in template.parameters[name].decorators


def _allowed(parameter: Parameter) -> list[object]:
    match parameter.decorators.get("allowed"):
        case (syntax.Array(items=items),):
            return [item.literal if isinstance(item, syntax.Text) else getattr(item, "value", None) for item in items]
        case _:
            return []


def _number(parameter: Parameter, limit: str) -> int | None:
    match parameter.decorators.get(limit):
        case (syntax.Literal(value=int() as value),):
            return value
        case _:
            return None
