"""The whole line: rows committed in SQL Server arrive on their topics."""

import json

from tests.pipeline import pipeline


async def test_rows_of_two_tables_arrive_on_their_topics_in_order(tmp_path):
    async with pipeline(tmp_path, tables=("Persons", "Cars")) as line:
        await line.start("capture")
        await line.start("deliver")
        await line.commit(30, each=7)
        await line.commit(20, table="Cars")
        await line.arrive()


async def test_status_shows_every_stream_and_pause_and_resume_work(tmp_path):
    async with pipeline(tmp_path) as line:
        await line.start("capture")
        await line.start("deliver")
        await line.commit(3)
        await line.arrive()
        code, out, _ = await line.command("status", "--json")
        assert code == 0
        [entry] = json.loads(out)["streams"]
        assert entry["status"] == "running"
        assert (await line.command("pause", "sql1/*"))[0] == 0
        assert json.loads((await line.command("status", "--json"))[1])["streams"][0]["status"] == "paused"
        await line.commit(3)
        assert (await line.command("resume", "sql1/TestDB/dbo/Persons"))[0] == 0
        await line.arrive()
