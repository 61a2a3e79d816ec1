"""`sluice state export` and `import` on the local cloud: what was stored goes on elsewhere, and nothing is lost."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from azure.data.tables import EdmType, EntityProperty
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import ContainerClient

from shared.events import Journal, Part, Position, Saved
from shared.export import parse
from shared.stores.azure.journals import AzureJournalStore
from tests.conformance.journal_suite import blobs_of, content
from tests.pipeline import POLL_S, SHORT_LEASE, Pipeline, pipeline, service_stream, table_stream

PLACED = {
    "PartitionKey": "topics",
    "RowKey": "sql1.testdb.persons.events",
    "v": 1,
    "namespace": "ServiceBus",
    "text": "Ä\n\t€",
    "small": -(2**31),
    "large": EntityProperty(2**53 + 1, EdmType.INT64),
    "share": 3.0,
    "endless": float("inf"),
    "is": True,
    "bytes": bytes(range(256)),
    "id": UUID(int=7),
    "at": EntityProperty("2026-11-21T07:28:06.1234567Z", EdmType.DATETIME),
}


async def entities(line: Pipeline) -> list[dict[str, Any]]:
    """Return the table as it is, but for what every write changes."""
    async with TableServiceClient.from_connection_string(line.environment["AzureWebJobsStorage"]) as service:
        table = service.get_table_client("sluice")
        return [dict(entity) async for entity in table.list_entities()]


async def write(line: Pipeline, entity: dict[str, object]) -> None:
    async with TableServiceClient.from_connection_string(line.environment["AzureWebJobsStorage"]) as service:
        await service.get_table_client("sluice").upsert_entity(entity)


async def empty(line: Pipeline) -> None:
    """Leave nothing of the state behind."""
    async with TableServiceClient.from_connection_string(line.environment["AzureWebJobsStorage"]) as service:
        table = service.get_table_client("sluice")
        async for entity in table.list_entities():
            await table.delete_entity(entity)


async def export(line: Pipeline, file: Path) -> dict[str, object]:
    code, out, err = await line.command("state", "export", "--to", str(file), "--json")
    assert code == 0, err
    return dict(json.loads(out))


@asynccontextmanager
async def held(line: Pipeline, *arguments: str) -> AsyncIterator[asyncio.Task[tuple[int, str, str]]]:
    """Run a command whose first transaction is held until the block ends."""
    azurite = line.cloud.part("azurite")
    await azurite.fault({"pause": {"match": r"\$batch", "method": "POST", "when": "before"}})
    ended = asyncio.create_task(line.command(*arguments))
    await azurite.until(lambda state: state["paused"])
    yield ended
    await azurite.fault({"resume": "all"})


@pytest.mark.timeout(120)
async def test_a_pipeline_goes_on_from_an_export_in_an_empty_store_and_loses_nothing(tmp_path):
    file = tmp_path / "state.jsonl"
    async with pipeline(tmp_path, tables=("Persons", "Cars"), settings=SHORT_LEASE) as line:
        capture = await line.start("capture")
        deliver = await line.start("deliver")
        for table in line.tables:
            await line.commit(5, table=table)
        await line.arrive()
        await line.confirmed()
        await deliver.stop()
        await line.commit(3)  # sent, and not delivered when the copy is taken
        await line.cloud.part("broker").until(lambda state: state["entities"]["ingest-queue"]["active"])

        said = await export(line, file)
        assert (said["streams"], said["marks"]) == (2, 2)
        await capture.stop()
        await line.commit(2, table="Cars")  # nobody looks at it
        await empty(line)
        code, _, err = await line.command("state", "import", str(file))
        assert (code, err.count("imported: ")) == (0, 2)

        states = [(await line.state(table)) for table in line.tables]
        assert all(each.state.value.chain > mark.value.chain for each in states for mark in each.marks.values())
        assert all(each.state.value.position <= mark.value.position for each in states for mark in each.marks.values())
        await line.start("capture")
        await line.start("deliver")
        await line.arrive()
        await line.confirmed()
        for table in line.tables:
            assert len(await line.topic(table)) == len(line.committed[table])
            assert (await line.state(table)).state.value.repaired == 0


@pytest.mark.timeout(120)
async def test_an_import_over_running_streams_changes_them_and_loses_nothing(tmp_path):
    file = tmp_path / "state.jsonl"
    async with pipeline(tmp_path) as line:
        await line.start("capture")
        await line.start("deliver")
        await line.commit(5)
        await line.arrive()
        await export(line, file)
        async with line.commits():
            for _ in range(3):
                before = (await line.state()).state.value.chain
                code, _, err = await line.command("state", "import", str(file), "--replace")
                assert code == 0, err
                assert (await line.state()).state.value.chain > before
        await line.arrive()
        assert (await line.state()).state.value.status == "running"


async def test_whole_entities_come_back_exactly(tmp_path):
    file = tmp_path / "state.jsonl"
    async with pipeline(tmp_path) as line:
        async with line.wiring() as wiring:
            await (await wiring.capture()).tick()
        await write(line, PLACED)
        [before] = [entity for entity in await entities(line) if entity["PartitionKey"] == "topics"]
        await export(line, file)
        await empty(line)

        code, out, err = await line.command("state", "import", str(file), "--json")

        assert (code, json.loads(out)["refused"]) == (0, []), err
        [after] = [entity for entity in await entities(line) if entity["PartitionKey"] == "topics"]
        assert after == before
        assert after["at"].tables_service_value == "2026-11-21T07:28:06.1234567Z"


async def test_a_journal_comes_back_with_its_blobs_and_its_stream_goes_on(tmp_path):
    file = tmp_path / "state.jsonl"
    async with pipeline(tmp_path) as line:
        stream = table_stream("Persons")
        async with line.wiring() as wiring:
            await (await wiring.capture()).tick()
            journals = AzureJournalStore(wiring.account, wiring.settings.state_table, wiring.settings.memo_container)
            parts = tuple(Part(random.Random(seed).randbytes(40_000)) for seed in range(3))
            wanted = Journal(stream, Position("1"), Position("5"), head='{"n":1}', outbox=parts[0], memo=parts[1:])
            kept = (await journals.save(Saved(wanted))).value
            assert all(part.blob for part in (kept.outbox, *kept.memo))

            assert (await export(line, file))["blobs"] == 3
            await empty(line)
            await wiring.account.on_container("memos", ContainerClient.delete_container)
            assert (await line.command("state", "import", str(file)))[0] == 0

            found = await journals.find(stream)
            assert found is not None
            assert content(found.value) == content(replace(kept, head="{}"))
            await journals.save(Saved(replace(found.value, last=Position("6")), found.etag))
            assert (await line.command("state", "import", str(file), "--replace"))[0] == 0
            again = await journals.find(stream)
            assert again is not None
            assert content(again.value) == content(replace(kept, head="{}"))
            assert not blobs_of(again.value) & (blobs_of(found.value) | blobs_of(kept)), "no name is used twice"
            assert await wiring.account.on_container("memos", names) == blobs_of(again.value)
        state = (await line.state()).state.value
        assert (state.status, state.reason) == ("running", "")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("goes_on", [False, True])
async def test_what_a_registry_tells_after_an_import_never_has_the_id_of_another_change(tmp_path, goes_on):
    file = tmp_path / "state.jsonl"
    async with pipeline(tmp_path, services=["web"], settings=SHORT_LEASE) as line:
        await line.start("deliver")
        capture = await line.start("capture")
        await move(line, 1)
        await arrived(line, (None, 1))
        await line.confirmed()
        await export(line, file)
        for port in (2, 3):
            await move(line, port)
            await arrived(line, (port - 1, port))
        if not goes_on:
            await capture.stop()

        assert (await line.command("state", "import", str(file), "--replace"))[0] == 0
        if not goes_on:
            await line.start("capture")
        await arrived(line, (1, 3))

        told = await ports(line)
        assert told.keys() == {(None, 1), (1, 2), (2, 3), (1, 3)}
        assert len({event_id for ids in told.values() for event_id in ids}) == sum(map(len, told.values()))


async def names(container: ContainerClient) -> set[str]:
    return {name async for name in container.list_blob_names()}


async def move(line: Pipeline, port: int) -> None:
    """Have the one instance of a service listen elsewhere."""
    service = {"Service": "web", "ID": "web-1", "Port": port}
    url = f"{line.cloud.settings['Consul']}/v1/catalog/register"
    async with line.session.put(url, json={"Node": "n1", "Address": "10.0.0.1", "Service": service}) as answer:
        assert answer.status == 200


async def ports(line: Pipeline) -> dict[tuple[int | None, int], set[str]]:
    """Return the ids that each change of port has in the topic."""
    stream = service_stream("web")
    messages = zip(await line.messages(stream), await line.bodies(stream), strict=False)
    found: defaultdict[tuple[int | None, int], set[str]] = defaultdict(set)
    for message, told in messages:
        found[told.get("before", {}).get("Port"), told["data"]["Port"]].add(message["properties"]["event_id"])
    return found


async def arrived(line: Pipeline, change: tuple[int | None, int]) -> None:
    async with asyncio.timeout(30):
        while change not in await ports(line):  # noqa: ASYNC110 - the topic has no event for it
            await asyncio.sleep(POLL_S)


async def test_what_is_there_is_kept_unless_told_otherwise(tmp_path):
    file = tmp_path / "state.jsonl"
    async with pipeline(tmp_path) as line:
        async with line.wiring() as wiring:
            await (await wiring.capture()).tick()
        await write(line, PLACED)
        await export(line, file)
        await write(line, PLACED | {"namespace": "Other"})
        before = await entities(line)
        bell = [entity for entity in before if entity["PartitionKey"] == "control"]

        code, out, err = await line.command("state", "import", str(file), "--json")
        assert (code, [each["name"] for each in json.loads(out)["refused"]]) == (
            2,
            [table_stream("Persons"), "topics/sql1.testdb.persons.events"],
        )
        assert "add --replace" in err
        code, out, _ = await line.command("state", "import", str(file), "--replace", "--dry-run", "--json")
        assert (code, json.loads(out)["there"], json.loads(out)["dry_run"]) == (0, 2, True)
        assert await entities(line) == before

        assert (await line.command("state", "import", str(file), "--replace"))[0] == 0
        after = await entities(line)
        assert [entity["namespace"] for entity in after if entity["PartitionKey"] == "topics"] == ["ServiceBus"]
        assert [entity for entity in after if entity["PartitionKey"] == "control"] != bell


async def test_a_stream_that_changes_during_its_import_is_refused_or_read_again(tmp_path):
    file = tmp_path / "state.jsonl"
    async with pipeline(tmp_path) as line:
        async with line.wiring() as wiring:
            await (await wiring.capture()).tick()
        await export(line, file)
        copy = (await line.state()).state.value

        await empty(line)
        async with held(line, "state", "import", str(file), "--json") as ended:
            async with line.wiring() as wiring:
                await (await wiring.capture()).tick()
            there = (await line.state()).state
        code, out, _ = await ended
        assert (code, "appeared meanwhile" in json.loads(out)["refused"][0]["reason"]) == (1, True)
        assert (await line.state()).state == there

        async with held(line, "state", "import", str(file), "--replace") as ended:
            assert (await line.command("pause", table_stream("Persons")))[0] == 0
        assert (await ended)[0] == 0
        state = (await line.state()).state.value
        assert (state.status, state.position) == ("running", copy.position)
        assert state.chain > there.value.chain


async def test_files_that_are_none_and_stores_of_a_newer_release_are_refused(tmp_path):
    file = tmp_path / "state.jsonl"
    async with pipeline(tmp_path) as line:
        async with line.wiring() as wiring:
            await (await wiring.capture()).tick()
        code, text, err = await line.command("state", "export")
        assert (code, "1 streams with 0 marks" in err) == (0, True)
        assert parse(text.encode().splitlines()).streams[0].stream == table_stream("Persons")

        for wrong, said in (
            (text.splitlines()[0], "cut off"),
            (text.replace('"v":1', '"v":2', 1), "a newer release wrote this state, in form 2"),
            (text.replace('"position":', '"posit":'), "cannot be read"),
            (text.replace('"v":1,"writer"', '"v":7,"writer"'), "in form 7"),
        ):
            file.write_text(wrong)
            code, _, err = await line.command("state", "import", str(file), "--replace")
            assert (code, said in err) == (2, True), err
        code, _, err = await line.command("state", "import", str(tmp_path / "none"))
        assert (code, "cannot be read" in err) == (2, True)

        file.write_text(text)
        [entity] = [each for each in await entities(line) if each["PartitionKey"].startswith("b")]
        await write(line, entity | {"v": 2})
        code, _, err = await line.command("state", "import", str(file), "--replace")
        assert (code, "a newer release wrote what is stored" in err) == (1, True)
