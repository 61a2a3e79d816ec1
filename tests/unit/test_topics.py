"""The plan of topics: pure."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.topics import (
    Action,
    FoundTopic,
    Label,
    Placement,
    Situation,
    WantedTopic,
    label_of,
    plan,
    ready,
)

GB = 1024**3
MINE = Label("me", "sql1", ready=True)
FOUND = FoundTopic("A", "persons", MINE, 0, GB, 1, ordered=True, partitioned=False, window_s=3600.0)
PERSONS = WantedTopic("topics", "persons", "sql1")
PLACED = Placement("topics", "persons", "A")


def situation(*found: FoundTopic, placed: tuple[Placement, ...] = (PLACED,), vague: tuple[str, ...] = ()) -> Situation:
    return Situation(found, placed, {"topics": ("A", "B")}, "me", vague)


def kinds(made: object) -> list[str]:
    return [each.kind for each in made]  # type: ignore[attr-defined]


def test_what_is_as_it_should_be_is_left_alone():
    made = plan([PERSONS], situation(FOUND))
    assert (made.actions, made.findings, made.unchanged) == ((), (), 1)


@pytest.mark.parametrize(
    ("found", "placed", "kind"),
    [
        ((), (), "create"),
        ((), (PLACED,), "create"),
        ((replace(FOUND, label=replace(MINE, ready=False), subscriptions=0),), (PLACED,), "complete"),
        ((replace(FOUND, subscriptions=0),), (PLACED,), "subscribe"),
        ((FOUND,), (), "place"),
        ((replace(FOUND, label=None),), (), "place"),
    ],
)
def test_what_is_missing_is_done(found, placed, kind):
    made = plan([PERSONS], situation(*found, placed=placed))
    assert made.actions == (Action(kind, PLACED, "sql1", remembered=not placed),)
    assert made.unchanged == 0


@given(
    there=st.dictionaries(st.integers(0, 30), st.sampled_from("ABC")),
    stored=st.dictionaries(st.integers(0, 30), st.sampled_from("ABC")),
    count=st.integers(0, 31),
)
def test_each_new_topic_goes_where_the_fewest_are_and_none_moves(there, stored, count):
    found = [replace(FOUND, topic=f"t{n}", namespace=where) for n, where in there.items()]
    placements = [Placement("topics", f"t{n}", where) for n, where in stored.items()]
    wanted = [WantedTopic("topics", f"t{n}", "sql1") for n in range(count)]

    made = plan(wanted, Situation(found, placements, {"topics": ("A", "B", "C")}, "me"))

    settled = {f"t{n}": where for n, where in (there | stored).items()}
    counts = Counter(dict.fromkeys("ABC", 0))
    counts.update(there.values())
    counts.update(where for n, where in stored.items() if n < count and there.get(n) != where)
    for placement in (each.placement for each in made.actions):
        if placement.topic in settled:
            assert placement.namespace == settled[placement.topic]
        else:
            assert counts[placement.namespace] == min(counts.values())
            counts[placement.namespace] += 1


def test_a_topic_that_waits_to_be_created_counts_where_it_was_placed():
    of = situation(placed=(PLACED,))
    made = plan([PERSONS, WantedTopic("topics", "zebras", "sql1")], of)
    assert [each.placement.namespace for each in made.actions] == ["A", "B"]


def test_a_placement_in_a_namespace_that_is_no_longer_listed_is_kept_and_told():
    made = plan([PERSONS], situation(placed=(replace(PLACED, namespace="Z"),)))
    assert (made.actions, kinds(made.findings)) == ((), ["unlisted"])
    assert "never moves" in made.findings[0].hint


def test_a_topic_of_another_deployment_is_not_touched_unless_it_is_taken_over():
    theirs = replace(FOUND, label=replace(MINE, owner="they"), subscriptions=0)
    made = plan([PERSONS], situation(theirs), prune=True)
    assert (made.actions, kinds(made.findings), made.unchanged) == ((), ["taken"], 0)
    assert kinds(plan([PERSONS], situation(theirs), adopt=True).actions) == ["adopt"]
    assert plan([], situation(theirs), prune=True).actions == ()


def test_a_topic_that_somebody_made_is_used_and_never_mended_or_deleted():
    foreign = replace(FOUND, label=None, subscriptions=0)
    made = plan([PERSONS], situation(foreign))
    assert (made.actions, kinds(made.findings)) == ((), ["discards"])
    assert plan([], situation(foreign), prune=True) == plan([], situation())


def test_only_what_no_source_can_still_want_is_deleted():
    assert kinds(plan([], situation(FOUND), prune=True).actions) == ["delete"]
    for made in (plan([], situation(FOUND)), plan([], situation(FOUND, vague=("sql1",)), prune=True)):
        assert (made.actions, kinds(made.findings)) == ((), ["unused"])


def test_a_topic_that_only_configuration_names_is_neither_created_nor_deleted_and_still_looked_at():
    maybe = replace(PERSONS, sure=False)
    full = replace(FOUND, size_bytes=GB)
    assert plan([maybe], situation(vague=("sql1",)), prune=True).actions == ()
    assert plan([maybe], situation(placed=(), vague=("sql1",)), prune=True).actions == ()
    made = plan([maybe], situation(full, vague=("sql1",)), prune=True)
    assert (made.actions, kinds(made.findings)) == ((), ["full"])


@pytest.mark.parametrize(
    ("change", "kind", "hint"),
    [
        ({"size_bytes": int(0.81 * GB)}, "full", "let consumers catch up"),
        ({"ordered": False}, "differs", "delete it"),
        ({"partitioned": True}, "differs", "delete it"),
        ({"window_s": None}, "differs", "delete it"),
        ({"window_s": 600.0}, "differs", "PT1H"),
    ],
)
def test_what_an_operator_has_to_mend_is_told_with_the_remedy(change, kind, hint):
    [finding] = plan([PERSONS], situation(replace(FOUND, **change))).findings
    assert (finding.kind, finding.topic, finding.namespace) == (kind, "persons", "A")
    assert hint in finding.hint


def test_four_fifths_are_not_yet_nearly_full():
    assert plan([PERSONS], situation(replace(FOUND, size_bytes=int(0.8 * GB)))).findings == ()


def test_each_output_has_placements_of_its_own():
    of = Situation([], [PLACED], {"topics": ("A",), "more": ("B",)}, "me")
    made = plan([PERSONS, replace(PERSONS, output="more")], of)
    assert [(each.placement.output, each.placement.namespace) for each in made.actions] == [
        ("more", "B"),
        ("topics", "A"),
    ]


def test_a_label_comes_back_and_what_is_none_of_ours_is_none():
    assert label_of(ready(replace(MINE, ready=False)).text()) == MINE
    for text in ("", "sluice", "{}", "[]", '{"sluice": 1}', '{"sluice": {"owner": "me"}}', '{"other": {}}', "ünïcode"):
        assert label_of(text) is None


def test_the_longest_label_fits():
    assert len(Label("f" * 32, "n" * 63, ready=False).text()) < 1_024
