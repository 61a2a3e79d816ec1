"""A copy of what the templates are checked with, to be broken."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("infra", "functions", "shared", "function_app.py", "sluice.hcl", ".python-version", "docs/security.md")


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    """What is in this repository."""
    place: Path = tmp_path_factory.mktemp("original")
    for part in PARTS:
        (place / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, place / part)
    return place


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """The same once more, for one test."""
    place: Path = tmp_path / "copy"
    shutil.copytree(original, place)
    return place


@pytest.fixture
def broken(copy: Path) -> Callable[[str, str, str], Path]:
    """Replace a text of one file, which has to be there."""

    def replace(file: str, old: str, new: str) -> Path:
        path = copy / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r}: the test is out of date"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return copy

    return replace
