"""What a person reads of a change in Consul: what it is, of whom, old -> new; pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from shared.events import ChangeEvent

type Span = tuple[str, str]
"""A part of a line, and the number of its colour, "" for none."""

GREEN, RED, YELLOW, MAGENTA, CYAN, BOLD, DIM, PLAIN = "32", "31", "33", "35", "36", "1", "2", ""

_WORDS = {
    "service_seen": ("", CYAN),
    "instance_seen": ("", CYAN),
    "service_registered": ("added", GREEN),
    "instance_added": ("added", GREEN),
    "service_deregistered": ("removed", RED),
    "instance_removed": ("removed", RED),
    "service_changed": ("changed", YELLOW),
    "instance_changed": ("changed", YELLOW),
    "health_changed": ("health", MAGENTA),
}
_STATUSES = {"passing": GREEN, "warning": YELLOW, "critical": RED, "maintenance": MAGENTA}
_NAME_COLUMNS = 16
_encode = msgspec.json.Encoder().encode


def of(event: ChangeEvent) -> Iterator[Span]:
    """Yield the parts of a change's line: time (UTC), what happened, to whom, and what it was and is."""
    word, shade = _WORDS[event.facts["Event"]]
    row = event.after if event.after is not None else event.before or {}
    if word:
        yield event.commit_time[11:23], DIM
        yield f"{word:7}", shade
    else:
        yield " ", PLAIN
    details = list(_details(event, row, shade))
    yield name(row).ljust(_NAME_COLUMNS if details else 0), BOLD
    yield from details


def _details(event: ChangeEvent, row: Mapping[str, Any], shade: str) -> Iterator[Span]:
    if event.op != "u" or event.before is None or event.after is None:
        yield from _whole(row)
    elif event.facts["Event"] == "health_changed":
        yield from _health(event.facts)
    else:
        for column in event.changed or ():
            yield f"{column}: {_value(event.before[column])} -> {_value(event.after[column])}", shade


def name(row: Mapping[str, Any]) -> str:
    """Return how a line names a service, or an instance: its id is unique on its node alone."""
    return f"{row['Node']}/{row['ServiceID']}" if "ServiceID" in row else str(row["ServiceName"])


def healthy(rows: Mapping[str, Mapping[str, Any]]) -> int:
    """Return how many instances are healthy: those whose checks, and whose node's checks, all pass."""
    return sum(row["Status"] == "passing" for row in rows.values())


def _whole(row: Mapping[str, Any]) -> Iterator[Span]:
    if "ServiceID" in row:
        host = f"[{row['Address']}]" if ":" in row["Address"] else row["Address"]
        yield f"{host}:{row['Port']}", PLAIN
        yield _status(row["Status"])
        for check, status in row["Checks"].items():
            if status != "passing":
                yield f"{check}: {status}", _status(status)[1]
    if row["Tags"]:
        yield ", ".join(row["Tags"]), DIM


def _health(facts: Mapping[str, Any]) -> Iterator[Span]:
    before, after = facts["Status"]
    if before != after:
        yield _status(before)
        yield "->", PLAIN
    yield _status(after)
    for check, (was, now) in facts["Checks"].items():
        yield f"{check}: {was or 'none'} -> {now or 'none'}", _STATUSES.get(now or "", DIM)


def _status(status: str) -> Span:
    return status or "unknown", _STATUSES.get(status, PLAIN)


def _value(value: Any) -> str:
    return _encode(value).decode()
