"""The faults of the storage emulator, as the real SDKs report them."""

import asyncio
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, ServiceRequestError, ServiceResponseError

pytestmark = pytest.mark.asyncio(loop_scope="module")

AWAY = (ServiceRequestError, ServiceResponseError)


def entity(row: str) -> dict[str, str]:
    return {"PartitionKey": "p", "RowKey": row}


def held(state: dict[str, Any]) -> list[dict[str, Any]]:
    paused: list[dict[str, Any]] = state["paused"]
    return paused


async def test_a_request_paused_before_it_is_forwarded_has_no_effect_until_it_is_resumed(azurite, table):
    await azurite.fault({"pause": {"method": "POST", "match": table.table_name, "after": 2}})
    await table.create_entity(entity("first"))
    writing = asyncio.create_task(table.create_entity(entity("second")))
    (request,) = (await azurite.until(held))["paused"]

    assert request == {
        "id": request["id"],
        "method": "POST",
        "path": f"/devstoreaccount1/{table.table_name}",
        "when": "before",
    }
    with pytest.raises(ResourceNotFoundError):
        await table.get_entity("p", "second")

    await azurite.fault({"resume": request["id"]})
    await writing
    assert await table.get_entity("p", "second")
    assert not held(await azurite.state())


async def test_a_request_paused_after_the_answer_has_happened_though_its_client_never_learns_it(azurite, table):
    await azurite.fault({"pause": {"match": table.table_name, "when": "after"}})
    writing = asyncio.create_task(table.create_entity(entity("done")))
    await azurite.until(held)
    assert await table.get_entity("p", "done")

    await azurite.fault({"resume": "all", "drop": True})

    with pytest.raises(AWAY):
        await writing


async def test_a_request_dropped_before_it_is_forwarded_never_happens(azurite, table):
    await azurite.fault({"pause": {"match": table.table_name}})
    writing = asyncio.create_task(table.create_entity(entity("never")))
    await azurite.until(held)

    await azurite.fault({"resume": "all", "drop": True})

    with pytest.raises(AWAY):
        await writing
    with pytest.raises(ResourceNotFoundError):
        await table.get_entity("p", "never")


async def test_a_table_batch_is_named_by_what_it_holds(azurite, table):
    await azurite.fault({"pause": {"method": "POST", "match": r"PUT .*RowKey='bell'"}})
    await table.submit_transaction([("upsert", entity("other"), {"mode": "replace"})])
    writing = asyncio.create_task(table.submit_transaction([("upsert", entity("bell"), {"mode": "replace"})]))

    (request,) = (await azurite.until(held))["paused"]

    assert request["path"].endswith("/$batch")
    await azurite.fault({"resume": "all"})
    await writing


async def test_a_lease_renewal_is_told_from_its_acquisition(azurite, blob):
    await blob.upload_blob(b"")
    await azurite.fault({"pause": {"method": "PUT", "match": "^renew$"}})
    lease = await blob.acquire_lease(15)
    renewing = asyncio.create_task(lease.renew())

    await azurite.until(held)

    await azurite.fault({"resume": "all"})
    await renewing


async def test_the_next_matching_requests_are_refused_with_the_given_status(azurite, table, blob):
    await azurite.fault({"fail": {"match": table.table_name, "status": 503, "count": 2}})
    await azurite.fault({"fail": {"match": blob.container_name, "status": 500}})

    for _ in range(2):
        with pytest.raises(HttpResponseError) as refused:
            await table.create_entity(entity("later"))
        assert refused.value.status_code == 503
    with pytest.raises(HttpResponseError, match="ErrorCode:InternalError") as refused:
        await blob.upload_blob(b"")
    assert refused.value.status_code == 500

    await table.create_entity(entity("later"))
    await blob.upload_blob(b"")


async def test_a_delay_holds_up_matching_requests_until_it_is_ended(azurite, table):
    loop = asyncio.get_running_loop()
    await azurite.fault({"delay_s": 0.3, "match": table.table_name})
    started = loop.time()
    await table.create_entity(entity("slow"))
    assert loop.time() - started >= 0.3

    await azurite.fault({"delay_s": 60, "match": "nothing of ours"})
    await table.create_entity(entity("quick"))


async def test_an_outage_refuses_connections_and_keeps_the_data(azurite, table):
    await table.create_entity(entity("kept"))

    await azurite.fault({"outage": True})
    with pytest.raises(AWAY):
        await table.get_entity("p", "kept")

    await azurite.fault({"outage": False})
    assert await table.get_entity("p", "kept")


async def test_an_outage_with_a_length_ends_by_itself(azurite, table, connection):
    await azurite.fault({"outage_s": 0.5})
    with pytest.raises(AWAY):
        await table.create_entity(entity("away"))

    async with asyncio.timeout(10):
        while True:
            try:
                await table.upsert_entity(entity("back"))
            except AWAY:
                await asyncio.sleep(0.02)
            else:
                break


async def test_an_outage_cuts_the_connection_of_a_request_under_way(azurite, table):
    await azurite.fault({"pause": {"match": table.table_name}})
    writing = asyncio.create_task(table.create_entity(entity("cut")))
    await azurite.until(held)

    await azurite.fault({"outage": True})

    with pytest.raises(AWAY):
        await writing


async def test_a_restart_keeps_endpoints_and_data(azurite, table, blob):
    await table.create_entity(entity("kept"))
    await blob.upload_blob(b"kept")
    before = (await azurite.state())["azurite"]

    await azurite.fault({"restart": True})

    assert (await azurite.state())["azurite"] != before
    assert await table.get_entity("p", "kept")
    assert await (await blob.download_blob()).readall() == b"kept"


@pytest.mark.parametrize(
    "fault",
    [
        {"puase": {}},
        {"pause": {"match": "("}},
        {"pause": {"when": "during"}},
        {"pause": {"matches": "x"}},
        {"resume": 4711},
        {"outage_s": "long"},
        {"outage": True, "match": "x"},
        {"fail": {}, "match": "x"},
    ],
    ids=str,
)
async def test_a_fault_that_is_not_understood_is_refused(azurite, fault):
    with pytest.raises(ValueError, match="azurite"):
        await azurite.fault(fault)
