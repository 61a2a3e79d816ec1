"""What the code says about itself, read from its syntax: texts, log lines, hints, settings."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.docs.markdown import ROOT

HOLE = "…"
"""Stands where a text has a value."""


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the modules of these folders, parsed."""
    for folder in folders:
        place = ROOT / folder
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            if "node_modules" not in path.parts:
                yield path, ast.parse(path.read_text(encoding="utf-8"))


def text(node: ast.expr) -> str:
    """Return a literal text, values as `HOLE`; "" for anything else."""
    match node:
        case ast.Constant(value=str() as said):
            return said
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in parts)
        case _:
            return ""


def texts(tree: ast.Module) -> Iterator[str]:
    """Yield every literal text that is not documentation."""
    said_alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and id(node) not in inside):
            found = text(node)
            if found and id(node) not in said_alone:
                yield found


def log_lines(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield level and text of every line that is logged."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "_log"), attr=level), args=[said]):
                options = [said.body, said.orelse] if isinstance(said, ast.IfExp) else [said]
                yield from ((level, text(option)) for option in options)
            case _:
                pass


def hints(tree: ast.Module) -> Iterator[str]:
    """Yield every hint: what is given as `hint`, or called so before."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="hint", value=value) | ast.Assign(targets=[ast.Name(id="hint")], value=value):
                if said := text(value):
                    yield said
            case _:
                pass


def environment(folders: Sequence[str]) -> set[str]:
    """Return the names of environment variables that the code reads by name."""
    forms = (
        re.compile(r"""\benviron(?:\.get\(|\[)\s*"(\w+)\""""),
        re.compile(r"""\bgetenv\(\s*"(\w+)\""""),
        re.compile(r""""(\w+)" (?:not )?in os\.environ"""),
        re.compile(r"""_SETTING = "(\w+)\""""),
        re.compile(r"""connection="(\w+)\""""),
        re.compile(r"""%([A-Z][A-Z_]+)%"""),
        re.compile(r"""^(?:SERVICE_BUS|INGEST_QUEUE|CAPTURE_SCHEDULE) = "(\w+)\"""", re.MULTILINE),
    )
    sources = [path.read_text(encoding="utf-8") for path, _ in modules(*folders)]
    return {name for source in sources for form in forms for name in form.findall(source)}
