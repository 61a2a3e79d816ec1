"""`sluice state export` and `sluice state import`: carry what is stored of streams elsewhere, or keep it."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

import click

from shared.errors import ConfigError, StaleError
from shared.export import Beside, Copy, StreamCopy, lines, parse
from shared.wiring import Wiring

STANDARD = "-"
"""Standard input or output instead of a file."""

AT_ONCE = 16


async def take(wiring: Wiring, to: str, *, as_json: bool) -> None:
    """Write all that is stored to a file, which is there whole or not at all, and print a summary.

    Raises:
        TransientError: the store is away, or a stream keeps changing.
        ConfigError: the file cannot be written, or what is stored is damaged.
    """
    copy = await wiring.taking.take(wiring.clock.now(), _tell)
    text = b"".join(lines(copy))
    if to == STANDARD:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    else:
        _write(Path(to), text)
    _sum_up({"file": to, "taken_at": copy.taken_at, **_counts(copy)}, as_json=as_json, err=to == STANDARD)


async def restore(wiring: Wiring, file: str, *, dry_run: bool, over: bool, as_json: bool) -> None:
    """Bring what a file holds into the store, each stream whole, and print a summary.

    Raises:
        ConfigError: this release cannot read the file; or something is there already, and `over` was not said.
        StaleError: something appeared, or kept changing, while it was imported; all else was imported.
        TransientError: the store is away.
    """
    copy = parse(_lines(file))
    there = await wiring.restoring.there(copy)
    summary: dict[str, Any] = {"file": file, "taken_at": copy.taken_at, **_counts(copy), "dry_run": dry_run}
    refused = {} if over else dict.fromkeys(there, "it is there already")
    for name, reason in refused.items():
        _tell(f"refused: {name}: {reason}")
    if not refused and not dry_run:
        refused = await _restore(wiring, copy, over=over)
    summary["there"] = len(there)
    summary["refused"] = [{"name": name, "reason": reason} for name, reason in refused.items()]
    _sum_up(summary, as_json=as_json)
    if refused and there and not over:
        msg = f"{len(there)} of the file are there already, nothing was imported"
        raise ConfigError(msg, hint="add --replace to have the copies of the file instead")
    if refused:
        msg = f"{len(refused)} of the file were not imported"
        raise StaleError(msg, hint="see above; import the file again, with --replace")


async def _restore(wiring: Wiring, copy: Copy, *, over: bool) -> dict[str, str]:
    """Import everything, and ring the bell, whatever happens; return what was refused, with the reason."""
    restoring = wiring.restoring

    async def stream(each: StreamCopy) -> None:
        state = await restoring.stream(each, over=over)
        goes_on = f"goes on after {state.position or 'the start'}" if state else "its marks alone"
        _tell(f"imported: {each.stream}: {goes_on}")

    refused: dict[str, str] = {}
    work: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        *((each.stream, partial(stream, each)) for each in copy.streams),
        *((_name(each), partial(restoring.other, each, over=over)) for each in copy.others),
    ]
    try:
        for some in batched(work, AT_ONCE, strict=False):
            outcomes = await asyncio.gather(*(task() for _, task in some), return_exceptions=True)
            for (name, _), outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, (StaleError, ConfigError)):
                    refused[name] = str(outcome)
                    _tell(f"refused: {name}: {outcome}")
                elif outcome is not None:
                    raise outcome
    finally:
        await wiring.control.touch()
    return refused


def _counts(copy: Copy) -> dict[str, int]:
    entities = [*(beside for each in copy.streams for beside in each.beside), *copy.others]
    return {
        "streams": len(copy.streams),
        "marks": sum(len(each.marks) for each in copy.streams),
        "other_entities": len(entities),
        "blobs": sum(len(each.blobs) for each in entities),
    }


def _sum_up(summary: dict[str, Any], *, as_json: bool, err: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False), err=err)
        return
    holds = "{streams} streams with {marks} marks, {other_entities} other entities, {blobs} blobs".format_map(summary)
    click.echo(f"{summary['file']}, taken at {summary['taken_at']}: {holds}", err=err)


def _tell(what: str) -> None:
    click.echo(what, err=True)


def _name(other: Beside) -> str:
    return f"{other.entity.get('PartitionKey')}/{other.entity.get('RowKey')}"


def _lines(file: str) -> list[bytes]:
    try:
        return sys.stdin.buffer.readlines() if file == STANDARD else Path(file).read_bytes().splitlines()
    except OSError as why:
        msg = f"{file} cannot be read: {why.strerror}"
        raise ConfigError(msg, hint="give a file that `sluice state export` wrote") from why


def _write(file: Path, text: bytes) -> None:
    beside = file.with_name(f"{file.name}.new")
    try:
        beside.write_bytes(text)
        beside.replace(file)
    except OSError as why:
        msg = f"{file} cannot be written: {why.strerror}"
        raise ConfigError(msg, hint="give a path where you may write") from why
