"""Bodies that are too large for the broker are stored aside; a reference travels in their place."""

from shared.errors import RejectedError
from shared.events import ChangeEvent
from shared.ports import ClaimStore, Format


async def body_within(
    limit: int, event: ChangeEvent, event_id: str, topic: str, *, form: Format, claims: ClaimStore
) -> bytes:
    """Return the event's body when it has at most `limit` bytes, else the body that refers to where it is stored.

    The stored body is durable before this returns.

    Raises:
        RejectedError: the event has no form, or even its reference is larger than `limit`.
        TransientError: the claim store is away.
    """
    body = form.encode(event, event_id, topic)
    if len(body) <= limit:
        return body
    claim = await claims.put(event_id, body)
    reference = form.claimed(event, event_id, topic, claim)
    if len(reference) > limit:
        msg = f"event {event_id} is too large for a message, and so is its metadata alone: {len(reference)} bytes"
        raise RejectedError(msg)
    return reference
