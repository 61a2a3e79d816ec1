"""The form in which an event that can never be delivered is kept in the rejected queue."""

import base64
import hashlib
from datetime import datetime

import msgspec

from shared import naming
from shared.events import Message, Position, Stream

CONTENT_TYPE = "application/vnd.sluice.rejected+json"


def message(
    stream: Stream, position: Position, event_id: str, body: bytes, *, reason: str, op: str = "", at: datetime
) -> Message:
    """Return the message that keeps the event whole.

    Its body is JSON: `{"reason","stream","position","event_id","rejected_at","body"}`; a body that is not UTF-8 text
    is kept as `body_base64` instead. The id is the event's own, or the body's hash when it has none.
    """
    entry: dict[str, str] = {"reason": reason, "stream": stream, "position": position, "event_id": event_id}
    entry["rejected_at"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    try:
        entry["body"] = body.decode()
    except UnicodeDecodeError:
        entry["body_base64"] = base64.b64encode(body).decode()
    return Message(
        id=event_id or hashlib.sha256(body).hexdigest(),
        session=naming.session(stream),
        subject=op,
        content_type=CONTENT_TYPE,
        body=msgspec.json.encode(entry),
        properties={"stream": naming.session(stream), "reason": reason[:200]},
    )
