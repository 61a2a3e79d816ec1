"""`sluice pause` and `sluice resume`: what an operator may change about a stream."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import click

from cli.status import stored
from shared import chain
from shared.errors import ConfigError, StaleError
from shared.events import Mark, Position, Record, Saved, StreamState
from shared.wiring import Wiring

type Change = Callable[[StreamState, dict[str, Mark]], StreamState]


async def pause(wiring: Wiring, names: Sequence[str]) -> None:
    """Pause the streams that match, until they are resumed.

    Raises:
        ConfigError: no stream matches.
        TransientError: the state store is away.
    """

    def paused(state: StreamState, _: dict[str, Mark]) -> StreamState:
        return state if state.status == "halted" else replace(state, status="paused", reason="paused by an operator")

    await _change(wiring, await _matching(wiring, names), paused, "paused")


async def resume(wiring: Wiring, names: Sequence[str], *, start: str | None, skip: bool, restored: bool) -> None:
    """Let the streams that match go on, where they stand or from `start`; `restored`: in a new history of the source.

    Raises:
        ConfigError: no stream matches, or `start` would give up changes and `skip` was not said.
        PositionLostError: the source cannot go on after `start`.
        TransientError: the state store or a source is away.
    """
    if start is None:
        if skip or restored:
            msg = "--skip and --restored say how --from is meant"
            raise ConfigError(msg, hint="add --from earliest, --from latest or --from POSITION")
        await _change(wiring, await _matching(wiring, names), lambda state, _: chain.resumed(state), "resumed")
        return
    for record in await _matching(wiring, names):
        to = await _position(wiring, record, start)

        def moved(state: StreamState, marks: dict[str, Mark], to: Position = to) -> StreamState:
            if restored:
                return chain.replaced(state, to)
            lowest = chain.lowest(marks, wiring.destinations)
            delivered = lowest.position if lowest is not None else state.chain_start
            if to <= delivered:
                return chain.rewound(state, to, marks)
            lost = f"the changes of {state.stream} after {delivered or 'the start'} and up to {to}"
            if not skip:
                msg = f"{lost} would be given up"
                raise ConfigError(msg, hint="add --skip to accept that")
            click.echo(f"given up: {lost}")
            return chain.skipped(state, to)

        await _change(wiring, [record], moved, f"resumed from {to or 'the start'}")


async def _change(wiring: Wiring, records: Sequence[Record], change: Change, done: str) -> None:
    for record in records:
        fresh = record
        while fresh.state is not None:
            marks = {name: saved.value for name, saved in fresh.marks.items()}
            wanted = change(fresh.state.value, marks)
            if wanted == fresh.state.value:
                click.echo(f"{wanted.status}, left as it is: {record.stream}")
                break
            outcome = (await wiring.states.save([Saved(wanted, fresh.state.etag)]))[0]
            if not isinstance(outcome, StaleError):
                click.echo(f"{done}: {record.stream}")
                break
            fresh = await wiring.states.find(record.stream)
    await wiring.control.touch()


async def _matching(wiring: Wiring, names: Sequence[str]) -> list[Record]:
    records = await stored(wiring, names)
    if not records:
        msg = f"no stream matches {' '.join(names)}"
        raise ConfigError(msg, hint="`sluice status` lists them; a stream appears once capture has seen it")
    return records


async def _position(wiring: Wiring, record: Record, start: str) -> Position:
    """Return the position that `start` means for this stream, one that its source can go on after."""
    if start not in ("earliest", "latest"):
        await wiring.check_position(record.stream, Position(start))
        return Position(start)
    return (await wiring.found(record.stream, start)).first
