"""Where a stream's changes go, and how they are addressed there: pure."""

from shared import naming
from shared.events import Message, PackedChange, Stream

_PARTS_OF_A_TABLE = 4


def messages(stream: Stream, changes: list[PackedChange], replay: int) -> list[Message]:
    """Return one message per change, in order, as destinations get them.

    The session is the stream, so order is kept per stream; the message id is the event id, told apart per replay, so
    that duplicate detection drops a repeat and not a replay.
    """
    session = naming.session(stream)
    parts = naming.parts(stream)
    origin: dict[str, str | int] = {}
    if len(parts) == _PARTS_OF_A_TABLE:
        origin = {"table": parts[3], "schema": parts[2], "database": parts[1]}
    return [
        Message(
            id=naming.message_id(change.event_id, replay),
            session=session,
            subject=change.op,
            content_type="application/json",
            body=change.body,
            properties={
                "op": change.op,
                **origin,
                "lsn": change.position.partition("-")[0],
                "event_id": change.event_id,
            },
        )
        for change in changes
    ]
