"""The form in which an event that can never be delivered is kept in the rejected queue."""

import base64
import hashlib
from datetime import datetime

import msgspec

from shared import naming
from shared.events import Message, Position, Stream
from shared.ports import ClaimStore

CONTENT_TYPE = "application/vnd.sluice.rejected+json"
MAX_BODY_BYTES = 64 * 1024
"""A larger body is stored aside: as text inside JSON, or base64, it could grow beyond what the broker takes."""
_MAX_REASON = 2_000


async def message(
    stream: Stream,
    position: Position,
    event_id: str,
    body: bytes,
    *,
    reason: str,
    op: str = "",
    at: datetime,
    claims: ClaimStore,
) -> Message:
    """Return the message that keeps the event whole.

    Its body is JSON: `{"reason","stream","position","event_id","rejected_at","body"}`; a body that is not UTF-8 text
    is kept as `body_base64` instead, a large one as `ClaimCheck`, which refers to where it is stored. The id is the
    event's own, or the body's hash when it has none.

    Raises:
        TransientError: the claim store is away.
    """
    own_id = event_id or hashlib.sha256(body).hexdigest()
    entry: dict[str, object] = {"reason": reason[:_MAX_REASON], "stream": stream, "position": position}
    entry["event_id"] = event_id
    entry["rejected_at"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if len(body) > MAX_BODY_BYTES:
        entry["ClaimCheck"] = await claims.put(f"rejected-{own_id}", body)
    else:
        try:
            entry["body"] = body.decode()
        except UnicodeDecodeError:
            entry["body_base64"] = base64.b64encode(body).decode()
    return Message(
        id=own_id,
        session=naming.session(stream),
        subject=op,
        content_type=CONTENT_TYPE,
        body=msgspec.json.encode(entry),
        properties={"stream": naming.session(stream), "reason": reason[:200]},
    )
