"""Of which kind an expression is, and the functions that templates call.

Source:
    https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-functions
"""

from collections.abc import Iterator

from tools.bicep import syntax
from tools.bicep.models import ANY, ARRAY, BOOLEAN, INTEGER, OBJECT, STRING
from tools.bicep.syntax import Node
from tools.bicep.tree import Placed, Tree

FUNCTIONS = {
    "cidrSubnet": (STRING, 3, 3),
    "concat": (ANY, 1, 99),
    "empty": (BOOLEAN, 1, 1),
    "environment": (OBJECT, 0, 0),
    "filter": (ARRAY, 2, 2),
    "guid": (STRING, 1, 99),
    "length": (INTEGER, 1, 1),
    "loadJsonContent": (ANY, 1, 3),
    "map": (ARRAY, 2, 2),
    "max": (INTEGER, 1, 99),
    "range": (ARRAY, 2, 2),
    "readEnvironmentVariable": (STRING, 1, 2),
    "replace": (STRING, 3, 3),
    "resourceGroup": (OBJECT, 0, 0),
    "resourceId": (STRING, 2, 99),
    "skip": (ANY, 2, 2),
    "string": (STRING, 1, 1),
    "subscription": (OBJECT, 0, 0),
    "subscriptionResourceId": (STRING, 2, 99),
    "toLower": (STRING, 1, 1),
    "toObject": (OBJECT, 2, 3),
    "union": (ANY, 1, 99),
    "uniqueString": (STRING, 1, 99),
}
"""What a function returns, and how many arguments it takes. One that is not here is not used yet: add it."""

_FORMS: dict[type[Node], str] = {syntax.Text: STRING, syntax.Object: OBJECT, syntax.Array: ARRAY, syntax.Loop: ARRAY}
_LOGICAL = {"&&", "||", "!", "==", "!=", "<", ">", "<=", ">=", "=~", "!~"}


def kinds(tree: Tree, place: Placed[Node]) -> frozenset[str]:
    """Return the kinds that an expression may have; `any` where only the deployment knows, `null` for nothing."""
    return frozenset(kind for leaf in tree.leaves(place) for kind in _kind(tree, leaf))


def fits(found: frozenset[str], wanted: str) -> bool:
    """Return whether a value of these kinds can stand where `wanted` is asked for."""
    return wanted == ANY or found <= {wanted, ANY, "null"}


def wanted(type_: str) -> str:
    """Return the kind that the type of a declaration asks for."""
    return ARRAY if type_.endswith("]") else type_ if type_ in {STRING, INTEGER, BOOLEAN, OBJECT, ARRAY} else ANY


def _kind(tree: Tree, leaf: Placed[Node]) -> Iterator[str]:
    match leaf.node:
        case syntax.Literal(value=value):
            yield {bool: BOOLEAN, int: INTEGER, type(None): "null"}[type(value)]
        case syntax.Operation(operator="??", operands=operands):
            for operand in operands:
                yield from kinds(tree, Placed(leaf.template, operand)) - {"null"}
        case syntax.Operation(operator=operator):
            yield BOOLEAN if operator in _LOGICAL else INTEGER
        case syntax.Call(function="concat" | "union" | "skip", arguments=[argument, *_]):
            yield from kinds(tree, Placed(leaf.template, argument))
        case syntax.Call(function=function):
            yield FUNCTIONS.get(function, (ANY,))[0]
        case syntax.Name(name=name) if name in leaf.template.parameters:
            yield wanted(leaf.template.parameters[name].type)
        case syntax.Member(of=syntax.Name(name=name), name="id" | "name" | "type") if name in leaf.template.resources:
            yield STRING
        case node:
            yield _FORMS.get(type(node), ANY)
