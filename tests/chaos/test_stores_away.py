"""Table Storage goes away in the middle of the work: nothing is lost, and nothing is dead-lettered."""

import re

import pytest

from shared.stores.azure import forms
from tests.chaos import faults, steps
from tests.pipeline import pipeline, table_stream

SHORT_HOLD = 'deliver { store_hold = "1s" }'
ROWS = 3
SENT = 4  # packs, one for each commit


@pytest.mark.timeout(100)
async def test_storage_away_between_send_and_mark_repeats_what_the_broker_drops(tmp_path):
    async with pipeline(tmp_path, tables=("Persons",), settings=SHORT_HOLD) as line:
        azurite, broker = line.cloud.part("azurite"), line.cloud.part("broker")
        await line.start("capture")
        await line.start("deliver")
        await line.commit(ROWS)
        await line.arrive()
        await line.confirmed()

        # Longer than the hold: the pack comes again, and so does every row in it.
        key = re.escape(forms.mark_key(table_stream("Persons"), steps.DESTINATION)[1])
        await azurite.fault({"fail": {"match": f"RowKey='{key}'", "method": "PUT", "count": 1_000_000}})
        await line.commit(ROWS)
        await broker.until(lambda state: dropped(state) >= 2 * ROWS)
        await azurite.fault({"clear": True})
        await line.arrive()
        await line.confirmed()

        # All of it, when the topic has the rows, and capture sends more of them.
        mark = steps.mark("Persons")
        await mark.hold(line, "before")
        await line.commit(ROWS)
        await mark.held(line)
        await line.arrive()
        await azurite.fault({"outage": True})
        await mark.release(line, drop=True)
        await line.commit(ROWS)
        await broker.until(lambda state: state["entities"][faults.INGEST]["incoming"] == SENT)
        await faults.until_logged(line, "deliver", "message abandoned", times=5)
        await azurite.fault({"outage": False})
        await line.arrive()
        await line.confirmed()
        await faults.until_logged(line, "capture", "captured stream=", times=SENT)

        # All of it, while there is nothing to do.
        await azurite.fault({"outage": True})
        await faults.until_logged(line, "capture", r"Executed 'Functions.capture' \(Failed", times=2)
        await line.commit(ROWS)
        await azurite.fault({"outage": False})
        await line.arrive()
        await line.confirmed()

        assert len(await line.topic("Persons")) == len(line.committed["Persons"])
        streams, dead_lettered = await faults.status(line)
        assert (streams["Persons"]["status"], streams["Persons"]["repaired"], dead_lettered) == ("running", 0, 0)


def dropped(state):
    return state["entities"]["sql1.testdb.persons.events"]["dropped_duplicates"]
