from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.consul.server import Consul, serving


@pytest_asyncio.fixture
async def consul() -> AsyncIterator[Consul]:
    async with serving() as running:
        yield running
