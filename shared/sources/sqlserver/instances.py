"""Which capture instance of a table holds what follows a position; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.sources.sqlserver import position
from shared.sources.sqlserver.position import Place


@dataclass(frozen=True, slots=True)
class Instance:
    """A capture instance: its change table's id and name, and the LSN from which on it holds everything."""

    object_id: int
    name: str
    start_lsn: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """What to read next: `instance`, up to and including `last`; `then`, if within, is where its successor begins."""

    instance: Instance
    last: bytes
    then: bytes | None = None


def in_order(instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """Return instances, given oldest first, in the order in which a reader goes through them.

    Clean-up can raise two of them to the same start; the newer one, which has the newer columns, then counts.
    """
    return tuple(sorted(instances, key=lambda instance: instance.start_lsn))


def next_span(instances: Sequence[Instance], place: Place, bound: bytes) -> Span | None:
    """Return what to read after `place`, nothing beyond `bound`; None when no instance holds it any more.

    Of two instances the older one is read up to the newer one's start: both record what comes after, and only one of
    them may be read.
    """
    span = None
    for number, instance in enumerate(instances):
        if instance.start_lsn > place.start_lsn:
            break
        successor = instances[number + 1].start_lsn if number + 1 < len(instances) else None
        if successor is None or successor > bound:
            span = Span(instance, bound)
        else:
            span = Span(instance, position.previous(successor), successor)
    return span


def is_start(instances: Sequence[Instance], place: Place) -> bool:
    """Whether `place` is where an instance begins: a fresh one begins above everything that was scanned so far."""
    return any(place == position.before(instance.start_lsn) for instance in instances)
