"""Every kind of source keeps the same promises."""

import importlib
import pkgutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

import shared.sources
from tests.conformance.source_suite import Case, Database, SourceSuite

KINDS = sorted(module.name for module in pkgutil.iter_modules(shared.sources.__path__))


def test_every_kind_has_a_case() -> None:
    cases = {path.stem for path in (Path(__file__).parent / "cases").glob("*.py")}

    assert set(KINDS) <= cases


@pytest.fixture(scope="session")
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest, running: ExitStack) -> AsyncIterator[Database]:
    case = cast(Case, importlib.import_module(f"tests.conformance.cases.{request.param}"))
    async with case.database(running) as opened:
        yield opened


class TestSources(SourceSuite):
    """All promises, by every kind."""
