"""The position of a change: which history of the cluster, at which index of it, and the how-manieth there.

Text form `<12 hex>-<16 hex>-<8 hex>`: epoch, index, n; it sorts as they do. Consul's index may fall (a snapshot is
restored, the cluster is replaced); then the epoch rises, so that positions never go back.

Source:
    https://developer.hashicorp.com/consul/api-docs/features/blocking
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.events import Position

_FIRST_INDEX = 1  # below it, a query would not block
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(r"([0-9a-f]{12})-([0-9a-f]{16})-([0-9a-f]{8})")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place in the order of a stream's changes; `n` counts those that were seen at one index, from 1."""

    epoch: int
    index: int
    n: int


NOWHERE = Place(0, 0, 0)
"""The place before everything."""


def continued(head: Place | None, index: int, *, after: Position, now: datetime, replaced: bool = False) -> Place:
    """Return the place after which to number the changes that an answer with `index` shows; it is never below `after`.

    `head` is the place up to which the stream was compared before, None when it never was. `replaced` says that another
    cluster answers than then. A new epoch is `now` in milliseconds: above all earlier ones, even of a memo that was
    lost, as long as the clock does not go back; above `head` and `after` even then.
    """
    index = max(index, _FIRST_INDEX)
    clock = (now - _BEGINNING) // timedelta(milliseconds=1)
    if head is None:
        place = Place(clock, index, 0)
    elif replaced or index < head.index:
        place = Place(max(head.epoch + 1, clock), index, 0)
    else:
        place = Place(head.epoch, index, head.n if index == head.index else 0)
    least = decode(after)
    return place if place >= least else Place(max(least.epoch + 1, clock), index, 0)


def encode(place: Place) -> Position:
    """Return the text form of a place."""
    return Position(f"{place.epoch:012x}-{place.index:016x}-{place.n:08x}")


def decode(position: Position) -> Place:
    """Return the place that a text form names; "" is the place before everything.

    Raises:
        ValueError: it is not a position of Consul.
    """
    if not position:
        return NOWHERE
    found = _TEXT.fullmatch(position)
    if found is None:
        msg = f"{position!r} is not a Consul position"
        raise ValueError(msg)
    return Place(*(int(part, 16) for part in found.groups()))
