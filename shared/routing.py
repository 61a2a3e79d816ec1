"""Where a stream's changes go, and how they are addressed there: pure."""

from collections.abc import Callable

from shared import naming
from shared.events import Message, PackedChange, Position, Stream

type Origin = Callable[[Stream, Position], dict[str, str | int]]
"""What a kind of source says of a change in the properties of its message: where it comes from."""


def messages(stream: Stream, changes: list[PackedChange], replay: int, origin: Origin) -> list[Message]:
    """Return one message per change, in order, as destinations get them.

    The session is the stream, so order is kept per stream; the message id is the event id, told apart per replay, so
    that duplicate detection drops a repeat and not a replay.
    """
    session = naming.session(stream)
    return [
        Message(
            id=naming.message_id(change.event_id, replay),
            session=session,
            subject=change.op,
            content_type="application/json",
            body=change.body,
            properties={
                "op": change.op,
                **origin(stream, change.position),
                "event_id": change.event_id,
            },
        )
        for change in changes
    ]
