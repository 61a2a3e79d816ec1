import json
from pathlib import Path

import pytest

from shared import naming
from shared.errors import RejectedError
from shared.events import ChangeEvent, ClaimCheck, Position
from shared.formats.dstream import DStreamFormat, commit_time
from shared.sources.sqlserver.origin import metadata

GOLDEN = Path(__file__).parents[1] / "golden"
PERSONS = naming.stream("sql1", "TestDB", "dbo", "Persons")
ORDERS = naming.stream("sql1", "TestDB", "sales", "Orders")


def event(stream, op, lsn, command, seq, operation, **fields):
    position = Position(f"{lsn}-{command:08x}-{seq}-{operation}")
    facts = {"LSN": lsn, "Seq": seq, "CommandID": command, "OperationID": operation}
    fields = {"key": ("ID",), "before": None, "after": None} | fields
    return ChangeEvent(stream=stream, op=op, position=position, facts=facts, origin=metadata(stream), **fields)


INSERT = event(
    PERSONS,
    "c",
    "0000003600000b200003",
    1,
    "0000003600000b200002",
    2,
    after={"ID": 180, "FirstName": "Diana", "LastName": "Williams"},
    commit_time="2026-11-21T07:28:06.1230000Z",
)
UPDATE = event(
    ORDERS,
    "u",
    "0000003600000b210003",
    2,
    "0000003600000b210002",
    4,
    before={"ID": 180, "FirstName": "Diana", "LastName": "Williams", "Note": None},
    after={"ID": 180, "FirstName": "Diana", "LastName": "Prince", "Note": '<&> "q" ü'},
    changed=("LastName", "Note"),
    unavailable=("Photo",),
    commit_time="2026-11-21T07:28:07.0033333Z",
)
DELETE = event(
    PERSONS,
    "d",
    "0000003600000b220003",
    1,
    "0000003600000b220002",
    1,
    key=("ID", "Flag"),
    before={
        "ID": 180,
        "Ratio": 0.1,
        "Big": 2**63 - 1,
        "Price": "12.3400",
        "Raw": b"\x00\x01\x02\xff",
        "Flag": True,
        "Gone": None,
    },
    commit_time="2026-11-21T07:28:08.0000000Z",
)


@pytest.mark.parametrize(
    ("golden", "change", "incarnation"), [("insert", INSERT, 0), ("update", UPDATE, 1), ("delete", DELETE, 0)]
)
def test_the_body_is_byte_for_byte_what_the_golden_file_holds(golden, change, incarnation):
    event_id = naming.event_id(change.stream, incarnation, change.position)
    body = DStreamFormat("ingest-queue").encode(change, event_id, naming.topic(change.stream))
    assert body == (GOLDEN / f"{golden}.json").read_bytes()


def test_a_body_stored_aside_leaves_a_reference_in_its_place():
    claim = ClaimCheck("claims", "id", 7, "ab" * 32)
    body = json.loads(DStreamFormat("ingest-queue").claimed(INSERT, "id", "topic", claim))
    assert body["data"] is None
    assert body["metadata"]["ClaimCheck"] == {"container": "claims", "blob": "id", "bytes": 7, "sha256": "ab" * 32}
    assert body["metadata"]["EventID"] == "id"


def test_the_commit_time_is_found_without_parsing_even_beside_a_column_of_that_name():
    change = event(
        PERSONS, "c", "00", 1, "00", 2, after={"CommitTime": '"CommitTime":"x"'}, commit_time="2026-11-21T07:28:06.1Z"
    )
    assert commit_time(DStreamFormat("q").encode(change, "id", "topic")) == "2026-11-21T07:28:06.1Z"
    assert commit_time(b"{}") == ""


def test_a_value_without_a_json_form_is_rejected_with_the_event_named():
    change = event(PERSONS, "c", "00", 1, "00", 2, after={"Name": "\ud800"}, commit_time="")
    with pytest.raises(RejectedError, match="id-7"):
        DStreamFormat("q").encode(change, "id-7", "topic")
