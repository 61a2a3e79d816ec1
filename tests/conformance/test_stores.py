"""The stores in memory and the ones in Azure Storage keep the same promises.

Azure Storage is Azurite on this machine; with SLUICE_TEST_STORAGE set to a connection string, it is that account.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator

import aiohttp
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient

from shared import naming
from shared.clock import ManualClock
from shared.errors import TransientError
from shared.events import Stream
from shared.ports import Lease
from shared.settings.model import AzureSettings
from shared.stores.azure.account import AzureAccount
from shared.stores.azure.claims import AzureClaimStore
from shared.stores.azure.leases import AzureLease
from shared.stores.azure.tables import AzureControl, AzureMarkStore, AzureStateStore
from shared.stores.memory import (
    MemoryAccount,
    MemoryClaimStore,
    MemoryControl,
    MemoryLease,
    MemoryMarkStore,
    MemoryStateStore,
)
from tests.conformance.store_suite import LEASE_S, Account, Process, StoreSuite

LIVE = os.environ.get("SLUICE_TEST_STORAGE", "")


class InMemory:
    faults = True

    def __init__(self) -> None:
        self.clock = ManualClock(jumps=False)
        self.kept = MemoryAccount()

    def process(self) -> Process:
        stores = MemoryStateStore(self.kept), MemoryMarkStore(self.kept)
        return Process(*stores, MemoryControl(self.kept), MemoryClaimStore(self.kept))

    def lease(self, name: str) -> Lease:
        return MemoryLease(self.kept, name, self.clock, LEASE_S)

    async def pass_time(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def go_away(self) -> None:
        self.kept.away = True

    async def come_back(self) -> None:
        self.kept.away = False

    async def lose_answer(self, call: Awaitable[object]) -> None:
        self.kept.lost_answers = 1
        with pytest.raises(TransientError):
            await call

    async def write_newer(self, stream: Stream) -> None:
        self.kept.newer.add(stream)

    async def delete_leases(self) -> None:
        self.kept.leases.clear()


class InAzure:
    """An account with a table and containers of its own, which are deleted at the end."""

    def __init__(self, connection_string: str, control: str) -> None:
        self.clock = ManualClock(jumps=False)
        self.connection_string = connection_string
        self.faults = bool(control)
        self.control = control
        self.http = aiohttp.ClientSession()
        name = uuid.uuid4().hex
        self.table, self.leases, self.claims = f"t{name}", f"leases-{name}", f"claims-{name}"
        self.accounts: list[AzureAccount] = []

    def account(self) -> AzureAccount:
        self.accounts.append(AzureAccount(AzureSettings(connection_string=self.connection_string)))
        return self.accounts[-1]

    def process(self) -> Process:
        account = self.account()
        stores = AzureStateStore(account, self.table), AzureMarkStore(account, self.table)
        return Process(*stores, AzureControl(account, self.table), AzureClaimStore(account, self.claims))

    def lease(self, name: str) -> Lease:
        return AzureLease(self.account(), self.leases, name, self.clock, duration_s=LEASE_S)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)  # the service's clock cannot be moved
        await self.clock.advance(seconds)

    async def go_away(self) -> None:
        await self.fault({"outage": True})

    async def come_back(self) -> None:
        await self.fault({"outage": False})

    async def lose_answer(self, call: Awaitable[object]) -> None:
        await self.fault({"pause": {"match": self.table, "when": "after"}})
        task = asyncio.ensure_future(call)
        deadline = time.monotonic() + 10
        while not (held := (await self.state())["paused"]):
            assert time.monotonic() < deadline
            assert not task.done()
            await asyncio.sleep(0.01)
        await self.fault({"resume": held[0]["id"], "drop": True})
        await asyncio.wait([task])
        assert isinstance(task.exception(), TransientError | None)

    async def write_newer(self, stream: Stream) -> None:
        async with TableServiceClient.from_connection_string(self.connection_string) as service:
            table = service.get_table_client(self.table)
            bucket = f"PartitionKey eq 'b{naming.bucket(stream):02d}'"
            async for entity in table.query_entities(bucket):
                if entity["stream"] == stream:
                    await table.upsert_entity({**entity, "v": 2}, mode=UpdateMode.REPLACE)

    async def delete_leases(self) -> None:
        async with BlobServiceClient.from_connection_string(self.connection_string) as service:
            await service.delete_container(self.leases)

    async def fault(self, fault: dict[str, object]) -> None:
        async with self.http.post(f"{self.control}/faults", json=fault) as answer:
            assert answer.status == 200, await answer.text()

    async def state(self) -> dict[str, list[dict[str, object]]]:
        async with self.http.get(f"{self.control}/state") as answer:
            return dict(await answer.json())

    async def close(self) -> None:
        for account in self.accounts:
            await account.close()
        await self.http.close()
        async with TableServiceClient.from_connection_string(self.connection_string) as tables:
            await tables.delete_table(self.table)
        async with BlobServiceClient.from_connection_string(self.connection_string) as blobs:
            for container in (self.leases, self.claims):
                try:
                    await blobs.delete_container(container)
                except ResourceNotFoundError:
                    continue


@pytest.fixture(scope="session")
def azurite() -> Iterator[tuple[str, str]]:
    """Azurite's connection string, and the address of the switches of its faults."""
    if LIVE:
        yield LIVE, ""
        return
    command = [sys.executable, "-m", "local.azurite", "--with-parent"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as part:
        assert part.stdout
        ready = json.loads(part.stdout.readline())
        yield ready["settings"]["AzureWebJobsStorage"], ready["control"]
        part.terminate()


@pytest.fixture
async def in_azure(azurite: tuple[str, str]) -> AsyncIterator[InAzure]:
    account = InAzure(*azurite)
    yield account
    await account.close()


@pytest.fixture(params=["memory", "azure"])
def account(request: pytest.FixtureRequest) -> Account:
    found: Account = InMemory() if request.param == "memory" else request.getfixturevalue("in_azure")
    return found


class TestStores(StoreSuite):
    """All promises, by every kind."""
