"""What the real SDKs see of the storage emulator through its proxy."""

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError
from azure.data.tables import TableTransactionError

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONLY_IF = MatchConditions.IfNotModified


async def test_entities_with_awkward_keys_are_written_and_found(table):
    await table.create_entity({"PartitionKey": "a%2Fb 'c'", "RowKey": "ü%25", "n": 1})

    found = await table.get_entity("a%2Fb 'c'", "ü%25")

    assert found["n"] == 1


async def test_a_write_over_a_stale_etag_is_refused(table):
    entity = {"PartitionKey": "p", "RowKey": "r", "n": 1}
    first = await table.create_entity(entity)
    await table.update_entity({**entity, "n": 2})

    with pytest.raises(ResourceModifiedError):
        await table.update_entity({**entity, "n": 3}, etag=first["etag"], match_condition=ONLY_IF)


async def test_a_transaction_is_written_whole_or_not_at_all(table):
    entities = [{"PartitionKey": "p", "RowKey": f"{n:03}", "n": n} for n in range(100)]
    written = await table.submit_transaction([("create", entity) for entity in entities])
    conditional = {"etag": written[0]["etag"], "match_condition": ONLY_IF}
    await table.submit_transaction([("update", {**entities[0], "n": 1000}, conditional)])

    with pytest.raises(TableTransactionError):
        await table.submit_transaction(
            [
                ("update", {**entities[1], "n": 1000}),
                ("update", {**entities[0], "n": 2000}, conditional),
            ]
        )

    found = [entity["n"] async for entity in table.query_entities("n ge 98", results_per_page=1)]
    assert found == [1000, 98, 99]


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning:aiohttp")
async def test_a_large_blob_comes_back_as_it_was(blob):
    body = bytes(range(256)) * 20_000

    await blob.upload_blob(body)

    assert (await blob.get_blob_properties()).size == len(body)
    assert await (await blob.download_blob()).readall() == body


async def test_a_blob_lease_is_held_by_one(blob):
    await blob.upload_blob(b"")
    lease = await blob.acquire_lease(15)
    await lease.renew()

    with pytest.raises(ResourceExistsError):
        await blob.acquire_lease(15)
    with pytest.raises(HttpResponseError):
        await blob.upload_blob(b"", overwrite=True)

    await lease.release()
    await (await blob.acquire_lease(15)).release()


async def test_requests_are_counted_per_service(azurite, table, blob):
    await azurite.fault({"reset_counts": True})

    await table.create_entity({"PartitionKey": "p", "RowKey": "r"})
    await blob.exists()

    state = await azurite.state()
    assert state["counts"] == {"blob": 1, "queue": 0, "table": 1}
    assert state["last"]["table"] == [["POST", f"/devstoreaccount1/{table.table_name}"]]
    assert [method for method, _ in state["last"]["blob"]] == ["HEAD"]
