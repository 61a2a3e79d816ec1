"""The sink that docs/adding-a-sink.md shows keeps the promises of every sink."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.sink_suite import Place, SinkSuite
from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs" / "adding-a-sink.md"


class InFiles:
    """A folder of files; it is away while it has another name."""

    refuses, away = False, True

    def __init__(self, folder: Path) -> None:
        [block] = blocks("python", file=PAGE)
        kind: dict[str, Any] = {"__name__": "file"}
        exec(compile(block.text, str(PAGE), "exec"), kind)
        self.folder = folder
        self.sink = kind["FileSink"](folder)
        assert callable(kind["open_sink"])

    async def destination(self) -> str:
        return uuid.uuid4().hex

    async def received(self, to: str) -> Sequence[tuple[str, bytes]]:
        file = self.folder / f"{to}.jsonl"
        bodies = file.read_bytes().splitlines() if file.exists() else []
        return [(json.loads(body)["metadata"]["EventID"], body) for body in bodies]

    async def take_away(self, to: str) -> None:
        self.folder.rename(self.folder.with_suffix(".away"))

    async def bring_back(self, to: str) -> None:
        self.folder.with_suffix(".away").rename(self.folder)


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    folder = tmp_path / "out"
    folder.mkdir()
    return InFiles(folder)


class TestTheExample(SinkSuite):
    """All promises of a sink."""
