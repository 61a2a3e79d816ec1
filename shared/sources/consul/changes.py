"""Rows then and now become typed changes, and these become change events; pure.

A removal of one instance and the arrival of another are two changes; so are another address and another health of the
same one. Applied in their order, the changes turn the old rows into the new ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from shared.events import ChangeEvent, Op, Stream
from shared.sources.consul.origin import metadata
from shared.sources.consul.position import Place, encode
from shared.sources.consul.rows import Row, Rows

SERVICE_KEY = ("Datacenter", "ServiceName")
INSTANCE_KEY = ("Datacenter", "Node", "ServiceID")

_HEALTH = ("Status", "Checks")
_CHUNK = 64


class Change(NamedTuple):
    """One change of the item `key`: `before` is None for `c` and `r`, `after` for `d`; `changed` are columns of a `u`.

    `details` are what the event says beside the rows: of a change of health, every check and the sum that differ.
    """

    key: str
    event: str
    op: Op
    before: Row | None
    after: Row | None
    changed: tuple[str, ...] | None = None
    details: Mapping[str, Any] = {}


def seen(rows: Rows) -> list[Change]:
    """Return the snapshot of what is there at first sight, by key."""
    return [Change(key, f"{_kind(row)}_seen", "r", None, row) for key, row in sorted(rows.items())]


def between(old: Rows, new: Rows) -> list[Change]:
    """Return what turns `old` into `new`: first what was removed, then what was added, then what changed, each by key.

    Builds nothing for rows that are equal. Those at both ends are passed over in chunks, which takes next to nothing
    for rows that are the very same: a change among ten thousand services is found well within a millisecond.
    """
    then, now = list(old.values()), list(new.values())
    first, last = _alike(then, now), _alike(then[::-1], now[::-1])
    added: list[str] = []
    differing: list[str] = []
    for key, row in islice(new.items(), first, len(new) - last):
        before = old.get(key)
        if before is None:
            added.append(key)
        elif before is not row and before != row:
            differing.append(key)
    changes: list[Change] = []
    if len(new) - len(added) < len(old):
        gone = (key for key in islice(old, first, len(old) - last) if key not in new)
        changes += (_removed(key, old[key]) for key in sorted(gone))
    changes += (_added(key, new[key]) for key in sorted(added))
    for key in sorted(differing):
        changes += _changed(key, old[key], new[key])
    return changes


def applied(items: Rows, changes: Iterable[Change]) -> dict[str, Row]:
    """Return `items` after these changes."""
    rows = dict(items)
    for change in changes:
        if change.after is None:
            del rows[change.key]
        else:
            rows[change.key] = change.after
    return rows


def events(stream: Stream, changes: Iterable[Change], after: Place, observed_at: datetime) -> list[ChangeEvent]:
    """Return one event per change, placed one by one behind `after`; `observed_at` is UTC."""
    origin = metadata(stream)
    key = INSTANCE_KEY if "Service" in origin else SERVICE_KEY
    time = f"{observed_at:%Y-%m-%dT%H:%M:%S.%f}0Z"
    return [
        ChangeEvent(
            stream=stream,
            op=change.op,
            position=encode(replace(after, n=n)),
            key=key,
            before=change.before,
            after=change.after,
            commit_time=time,
            facts={"Event": change.event, "Epoch": after.epoch, "Index": after.index, **change.details},
            changed=change.changed,
            origin=origin,
        )
        for n, change in enumerate(changes, after.n + 1)
    ]


def _alike(then: list[Row], now: list[Row]) -> int:
    """Return how many rows are equal from the front, in whole chunks; the key of a row is in it."""
    most = min(len(then), len(now))
    for start in range(0, most, _CHUNK):
        if then[start : start + _CHUNK] != now[start : start + _CHUNK]:
            return start
    return most


def _removed(key: str, row: Row) -> Change:
    return Change(key, "instance_removed" if _kind(row) == "instance" else "service_deregistered", "d", row, None)


def _added(key: str, row: Row) -> Change:
    return Change(key, "instance_added" if _kind(row) == "instance" else "service_registered", "c", None, row)


def _changed(key: str, old: Row, new: Row) -> Iterable[Change]:
    columns = tuple(name for name in new if old.get(name) != new[name])
    fields = tuple(name for name in columns if name not in _HEALTH)
    health = tuple(name for name in columns if name in _HEALTH)
    middle = new if not health else old | {name: new[name] for name in fields}
    if fields:
        yield Change(key, f"{_kind(new)}_changed", "u", old, middle, fields)
    if health:
        yield Change(key, "health_changed", "u", middle, new, health, _details(old, new))


def _details(old: Row, new: Row) -> dict[str, Any]:
    before, after = old["Checks"], new["Checks"]
    checks = {
        check: [before.get(check), after.get(check)]
        for check in sorted(before.keys() | after.keys())
        if before.get(check) != after.get(check)
    }
    return {"Checks": checks, "Status": [old["Status"], new["Status"]]}


def _kind(row: Row) -> str:
    return "instance" if "ServiceID" in row else "service"
