"""The source that docs/adding-a-source.md shows keeps the promises of every source."""

import json
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared import naming
from shared.events import Position, Stream
from shared.ports import Source
from shared.settings import model
from shared.sources.scripted import Change
from tests.conformance.source_suite import Database, SourceSuite
from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs" / "adding-a-source.md"
SCHEMA = """
CREATE TABLE journal (n INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT, op TEXT, before TEXT, after TEXT, at TEXT);
CREATE TABLE cleaned (stream TEXT PRIMARY KEY, n INTEGER);
"""


class Journal:
    """A journal as an application would keep it."""

    keeps_history = True

    def __init__(self, file: Path, source: Source) -> None:
        self.file, self.source = file, source
        first, second, third = (naming.stream("app", name) for name in ("Persons", "Cars", "Quiet"))
        self.streams = first, second, third
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(SCHEMA)

    def write(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.executemany(sql, rows)

    async def commit(self, changes: Mapping[Stream, Sequence[Change]]) -> None:
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"
        rows = [
            (stream, change.op, *(row and json.dumps(row) for row in (change.before, change.after)), at)
            for stream, some in changes.items()
            for change in some
        ]
        self.write("INSERT INTO journal (stream, op, before, after, at) VALUES (?, ?, ?, ?, ?)", rows)

    async def clean_up(self, stream: Stream) -> None:
        self.write("INSERT OR REPLACE INTO cleaned SELECT stream, MAX(n) FROM journal WHERE stream = ?", [(stream,)])
        self.write("DELETE FROM journal WHERE stream = ?", [(stream,)])

    async def go_back(self, stream: Stream) -> Position:
        return Position(f"{10**9:020}")


@pytest.fixture
async def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    settings, source = blocks("python", file=PAGE)
    monkeypatch.setattr(model, "JournalSettings", _run(settings.text, vars(model)).JournalSettings, raising=False)
    kind = _run(source.text, {"__name__": "journal"})
    kind.check_machine()
    file = tmp_path / "journal.db"
    async with kind.open_source(model.JournalSettings("app", str(file), ("Persons", "Cars", "Quiet"))) as opened:  # type: ignore[attr-defined]
        yield Journal(file, opened)


def _run(text: str, around: Mapping[str, object]) -> SimpleNamespace:
    namespace = dict(around)
    exec(compile(text, str(PAGE), "exec"), namespace)
    return SimpleNamespace(**namespace)


class TestTheExample(SourceSuite):
    """All promises of a source."""
