"""What operators get wrong, and servers that refuse: each fault is told with its remedy, and nothing is lost by it."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from local.process import PartProcess
from shared import naming, pack
from tests.chaos import faults
from tests.pipeline import SHORT_LEASE, Pipeline, pipeline, table_stream

PASSWORD = "R3ader!pass"


async def told(line: Pipeline, host: PartProcess, said: str) -> None:
    """Wait until `health` tells what matches `said` to callers with a key, and everybody that something is wrong."""

    async def is_told() -> bool:
        code, reasons = await faults.health(line, host)
        return code == 503 and any(re.search(said, reason) for reason in reasons)

    await faults.until(is_told)


async def healthy(line: Pipeline, host: PartProcess) -> None:
    async def is_healthy() -> bool:
        return await faults.health(line, host) == (200, [])

    await faults.until(is_healthy)


# ---------------------------------------------------------------------- the source


@pytest.mark.timeout(120)
async def test_a_source_that_refuses_is_told_with_the_remedy_and_goes_on_by_itself(tmp_path):
    async with pipeline(tmp_path) as line:
        server = line.cloud.part("sqlserver")
        login = {"name": "reader", "password": PASSWORD}
        await server.fault({"login": login})
        line.environment["SqlServer"] = re.sub(
            "//.*@", f"//reader:{PASSWORD.replace('!', '%21')}@", line.environment["SqlServer"]
        )
        await line.start("capture")
        deliver = await line.start("deliver,health,health_reasons")
        await line.commit(2)
        await line.arrive()
        broken: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
            r"is 127\.0\.0\.1,\d+ running, and reachable from here\?": ({"refuse": 3600}, {"refuse": 0}),
            r"Login failed for user 'reader'.*password": ({"login": {**login, "password": "other"}}, {"login": login}),
            r"denied.*GRANT SELECT ON SCHEMA::cdc TO \[reader\]": (
                {"login": {**login, "deny": ["cdc"]}},
                {"login": login},
            ),
        }
        for said, (fault, mended) in broken.items():
            await server.fault(fault)
            await server.fault({"kill": "all"})
            await faults.until_logged(line, "capture", f"source left alone source=sql1 .*{said}")
            await told(line, deliver, f"source sql1: .*{said}")
            await server.fault(mended)
            await line.commit(2)
            await line.arrive()
            await healthy(line, deliver)
        assert PASSWORD not in line.log("*")


@pytest.mark.timeout(120)
async def test_changes_that_are_not_captured_are_told_with_the_statement_that_captures_them(tmp_path):
    async with pipeline(tmp_path, tables=("Persons", "Cars"), settings=SHORT_LEASE) as line:
        line.execute("EXEC sys.sp_cdc_disable_db")
        capture = await line.start("capture")
        deliver = await line.start("deliver,health,health_reasons")
        off = "change data capture is off in database TestDB .*EXEC sys.sp_cdc_enable_db"
        await faults.until_logged(line, "capture", f"source left alone source=sql1 .*{off}")
        await told(line, deliver, off)

        line.execute("EXEC sys.sp_cdc_enable_db")
        missing = r"dbo\.Cars.*EXEC sys\.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'Cars'"
        line.execute("EXEC sys.sp_cdc_enable_table @source_schema=N'dbo', @source_name=N'Persons', @role_name=NULL")
        await faults.until_logged(line, "capture", f"stream not captured source=sql1 .*{missing}")
        await told(line, deliver, missing)
        await line.commit(2)
        await line.arrive()

        line.execute("EXEC sys.sp_cdc_enable_table @source_schema=N'dbo', @source_name=N'Cars', @role_name=NULL")
        await capture.stop()
        await line.start("capture")
        await line.commit(2, table="Cars")
        await line.arrive()
        await healthy(line, deliver)


# ---------------------------------------------------------------------- broker and storage


@pytest.mark.timeout(120)
async def test_a_broker_or_a_storage_that_is_away_is_told_and_waited_for(tmp_path):
    async with pipeline(tmp_path) as line:
        broker, storage = line.cloud.part("broker"), line.cloud.part("azurite")
        await line.start("capture")
        deliver = await line.start("deliver,health,health_reasons")
        await line.commit(2)
        await line.arrive()

        away = "Service Bus cannot serve ingest-queue now"
        await broker.fault({"outage_s": 600})
        await line.commit(2)
        await faults.until_logged(line, "capture", f"stream left alone stream={table_stream('Persons')} .*{away}")
        await told(line, deliver, away)
        code, _, said = await line.command("status")
        assert (code, away in said) == (1, True)
        await broker.fault({"outage_s": 0})
        await line.arrive()
        await healthy(line, deliver)

        away = r"cannot be reached: .*\(see that the storage account is there and its firewall lets us in\)"
        await storage.fault({"outage": True})
        await faults.until_logged(line, "capture", f"TransientError: .*{away}")
        await told(line, deliver, f"table sluice {away}")
        code, _, said = await line.command("status")
        assert code == 1
        assert re.search(f"sluice: table sluice {away}", said)
        await line.commit(2)
        await storage.fault({"outage": False})
        await line.arrive()
        await healthy(line, deliver)


# ---------------------------------------------------------------------- the ingest queue


async def put(line: Pipeline, *messages: ServiceBusMessage) -> None:
    """Put messages on the ingest queue, as anybody could."""
    async with (
        ServiceBusClient.from_connection_string(line.environment["ServiceBus"]) as client,
        client.get_queue_sender(faults.INGEST) as sender,
    ):
        for message in messages:
            await sender.send_messages(message)


async def rejected(line: Pipeline) -> list[dict[str, str]]:
    control = line.cloud.part("broker").control
    async with line.session.get(f"{control}/messages", params={"entity": "rejected"}) as answer:
        return [json.loads(base64.b64decode(each["body"])) for each in await answer.json()]


@pytest.mark.timeout(120)
async def test_what_is_no_pack_is_kept_and_a_pack_of_a_later_release_waits_for_it(tmp_path):
    async with pipeline(tmp_path, settings="capture { max_pack_changes = 2 }") as line:
        session = naming.session(table_stream("Persons"))
        garbage = b'{"v":1,"stream":"\xff'
        damaged = b'{"v":1,"stream":"sql1/TestDB/dbo/Persons","count":1}'
        newer = json.dumps({"v": pack.VERSION + 1, "stream": "sql1/TestDB/dbo/Later"})
        await line.start("capture")
        await line.commit(2)
        await faults.until_waiting(line, 1)
        await put(
            line,
            ServiceBusMessage(garbage, session_id="nobody"),
            ServiceBusMessage(damaged, session_id=session, content_type=pack.CONTENT_TYPE),
            ServiceBusMessage(newer, session_id="later", content_type=pack.CONTENT_TYPE),
        )
        await line.commit(4)
        await faults.until_waiting(line, 3)
        await faults.strike(line, "remove", "Persons", 1)

        deliver = await line.start("deliver,health,health_reasons")
        await line.arrive()
        await faults.until_logged(line, "deliver", r"pack: version 2, this release reads 1 \(finish the roll-out")
        assert faults.logged(line, "deliver", "stream repaired", "Persons") == 1
        kept = {each["stream"]: each for each in await rejected(line)}
        assert base64.b64decode(kept["nobody"]["body_base64"]) == garbage
        assert kept["nobody"]["reason"] == "pack: not UTF-8 at byte 17"
        assert kept[session]["body"].encode() == damaged
        assert "pack: bad header" in kept[session]["reason"]
        assert sorted(kept) == sorted(["nobody", session])
        queue = (await line.cloud.part("broker").state())["entities"][faults.INGEST]
        assert queue["sessions"]["later"]["active"] + queue["sessions"]["later"]["locked"] == 1
        assert queue["in_dead_letter_queue"] == 0
        await healthy(line, deliver)


@asynccontextmanager
async def delivering(line: Pipeline, how: str) -> AsyncIterator[None]:
    if how == "host":
        await line.start("deliver")
        yield
        return
    async with line.wiring() as wiring:  # as `sluice run` does
        stop, deliver = asyncio.Event(), await wiring.deliver()
        running = asyncio.create_task(wiring.pump(deliver.deliver).run(stop))
        yield
        stop.set()
        await running


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["host", "pump"])
async def test_a_plain_dstream_message_is_forwarded_with_all_its_properties(tmp_path, how):
    async with pipeline(tmp_path) as line, delivering(line, how):
        topic = naming.topic(table_stream("Persons"))
        body = json.dumps({"data": {"ID": 7}, "metadata": {"Destination": topic, "IngestQueue": faults.INGEST}})
        sent = ServiceBusMessage(
            body,
            session_id="anybody",
            message_id="seven",
            subject="update",
            content_type="application/json",
            correlation_id="before",
            application_properties={"text": "x", "number": 7, "flag": True, "share": 0.5},
        )
        await put(line, sent)
        await line.cloud.part("broker").until(lambda state: state["entities"][topic]["incoming"] == 1)
        async with ServiceBusClient.from_connection_string(line.environment["ServiceBus"]) as client:
            [arrived] = await client.get_subscription_receiver(topic, "sub1").peek_messages()
        for name in ("session_id", "message_id", "subject", "content_type", "correlation_id"):
            assert getattr(arrived, name) == getattr(sent, name)
        assert str(arrived) == body
        assert arrived.application_properties == {
            b"text": b"x",
            b"number": 7,
            b"flag": True,
            b"share": 0.5,
        }
        assert not await rejected(line)


# ---------------------------------------------------------------------- the configuration

BAD = """
source "sqlserver" "sql1" {
  connection_string = env("Nowhere")
  poll_interval     = "soon"
  tabels            = ["Persons"]
}
output "topics" {
  type = "servicebuss"
}
"""
PROBLEMS = """\
{file}:2: source "sqlserver" "sql1": names no table (tables = ["Persons", "sales.Orders"])
{file}:3: source "sqlserver" "sql1": connection_string: the environment variable Nowhere is not set \
(set the app setting Nowhere)
{file}:4: source "sqlserver" "sql1": poll_interval: has no such form, got 'soon' \
(a duration is written "100ms", "5s", "1m30s" or "2h")
{file}:5: source "sqlserver" "sql1": tabels: unknown key (did you mean tables?)
{file}:8: output "topics": type: is not known, got 'servicebuss' (did you mean servicebus?)
"""


@pytest.mark.timeout(60)
async def test_a_bad_configuration_is_refused_by_the_command_and_told_by_the_app(tmp_path):
    async with pipeline(tmp_path) as line:
        file = Path(line.environment["SLUICE_CONFIG"])
        await asyncio.to_thread(file.write_text, BAD)
        problems = PROBLEMS.format(file=file).splitlines()
        for command in (["config", "check"], ["status"], ["pause", "*"], ["resume", "*"], ["run"]):
            code, out, said = await line.command(*command)
            assert (code, out) == (2, "")
            assert said.removeprefix("sluice: ").splitlines()[: len(problems)] == problems

        host = PartProcess("host", [], line.environment, tmp_path / "host.log", line.session)
        await host.start()
        try:
            assert set((await host.state())["functions"]) == {"health", "health_reasons"}
            assert await faults.health(line, host) == (503, problems)
        finally:
            await host.stop()
