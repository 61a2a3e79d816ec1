"""An HCL file as a tree of blocks with lines, every expression evaluated.

Understood are strings, numbers, true, false, null, lists, `env("NAME")`, and inside a string `${env("NAME")}` and
DStream's `{{ env "NAME" }}`, its quotes plain or escaped. The grammar is python-hcl2's.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lark import Token, Tree, UnexpectedInput

from shared.settings.problems import Problems

type Data = str | int | float | bool | tuple[Value, ...] | None

REFERENCE = "@Microsoft.KeyVault("
"""How an app setting begins that Azure could not replace by its secret.

https://learn.microsoft.com/azure/app-service/app-service-key-vault-references
"""

_LITERALS: dict[str, Callable[[str], Data]] = {
    "int_lit": int,
    "float_lit": float,
    "literal_value": {"true": True, "false": False}.get,
}
_PLAIN_TEMPLATE = re.compile(r'(\{\{-?\s*env\s+)"([^"\\\n]*)"(\s*-?\}\})')
_TEMPLATE = re.compile(r"""\{\{-?\s*env\s+(?:"([^"]*)"|`([^`]*)`)\s*-?\}\}""")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Value:
    """An evaluated expression; `secret` when any of it came from the environment, `failed` when that was reported."""

    data: Data
    line: int
    secret: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A block or, without a kind, the whole file; `where` names it and its ancestors: `ingester: queue`."""

    kind: str
    labels: tuple[str, ...]
    line: int
    where: str
    values: dict[str, Value] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)


def parse(text: str, environ: Mapping[str, str], problems: Problems) -> Block:
    """Return the file as a block.

    Raises:
        InvalidConfigError: it is not HCL.
    """
    from hcl2.parser import parser  # noqa: PLC0415 - building the grammar is a good part of a cold start

    escaped = _PLAIN_TEMPLATE.sub(r'\1\\"\2\\"\3', text)
    try:
        tree = parser().parse(escaped.removeprefix("\ufeff") + "\n")
    except UnexpectedInput as error:
        hint = 'keys are `name = "value"`, blocks are `kind "label" { … }`: is a quote or brace missing before it?'
        problems.add(f"syntax error at column {error.column}", line=error.line, hint=hint)
        raise problems.error() from None  # the error shows the line, which may hold a password
    return _Walk(environ, problems).body(next(_trees(tree.children)), Block("", (), 1, ""))


class _Walk:
    def __init__(self, environ: Mapping[str, str], problems: Problems) -> None:
        self._environ = environ
        self._problems = problems

    def body(self, tree: Tree[Token], block: Block) -> Block:
        for child in tree.children:
            if isinstance(child, Tree) and child.data == "attribute":
                self._attribute(child, block)
            elif isinstance(child, Tree) and child.data == "block":
                block.blocks.append(self._block(child, block))
        return block

    def _attribute(self, tree: Tree[Token], block: Block) -> None:
        name = _word(tree.children[0])
        where = f"{block.where}: {name}".removeprefix(": ")
        if name in block.values:
            self._problems.add("is given twice", where=where, line=tree.meta.line, hint="keep one of them")
        block.values[name] = self._value(next(_trees(tree.children[1:])), where)

    def _block(self, tree: Tree[Token], parent: Block) -> Block:
        *names, body = _trees(tree.children)
        kind, *labels = map(_word, names)
        said = " ".join([kind, *(f'"{label}"' for label in labels)])
        where = f"{parent.where}: {said}".removeprefix(": ")
        return self.body(body, Block(kind, tuple(labels), tree.meta.line, where))

    def _value(self, tree: Tree[Token], where: str) -> Value:
        line = tree.meta.line
        value = Value(None, line, failed=True)
        match tree.data, [*_trees(tree.children)] or tree.children:
            case "expr_term", [Tree() as term]:  # in parentheses or not
                return self._value(term, where)
            case "function_call", [Tree() as name, Tree() as arguments] if _word(name) == "env":
                return self._call(arguments, line, where)
            case "string", _:
                return self._string(tree, where)
            case "tuple", _:
                value = Value(tuple(self._value(each, where) for each in _trees(tree.children)), line)
            case kind, [Token() as word] if kind in _LITERALS:
                value = Value(_LITERALS[kind](word), line)
            case "unary_op", [Tree() as term] if tree.children[0] == "-":
                positive = self._value(term, where)
                if isinstance(positive.data, int | float):
                    value = Value(-positive.data, line)
            case _:
                pass
        if value.failed:
            hint = 'write a string in double quotes, a number, true, false, a list, or env("NAME")'
            self._problems.add("this expression is not understood", where=where, line=line, hint=hint)
        return value

    def _call(self, arguments: Tree[Token], line: int, where: str) -> Value:
        values = [self._value(tree, where) for tree in _trees(arguments.children)]
        if len(values) == 1 and isinstance(values[0].data, str):
            return self._variable(values[0].data, line, where)
        self._problems.add("env takes one name", where=where, line=line, hint='write env("NAME")')
        return Value(None, line, failed=True)

    def _variable(self, name: str, line: int, where: str) -> Value:
        found = self._environ.get(name)
        if found is None:
            message, hint = f"the environment variable {name} is not set", f"set the app setting {name}"
            self._problems.add(message, where=where, line=line, hint=hint)
        elif found.startswith(REFERENCE):
            message = f"Azure has not resolved the app setting {name}"
            hint = "add the secret to the vault, see to the role Key Vault Secrets User, and restart the app"
            self._problems.add(message, where=where, line=line, hint=hint)
            found = None
        return Value(found, line, secret=True, failed=found is None)

    def _string(self, tree: Tree[Token], where: str) -> Value:
        pieces: list[Value] = []
        for part in _trees(tree.children):
            match part.children:
                case [Token("STRING_CHARS") as raw]:
                    pieces += self._text(str(raw), tree.meta.line, where)
                case [Token() as doubled]:  # $${ and %%{ stand for ${ and %{
                    pieces.append(Value(str(doubled)[1:], tree.meta.line))
                case [Tree(data="interpolation", children=[_, Tree() as expression, _])]:
                    pieces.append(self._value(expression, where))
                case _:
                    self._problems.add(
                        "%{ … } is not understood", where=where, line=tree.meta.line, hint="%%{ is a plain %{"
                    )
                    pieces.append(Value(None, tree.meta.line, failed=True))
        return Value(
            "".join(str(piece.data) for piece in pieces),
            tree.meta.line,
            secret=any(piece.secret for piece in pieces),
            failed=any(piece.failed for piece in pieces),
        )

    def _text(self, raw: str, line: int, where: str) -> list[Value]:
        text, faults = _unescape(raw)
        pieces: list[Value] = []
        end = 0
        for template in _TEMPLATE.finditer(text):
            pieces += [
                Value(text[end : template.start()], line),
                self._variable(template[1] or template[2] or "", line, where),
            ]
            end = template.end()
        rest = text[end:]
        pieces.append(Value(rest, line))
        if any("{{" in piece.data for piece in pieces if isinstance(piece.data, str) and not piece.secret):
            faults.append(("this template is not understood", '{{ env "NAME" }} is the only one'))
        for message, hint in faults:
            self._problems.add(message, where=where, line=line, hint=hint)
        if faults:
            pieces.append(Value("", line, failed=True))
        return pieces


def _trees(children: Iterable[Tree[Token] | Token]) -> Iterator[Tree[Token]]:
    """Return the branches among `children`, without comments and line ends."""
    return (child for child in children if isinstance(child, Tree) and child.data != "new_line_or_comment")


def _word(tree: Tree[Token] | Token) -> str:
    """Return the name of a key or block, or the text of its label."""
    if isinstance(tree, Tree) and tree.data == "string":
        return "".join(_unescape(str(token))[0] for part in _trees(tree.children) for token in part.children)
    return str(tree.children[0] if isinstance(tree, Tree) else tree)


def _unescape(raw: str) -> tuple[str, list[tuple[str, str]]]:
    """Return the text and what is wrong with it, each with a hint."""
    faults: list[tuple[str, str]] = []
    if "\n" in raw:
        faults.append(("the string goes on after the end of its line", "close it with a double quote"))

    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) > 1:
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            faults.append((f"the escape \\{code} is not understood", "a backslash is written \\\\"))
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(replace, raw), faults
