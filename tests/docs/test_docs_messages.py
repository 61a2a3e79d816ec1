import json
from datetime import UTC, datetime

import msgspec

from shared import rejected
from shared.events import ClaimCheck, Position, Stream
from shared.formats.dstream import DStreamFormat
from shared.sources.sqlserver import values
from shared.stores.memory import MemoryAccount, MemoryClaimStore
from tests.docs.markdown import ROOT, blocks
from tests.unit.formats.test_dstream import INSERT

PAGE = ROOT / "docs" / "messages.md"
GOLDEN = ROOT / "tests" / "unit" / "golden"
INSERTED, UPDATED, DELETED, CLAIMED, REJECTED = [block.text for block in blocks("json", file=PAGE)]


def exact(shown: str) -> bytes:
    """Return what a page shows as it is on the wire: the same keys in the same order, without spaces."""
    return json.dumps(json.loads(shown), separators=(",", ":"), ensure_ascii=False).encode()


def test_the_bodies_are_the_golden_ones():
    for shown, name in ((INSERTED, "insert"), (UPDATED, "update"), (DELETED, "delete")):
        assert exact(shown) == (GOLDEN / f"{name}.json").read_bytes().strip()


def test_the_body_of_a_large_event_is_what_the_format_makes():
    claim = msgspec.convert(json.loads(CLAIMED)["metadata"]["ClaimCheck"], ClaimCheck)
    metadata = json.loads(INSERTED)["metadata"]
    form = DStreamFormat(metadata["IngestQueue"])
    assert exact(CLAIMED) == form.claimed(INSERT, metadata["EventID"], metadata["Destination"], claim)


async def test_the_rejected_message_is_what_is_kept():
    shown = json.loads(REJECTED)
    kept = await rejected.message(
        Stream(shown["stream"]),
        Position(shown["position"]),
        shown["event_id"],
        shown["body"].encode(),
        reason=shown["reason"],
        op="c",
        at=datetime(2026, 11, 21, 7, 28, 9, 500_000, UTC),
        claims=MemoryClaimStore(MemoryAccount()),
    )
    assert exact(REJECTED) == kept.body
    text = PAGE.read_text(encoding="utf-8")
    assert f"`{kept.content_type}`" in text
    assert all(f"`{name}`" in text for name in kept.properties)


def test_the_types_are_those_of_the_code():
    documented = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    table = [line for line in (values.__doc__ or "").splitlines() if line.startswith("|")]
    assert len(table) > 10
    assert any(documented[start : start + len(table)] == table for start in range(len(documented)))
