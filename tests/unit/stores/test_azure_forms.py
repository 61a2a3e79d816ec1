import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from azure.data.tables import EntityProperty

from shared.errors import ConfigError
from shared.events import Journal, Mark, Part, Position, Saved, Stream, StreamState
from shared.memo import MAX_PARTS
from shared.stores.azure import forms
from shared.stores.azure.journals import INLINE_BYTES, INLINE_PARTS, MAX_CARRIED

GOLDEN = Path(__file__).parents[1] / "golden"
STREAM = Stream("sql1/TestDB/dbo/Persons")
POSITION = Position("0000003600000b200003-00000001-0000003600000b200002-4")
FULL = StreamState(
    stream=STREAM,
    position=POSITION,
    chain=1_795_246_086_123,
    chain_start=Position("0000003600000b200001-00000001-0000003600000b200001-2"),
    replay=2,
    incarnation=3,
    not_before=datetime(2026, 11, 21, 8, 28, 36, 120_000, timezone(timedelta(hours=1))),
    repairs=1,
    parks=4,
    repaired=6,
    interval_s=0.5,
    anchor=datetime(2026, 11, 21, 7, 28, 6, tzinfo=UTC),
    moved_at=datetime(2026, 11, 21, 7, 28, 5, 1, tzinfo=UTC),
    status="halted",
    reason="the source no longer holds what follows",
    destinations=("console", "servicebus"),
)
FRESH = StreamState(Stream("sql1/TestDB/dbo/Cars"), Position(""), 1, Position(""))
MARK = Mark(1_795_246_086_123, POSITION, 2)
JOURNAL = Journal(
    stream=Stream("consul1/dc1/service/web"),
    base=Position("019ac4b5b3f8-0000000000000010-00000002"),
    last=Position("019ac4b5b3f8-0000000000000012-00000001"),
    head='{"epoch":1795246086136,"index":18}',
    outbox=Part(b"outbox"),
    memo=(Part(b"", "folder/one"), Part(b"two")),
    dropped=("folder/zero",),
)


def stored(name: str) -> dict[str, Any]:
    """Return an entity as the service hands it out."""
    entity = json.loads((GOLDEN / name).read_text())
    return {key: _value(value) for key, value in entity.items()}


def _value(value: Any) -> Any:
    match value:
        case list():
            return EntityProperty(*value)
        case {"binary": text}:
            return base64.b64decode(text)
        case _:
            return value


def _shown(value: Any) -> Any:
    return {"binary": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    ("name", "entity"),
    [
        ("state.v1.json", forms.state_entity(Saved(FULL, 'W/"1"'), "writer")),
        ("state-fresh.v1.json", forms.state_entity(Saved(FRESH), "writer")),
        ("journal.v1.json", forms.journal_entity(Saved(JOURNAL, 'W/"1"'), "writer")),
        ("mark.v1.json", forms.mark_entity(STREAM, "servicebus", Saved(MARK), "writer")),
    ],
)
def test_the_stored_form_is_exactly_the_golden_one(name: str, entity: dict[str, Any]) -> None:
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(_shown(value))}" for name, value in entity.items())
    assert f"{{\n{lines}\n}}\n" == (GOLDEN / name).read_text()


def test_the_golden_forms_are_read() -> None:
    assert forms.state_of(stored("state.v1.json")) == FULL
    assert forms.state_of(stored("state-fresh.v1.json")) == FRESH
    assert forms.mark_of(stored("mark.v1.json")) == MARK
    assert forms.journal_of(stored("journal.v1.json")) == JOURNAL


def test_the_largest_journal_that_drops_all_of_one_as_large_fits_into_an_entity() -> None:
    names = [f"{'f' * 32}/{number:032x}" for number in range(MAX_CARRIED + 1 + MAX_PARTS)]
    outbox, *memo = (Part(b"", name) for name in names[MAX_CARRIED:])
    journal = replace(JOURNAL, outbox=outbox, memo=tuple(memo), dropped=tuple(names))

    entity = forms.journal_entity(Saved(journal), "writer")

    sizes = [2 * len(value) for value in entity.values() if isinstance(value, str)]
    assert max(sizes) <= 64 * 1024
    assert sum(sizes) + INLINE_BYTES <= 1024 * 1024
    assert len(entity) - 2 + INLINE_PARTS <= 252


def test_properties_a_later_release_adds_to_a_form_are_passed_over() -> None:
    assert forms.mark_of(stored("mark.v1.json") | {"colour": "blue"}) == MARK


def test_a_newer_form_is_refused_with_stream_and_remedy() -> None:
    with pytest.raises(ConfigError, match=f"{STREAM} is held: a newer release.*form 2.*deploy that release") as raised:
        forms.state_of(stored("state.v1.json") | {"v": 2, "chain": "something new"})
    assert raised.value.hint


@pytest.mark.parametrize(
    "damage", [{"v": None}, {"v": "1"}, {"chain": "x"}, {"status": "asleep"}, {"anchor": "soon"}, {"destinations": "x"}]
)
def test_a_damaged_record_holds_its_stream_and_says_what_is_wrong(damage: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{STREAM} is held: .* cannot be read"):
        forms.state_of(stored("state.v1.json") | damage)


def test_a_record_without_a_position_is_damaged_and_not_at_the_beginning() -> None:
    entity = stored("state.v1.json")
    del entity["position"]
    with pytest.raises(ConfigError, match="position"):
        forms.state_of(entity)


def test_a_writer_knows_its_write_by_value_and_base() -> None:
    base = Saved(FULL, 'W/"1"')
    nonces = {
        forms.state_entity(saved, writer)["writer"]
        for saved, writer in [
            (base, "a"),
            (base, "b"),
            (Saved(FULL), "a"),
            (Saved(replace(FULL, parks=5), 'W/"1"'), "a"),
        ]
    }
    assert len(nonces) == 4
    assert forms.state_entity(Saved(replace(FULL), 'W/"1"'), "a") == forms.state_entity(base, "a")
