"""From the text of a Bicep file to its syntax, by the grammar of tree-sitter-bicep.

Source:
    https://github.com/tree-sitter-grammars/tree-sitter-bicep
"""

import re
from collections.abc import Callable, Container, Iterator
from itertools import pairwise
from pathlib import Path

import tree_sitter
import tree_sitter_bicep

from tools.bicep import syntax
from tools.bicep.findings import Finding
from tools.bicep.syntax import Node, Template

type Tree = tree_sitter.Node
type Declared = syntax.Parameter | syntax.Variable | syntax.Resource | syntax.Module | syntax.Output

_ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\$": "$"}
_CONSTANTS = {"true": True, "false": False, "null": None}
_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))


def parse(path: Path, text: str) -> tuple[Template, list[Finding]]:
    """Return what a file says, and where the grammar does not understand it."""
    root = _PARSER.parse(text.encode()).root_node
    findings = [Finding(path, _line(place), "syntax", _trouble(place)) for place in _errors(root)]
    template = Template(path)
    if not findings:
        try:
            template, findings = _template(path, root)
        except _FormError as why:
            findings = [Finding(path, why.line, "syntax", why.reason)]
    return template, findings


def parse_parameters(path: Path, text: str) -> tuple[Template, list[Finding]]:
    """Return a `.bicepparam` file as a template: what it gives is a variable, the file it is for is the scope.

    The grammar wants a type for each `param`, which a parameter file does not write.
    """
    using = re.search(r"^using '([^']*)'", text, re.MULTILINE)
    as_template = re.sub(r"^using .*", "", re.sub(r"^param ", "var ", text, flags=re.MULTILINE), flags=re.MULTILINE)
    template, findings = parse(path, as_template)
    return Template(path, using[1] if using else "", variables=template.variables), findings


