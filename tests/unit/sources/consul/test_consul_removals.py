from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings.model import ConsulSettings
from shared.sources.consul.removals import denial, doubt


@dataclass(frozen=True)
class Answer:
    filtered: bool = False
    known_leader: bool = True
    last_contact_s: float = 0.0


RULE = ConsulSettings("consul1", "http://localhost:8500", hold_removals_over=0.3, max_stale_s=10.0)
SOUND = Answer()
UNSOUND = [
    (Answer(filtered=True), "permission"),
    (Answer(known_leader=False), "no leader"),
    (Answer(last_contact_s=10.5), "10.5 s old"),
]


def test_a_few_removals_are_told_at_once():
    assert doubt(30, 100, SOUND, RULE) == ""


def test_many_removals_want_a_second_look():
    assert doubt(31, 100, SOUND, RULE) == "31 of 100 are gone, more than 30%"


def test_the_last_instance_wants_a_second_look():
    assert doubt(1, 1, SOUND, RULE)


@pytest.mark.parametrize(("answer", "reason"), UNSOUND)
def test_an_answer_that_may_be_partial_removes_nothing(answer, reason):
    assert reason in doubt(1, 100, answer, RULE)
    assert reason in denial({"a"}, {"a"}, answer, RULE)


@pytest.mark.parametrize(("answer", "_reason"), UNSOUND)
def test_without_removals_there_is_nothing_to_doubt(answer, _reason):
    assert doubt(0, 100, answer, RULE) == ""
    assert doubt(0, 0, answer, RULE) == ""


def test_a_token_that_is_meant_to_see_a_part_is_believed_as_to_permission_alone():
    rule = replace(RULE, accept_filtered=True)

    assert doubt(30, 100, Answer(filtered=True), rule) == ""
    assert doubt(31, 100, Answer(filtered=True), rule)
    assert denial({"a"}, {"a"}, Answer(filtered=True), rule) == ""
    assert denial({"a"}, {"a"}, Answer(filtered=True, known_leader=False), rule)


def test_a_second_look_that_misses_the_same_confirms():
    assert denial({"a", "b"}, {"a", "b"}, SOUND, RULE) == ""


def test_what_a_second_look_shows_again_was_never_gone():
    assert denial({"a", "b"}, {"a"}, SOUND, RULE) == ""


def test_a_second_look_that_misses_others_too_confirms_nothing():
    assert denial({"a"}, {"a", "b", "c"}, SOUND, RULE) == "a second look misses 2 more"


@pytest.mark.parametrize("over", [0.0, 1.0])
def test_the_limit_may_be_none_or_all(over):
    rule = replace(RULE, hold_removals_over=over)

    assert bool(doubt(1, 100, SOUND, rule)) == (over == 0)
    assert bool(doubt(100, 100, SOUND, rule)) == (over == 0)


@given(st.integers(1, 1000), st.integers(0, 1000), st.floats(0, 1))
def test_more_removals_are_never_less_doubtful(removed, more, over):
    rule, known = replace(RULE, hold_removals_over=over), 2000

    if doubt(removed, known, SOUND, rule):
        assert doubt(removed + more, known, SOUND, rule)
