"""The rules of the chain: pure decisions about states, marks and packs that keep every stream whole.

A pack follows the one before it in its chain; a destination's mark says how far it got. Whoever finds a pack missing
begins a new chain where the destinations are, and the source is read again from there.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from shared.events import FoundStream, Mark, Position, StreamState
from shared.pack import PackHeader

REPAIRS_WITHOUT_PROGRESS = 3
"""After so many repairs that brought no destination forward, repairing again would only repeat the fault."""

NO_MARK = Mark(chain=0, position=Position(""), replay=0)


def base_of(header: PackHeader, mark: Mark) -> Position | None:
    """Return the position above which the pack's changes are to be forwarded; None when a pack before it is missing.

    Only for a pack whose chain is not older than the mark's.
    """
    if header.chain > mark.chain and header.start:
        return header.after if header.replay > mark.replay else max(header.after, mark.position)
    if header.chain == mark.chain and header.after <= mark.position:
        return mark.position
    return None


def advanced(header: PackHeader, mark: Mark, base: Position) -> Mark | None:
    """Return the mark after the pack was forwarded above `base`; None when it stays as it is."""
    if header.last <= base and header.chain == mark.chain:
        return None
    return Mark(header.chain, max(base, header.last), header.replay)


def behind(state: StreamState, marks: Mapping[str, Mark], destinations: Collection[str]) -> bool:
    """Whether something was sent in this chain that one of the destinations does not have yet."""
    if state.position <= state.chain_start:
        return False
    reached = (marks.get(name, NO_MARK) for name in destinations)
    return any((mark.chain, mark.position) < (state.chain, state.position) for mark in reached)


def overtaken(state: StreamState, marks: Mapping[str, Mark]) -> bool:
    """Whether a destination already works on a newer chain than this state knows of."""
    return any(mark.chain > state.chain for mark in marks.values())


def lowest(marks: Mapping[str, Mark], destinations: Collection[str]) -> Mark | None:
    """Return the mark that is furthest behind among the destinations that have one."""
    known = [marks[name] for name in destinations if name in marks]
    return min(known, key=lambda mark: (mark.position, mark.chain), default=None)


def restart(state: StreamState, marks: Mapping[str, Mark], destinations: Collection[str]) -> Position:
    """Return where a new chain must begin so that no destination misses anything."""
    return min(
        state.chain_start if (mark := marks.get(name)) is None or mark.replay < state.replay else mark.position
        for name in destinations
    )


def created(
    found: FoundStream, marks: Mapping[str, Mark], destinations: tuple[str, ...], *, incarnation: int = 0, now: datetime
) -> StreamState:
    """Return the first state of a stream, or of one whose state went missing beside its marks.

    Its chain is newer than every chain that ever was, and its position no higher than the lowest mark; that of a
    removed destination counts only while no other has one.
    """
    chain = max([int(now.timestamp() * 1000), *(mark.chain + 1 for mark in marks.values())])
    position = min([found.first, *_reached(marks, destinations)])
    replay = max((mark.replay for mark in marks.values()), default=0)
    return StreamState(
        stream=found.stream,
        position=position,
        chain=chain,
        chain_start=position,
        replay=replay,
        incarnation=incarnation,
        interval_s=found.poll_interval_s,
        moved_at=now,
        destinations=destinations,
    )


def caught_up(state: StreamState, marks: Mapping[str, Mark]) -> StreamState:
    """Return the state for a stream whose marks know a newer chain than its stored state, as after an import."""
    start = min([state.position, *_reached(marks, state.destinations)])
    newest = max([state.chain, *(mark.chain for mark in marks.values())])
    return replace(_new_chain(state, newest, start), replay=max(state.replay, *(m.replay for m in marks.values())))


def imported(
    state: StreamState,
    marks: Mapping[str, Mark],
    destinations: tuple[str, ...],
    *,
    instead: StreamState | None = None,
    now: datetime,
) -> tuple[StreamState, dict[str, Mark]]:
    """Return state and marks of a stream that goes on from a copy of them, taken at another time or place.

    The marks get a chain newer than any that ever was, so that packs which are still under way from before move none of
    them; the state begins the next one, no higher than where a destination goes on. `instead` is what it replaces:
    neither its chain nor its replay is used again.
    """
    known = {*state.destinations, *marks}
    awaited = tuple(name for name in destinations if name in known) or tuple(sorted(known)) or destinations
    start = min(state.position, restart(state, marks, awaited))
    before: list[StreamState | Mark] = [state, *marks.values(), *([instead] if instead else [])]
    between = max(int(now.timestamp() * 1000), *(each.chain + 1 for each in before))
    replay = max(each.replay for each in before)
    carried = {
        name: Mark(between, mark.position, replay if mark.replay >= state.replay else mark.replay)
        for name, mark in marks.items()
    }
    begun = {name: Mark(between, start, replay) for name in (*awaited, *destinations)}
    return replace(_new_chain(state, between, start), replay=replay), begun | carried


def repaired(state: StreamState, seen: PackHeader, start: Position, *, now: datetime) -> StreamState:
    """Return the state that sends again from `start`, because the pack before `seen` went missing."""
    progress = start > state.chain_start
    repairs = 1 if progress else state.repairs + 1
    reason = f"{now:%Y-%m-%dT%H:%M:%SZ}: a pack before {seen.last} went missing; sent again from {start or 'the start'}"
    fresh = replace(
        _new_chain(state, seen.chain, start),
        parks=0 if progress else state.parks,
        repaired=state.repaired + 1,
        reason=state.reason if state.status == "halted" else reason,
    )
    if repairs < REPAIRS_WITHOUT_PROGRESS:
        return replace(fresh, repairs=repairs)
    return replace(
        fresh,
        repairs=0,
        status="halted",
        reason=f"{repairs} repairs brought no destination past {start or 'the beginning'}: packs keep going missing. "
        f"See that nothing but deliver receives from the ingest queue, then run `sluice resume {state.stream}`",
    )


def parked(
    state: StreamState, seen: PackHeader, start: Position, *, why: str, now: datetime, park_s: float, max_park_s: float
) -> StreamState:
    """Return the state that sends again from `start`, but not before a while, because a destination cannot take it."""
    progress = start > state.chain_start
    parks = 1 if progress else state.parks + 1
    wait = min(park_s * 2 ** min(parks - 1, 30), max_park_s)
    fresh = replace(_new_chain(state, seen.chain, start), repairs=0 if progress else state.repairs)
    reason = state.reason if state.status == "halted" else why
    return replace(fresh, parks=parks, not_before=now + timedelta(seconds=wait), reason=reason)


def rewound(state: StreamState, to: Position, marks: Mapping[str, Mark]) -> StreamState:
    """Return the state that delivers again everything after `to`, never starting above what every destination has."""
    start = min([to, state.position, *_reached(marks, state.destinations)])
    fresh = _new_chain(state, state.chain, start)
    return replace(fresh, replay=state.replay + 1, status="running", reason="", repairs=0, parks=0)


def resumed(state: StreamState) -> StreamState:
    """Return the state of a paused or halted stream that goes on where it stands."""
    return replace(state, status="running", reason="", repairs=0, parks=0, not_before=None, anchor=None)


def replaced(state: StreamState, to: Position) -> StreamState:
    """Return the state that begins after `to` in a new history of the source, as after a restore.

    Positions of the old history mean nothing in the new one, so the marks set no limit, and event ids are new.
    """
    return replace(skipped(state, to), incarnation=state.incarnation + 1)


def skipped(state: StreamState, to: Position) -> StreamState:
    """Return the state that goes on after `to` and gives up whatever lies between the marks and it."""
    fresh = _new_chain(state, state.chain, to)
    return replace(fresh, replay=state.replay + 1, status="running", reason="", repairs=0, parks=0)


def _reached(marks: Mapping[str, Mark], destinations: Collection[str]) -> list[Position]:
    return [marks[name].position for name in destinations if name in marks] or [m.position for m in marks.values()]


def _new_chain(state: StreamState, seen: int, start: Position) -> StreamState:
    return replace(
        state, position=start, chain=max(state.chain, seen) + 1, chain_start=start, not_before=None, anchor=None
    )
