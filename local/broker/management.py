"""The operations of an entity's `$management` node.

Source:
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from local.broker import codec
from local.broker.codec import raw_pairs
from local.broker.conditions import (
    argument_error,
    message_lock_lost,
    not_allowed,
    not_implemented,
    sessions_not_enabled,
)
from local.broker.links import application_properties
from local.broker.namespace import Entity
from local.broker.queues import Queue
from local.broker.sessions import Session, Sessions

MAX_PEEK = 1000
_ALL_SESSIONS_MS = 253_402_300_799_000
"""From this "last updated" time on (the end of the year 9999), the sessions with messages are listed."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the operation without its prefix, its body decoded and encoded, and the connection it came over."""

    operation: str
    body: dict[str, Any]
    raw_body: bytes
    owner: object


def perform(entity: Entity, call: Call) -> bytes:
    """Do what is asked; return the encoded body of the reply, empty for "no content".

    Raises:
        AmqpError: it cannot be done.
    """
    if call.operation in _REFUSED:
        what = f"the operation {call.operation}"
        raise not_implemented(what)
    act = _OPERATIONS.get(call.operation)
    if act is None:
        text = f"The operation {call.operation!r} is unknown."
        raise argument_error(text)
    if not isinstance(entity, Queue):
        text = f"'{entity.path}' is a topic: {call.operation} is asked of its subscriptions."
        raise not_allowed(text)
    return act(entity, call)


def _peek(queue: Queue, call: Call) -> bytes:
    first, count = int(call.body["from-sequence-number"]), int(call.body["message-count"])
    found = queue.peek(first, min(count, MAX_PEEK), call.body.get("session-id"))
    entries = [codec.map_of([(codec.string("message"), codec.binary(queue.encoded(stored)))]) for stored in found]
    return _body("messages", codec.list_of(*entries)) if entries else b""


def _renew_lock(queue: Queue, call: Call) -> bytes:
    until = [queue.renew(token) for token in _tokens(call)]
    return _body("expirations", codec.array_of([codec.timestamp(one) for one in until]))


def _renew_session_lock(queue: Queue, call: Call) -> bytes:
    until = _sessions(queue).renew(str(call.body["session-id"]), call.owner)
    return _body("expiration", codec.timestamp(until))


def _update_disposition(queue: Queue, call: Call) -> bytes:
    status = call.body["disposition-status"]
    raw = {codec.decode(key)[0]: value for key, value in raw_pairs(call.raw_body).items()}
    changes = application_properties(raw_pairs(raw.get("properties-to-modify", codec.NULL)))
    tokens = _tokens(call)
    if not all(token in queue.locks for token in tokens):
        raise message_lock_lost()
    for token in tokens:
        if status == "completed":
            queue.complete(token)
        elif status == "abandoned":
            queue.abandon(token, changes)
        elif status == "suspended":
            reason, description = call.body.get("deadletter-reason"), call.body.get("deadletter-description")
            queue.dead_letter(token, reason or "", description or "", changes)
        elif status == "defered":
            what = "deferred messages"
            raise not_implemented(what)
        else:
            text = f"The disposition status {status!r} is unknown."
            raise argument_error(text)
    return codec.NULL


def _get_session_state(queue: Queue, call: Call) -> bytes:
    state = _held(queue, call).state
    return _body("session-state", codec.NULL if state is None else codec.binary(state))


def _set_session_state(queue: Queue, call: Call) -> bytes:
    state = call.body.get("session-state")
    _sessions(queue).set_state(_held(queue, call), None if state is None else bytes(state))
    return codec.NULL


def _get_message_sessions(queue: Queue, call: Call) -> bytes:
    since, skip, top = call.body.get("last-updated-time"), int(call.body["skip"]), int(call.body["top"])
    if since is None or since >= _ALL_SESSIONS_MS:
        chosen = [one for one in _sessions(queue) if one.active or one.taken]
    else:
        chosen = [one for one in _sessions(queue) if one.state is not None and one.state_updated_ms > since]
    page = [codec.string(one.session_id) for one in chosen[skip : skip + top]]
    if not page:
        return b""
    entries = [(codec.string("skip"), codec.int32(skip + len(page)))]
    return codec.map_of([*entries, (codec.string("sessions-ids"), codec.array_of(page))])


_OPERATIONS: dict[str, Callable[[Queue, Call], bytes]] = {
    "peek-message": _peek,
    "renew-lock": _renew_lock,
    "renew-session-lock": _renew_session_lock,
    "update-disposition": _update_disposition,
    "get-session-state": _get_session_state,
    "set-session-state": _set_session_state,
    "get-message-sessions": _get_message_sessions,
}
_REFUSED = frozenset(
    {
        "schedule-message",
        "cancel-scheduled-message",
        "receive-by-sequence-number",
        "add-rule",
        "remove-rule",
        "enumerate-rules",
        "batch-delete-messages",
    }
)


def _body(name: str, value: bytes) -> bytes:
    return codec.map_of([(codec.string(name), value)])


def _tokens(call: Call) -> list[bytes]:
    """Return the lock tokens as delivery tags: the same UUIDs with their first three fields in little-endian order."""
    tokens = call.body["lock-tokens"]
    return [token.bytes_le for token in tokens if isinstance(token, UUID)]


def _sessions(queue: Queue) -> Sessions:
    if queue.sessions is None:
        raise sessions_not_enabled()
    return queue.sessions


def _held(queue: Queue, call: Call) -> Session:
    return _sessions(queue).held(str(call.body["session-id"]), call.owner)
