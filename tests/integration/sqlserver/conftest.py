from collections.abc import Iterator

import pytest

from tests.integration.sqlserver.server import Server, started


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with started() as running:
        yield running
