"""The Consul observer: what the catalog and the selected services are now, compared with what they were."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from functools import partial
from math import inf
from typing import Any, Final

from shared import naming
from shared.clock import SystemClock
from shared.errors import ConfigError, PositionLostError, SluiceError
from shared.events import FoundStream, Memo, Observation, Position, Stream
from shared.ports import Clock
from shared.settings.consul import COARSE, MAX_CONNECTIONS
from shared.settings.model import ConsulSettings
from shared.settings.streams import is_pattern
from shared.sources.consul import changes, removals, rows
from shared.sources.consul.holding import Holding, Look
from shared.sources.consul.http import Http, Mode
from shared.sources.consul.marks import Marks
from shared.sources.consul.position import Place, continued, decode
from shared.sources.consul.reads import Reads
from shared.sources.consul.refusals import POLICY
from shared.sources.consul.watches import Watches

SHORT_WAIT_S: Final = 0.25
"""How long blocking queries wait where a probe waits for them: Functions are paid by the time they run."""
LONG_WAIT_S: Final = 300.0
"""How long they wait in a process of its own: Consul's own default."""
_NO_PATH = frozenset({".", ".."})
"""What a path cannot have for a part."""


class ConsulObserver:
    """Observes the catalog and the selected services of the configured datacenters."""

    def __init__(self, settings: ConsulSettings, http: Http, *, wait_s: float, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._wait_s = wait_s
        self._reads = Reads(settings, http, clock)
        self._named = tuple(name for name in settings.services if not is_pattern(name))
        self._exactly = frozenset(self._named)
        self._patterns = tuple(name for name in settings.services if is_pattern(name))
        self._watches: dict[str, Watches] = {}
        self._holding = Holding(settings, self._reads, clock)

    async def discover(self, known: Collection[Stream]) -> tuple[Sequence[FoundStream], Sequence[ConfigError]]:
        """Return the catalog of each datacenter, and every service that is named, or matches a pattern.

        While a datacenter cannot be reached, its streams are those that are named or known.
        """
        watches = await self._datacenters()
        strangers = [frozenset(each.marks.strangers) for each in watches]
        outcomes = await asyncio.gather(*map(self._names, watches), return_exceptions=True)
        found: list[Stream] = []
        problems = [*self._holding.problems]
        failures: list[SluiceError] = []
        for each, outcome, before in zip(watches, outcomes, strangers, strict=True):
            names: Collection[str] = ()
            if isinstance(outcome, SluiceError):
                failures.append(outcome)
                problems.append(ConfigError(outcome.message, where=each.datacenter, hint=outcome.hint))
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                names, why = outcome
                if why:
                    hint = f"give the source a token that has a policy with: {POLICY}; or set accept_filtered"
                    problems.append(ConfigError(why, where=each.datacenter, hint=hint))
            services, refused = self._selected(each.datacenter, names, known)
            problems += refused.values()
            seen = each.services - refused.keys()
            each.marks.select(services, {stream for stream in before if naming.parts(stream)[3] not in seen})
            found += [self._catalog(each.datacenter), *services.values()]
        if len(failures) == len(watches):
            raise failures[0]
        interval_s = self._settings.poll_interval_s
        return [FoundStream(s, Position(""), interval_s, interval_s, float("inf")) for s in found], problems

    async def probe(self, streams: Collection[Stream]) -> frozenset[Stream]:
        """Return which may have changed since they were observed, and those that discovery does not know yet.

        A datacenter that cannot be reached does not hold up others: its catalog is named, and reading it says why.
        """
        if not streams:
            return frozenset()
        watches = await self._datacenters()
        failures = await _each(watches, Watches.probe)
        well = [each for each in watches if each.datacenter not in failures]
        if not self._marked(well, streams):
            failures |= await _each(well, Watches.go_on)
            well = [each for each in watches if each.datacenter not in failures]
        if not well:
            raise next(iter(failures.values()))
        return self._marked(well, streams) | {
            each.marks.catalog for each in watches if each.datacenter in failures and each.marks.catalog in streams
        }

    async def observe(
        self, stream: Stream, memo: Memo | None, after: Position, *, snapshot: bool = False
    ) -> Observation:
        """Compare what there is with `memo`; without one, all there is, as far as `start_index` wants it."""
        watches, name = await self._subject(stream)
        mark = watches.marks.get(stream)
        head = memo.head if memo is not None else {}
        _check_position(stream, after)
        at_least = max(mark.at_least if mark is not None else 0, int(head.get("index", 0)))
        identity = await watches.identify()
        fresh = mark is None or mark.fresh
        look_at = partial(self._look, watches.datacenter, name, memo)
        look = await look_at(at_least=at_least, fresh=fresh)
        if memo is not None:
            look = await self._holding.believed(stream, look, memo, partial(look_at, mode="consistent"))
        is_whole = not removals.incomplete(look.answer, self._settings)
        self._holding.look_again(stream, look)
        known = str(head.get("identity", ""))
        place = continued(
            Place(head["epoch"], head["index"], head["n"]) if head else None,
            look.answer.index,
            after=after,
            now=self._clock.now(),
            replaced=bool(known and identity and known != identity),
        )
        found = changes.between(memo.items, look.rows) if memo is not None else ()
        told = [*found, *self._snapshot(look)] if snapshot or memo is None else found
        events = changes.events(stream, told, place, self._clock.now())
        service = watches.marks.read(stream, name, mark, look.answer.index, is_whole=is_whole)
        if service is not None and found:
            watches.heat(service)
        if not name:
            watches.see(look.answer.index, look.answer.data)
        else:
            came = look.rows if fresh else [change.key for change in told if change.before is None]
            watches.settle(name, came, [change.key for change in found if change.after is None])
        if memo is not None and not events:
            return Observation((), memo)
        seen = {"epoch": place.epoch, "index": place.index, "n": place.n + len(events), "identity": identity or known}
        return Observation(events, Memo(seen, look.rows))

    async def close(self) -> None:
        """End what waits in the background."""
        await asyncio.gather(*(each.close() for each in self._watches.values()))

    async def _look(
        self,
        datacenter: str,
        name: str,
        memo: Memo | None,
        *,
        at_least: int = 0,
        fresh: bool = False,
        mode: Mode | None = None,
    ) -> Look:
        if not name:
            catalog = await self._reads.catalog(datacenter, at_least=at_least, fresh=fresh, mode=mode)
            known = memo.items if memo is not None else {}
            return Look(catalog, rows.catalog(catalog.data, datacenter, known))
        instances = await self._reads.instances(datacenter, name, at_least=at_least, fresh=fresh, mode=mode)
        return Look(instances, rows.instances(instances.data, datacenter))

    def _snapshot(self, look: Look) -> Sequence[changes.Change]:
        """Return what is there at first sight, less what `start_index` leaves out."""
        found, index = changes.seen(look.rows), self._settings.start_index
        if not index:
            return found
        if isinstance(look.answer.data, dict):  # a catalog has one index for all
            return found if look.answer.index > index else ()
        changed_at = {_key(instance): _modified(instance) for instance in look.answer.data}
        return [change for change in found if changed_at.get(change.key, inf) > index]

    async def _datacenters(self) -> Sequence[Watches]:
        """Return what watches each datacenter; which they are is found once."""
        names = () if self._watches else await self._reads.datacenters()
        if not self._watches:
            waiting = MAX_CONNECTIONS - self._settings.connections
            hot = max(min(self._settings.watches, waiting // len(names) - COARSE), 0)
            for name in names:
                self._watches[name] = Watches(
                    name,
                    Marks(self._catalog(name), partial(self._stream, name)),
                    self._settings,
                    self._reads,
                    wait_s=self._wait_s,
                    hot=hot,
                    clock=self._clock,
                )
        return list(self._watches.values())

    async def _subject(self, stream: Stream) -> tuple[Watches, str]:
        """Return who watches a stream, and the name of its service; "" for a catalog.

        Raises:
            ConfigError: the stream is not configured.
        """
        await self._datacenters()
        _, datacenter, *kind = naming.parts(stream)
        watches, name = self._watches.get(datacenter), kind[1] if len(kind) > 1 else ""
        if watches is None or stream not in {self._catalog(datacenter), self._stream(datacenter, name)}:
            msg = f"{stream} is not configured"
            raise ConfigError(msg, hint="name its datacenter in datacenters of the source, and its service in services")
        return watches, name

    async def _names(self, watches: Watches) -> tuple[Collection[str], str]:
        """Return the names of all services, and why some may be missing; "" when none is."""
        catalog = await self._reads.catalog(watches.datacenter, fresh=True)
        if catalog.filtered and not self._settings.accept_filtered:
            return catalog.data, removals.PARTIAL
        return catalog.data, await self._holding.silence(catalog)

    def _selected(
        self, datacenter: str, names: Collection[str], known: Collection[Stream]
    ) -> tuple[dict[str, Stream], dict[str, ConfigError]]:
        """Return the streams of services by name: those named, and those of a pattern that are there or were.

        And why others of a pattern have none.
        """
        parts = (naming.parts(stream) for stream in known)
        kept = [part[3] for part in parts if part[1:3] == (datacenter, "service")]
        found: dict[str, Stream] = {}
        refused: dict[str, ConfigError] = {}
        spelled: set[str] = set()
        for name in dict.fromkeys((*self._named, *sorted(kept), *sorted(names))):
            stream = self._stream(datacenter, name)
            if stream is None:
                continue
            if name in _NO_PATH:
                refused[name] = ConfigError(f"Consul cannot be asked for a service named {name}", where=stream)
            elif name.lower() not in spelled:  # Consul takes all spellings of a name for one
                spelled.add(name.lower())
                found[name] = stream
        return found, refused

    def _stream(self, datacenter: str, name: str) -> Stream | None:
        """Return the stream of a service that the configuration selects."""
        if name in self._exactly or (name and any(fnmatchcase(name, pattern) for pattern in self._patterns)):
            return naming.stream(self._settings.name, datacenter, "service", name)
        return None

    def _catalog(self, datacenter: str) -> Stream:
        return naming.stream(self._settings.name, datacenter, "catalog")

    def _marked(self, watches: Collection[Watches], streams: Collection[Stream]) -> frozenset[Stream]:
        """Return what is marked in some datacenters, and the streams that are to be looked at again."""
        datacenters = {each.datacenter for each in watches}
        again = {stream for stream in self._holding.due(streams) if naming.parts(stream)[1] in datacenters}
        return frozenset(again.union(*(each.marks.among(streams) for each in watches)))


@asynccontextmanager
async def open_observer(
    settings: ConsulSettings, *, resident: bool = False, clock: Clock | None = None
) -> AsyncIterator[ConsulObserver]:
    """Open the observer; nothing is connected until it is used. `resident` is a process of its own."""
    http = Http(settings)
    wait_s = settings.wait_s if settings.wait_s is not None else LONG_WAIT_S if resident else SHORT_WAIT_S
    observer = ConsulObserver(settings, http, wait_s=wait_s, clock=clock or SystemClock())
    try:
        yield observer
    finally:
        await observer.close()
        await http.close()


async def _each(watches: Sequence[Watches], work: Callable[[Watches], Awaitable[None]]) -> dict[str, SluiceError]:
    """Do it in each datacenter, side by side, and return what went wrong in which."""
    outcomes = await asyncio.gather(*(work(each) for each in watches), return_exceptions=True)
    failures: dict[str, SluiceError] = {}
    for each, outcome in zip(watches, outcomes, strict=True):
        if isinstance(outcome, SluiceError):
            failures[each.datacenter] = outcome
        elif outcome is not None:
            raise outcome
    return failures


def _check_position(stream: Stream, after: Position) -> None:
    try:
        decode(after)
    except ValueError as why:
        remedy = f"sluice resume {shlex.quote(stream)} --from earliest"
        hint = f"take a snapshot of what is there now and go on from it: {remedy}"
        raise PositionLostError(stream, str(why), hint=hint) from why


def _key(instance: Mapping[str, Any]) -> str:
    return rows.instance_key(instance["Node"]["Node"], instance["Service"]["ID"])


def _modified(instance: Mapping[str, Any]) -> int:
    """Return when an instance, its node or one of its checks was last modified."""
    parts = (instance["Node"], instance["Service"], *(instance.get("Checks") or ()))
    return max(int(part.get("ModifyIndex", 0)) for part in parts)
