"""Which streams of a datacenter may have changed since they were read; no IO."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from shared import naming
from shared.events import Stream

HOT_AFTER: Final = 2
"""Changes of a service after which it counts as one that changes often."""


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A stream may have changed: read it at `at_least` that index; `fresh`: as it is now, whatever its index."""

    at_least: int
    fresh: bool


@dataclass(slots=True, eq=False)
class Service:
    """A selected service: the index at which it was last read, the sweep that last asked for it, and its heat.

    `is_whole`: that read showed everything.
    """

    name: str
    stream: Stream
    index: int = 0
    is_whole: bool = True
    asked_in: int = 0
    changes: int = 0
    changed_at: float = float("-inf")

    @property
    def is_hot(self) -> bool:
        """Whether it changes often."""
        return self.changes >= HOT_AFTER


class Marks:
    """The selected services of a datacenter, and what of it is marked.

    `stream_of` returns the stream of a service that the configuration selects, None for others. `strangers` are
    streams of such services that discovery does not know yet.
    """

    def __init__(self, catalog: Stream, stream_of: Callable[[str], Stream | None]) -> None:
        self.services: dict[str, Service] = {}
        self.strangers: set[Stream] = set()
        self.catalog = catalog
        self._catalog_index = 0
        self._is_catalog_whole = True
        self._spelled: dict[str, str] = {}
        self._stream_of = stream_of
        self._marks: dict[Stream, Mark] = {}

    def get(self, stream: Stream) -> Mark | None:
        """Return the mark of a stream."""
        return self._marks.get(stream)

    def among(self, streams: Iterable[Stream]) -> set[Stream]:
        """Return those of `streams` that are marked, and the strangers."""
        return {stream for stream in streams if stream in self._marks} | self.strangers

    def select(self, services: Mapping[str, Stream], strangers: AbstractSet[Stream] = frozenset()) -> None:
        """Know these services from now on, by name; one that is new is marked.

        `strangers` are those there were before discovery: those that it did not find are gone.
        """
        known, kept = self.services, self._marks
        self.services = {name: known.get(name) or Service(name, stream) for name, stream in services.items()}
        self._spelled = {name.lower(): name for name in services}
        streams = {self.catalog, *services.values()}
        known_by = {stream for stream in self.strangers if naming.parts(stream)[3].lower() in self._spelled}
        self.strangers -= streams | strangers | known_by
        self._marks = {stream: mark for stream, mark in kept.items() if stream in streams}
        for service in self.services.values():
            if not service.index:
                self.mark(service.stream)
        if not self._catalog_index:
            self.mark(self.catalog)

    def mark(self, stream: Stream, index: int = 0) -> None:
        """Mark a stream, to be read at `index` at least; at 0, as it is now.

        A mark is a new one each time, so that what is marked again while it is being read stays marked.
        """
        old = self._marks.get(stream)
        if old is None:
            self._marks[stream] = Mark(index, fresh=not index)
        else:
            self._marks[stream] = Mark(max(index, old.at_least), fresh=old.fresh or not index)

    def mark_catalog(self, index: int) -> None:
        """Mark the catalog, unless all of it was read at that index."""
        if index > self._catalog_index or not self._is_catalog_whole:
            self.mark(self.catalog, index)

    def mark_service(self, name: str, index: int) -> None:
        """Mark a service, unless all of it was read at that index; one that discovery does not know is a stranger.

        Consul takes all spellings of a name for one.
        """
        service = self.services.get(self._spelled.get(name.lower(), ""))
        if service is not None:
            if index > service.index or not service.is_whole:
                self.mark(service.stream, index)
        elif (stream := self._stream_of(name)) is not None:
            self.strangers.add(stream)

    def mark_all(self) -> None:
        """Mark everything, to be read as it is now, whatever index it was read at."""
        self._catalog_index = 0
        self.mark(self.catalog)
        for service in self.services.values():
            service.index = 0
            self.mark(service.stream)

    def read(
        self, stream: Stream, name: str, mark: Mark | None, index: int, *, is_whole: bool = True
    ) -> Service | None:
        """Note that a stream, whose mark was `mark` before, was read and has `index`; return its service, if any."""
        if mark is not None and self._marks.get(stream) is mark:
            del self._marks[stream]
        service = self.services.get(name)
        if service is not None:
            service.index, service.is_whole = index, is_whole
        elif not name:
            self._catalog_index, self._is_catalog_whole = index, is_whole
        return service
