"""The form in which an event that can never be delivered is kept."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from shared import rejected
from shared.errors import TransientError
from shared.events import Position
from shared.stores.memory import MemoryAccount, MemoryClaimStore
from tests.unit.twins import PERSONS

AT = datetime(2026, 11, 21, 7, 28, 6, 123456, tzinfo=UTC)


async def message(body=b'{"data":1}', event_id="hash.0.5", *, account=None, **of):
    claims = MemoryClaimStore(account or MemoryAccount())
    fields: dict[str, Any] = {"reason": "refused", "op": "c", "at": AT, "claims": claims} | of
    return await rejected.message(PERSONS, Position("5"), event_id, body, **fields)


async def test_an_event_is_kept_whole_with_reason_stream_position_and_time():
    kept = await message()

    assert json.loads(kept.body) == {
        "reason": "refused",
        "stream": PERSONS,
        "position": "5",
        "event_id": "hash.0.5",
        "rejected_at": "2026-11-21T07:28:06.123Z",
        "body": '{"data":1}',
    }
    assert (kept.id, kept.session, kept.subject) == ("hash.0.5", PERSONS, "c")
    assert kept.content_type == rejected.CONTENT_TYPE
    assert kept.properties == {"stream": PERSONS, "reason": "refused"}


async def test_bytes_that_are_no_text_are_kept_too_under_their_hash():
    body = b"\xff\x00\xfe"

    kept = await message(body, "")

    assert base64.b64decode(json.loads(kept.body)["body_base64"]) == body
    assert kept.id == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("body", [b'"' * 300_000, b"\xff" * 300_000, b"\x00" * 70_000])
async def test_a_large_body_is_stored_aside_so_that_its_message_fits_whatever_it_holds(body):
    account = MemoryAccount()

    kept = await message(body, account=account, reason="x" * 100_000)

    entry = json.loads(kept.body)
    claim = entry["ClaimCheck"]
    assert account.claims[f"{claim['container']}/{claim['blob']}"] == body
    assert (claim["bytes"], claim["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert not {"body", "body_base64"} & entry.keys()
    assert len(kept.body) < 4_096


async def test_the_largest_body_that_is_not_stored_aside_still_fits_a_message():
    kept = await message(b'"' * rejected.MAX_BODY_BYTES)

    assert len(kept.body) < 256 * 1024 - 4_096


async def test_a_rejected_event_does_not_replace_the_claim_that_its_message_refers_to():
    account = MemoryAccount()
    claims = MemoryClaimStore(account)
    await claims.put("hash.0.5", b"the whole event")

    await message(b"x" * 100_000, account=account)

    assert account.claims["claims/hash.0.5"] == b"the whole event"


async def test_a_store_that_is_away_keeps_the_event_where_it_is():
    with pytest.raises(TransientError):
        await message(b"x" * 100_000, account=MemoryAccount(away=True))
