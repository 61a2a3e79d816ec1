"""Events into packs: filled by bytes, bounded in count, positions whole, nothing too large for the broker."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import chain, naming, pack
from shared.claim_check import body_within
from shared.clock import ManualClock
from shared.errors import RejectedError
from shared.events import ChangeEvent, PackedChange, Position, Stream
from shared.formats.dstream import DStreamFormat
from shared.packing import MARGIN_BYTES, Packing
from shared.stores.memory import MemoryAccount, MemoryClaimStore
from tests.unit.twins import PERSONS, found

MAX_BYTES = 16_384
LONG = naming.stream("sql1", "Datenbank " * 10, "dbo", "Übersicht " * 10)
SURROGATE = "\ud800"


async def give_way(_):
    return None


def event(number, text, stream=PERSONS, n=None):
    position = Position(f"{number:020x}-{1:08x}-{number:020x}-2")
    after = {"ID": number, "Text": text}
    return ChangeEvent(stream, "c", position, ("ID",), None, after, "2026-11-21T07:28:06.0000000Z", {}, n=n)


async def packed(events, *, max_changes=1_000, stream=PERSONS, max_bytes=MAX_BYTES, account=None):
    """Return the runs of `events`, and the pack of each as it is sent."""
    claims = MemoryClaimStore(account or MemoryAccount(step=give_way))
    packing = Packing(DStreamFormat("in"), claims, max_message_bytes=max_bytes, max_changes=max_changes)
    state = chain.created(found(stream), {}, ("A",), now=ManualClock().now())
    runs = [run async for run in packing.runs(state, events)]
    after, bodies = state.position, []
    for run in runs:
        header = pack.PackHeader(stream, state.chain, True, 0, after, run.last, len(run.changes))
        bodies.append(pack.encode(header, run.changes))
        after = run.last
    return runs, bodies


def texts(bodies):
    return [json.loads(change.body)["data"]["Text"] for body in bodies for change in pack.decode(body).changes]


@given(st.lists(st.integers(0, 2 * MAX_BYTES) | st.integers(0, 200), max_size=60), st.sampled_from([PERSONS, LONG]))
async def test_a_pack_never_exceeds_the_limit_whatever_the_sizes_and_every_event_is_in_it_in_order(sizes, stream):
    events = [event(number, "x" * size, stream) for number, size in enumerate(sizes, start=1)]

    runs, bodies = await packed(events, stream=stream)

    assert all(len(body) <= MAX_BYTES - MARGIN_BYTES for body in bodies)
    assert [change.position for run in runs for change in run.changes] == [each.position for each in events]
    assert [run.last for run in runs] == [run.changes[-1].position for run in runs]


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=60))
async def test_packs_are_filled_before_another_is_begun(sizes):
    events = [event(number, "x" * size) for number, size in enumerate(sizes, start=1)]
    limit = MAX_BYTES - MARGIN_BYTES

    runs, bodies = await packed(events)

    for body, following in zip(bodies, runs[1:], strict=False):
        assert len(body) + pack.line_bytes(following.changes[0]) > limit - 128  # the header is reckoned at its longest


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6_000)), min_size=1, max_size=20),
    st.integers(1, 7),
)
async def test_events_of_one_position_are_never_split_and_others_are_within_the_count(groups, max_changes):
    events = [
        event(number, "x" * size, n=n) for number, (count, size) in enumerate(groups, start=1) for n in range(count)
    ]

    runs, _ = await packed(events, max_changes=max_changes)

    positions = [{change.position for change in run.changes} for run in runs]
    assert sum(len(each) for each in positions) == len(set.union(*positions)) == len(groups)
    for run in runs:
        last = sum(change.position == run.last for change in run.changes)
        assert len(run.changes) - last < max_changes


async def test_a_body_too_large_for_any_message_is_stored_aside_and_its_reference_takes_its_place():
    account = MemoryAccount(step=give_way)
    events = [event(1, "a"), event(2, "x" * 5_000_000), event(3, "c")]

    _, bodies = await packed(events, account=account)

    changes = [change for body in bodies for change in pack.decode(body).changes]
    whole = json.loads(changes[1].body)
    assert [json.loads(change.body)["data"] is None for change in changes] == [False, True, False]
    claim = whole["metadata"]["ClaimCheck"]
    assert claim["blob"] == changes[1].event_id == whole["metadata"]["EventID"]
    kept = account.claims[f"claims/{claim['blob']}"]
    assert (len(kept), json.loads(kept)["data"]["Text"]) == (claim["bytes"], "x" * 5_000_000)


async def test_a_body_that_just_fits_is_not_stored_aside():
    account = MemoryAccount(step=give_way)
    _, (body,) = await packed([event(1, "")])
    reckoned = pack.header_bytes_bound(PERSONS, event(1, "").position)
    room = MAX_BYTES - MARGIN_BYTES - reckoned - pack.line_bytes(pack.decode(body).changes[0])

    await packed([event(1, "x" * room)], account=account)
    assert not account.claims
    await packed([event(1, "x" * (room + 1))], account=account)
    assert len(account.claims) == 1


async def test_an_event_whose_reference_is_too_large_is_rejected():
    wide = ChangeEvent(
        PERSONS, "u", Position("1"), ("ID",), {}, {}, "", {}, changed=tuple(f"{n:0>100}" for n in range(1_000))
    )
    claims = MemoryClaimStore(MemoryAccount(step=give_way))
    with pytest.raises(RejectedError, match="so is its metadata"):
        await body_within(20_000, wide, "id", "topic", form=DStreamFormat("in"), claims=claims)


async def test_events_without_a_form_are_set_apart_with_the_reason_and_the_rest_goes_on_in_order():
    events = [event(1, "a"), event(2, SURROGATE), event(3, "c"), event(4, SURROGATE)]

    (run,), bodies = await packed(events)

    assert texts(bodies) == ["a", "c"]
    assert run.last == events[-1].position
    assert [each for each, _ in run.rejected] == [events[1], events[3]]
    assert all("JSON cannot hold" in reason for _, reason in run.rejected)


async def test_nothing_is_encoded_ahead_of_the_run_that_is_taken():
    seen: list[int] = []

    class Counting(DStreamFormat):
        def encode(self, event, event_id, topic):
            seen.append(event.after["ID"])
            return super().encode(event, event_id, topic)

    claims = MemoryClaimStore(MemoryAccount(step=give_way))
    packing = Packing(Counting("in"), claims, max_message_bytes=MAX_BYTES, max_changes=2)
    state = chain.created(found(), {}, ("A",), now=ManualClock().now())
    runs = packing.runs(state, [event(number, "") for number in range(1, 10)])

    async for _ in runs:
        break

    assert seen == [1, 2, 3]


async def test_without_events_there_is_no_run():
    assert await packed([]) == ([], [])


async def test_an_event_id_carries_the_incarnation_of_the_stream():
    claims = MemoryClaimStore(MemoryAccount(step=give_way))
    packing = Packing(DStreamFormat("in"), claims, max_message_bytes=MAX_BYTES, max_changes=2)
    state = chain.created(found(), {}, ("A",), incarnation=3, now=ManualClock().now())
    first = event(1, "")

    (run,) = [run async for run in packing.runs(state, [first])]

    change: PackedChange = run.changes[0]
    assert change.event_id == naming.event_id(Stream(PERSONS), 3, first.position)
