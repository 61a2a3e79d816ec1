"""What `sluice status` shows: every stream, how far each destination is, and what needs attention."""

import asyncio
import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import click

from shared import chain, naming
from shared.errors import TransientError
from shared.events import Record, StreamState
from shared.wiring import Wiring

COLUMNS = ("stream", "status", "position", "destination", "delivered", "repaired")


async def show(wiring: Wiring, names: Sequence[str], *, as_json: bool) -> None:
    """Print the streams whose name matches one of `names` (all, without names), and the dead-lettered packs.

    Raises:
        TransientError: the state store is away; or the queue, once the streams have been printed.
    """
    records = await stored(wiring, names)
    entries = [_entry(wiring, record, record.state.value) for record in records if record.state is not None]
    dead, away = None, None
    try:
        dead = await wiring.look.dead_lettered(wiring.settings.ingest_queue)
    except TransientError as why:
        away = why
    if as_json:
        click.echo(json.dumps({"streams": entries, "dead_lettered_packs": dead}, ensure_ascii=False))
    else:
        _print(entries)
        if dead:
            click.echo(f"\n{wiring.settings.ingest_queue}: {dead} packs dead-lettered (their changes were sent again)")
    if away is not None:
        raise away


def _print(entries: Sequence[dict[str, Any]]) -> None:
    rows = [row for entry in entries for row in _rows(entry)]
    widths = [max(len(name), *(len(row[k]) for row in rows)) if rows else len(name) for k, name in enumerate(COLUMNS)]
    for row in [COLUMNS, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for entry in entries:
        if entry["reason"]:
            click.echo(f"\n{entry['stream']}: {entry['reason']}")


async def stored(wiring: Wiring, names: Sequence[str]) -> list[Record]:
    """Return what is stored of the streams that match, by name.

    `*` and `?` match as in a shell, except in a name that is a stream's own.

    Raises:
        TransientError: the state store is away.
    """
    buckets = await asyncio.gather(*(wiring.states.load(bucket) for bucket in range(naming.BUCKETS)))
    records = [record for bucket in buckets for record in bucket if record.state is not None]
    streams = {record.stream for record in records}
    own = streams.intersection(names)
    patterns = [name.replace("[", "[[]") for name in names if name not in streams]
    matching = [r for r in records if not names or r.stream in own or any(fnmatchcase(r.stream, p) for p in patterns)]
    return sorted(matching, key=lambda record: record.stream)


def _entry(wiring: Wiring, record: Record, state: StreamState) -> dict[str, Any]:
    now = wiring.clock.now()
    parked = state.status == "running" and state.not_before is not None and now < state.not_before
    marks = {name: saved.value for name, saved in record.marks.items()}
    return {
        "stream": state.stream,
        "status": "parked" if parked else state.status,
        "position": state.position,
        "chain": state.chain,
        "replay": state.replay,
        "repaired": state.repaired,
        "reason": state.reason,
        "not_before": state.not_before.isoformat() if parked and state.not_before else None,
        "moved_at": state.moved_at.isoformat() if state.moved_at else None,
        "interval_s": state.interval_s,
        "destinations": {
            name: {
                "position": marks[name].position if name in marks else None,
                "confirmed": not chain.behind(state, marks, (name,)),
            }
            for name in wiring.destinations
        },
    }


def _rows(entry: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            entry["stream"],
            entry["status"],
            entry["position"],
            name,
            "all" if reached["confirmed"] else f"up to {reached['position'] or 'nothing'}",
            str(entry["repaired"]),
        )
        for name, reached in entry["destinations"].items()
    ]
