"""Memos and outboxes in parts."""

from hypothesis import given
from hypothesis import strategies as st

from shared import memo
from shared.events import Part, Position
from tests.unit.registry import WEB, Registry, RegistryObserver

rows = st.dictionaries(st.text(max_size=8), st.dictionaries(st.text(max_size=4), st.integers() | st.text() | st.none()))


def many(count: int, width: int = 20) -> dict[str, object]:
    return {
        f"service-{n}": {"n": n, "tags": [f"{n * 7919 % 104729:06d}{k}" for k in range(width)]} for n in range(count)
    }


@given(rows)
def test_what_goes_in_comes_out(items):
    assert memo.items_of(memo.parts_of(items)) == items


@given(rows, rows)
def test_parts_made_from_former_ones_hold_exactly_the_new_items(old, new):
    changed = [key for key in old.keys() | new.keys() if old.get(key) != new.get(key)]

    assert memo.items_of(memo.parts_of(new, memo.parts_of(old), changed)) == new


def test_a_change_rewrites_the_one_part_that_its_key_is_in():
    old = many(5_000)
    before = memo.parts_of(old)
    assert len(before) > 4

    after = memo.parts_of(old | {"service-42": {"n": 0}}, before, ["service-42"])

    assert len(after) == len(before)
    assert sum(one is not other for one, other in zip(before, after, strict=True)) == 1


def test_parts_stay_small_as_the_items_grow():
    parts = memo.parts_of(many(20), memo.parts_of({}), many(20))
    assert len(parts) == 1

    grown = memo.parts_of(many(5_000), parts, many(5_000))

    assert all(len(part.data) <= memo.PART_BYTES for part in grown)
    assert memo.items_of(grown) == many(5_000)


async def test_events_come_back_as_they_were():
    registry = Registry()
    registry.put("a", Name="Zoë")
    events = (await RegistryObserver(registry).observe(WEB, None, Position(""))).events

    assert memo.events_of(memo.outbox(events)) == list(events)
    assert memo.events_of(memo.outbox([])) == memo.events_of(Part(b"")) == []
