"""Every resource against the shape of its type: properties exist, can be written, and have values that they take."""

from collections.abc import Iterator

from tools.bicep import durations, syntax
from tools.bicep.catalog import READ, TYPES
from tools.bicep.findings import Finding
from tools.bicep.kinds import fits, kinds
from tools.bicep.models import ARRAY, OBJECT, STRING, Field, ListOf, MapOf, Model, Scalar, Shape, model
from tools.bicep.syntax import Node, Object, Resource
from tools.bicep.tree import UNKNOWN, Placed, Tree

OWN = ("name", "parent", "scope", "dependsOn")
"""What the language itself understands in a resource."""

EXTENSIONS = ("Microsoft.Authorization/roleAssignments", "Microsoft.Insights/diagnosticSettings")


def check(tree: Tree) -> Iterator[Finding]:
    """Yield what is wrong with resources."""
    for template in tree.templates.values():
        for resource in template.resources.values():
            place = Placed(template, resource)
            described = TYPES.get(resource.type)
            if described is None:
                yield place.finding("resource-type", f"{resource.type} is not in tools/bicep/catalog.py: add it")
                continue
            if resource.version != described.version:
                yield place.finding("api-version", f"{resource.type} is written {described.version} everywhere")
            yield from _place(tree, place)
            if resource.existing:
                yield from (
                    place.finding("property", f"{entry.key.literal} of what exists already cannot be said", entry.line)
                    for entry in resource.body.entries
                    if entry.key.literal not in OWN
                )
            else:
                yield from _check_body(tree, place, model(described.model), described.required)


def read_shape(type_: str) -> Model:
    """Return the shape of a resource that is there."""
    return model(READ.get(type_) or TYPES[type_].model)


def _place(tree: Tree, place: Placed[Resource]) -> Iterator[Finding]:
    """Yield what is wrong with what a resource is called and where it is: below its parent, at its scope."""
    resource = place.node
    name = resource.body.get("name")
    if name is None or not fits(kinds(tree, Placed(place.template, name)), STRING):
        yield place.finding("property", f"{resource.name} needs a name, of type string", name.line if name else 0)
    above = resource.type.rpartition("/")[0]
    parent = _resource(place, resource.body.get("parent"))
    if above.count("/") and (parent is None or parent.type != above):
        yield place.finding("parent", f"the parent of {resource.name} has to be a resource of type {above}")
    if resource.type in EXTENSIONS and _resource(place, resource.body.get("scope")) is None:
        yield place.finding("scope", f"the scope of {resource.name} has to be a resource")


def _resource(place: Placed[Resource], node: Node | None) -> Resource | None:
    while isinstance(node, syntax.Index):
        node = node.of
    return place.template.resources.get(node.name) if isinstance(node, syntax.Name) else None


def _check_body(tree: Tree, place: Placed[Resource], shape: Model, required: tuple[str, ...]) -> Iterator[Finding]:
    body = place.node.body
    entries = tuple(entry for entry in body.entries if entry.key.literal not in OWN)
    fields = {name: field for name, field in shape.fields.items() if name not in OWN}
    fields |= {name: Field(fields[name].shape, required=True) for name in required}
    yield from _check(
        tree, Placed(place.template, Object(place.node.line, entries)), Model(own=fields), place.node.name
    )


def _check(tree: Tree, place: Placed[Node], shape: Shape, name: str, *, part: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with a value; `part`: of an object that others complete."""
    for leaf in tree.leaves(place):
        match leaf.node, shape:
            case _, Scalar():
                yield from _check_scalar(tree, leaf, shape, name)
            case Object(), Model():
                yield from _check_object(tree, Placed(leaf.template, leaf.node), shape, name, part=part)
            case syntax.Call(function="union" | "concat", arguments=arguments), _:
                for argument in arguments:
                    yield from _check(tree, Placed(leaf.template, argument), shape, name, part=True)
            case _, ListOf(item=inner) | MapOf(value=inner) if (items := _items(leaf.node, shape)) is not None:
                for key, item in items:
                    yield from _check(tree, Placed(leaf.template, item), inner, key or name)
            case _:
                kind = ARRAY if isinstance(shape, ListOf) else OBJECT
                found = kinds(tree, leaf)
                if not fits(found, kind):
                    yield leaf.finding("type", f"{name} has to be of type {kind}, not {_said(found)}")


def _items(node: Node, shape: ListOf | MapOf) -> list[tuple[str, Node]] | None:
    """Return what is in an array or a map, with its key; None when that cannot be seen."""
    match node, shape:
        case Object(entries=entries), MapOf():
            return [(entry.key.literal or "", entry.value) for entry in entries]
        case syntax.Array(items=items), ListOf():
            return [("", item) for item in items]
        case syntax.Loop(body=body), ListOf():
            return [("", body)]
        case syntax.Call(function="map", arguments=[_, syntax.Lambda(body=body)]), ListOf():
            return [("", body)]
        case syntax.Call(function="toObject", arguments=[_, _, syntax.Lambda(body=body)]), MapOf():
            return [("", body)]
        case _:
            return None


def _check_object(tree: Tree, place: Placed[Object], shape: Model, name: str, *, part: bool) -> Iterator[Finding]:
    given = set()
    for entry in place.node.entries:
        key = entry.key.literal or "…"
        given.add(key)
        field = shape.fields.get(key)
        if field is None:
            near = [known for known in shape.fields if known.lower() == key.lower()]
            hint = f": write {near[0]}" if near else ""
            yield place.finding("property", f"{name} has no property {key}{hint}", entry.line)
        elif field.read_only:
            yield place.finding("property", f"{key} of {name} is read-only", entry.line)
        else:
            yield from _check(tree, Placed(place.template, entry.value), field.shape, key)
    if not part:
        missing = [key for key, field in shape.fields.items() if field.required and not field.read_only]
        for key in [key for key in missing if key not in given]:
            yield place.finding("property", f"{name} needs a property {key}")


def _check_scalar(tree: Tree, leaf: Placed[Node], shape: Scalar, name: str) -> Iterator[Finding]:
    found = kinds(tree, leaf)
    if not fits(found, shape.kind):
        yield leaf.finding("type", f"{name} has to be of type {shape.kind}, not {_said(found)}")
        return
    for value in sorted(str(value) for value in tree.possible(leaf) if value is not UNKNOWN and value is not None):
        if shape.values and value not in shape.values:
            yield leaf.finding("value", f"{name} is one of {', '.join(sorted(shape.values))}, not {value!r}")
        elif shape.duration and (why := durations.fault(name, value)):
            yield leaf.finding("duration", f"{name}: {why}")


def _said(found: frozenset[str]) -> str:
    return " or ".join(sorted(found))
