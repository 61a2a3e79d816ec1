"""When to believe that something is gone: a lost permission or a partial answer is not a mass deregistration; pure.

What an answer no longer shows is told at once, or after a second look, at `consistent`, that shows the same, or not
before a later one does. Meanwhile it stays among the known rows; what was added or changed is told all the same.
"""

from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from shared.settings.model import ConsulSettings

PARTIAL: Final = "the token may not see everything: Consul left out what it lacks permission for"
NOTHING: Final = "Consul shows no service at all, not even its own: may anybody without a token see any?"
"""It says that it left something out only to those who have a token that its datacenter knows.

Source:
    https://github.com/hashicorp/consul/blob/main/agent/consul/rpc.go (`maskResultsFilteredByACLs`)
"""
SILENCE: Final = "nobody without a token is told by Consul what it leaves out, and its default is to deny"
"""It may have left out what is gone, then: no look confirms it."""


class Evidence(Protocol):
    """What an answer's headers say about its completeness.

    `filtered`: something was left out for want of permission. `known_leader`: the server knew the leader.
    `last_contact_s`: how long ago it heard of it, in seconds.
    """

    @property
    def filtered(self) -> bool: ...  # noqa: D102
    @property
    def known_leader(self) -> bool: ...  # noqa: D102
    @property
    def last_contact_s(self) -> float: ...  # noqa: D102


def doubt(removed: int, known: int, answer: Evidence, settings: ConsulSettings) -> str:
    """Return why a second look has to confirm that `removed` of the `known` items are gone; "" when none has to."""
    if not removed:
        return ""
    if why := incomplete(answer, settings):
        return why
    if removed > settings.hold_removals_over * known:
        return f"{removed} of {known} are gone, more than {settings.hold_removals_over:.0%}"
    return ""


def denial(first: AbstractSet[str], second: AbstractSet[str], answer: Evidence, settings: ConsulSettings) -> str:
    """Return why the second look, which misses `second`, does not confirm that `first` are gone; "" when it does.

    It does when it is complete and misses nothing else; what it shows again was never gone.
    """
    if why := incomplete(answer, settings):
        return why
    if more := len(second - first):
        return f"a second look misses {more} more"
    return ""


def incomplete(answer: Evidence, settings: ConsulSettings) -> str:
    """Return why an answer may not show everything there is; "" when it does."""
    if answer.filtered and not settings.accept_filtered:
        return PARTIAL
    if not answer.known_leader:
        return "the cluster has no leader"
    if answer.last_contact_s > settings.max_stale_s:
        return f"the answer is {answer.last_contact_s:g} s old, more than {settings.max_stale_s:g} s"
    return ""
