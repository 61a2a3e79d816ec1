"""One storage emulator per module, over a folder; tests use tables and blobs of their own."""

import uuid

import pytest
import pytest_asyncio
from azure.data.tables.aio import TableClient
from azure.storage.blob.aio import BlobClient, ContainerClient

from local.cloud import running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def storage(tmp_path_factory):
    async with running(("azurite",), tmp_path_factory.mktemp("storage")) as cloud:
        yield cloud.part("azurite")


@pytest_asyncio.fixture(loop_scope="module")
async def azurite(storage):
    yield storage
    await storage.fault({"clear": True})
    await storage.fault({"outage": False})


@pytest.fixture
def connection(azurite):
    return azurite.settings["AzureWebJobsStorage"]


@pytest_asyncio.fixture(loop_scope="module")
async def table(connection):
    name = f"t{uuid.uuid4().hex}"
    async with TableClient.from_connection_string(connection, name, retry_total=0) as client:
        await client.create_table()
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def blob(connection):
    name = f"c{uuid.uuid4().hex}"
    async with ContainerClient.from_connection_string(connection, name) as container:
        await container.create_container()
    path = "claims/a b%2F.ü/1"
    async with BlobClient.from_connection_string(connection, name, path, retry_total=0) as client:
        yield client