class _FormError(Exception):
    """The grammar understands a form that is not written here."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line, self.reason = line, reason


def _errors(tree: Tree) -> Iterator[Tree]:
    if tree.type == "ERROR" or tree.is_missing:
        yield tree
    elif tree.has_error:
        for child in tree.children:
            yield from _errors(child)


def _trouble(tree: Tree) -> str:
    if tree.is_missing:
        return f"{tree.type} is missing"
    return f"cannot be read: {_text(tree).partition('\n')[0][:60]!r}"


def _template(path: Path, root: Tree) -> tuple[Template, list[Finding]]:
    made = Template(path)
    findings: list[Finding] = []
    scope = made.scope
    decorators: dict[str, tuple[Node, ...]] = {}
    for tree in root.named_children:
        match tree.type:
            case "decorators":
                decorators = dict(map(_decorator, tree.named_children))
                continue
            case "parameter_declaration":
                _declare(made, made.parameters, _parameter(tree, decorators), findings)
            case "variable_declaration":
                _declare(made, made.variables, syntax.Variable(_line(tree), _name(tree), _value(tree)), findings)
            case "output_declaration":
                output = syntax.Output(_line(tree), _name(tree), _child_text(tree, "type"), _value(tree))
                _declare(made, made.outputs, output, findings)
            case "resource_declaration":
                _declare(made, made.resources, _resource(tree), findings)
            case "module_declaration":
                _declare(made, made.modules, _module(tree), findings)
            case "target_scope_assignment":
                scope = _text(tree.named_children[-1]).strip("'")
            case "comment":
                continue
            case other:
                findings.append(Finding(path, _line(tree), "syntax", f"{other} is not used here"))
        decorators = {}
    return Template(path, scope, made.parameters, made.variables, made.resources, made.modules, made.outputs), findings


def _declare[T: Declared](made: Template, kind: dict[str, T], declaration: T, findings: list[Finding]) -> None:
    others: list[Container[str]] = [made.parameters, made.variables, made.resources, made.modules]
    if any(declaration.name in names for names in (others if kind is not made.outputs else [kind])):
        findings.append(Finding(made.path, declaration.line, "syntax", f"{declaration.name} is declared twice"))
    kind[declaration.name] = declaration


def _decorator(tree: Tree) -> tuple[str, tuple[Node, ...]]:
    call = expression(tree.named_children[0])
    return (call.function, call.arguments) if isinstance(call, syntax.Call) else ("", ())


def _parameter(tree: Tree, decorators: dict[str, tuple[Node, ...]]) -> syntax.Parameter:
    default = _value(tree) if any(child.type == "=" for child in tree.children) else None
    return syntax.Parameter(_line(tree), _name(tree), _child_text(tree, "type"), default, decorators)


def _resource(tree: Tree) -> syntax.Resource:
    kind, _, version = _child_text(tree, "string").strip("'").partition("@")
    condition, loop, body = _placed(tree)
    existing = any(child.type == "existing" for child in tree.children)
    return syntax.Resource(_line(tree), _name(tree), kind, version, existing, body, condition, loop)


def _module(tree: Tree) -> syntax.Module:
    condition, loop, body = _placed(tree)
    return syntax.Module(_line(tree), _name(tree), _child_text(tree, "string").strip("'"), body, condition, loop)


def _placed(tree: Tree) -> tuple[Node | None, syntax.Loop | None, syntax.Object]:
    """Return the condition, the loop and the body of a resource or a module."""
    value = tree.named_children[-1]
    condition, loop = None, None
    if value.type == "if_statement":
        condition = expression(value.named_children[0])
        value = value.named_children[-1]
    node = expression(value)
    if isinstance(node, syntax.Loop):
        loop, node = node, node.body
    return condition, loop, node if isinstance(node, syntax.Object) else syntax.Object(_line(tree), ())


def expression(tree: Tree) -> Node:
    """Return an expression."""
    form = _FORMS.get(tree.type)
    if form is None:
        raise _FormError(_line(tree), f"{tree.type} is not used here")
    return form(_line(tree), tree, [child for child in tree.named_children if child.type != "comment"])


def _constant(line: int, tree: Tree, _: list[Tree]) -> Node:
    text = _text(tree)
    return syntax.Literal(line, _CONSTANTS[text] if text in _CONSTANTS else int(text))


def _array(line: int, tree: Tree, named: list[Tree]) -> Node:
    for one, other in pairwise(tree.named_children):
        if one.end_point == other.start_point:
            raise _FormError(line, "the grammar reads a call in an array as two items: give it a name before")
    return syntax.Array(line, tuple(map(expression, named)))


def _call(line: int, _: Tree, named: list[Tree]) -> Node:
    arguments = next(child for child in named if child.type == "arguments")
    return syntax.Call(line, _text(named[0]), tuple(map(expression, arguments.named_children)))


def _operation(line: int, tree: Tree, named: list[Tree]) -> Node:
    operator = next(child for child in tree.children if not child.is_named)
    return syntax.Operation(line, operator.type, tuple(map(expression, named)))


def _loop(line: int, _: Tree, named: list[Tree]) -> Node:
    names = named[0].named_children if named[0].type == "for_loop_parameters" else [named[0]]
    return syntax.Loop(line, tuple(map(_text, names)), expression(named[-2]), expression(named[-1]))


_FORMS: dict[str, Callable[[int, Tree, list[Tree]], Node]] = {
    "array": _array,
    "binary_expression": _operation,
    "boolean": _constant,
    "call_expression": _call,
    "for_statement": _loop,
    "identifier": lambda line, tree, _: syntax.Name(line, _text(tree)),
    "lambda_expression": lambda line, _, named: syntax.Lambda(
        line, tuple(map(_text, named[:-1])), expression(named[-1])
    ),
    "member_expression": lambda line, _, named: syntax.Member(line, expression(named[0]), _text(named[-1])),
    "null": _constant,
    "number": _constant,
    "object": lambda line, _, named: syntax.Object(line, tuple(map(_entry, named))),
    "parenthesized_expression": lambda _, __, named: expression(named[0]),
    "string": lambda _, tree, __: _string(tree),
    "subscript_expression": lambda line, _, named: syntax.Index(line, expression(named[0]), expression(named[-1])),
    "ternary_expression": lambda line, _, named: syntax.Choice(line, *map(expression, named)),
    "unary_expression": _operation,
}


def _entry(tree: Tree) -> syntax.Entry:
    key, value = tree.named_children[0], tree.named_children[-1]
    text = _string(key) if key.type == "string" else syntax.Text(_line(key), (_text(key),))
    return syntax.Entry(_line(tree), text, expression(value))


def _string(tree: Tree) -> syntax.Text:
    parts: list[str | Node] = []
    end = tree.children[0].end_byte
    for child in tree.children[1:]:
        if child.start_byte > end:  # the grammar leaves `\$` out
            gap = (tree.text or b"")[end - tree.start_byte : child.start_byte - tree.start_byte].decode()
            parts.append(_ESCAPES.get(gap, gap))
        if child.type == "interpolation":
            parts.append(expression(child.named_children[0]))
        elif child.is_named:
            text = _text(child)
            parts.append(_ESCAPES.get(text, text) if child.type == "escape_sequence" else text)
        end = child.end_byte
    return syntax.Text(_line(tree), tuple(parts))


def _name(tree: Tree) -> str:
    return _child_text(tree, "identifier")


def _value(tree: Tree) -> Node:
    return expression(tree.named_children[-1])


def _child_text(tree: Tree, kind: str) -> str:
    return next((_text(child) for child in tree.named_children if child.type == kind), "")


def _line(tree: Tree) -> int:
    return tree.start_point.row + 1


def _text(tree: Tree) -> str:
    return (tree.text or b"").decode()
