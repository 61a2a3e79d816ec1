"""Packs that go missing between capture and deliver: every stream notices, and sends again what did not arrive."""

import pytest

from tests.chaos import faults
from tests.pipeline import pipeline, table_stream

SHORT_PACKS = """
capture {
  probe_after      = "1s"
  max_probe_after  = "1s"
  max_pack_changes = 2
}
"""
PACKS, ROWS = 5, 10
FAULTS = {
    "First": ("remove", 0),
    "Middle": ("remove", 2),
    "Buried": ("dead_letter", 2),
    "Swapped": ("swap", 1),
    "Last": ("remove", -1),
}


@pytest.mark.timeout(100)
async def test_a_stream_repairs_itself_once_for_each_pack_that_went_missing(tmp_path):
    async with pipeline(tmp_path, tables=(*FAULTS, "Spared"), settings=SHORT_PACKS) as line:
        for table in line.tables:
            await line.commit(ROWS, table=table)
        await line.start("capture")
        await faults.until_waiting(line, PACKS)
        for table, (kind, index) in FAULTS.items():
            await faults.strike(line, kind, table, index)

        deliver = await line.start("deliver,health,health_reasons")
        await line.arrive()
        await line.confirmed()

        streams, dead_lettered = await faults.status(line)
        assert {table: streams[table]["repaired"] for table in line.tables} == dict.fromkeys(FAULTS, 1) | {"Spared": 0}
        for table in FAULTS:
            assert "went missing; sent again from" in streams[table]["reason"]
            assert streams[table]["status"] == "running"
            assert faults.logged(line, "deliver", "stream repaired", table) == 1
        assert faults.logged(line, "capture", "probe sent", "Last")
        assert dead_lettered == 1
        code, reasons = await faults.health(line, deliver)
        assert code == 503
        assert [reason for reason in reasons if "ingest-queue has dead-lettered 1 packs" in reason] == reasons


@pytest.mark.timeout(100)
async def test_deliver_switched_off_repairs_nothing_and_a_purged_queue_everything(tmp_path):
    async with pipeline(tmp_path, tables=("Persons", "Cars"), settings=SHORT_PACKS) as line:
        await line.start("capture")
        for table in line.tables:
            await line.commit(ROWS, table=table)
        for table in line.tables:
            await faults.until_logged(line, "capture", f"probe sent stream={table_stream(table)} ", times=3)
        deliver = await line.start("deliver")
        await line.arrive()
        await line.confirmed()
        streams, _ = await faults.status(line)
        assert [streams[table]["repaired"] for table in line.tables] == [0, 0]

        await deliver.stop()
        for table in line.tables:
            await line.commit(ROWS, table=table)
        await faults.until_waiting(line, PACKS)
        await line.cloud.part("broker").fault({"purge": faults.INGEST})
        await line.start("deliver")
        await line.arrive()
        await line.confirmed()
        streams, _ = await faults.status(line)
        for table in line.tables:
            assert streams[table]["repaired"] == 1
            assert faults.logged(line, "deliver", "stream repaired", table) == 1


@pytest.mark.timeout(100)
async def test_a_stream_whose_lost_rows_are_gone_at_the_source_halts_until_the_operator_chooses(tmp_path):
    async with pipeline(tmp_path, tables=("Persons", "Cars"), settings=SHORT_PACKS) as line:
        stream = table_stream("Persons")
        for table in line.tables:
            await line.commit(ROWS, table=table)
        await line.start("capture")
        await faults.until_waiting(line, PACKS)
        before = sum(len(each.changes) for each in (await faults.packs(line, "Persons"))[:2] if each)
        delivered = line.committed["Persons"][:before]
        await faults.strike(line, "remove", "Persons", 2)
        await line.cloud.part("sqlserver").fault({"cleanup": {"instance": "dbo_Persons"}})
        deliver = await line.start("deliver,health,health_reasons")
        await faults.until_logged(line, "capture", f"stream halted stream={stream} ")

        streams, _ = await faults.status(line)
        assert streams["Persons"]["status"] == "halted"
        assert "the change table holds what follows LSN" in streams["Persons"]["reason"]
        assert f"sluice resume {stream} --from earliest --skip" in streams["Persons"]["reason"]
        code, reasons = await faults.health(line, deliver)
        assert code == 503
        assert reasons == [f"stream {stream} is halted: {streams['Persons']['reason']}"]
        await line.confirmed()
        assert await line.delivered("Persons") == delivered

        code, _, said = await line.command("resume", stream, "--from", "earliest")
        assert code == 2
        assert (
            f"the changes of {stream} after {streams['Persons']['destinations']['topics']['position']} and up" in said
        )
        assert "would be given up (add --skip to accept that)" in said
        assert (await faults.status(line))[0]["Persons"]["status"] == "halted"

        code, said, _ = await line.command("resume", stream, "--from", "earliest", "--skip")
        assert code == 0
        assert f"given up: the changes of {stream} after" in said
        line.committed["Persons"] = delivered
        for table in line.tables:
            await line.commit(3, table=table)
        await line.arrive()
        assert (await faults.health(line, deliver)) == (200, [])
