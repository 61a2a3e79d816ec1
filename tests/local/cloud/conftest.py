"""Looking at processes from outside, with a deadline."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest


def _descendants(pid: int) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = {int(child) for task in tasks for child in task.read_text().split()}
    return children.union(*(_descendants(child) for child in children))


async def _eventually[T](look: Callable[[], T]) -> T:
    async with asyncio.timeout(30):
        while True:
            if found := look():
                return found
            await asyncio.sleep(0.02)


@pytest.fixture
def descendants():
    """All processes below a pid."""
    return _descendants


@pytest.fixture
def eventually():
    """Wait for the first true result of a function and return it."""
    return _eventually


@pytest.fixture
def gone():
    """Wait until none of these processes is left."""

    async def wait(pids: set[int]) -> None:
        await _eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))

    return wait
