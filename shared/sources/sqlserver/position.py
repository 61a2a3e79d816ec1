"""The position of a change: the order in which a change table keeps its rows.

Text form `<20 hex>-<8 hex>-<20 hex>-<digit>`: commit LSN, command, sequence value, operation; it sorts as they do.

Source:
    https://learn.microsoft.com/sql/relational-databases/system-tables/cdc-capture-instance-ct-transact-sql
"""

import re
from typing import NamedTuple

from shared.events import Position

LSN_BYTES = 10
NO_LSN = bytes(LSN_BYTES)
"""What the server answers when there is no LSN; below every real one."""

_END_OF_COMMANDS = 0xFFFF_FFFF
_END_OF_SEQUENCE = b"\xff" * LSN_BYTES
_END_OF_OPERATIONS = 9
_TEXT = re.compile(r"([0-9a-f]{20})-([0-9a-f]{8})-([0-9a-f]{20})-([0-9])")


class Place(NamedTuple):
    """A place in the order of a change table; compares as the server orders its rows.

    A row is at its own place. `before(lsn)` and `after(lsn)` lie between the transactions.
    """

    start_lsn: bytes
    command_id: int
    seqval: bytes
    operation: int


def before(lsn: bytes) -> Place:
    """Return the place before everything that was committed at `lsn`."""
    return Place(lsn, 0, NO_LSN, 0)


def after(lsn: bytes) -> Place:
    """Return the place after everything that was committed at `lsn`."""
    return Place(lsn, _END_OF_COMMANDS, _END_OF_SEQUENCE, _END_OF_OPERATIONS)


def previous(lsn: bytes) -> bytes:
    """Return the greatest LSN below `lsn`.

    Raises:
        OverflowError: nothing is below it.
    """
    return (int.from_bytes(lsn) - 1).to_bytes(LSN_BYTES)


def encode(place: Place) -> Position:
    """Return the text form of a place."""
    return Position(f"{place.start_lsn.hex()}-{place.command_id:08x}-{place.seqval.hex()}-{place.operation}")


def decode(position: Position) -> Place:
    """Return the place that a text form names; "" is the place before everything.

    Raises:
        ValueError: it is not a position of SQL Server.
    """
    if not position:
        return before(NO_LSN)
    found = _TEXT.fullmatch(position)
    if found is None:
        msg = f"{position!r} is not a SQL Server position"
        raise ValueError(msg)
    start_lsn, command_id, seqval, operation = found.groups()
    return Place(bytes.fromhex(start_lsn), int(command_id, 16), bytes.fromhex(seqval), int(operation))
