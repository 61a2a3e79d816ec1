"""The frames of AMQP 1.0, each performative with every one of its fields.

Clients index the fields of a performative without asking how many there are, so trailing nulls are always written.

Source:
    https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-transport-v1.0-os.html
"""

import struct

from local.broker.codec import FALSE, NULL, TRUE, binary, boolean, described, list_of, map_of, string, symbol, uint
from local.broker.conditions import AmqpError

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44
ACCEPTED, REJECTED, RELEASED, MODIFIED = 0x24, 0x25, 0x26, 0x27
ERROR = 0x1D

FIELDS = {OPEN: 10, BEGIN: 8, ATTACH: 14, FLOW: 11, TRANSFER: 11, DISPOSITION: 6, DETACH: 3, END: 1, CLOSE: 1}

MAX_FRAME_BYTES = 65536
CHANNEL_MAX = 4999
IDLE_TIMEOUT_MS = 120_000
INCOMING_WINDOW = 5000
OUTGOING_WINDOW = 2**31 - 1
EMPTY_FRAME = struct.pack(">IBBH", 8, 2, 0, 0)
AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"

ACCEPTED_STATE = described(ACCEPTED, list_of())
RELEASED_STATE = described(RELEASED, list_of())


def frame(channel: int, performative: bytes, payload: bytes = b"") -> bytes:
    """Return an AMQP frame."""
    return struct.pack(">IBBH", 8 + len(performative) + len(payload), 2, 0, channel) + performative + payload


def sasl_frame(performative: bytes) -> bytes:
    """Return a SASL frame."""
    return struct.pack(">IBBH", 8 + len(performative), 2, 1, 0) + performative


def error(problem: AmqpError | None) -> bytes:
    """Return the error a performative carries, or null."""
    if problem is None:
        return NULL
    return described(ERROR, list_of(symbol(problem.condition), string(problem.description), NULL))


def rejected(problem: AmqpError) -> bytes:
    """Return the outcome that refuses a delivery."""
    return described(REJECTED, list_of(error(problem)))


def open_(container: str) -> bytes:
    """Return the broker's open."""
    limits = (uint(MAX_FRAME_BYTES), b"\x60" + CHANNEL_MAX.to_bytes(2), uint(IDLE_TIMEOUT_MS))
    return described(OPEN, list_of(string(container), NULL, *limits, *[NULL] * 5))


def begin(channel: int, handle_max: int) -> bytes:
    """Return the answer to a client's begin."""
    numbers = (uint(1), uint(INCOMING_WINDOW), uint(OUTGOING_WINDOW), uint(handle_max))
    return described(BEGIN, list_of(b"\x60" + channel.to_bytes(2), *numbers, NULL, NULL, NULL))


def attach(
    name: bytes,
    handle: int,
    *,
    receiver: bool,
    settle_modes: tuple[bytes, bytes] = (NULL, NULL),
    source: bytes = NULL,
    target: bytes = NULL,
    initial_count: int | None = None,
    max_message_bytes: bytes = NULL,
    properties: bytes = NULL,
) -> bytes:
    """Return the broker's attach; `receiver` is the broker's own role, without source and target it is a refusal."""
    count = NULL if initial_count is None else uint(initial_count)
    head = (name, uint(handle), boolean(receiver), *settle_modes, source, target)
    return described(ATTACH, list_of(*head, NULL, NULL, count, max_message_bytes, NULL, NULL, properties))


def flow(
    *,
    next_incoming: int,
    next_outgoing: int,
    link: tuple[int, int, int] | None = None,
    available: int = 0,
    drain: bool = False,
) -> bytes:
    """Return a flow: of the session alone, or of a link given as (handle, delivery count, credit)."""
    window = (uint(next_incoming), uint(INCOMING_WINDOW), uint(next_outgoing), uint(OUTGOING_WINDOW))
    if link is None:
        return described(FLOW, list_of(*window, *[NULL] * 5, FALSE, NULL))
    handle, count, credit = link
    state = (uint(handle), uint(count), uint(credit), uint(available), boolean(drain), FALSE, NULL)
    return described(FLOW, list_of(*window, *state))


def transfer(handle: int, delivery_id: int, tag: bytes, *, settled: bool, more: bool) -> bytes:
    """Return the performative of a transfer frame; the payload follows it in the frame."""
    head = (uint(handle), uint(delivery_id), binary(tag), b"\x43", TRUE if settled else FALSE)
    return described(TRANSFER, list_of(*head, TRUE if more else FALSE, *[NULL] * 5))


def disposition(delivery_id: int, state: bytes, *, receiver: bool) -> bytes:
    """Return the settlement of one delivery.

    One delivery each, never a range, as the service does: the clients wait for a frame per delivery.
    """
    return described(DISPOSITION, list_of(boolean(receiver), uint(delivery_id), uint(delivery_id), TRUE, state, NULL))


def detach(handle: int, problem: AmqpError | None) -> bytes:
    """Return a closing detach."""
    return described(DETACH, list_of(uint(handle), TRUE, error(problem)))


def end(problem: AmqpError | None = None) -> bytes:
    """Return the end of a session."""
    return described(END, list_of(error(problem)))


def close(problem: AmqpError | None = None) -> bytes:
    """Return the close of a connection."""
    return described(CLOSE, list_of(error(problem)))


def link_properties(pairs: dict[str, bytes]) -> bytes:
    """Return the properties of an attach."""
    return map_of((symbol(name), value) for name, value in pairs.items())
