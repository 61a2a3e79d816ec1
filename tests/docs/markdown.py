"""The project's Markdown: its files, their code blocks and links."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES: Sequence[Path] = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code, and where it stands."""

    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str, file: Path | None = None) -> Iterator[Block]:
    """Yield the code blocks in these languages, of one file or of all."""
    for path in FILES if file is None else (file,):
        text = path.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            if found[1] in languages:
                yield Block(path, text.count("\n", 0, found.start()) + 1, found[1], found[2])


def prose(path: Path) -> str:
    """Return a file without its code blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def links(path: Path) -> list[str]:
    """Return the targets of a file's links."""
    return _LINK.findall(prose(path))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a file's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(prose(path))}


def words(text: str) -> str:
    """Return a text without line ends, indentation and backticks, to be searched in."""
    return re.sub(r"\s+", " ", text.replace("`", ""))
