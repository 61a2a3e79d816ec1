"""When to believe that something is gone: a lost permission or a partial answer is not a mass deregistration; pure.

What an answer no longer shows is told at once, or after a second look, at `consistent`, that shows the same, or not
before a later one does. Meanwhile it stays among the known rows; what was added or changed is told all the same.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer's headers say about its completeness.

    `filtered`: something was left out for want of permission (X-Consul-Results-Filtered-By-ACLs). `has_leader`: the
    server knew one (X-Consul-KnownLeader; a header that is not there counts as true). `stale_s` is how old it may be,
    in seconds (X-Consul-LastContact; 0 when it is not there).
    """

    filtered: bool = False
    has_leader: bool = True
    stale_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """The settings `hold_removals_over` (a share, 0 to 1), `accept_filtered` and `max_stale`."""

    over: float
    accept_filtered: bool
    max_stale_s: float


def doubt(removed: int, known: int, answer: Answer, rule: Rule) -> str:
    """Return why a second look has to confirm that `removed` of the `known` items are gone; "" when none has to."""
    if not removed:
        return ""
    if why := _incomplete(answer, rule):
        return why
    if removed > rule.over * known:
        return f"{removed} of {known} are gone, more than {rule.over:.0%}"
    return ""


def denial(first: AbstractSet[str], second: AbstractSet[str], answer: Answer, rule: Rule) -> str:
    """Return why the second look, which misses `second`, does not confirm that `first` are gone; "" when it does.

    It does when it is complete and misses nothing else; what it shows again was never gone.
    """
    if why := _incomplete(answer, rule):
        return why
    if more := len(second - first):
        return f"a second look misses {more} more"
    return ""


def _incomplete(answer: Answer, rule: Rule) -> str:
    if answer.filtered and not rule.accept_filtered:
        return "the token may not see everything: Consul left out what it lacks permission for"
    if not answer.has_leader:
        return "the cluster has no leader"
    if answer.stale_s > rule.max_stale_s:
        return f"the answer is {answer.stale_s:g} s old, more than {rule.max_stale_s:g} s"
    return ""
