"""Names: each means something, what is declared is used, and the functions and properties that are read exist."""

from collections.abc import Iterator

from tools.bicep import syntax
from tools.bicep.catalog import TYPES
from tools.bicep.findings import Finding
from tools.bicep.kinds import FUNCTIONS
from tools.bicep.models import MapOf, Model, Scalar, Shape
from tools.bicep.resources import read_shape
from tools.bicep.syntax import Node, Resource, Template
from tools.bicep.tree import Placed, Tree

DECORATORS = ("allowed", "description", "maxLength", "maxValue", "metadata", "minLength", "minValue", "secure")
_ALWAYS = ("id", "name", "type")


def check(tree: Tree) -> Iterator[Finding]:
    """Yield what is wrong with names."""
    for template in tree.templates.values():
        used: set[str] = set()
        for declared in template.declared():
            for place, node in _scoped(template, declared, frozenset()):
                used |= _used(node)
                yield from _check(tree, Placed(template, node), place)
        yield from _unused(template, used)
        for parameter in template.parameters.values():
            for name in parameter.decorators.keys() - set(DECORATORS):
                yield Placed(template, parameter).finding("decorator", f"@{name} is not used here")
    yield from _main(tree)


def _unused(template: Template, used: set[str]) -> Iterator[Finding]:
    for name, parameter in template.parameters.items():
        if name not in used:
            yield Placed(template, parameter).finding("unused", f"parameter {name} is not used")
    for name, variable in template.variables.items():
        if name not in used:
            yield Placed(template, variable).finding("unused", f"variable {name} is not used")
    for name, resource in template.resources.items():
        if resource.existing and name not in used:
            yield Placed(template, resource).finding("unused", f"existing resource {name} is not used")


def _main(tree: Tree) -> Iterator[Finding]:
    """Yield what `main.bicep` does not say as azd and people expect it."""
    if tree.main.scope != "subscription":
        yield Finding(tree.main.path, 1, "scope", "main.bicep makes the resource group: targetScope = 'subscription'")
    for parameter in tree.main.parameters.values():
        if "description" not in parameter.decorators:
            yield Placed(tree.main, parameter).finding("description", f"parameter {parameter.name} has no @description")
    for output in tree.main.outputs.values():
        if output.name != output.name.upper():
            yield Placed(tree.main, output).finding(
                "output", f"azd makes a variable of {output.name}: write it upper case"
            )
    called = {placed.node.file for path in tree.templates.values() for placed in tree.callers(path)}
    for path, template in tree.templates.items():
        if template is not tree.main and not any(path.match(file.rpartition("/")[2]) for file in called):
            yield Finding(path, 1, "unused", "no module is made of this file")


def _scoped(template: Template, node: Node, local: frozenset[str]) -> Iterator[tuple[frozenset[str], Node]]:
    """Yield every expression in a declaration with the names that loops and lambdas give it."""
    yield local, node
    if isinstance(node, syntax.Resource | syntax.Module):
        if node.loop:
            yield from _scoped(template, node.loop.over, local)
            local |= frozenset(node.loop.names)
        if node.condition:
            yield from _scoped(template, node.condition, local)
        yield from _scoped(template, node.body, local)
        return
    match node:
        case syntax.Loop(names=names, over=over, body=body):
            yield from _scoped(template, over, local)
            yield from _scoped(template, body, local | frozenset(names))
        case syntax.Lambda(names=names, body=body):
            yield from _scoped(template, body, local | frozenset(names))
        case syntax.Parameter(default=default):
            if default:
                yield from _scoped(template, default, local)
        case _:
            for child in _children(node):
                yield from _scoped(template, child, local)


def _children(node: Node) -> Iterator[Node]:
    """Yield what is directly in an expression."""
    match node:
        case syntax.Object(entries=inner) | syntax.Array(items=inner) | syntax.Call(arguments=inner):
            yield from inner
        case syntax.Operation(operands=inner):
            yield from inner
        case syntax.Text(parts=parts):
            yield from (part for part in parts if isinstance(part, Node))
        case syntax.Entry(key=key, value=value):
            yield from (key, value)
        case syntax.Member(of=of):
            yield of
        case syntax.Index(of=of, index=index):
            yield from (of, index)
        case syntax.Choice(condition=condition, yes=yes, no=no):
            yield from (condition, yes, no)
        case syntax.Variable(value=value) | syntax.Output(value=value):
            yield value
        case _:
            pass


def _used(node: Node) -> set[str]:
    return {node.name} if isinstance(node, syntax.Name) else set()


def _check(tree: Tree, place: Placed[Node], local: frozenset[str]) -> Iterator[Finding]:
    template, node = place.template, place.node
    match node:
        case syntax.Name(name=name) if name not in local and not _declared(template, name):
            yield place.finding("unknown", f"{name} is not declared")
        case syntax.Call(function=function, arguments=arguments):
            known = FUNCTIONS.get(function)
            if known is None:
                yield place.finding("function", f"{function}() is not in tools/bicep/kinds.py: add it")
            elif not known[1] <= len(arguments) <= known[2]:
                yield place.finding("function", f"{function}() does not take {len(arguments)} arguments")
        case syntax.Member() if (chain := _chain(template, node)) is not None:
            source, names = chain
            if isinstance(source, Resource):
                yield from _check_read(place, source, names)
            else:
                target = tree.target(template, source)
                if target and len(names) == 2 and (names[0] != "outputs" or names[1] not in target.outputs):
                    yield place.finding("unknown", f"{source.file} has no output {names[-1]}")
        case _:
            pass


def _declared(template: Template, name: str) -> bool:
    return any(name in kind for kind in (template.parameters, template.variables, template.resources, template.modules))


def _chain(template: Template, node: Node) -> tuple[Resource | syntax.Module, list[str]] | None:
    """Return a resource or a module, and the path of properties that is read from it."""
    names: list[str] = []
    while isinstance(node, syntax.Member | syntax.Index):
        if isinstance(node, syntax.Member):
            names.insert(0, node.name)
        node = node.of
    if not isinstance(node, syntax.Name) or not names:
        return None
    source = template.resources.get(node.name) or template.modules.get(node.name)
    return (source, names) if source else None


def _check_read(place: Placed[Node], source: Resource, names: list[str]) -> Iterator[Finding]:
    if names[0] in _ALWAYS or source.type not in TYPES:
        return
    shape: Shape = read_shape(source.type)
    for name in names:
        match shape:
            case Model(fields=fields) if name in fields:
                shape = fields[name].shape
            case MapOf(value=value):
                shape = value
            case Model() | Scalar(kind="string" | "int" | "bool"):
                yield place.finding("unknown", f"{source.type} has no property {'.'.join(names)}")
                return
            case _:
                shape = getattr(shape, "item", shape)
                if isinstance(shape, Model) and name in shape.fields:
                    shape = shape.fields[name].shape
