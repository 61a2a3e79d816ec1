"""The streams that a configuration names, before anybody has looked at a source."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared import naming
from shared.events import Stream
from shared.settings.model import ConsulSettings, SourceSettings

_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class NamedStream:
    """A stream by its configuration alone, and the pace at which it is looked at."""

    stream: Stream
    poll_interval_s: float
    max_poll_interval_s: float


@dataclass(frozen=True, slots=True)
class SelectedStreams:
    """Streams that only the source can name: `form` has `<datacenter>` or a pattern where it will say more."""

    form: str
    why: str
    poll_interval_s: float


def is_pattern(name: str) -> bool:
    """Return whether the name of a service is a pattern: which services match, only the catalog tells."""
    return not _WILD.isdisjoint(name)


def selected(source: SourceSettings) -> Sequence[SelectedStreams]:
    """Return what else `source` selects, in the order of the configuration."""
    if not isinstance(source, ConsulSettings):
        return []
    found: list[SelectedStreams] = []
    for datacenter in source.datacenters or ("<datacenter>",):
        if not source.datacenters:
            found.append(_of_agent(naming.stream(source.name, datacenter, "catalog"), source))
        for name in source.services:
            form = naming.stream(source.name, datacenter, "service", name)
            if is_pattern(name):
                why = "a stream of each service that matches"
                found.append(SelectedStreams(form, why, source.poll_interval_s))
            elif not source.datacenters:
                found.append(_of_agent(form, source))
    return found


def _of_agent(form: str, source: ConsulSettings) -> SelectedStreams:
    return SelectedStreams(form, "in the datacenter of the agent", source.poll_interval_s)


def named(source: SourceSettings) -> Sequence[NamedStream]:
    """Return the streams that `source` surely has, in the order of the configuration.

    A service that only a pattern selects, and everything of a datacenter that the agent has to name, is not among
    them.
    """
    if isinstance(source, ConsulSettings):
        exact = [name for name in source.services if not is_pattern(name)]
        return [
            NamedStream(naming.stream(source.name, *parts), source.poll_interval_s, source.poll_interval_s)
            for datacenter in source.datacenters
            for parts in [(datacenter, "catalog"), *((datacenter, "service", name) for name in exact)]
        ]
    return [
        NamedStream(
            naming.stream(source.name, source.database, table.schema, table.name),
            table.poll_interval_s,
            table.max_poll_interval_s,
        )
        for table in source.tables
    ]
