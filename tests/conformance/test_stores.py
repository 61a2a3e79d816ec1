"""The stores in memory and the ones in Azure Storage keep the same promises.

Azure Storage is Azurite on this machine; with SLUICE_TEST_STORAGE set to a connection string, it is that account.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient

from shared import naming
from shared.clock import ManualClock
from shared.errors import ConfigError, LeaseError, StaleError, TransientError
from shared.events import Mark, Part, Saved, Stream
from shared.memo import MAX_PARTS
from shared.ports import Lease
from shared.settings.model import AzureSettings
from shared.stores.azure.account import AzureAccount
from shared.stores.azure.claims import AzureClaimStore
from shared.stores.azure.journals import AzureJournalStore
from shared.stores.azure.leases import AzureLease
from shared.stores.azure.tables import AzureControl, AzureMarkStore, AzureStateStore
from shared.stores.memory import (
    MemoryAccount,
    MemoryClaimStore,
    MemoryControl,
    MemoryJournalStore,
    MemoryLease,
    MemoryMarkStore,
    MemoryStateStore,
)
from tests.conformance.journal_suite import WEB, JournalSuite, blobs_of, content, journal
from tests.conformance.store_suite import LEASE_S, Account, Process, StoreSuite, saved, state, streams_in

LIVE = os.environ.get("SLUICE_TEST_STORAGE", "")


class InMemory:
    faults = True

    def __init__(self) -> None:
        self.clock = ManualClock(jumps=False)
        self.kept = MemoryAccount()

    def process(self) -> Process:
        stores = MemoryStateStore(self.kept), MemoryMarkStore(self.kept)
        journals = MemoryJournalStore(self.kept)
        return Process(*stores, MemoryControl(self.kept), MemoryClaimStore(self.kept), journals)

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
        self.memos = f"memos-{name}"
        self.accounts: list[AzureAccount] = []

    def account(self) -> AzureAccount:
        self.accounts.append(AzureAccount(AzureSettings(connection_string=self.connection_string)))
        return self.accounts[-1]

    def process(self) -> Process:
        account = self.account()
        stores = AzureStateStore(account, self.table), AzureMarkStore(account, self.table)
        journals = AzureJournalStore(account, self.table, self.memos)
        return Process(*stores, AzureControl(account, self.table), AzureClaimStore(account, self.claims), journals)

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
            b = naming.bucket(stream)
            async for entity in table.query_entities(f"PartitionKey eq 'b{b:02d}' or PartitionKey eq 'j{b:02d}'"):
                if entity["stream"] == stream:
                    await table.upsert_entity({**entity, "v": 2}, mode=UpdateMode.REPLACE)

    async def delete_leases(self) -> None:
        async with BlobServiceClient.from_connection_string(self.connection_string) as service:
            await service.delete_container(self.leases)

    async def fault(self, fault: dict[str, object]) -> None:
        async with self.http.post(f"{self.control}/faults", json=fault) as answer:
            assert answer.status == 200, await answer.text()

    async def state(self) -> dict[str, Any]:
        async with self.http.get(f"{self.control}/state") as answer:
            return dict(await answer.json())

    async def counted(self, call: Callable[[], Awaitable[object]]) -> dict[str, int]:
        """Return how many requests of which service a call makes."""
        await self.fault({"reset_counts": True})
        await call()
        counts = (await self.state())["counts"]
        return {service: count for service, count in counts.items() if count}

    async def memo_blobs(self) -> set[str]:
        async with BlobServiceClient.from_connection_string(self.connection_string) as blobs:
            return {name async for name in blobs.get_container_client(self.memos).list_blob_names()}

    async def close(self) -> None:
        for account in self.accounts:
            await account.close()
        await self.http.close()
        async with TableServiceClient.from_connection_string(self.connection_string) as tables:
            await tables.delete_table(self.table)
        async with BlobServiceClient.from_connection_string(self.connection_string) as blobs:
            for container in (self.leases, self.claims, self.memos):
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


class TestJournals(JournalSuite):
    """All promises, by every kind."""


@pytest.fixture
def local_azure(in_azure: InAzure) -> InAzure:
    if LIVE:
        pytest.skip("needs Azurite behind its proxy: unset SLUICE_TEST_STORAGE")
    return in_azure


async def test_an_idle_tick_costs_one_renewal_and_one_look_at_the_control_entity(local_azure: InAzure) -> None:
    process, lease = local_azure.process(), local_azure.lease("shard-0")
    await lease.hold()
    await process.control.touch()

    async def tick() -> None:
        assert not await lease.hold()
        await process.control.version()

    assert await local_azure.counted(tick) == {"blob": 1, "table": 1}


async def test_each_call_is_one_request(local_azure: InAzure) -> None:
    process = local_azure.process()
    streams = streams_in(3)[:100]
    states = await process.states.save([Saved(state(stream)) for stream in streams])
    mark = await process.marks.write(streams[0], "servicebus", Saved(Mark(1)))
    updates = [Saved(state(each.value.stream, "1"), each.etag) for each in states if isinstance(each, Saved)]
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: process.states.load(3),
        lambda: process.states.find(streams[0]),
        lambda: process.states.save(updates),
        lambda: process.marks.read(streams[0], "servicebus"),
        lambda: process.marks.write(streams[0], "servicebus", Saved(Mark(2), mark.etag)),
        process.control.touch,
    ]
    for call in calls:
        assert await local_azure.counted(call) == {"table": 1}


async def test_a_table_that_is_deleted_under_us_is_created_again(local_azure: InAzure) -> None:
    process = local_azure.process()
    first = await saved(process, state())
    async with TableServiceClient.from_connection_string(local_azure.connection_string) as service:
        await service.delete_table(local_azure.table)
    (outcome,) = await process.states.save([Saved(state(position="1"), first.etag)])
    assert isinstance(outcome, StaleError)
    await saved(process, state(position="1"))


@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning:azure.data.tables._error")
async def test_who_is_not_let_in_waits_and_says_which_role_is_missing(local_azure: InAzure) -> None:
    wrong = local_azure.connection_string.replace("Eby8", "Xby8")
    account = AzureAccount(AzureSettings(connection_string=wrong))
    states, claims = AzureStateStore(account, local_azure.table), AzureClaimStore(account, local_azure.claims)
    with pytest.raises(TransientError, match="Storage Table Data Contributor") as table:
        await states.load(0)
    with pytest.raises(TransientError, match="Storage Blob Data Contributor") as blob:
        await claims.put("abc.0.1", b"one")
    with pytest.raises(TransientError, match="Storage Blob Data Contributor"):
        await AzureLease(account, local_azure.leases, "shard-0", local_azure.clock).hold()
    assert table.value.lasting
    assert blob.value.lasting
    await account.close()
    await local_azure.process().states.load(0)


async def test_busy_storage_is_a_matter_of_waiting(local_azure: InAzure) -> None:
    process = local_azure.process()
    await process.states.load(0)
    await local_azure.fault({"fail": {"match": local_azure.table, "status": 503}})
    with pytest.raises(TransientError, match="503 ServerBusy") as raised:
        await process.states.load(0)
    assert not raised.value.lasting
    await process.states.load(0)


async def test_a_record_that_cannot_be_read_is_logged_once(in_azure: InAzure, caplog: pytest.LogCaptureFixture) -> None:
    process, (stream, *_) = in_azure.process(), streams_in(3)
    await saved(process, state(stream))
    await in_azure.write_newer(stream)
    with caplog.at_level(logging.ERROR, "sluice.stores"):
        for _ in range(3):
            assert list(await process.states.load(3)) == []
    assert [vars(record)["stream"] for record in caplog.records] == [stream]


async def test_two_processes_that_both_find_no_lease_end_up_with_one_holder(in_azure: InAzure) -> None:
    leases = [in_azure.lease("shard-0") for _ in range(4)]
    results = await asyncio.gather(*(lease.hold() for lease in leases), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["LeaseError"] * 3 + ["bool"]
    assert all(isinstance(result, bool | LeaseError) for result in results)


async def test_of_a_large_journal_only_the_new_parts_are_stored_and_nothing_is_left_behind(
    local_azure: InAzure,
) -> None:
    journals = local_azure.process().journals
    saved = await journals.save(Saved(journal(sizes=(10_000, 20_000, 20_000, 20_000))))
    one, two, three = saved.value.memo
    changed = replace(saved.value, memo=(one, Part(b"new"), three), dropped=(two.blob,))

    requests = await local_azure.counted(lambda: journals.save(Saved(changed, saved.etag)))

    assert requests == {"blob": 2, "table": 1}  # one part up, one deleted
    found = await journals.find(WEB)
    assert found is not None
    assert await local_azure.memo_blobs() == blobs_of(found.value)


async def test_what_many_writers_in_a_row_dropped_is_deleted_though_each_died_before_it_did(
    local_azure: InAzure,
) -> None:
    refused = {"match": local_azure.memos, "method": "DELETE", "status": 503, "count": 999}
    dropped: tuple[str, ...] = ()
    etag = None
    for number in range(6):
        value = replace(journal(sizes=(30_000,) * 50), dropped=dropped)
        await local_azure.fault({"fail": refused})
        await local_azure.process().journals.save(Saved(value, etag))
        await local_azure.fault({"clear": True})
        found = await local_azure.process().journals.find(WEB)
        assert found is not None
        assert await local_azure.memo_blobs() == blobs_of(found.value) | set(found.value.dropped), number
        etag, dropped = found.etag, (*found.value.dropped, *blobs_of(found.value))
    assert len(dropped) < 6 * 50


async def test_a_journal_of_many_small_parts_has_no_more_properties_than_an_entity_may_have(
    local_azure: InAzure,
) -> None:
    wanted = journal(sizes=(10,) * (1 + MAX_PARTS))
    await local_azure.process().journals.save(Saved(wanted))

    async with TableServiceClient.from_connection_string(local_azure.connection_string) as service:
        [entity] = [each async for each in service.get_table_client(local_azure.table).list_entities()]
    assert len(entity.keys() - {"PartitionKey", "RowKey"}) <= 252
    found = await local_azure.process().journals.find(WEB)
    assert found is not None
    assert content(found.value) == content(wanted)


async def test_a_journal_that_is_refused_says_so_and_leaves_nothing_behind(local_azure: InAzure) -> None:
    journals = local_azure.process().journals
    saved = await journals.save(Saved(journal(sizes=(30_000, 30_000))))
    kept = await local_azure.memo_blobs()
    too_large = replace(journal(sizes=(30_000, 30_000)), head="x" * 40_000)

    with pytest.raises(TransientError, match=f"journal of {WEB} .*400 PropertyValueTooLarge.*snapshot") as raised:
        await journals.save(Saved(too_large, saved.etag))

    assert raised.value.lasting
    assert await local_azure.memo_blobs() == kept


async def test_a_journal_of_which_a_part_cannot_be_stored_leaves_nothing_behind(local_azure: InAzure) -> None:
    journals = local_azure.process().journals
    saved = await journals.save(Saved(journal(sizes=(30_000, 30_000))))
    kept = await local_azure.memo_blobs()
    await local_azure.fault({"fail": {"match": local_azure.memos, "method": "PUT", "status": 503, "count": 1}})

    with pytest.raises(TransientError, match="503"):
        await journals.save(Saved(journal(sizes=(30_000,) * 40), saved.etag))

    assert await local_azure.memo_blobs() == kept


async def test_a_journal_whose_answer_was_lost_keeps_its_parts(local_azure: InAzure) -> None:
    journals = local_azure.process().journals
    saved = await journals.save(Saved(journal()))
    wanted = journal(sizes=(30_000, 30_000))
    await local_azure.lose_answer(journals.save(Saved(wanted, saved.etag)))

    found = await journals.find(WEB)
    assert found is not None
    assert content(found.value) == content(wanted)


async def test_a_journal_whose_part_is_gone_says_what_to_do(local_azure: InAzure) -> None:
    journals = local_azure.process().journals
    await journals.save(Saved(journal(sizes=(100_000,))))
    async with BlobServiceClient.from_connection_string(local_azure.connection_string) as blobs:
        await blobs.delete_container(local_azure.memos)

    with pytest.raises(ConfigError, match="snapshot"):
        await journals.find(WEB)
