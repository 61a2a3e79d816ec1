"""The streams that a configuration names, before anybody has looked at a source."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared import naming
from shared.events import Stream
from shared.settings.model import ConsulSettings, SourceSettings

PATTERN = frozenset("*?[")
"""What makes the name of a service a pattern: which services match, only the catalog tells."""


@dataclass(frozen=True, slots=True)
class NamedStream:
    """A stream by its configuration alone, and the pace at which it is looked at."""

    stream: Stream
    poll_interval_s: float
    max_poll_interval_s: float


def named(source: SourceSettings) -> Sequence[NamedStream]:
    """Return the streams that `source` surely has, in the order of the configuration.

    A service that only a pattern selects, and everything of a datacenter that the agent has to name, is not among
    them.
    """
    if isinstance(source, ConsulSettings):
        exact = [name for name in source.services if not PATTERN & set(name)]
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
