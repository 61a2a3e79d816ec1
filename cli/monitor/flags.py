"""Hints about a source of Consul, said to somebody who has options instead of a configuration; pure."""

import re

_WORDS = {
    "give the source a token": "use a token",
    "the source's token": "the token",
    "correct token of the source": "correct the token",
    "set accept_filtered or hold_removals_over": "add --accept-filtered",
    "set accept_filtered": "add --accept-filtered",
    "lower requests_per_second or connections of the source, or raise": "raise",
    "filter, tags or datacenters of the source": "--filter, --tag or --datacenter",
    "in datacenters of the source": "with --datacenter",
    "check address,": "check --consul-addr,",
    "ca_file": "--ca-file",
    "client_cert": "--client-cert",
    "client_key": "--client-key",
    " of the source": "",
}
_SETTINGS = re.compile("|".join(map(re.escape, _WORDS)))


def named(hint: str) -> str:
    """Return a hint that names options where it named settings."""
    return _SETTINGS.sub(lambda found: _WORDS[found[0]], hint)
