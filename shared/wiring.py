"""The composition root: from settings to the objects that do the work, once per process and event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from shared import naming, sinks, sources
from shared.administration import ServiceBusAdministration
from shared.amqp import Namespace
from shared.capture import Capture, SourceInUse
from shared.checkpoint import Checkpoint
from shared.clock import SystemClock
from shared.deliver import Deliver, Incoming
from shared.errors import ConfigError
from shared.events import FoundStream, Position, Stream
from shared.formats.dstream import DStreamFormat
from shared.forward import Forward
from shared.health import Health
from shared.held import Shard
from shared.journal import JournaledSource
from shared.packing import Packing
from shared.ports import Observer, Sink, Source
from shared.pump import SessionPump, incoming
from shared.settings import connections
from shared.settings.model import AzureSettings, OutputSettings, Settings, SourceSettings
from shared.settings.problems import Problems
from shared.settings.streams import named
from shared.sinks.servicebus import QueueLook, ServiceBusSink, SpreadSink
from shared.stores.azure.account import AzureAccount
from shared.stores.azure.claims import AzureClaimStore
from shared.stores.azure.journals import AzureJournalStore
from shared.stores.azure.leases import AzureLease
from shared.stores.azure.placements import AzurePlacements
from shared.stores.azure.restoring import AzureRestoring
from shared.stores.azure.tables import AzureControl, AzureMarkStore, AzureStateStore
from shared.stores.azure.taking import AzureTaking
from shared.topic_sync import TopicSync


class Wiring:
    """Makes each object at its first use and closes them all together.

    Everything belongs to the event loop in which it was first asked for. `resident` is a process of its own, which may
    keep requests open between ticks.

    Raises:
        InvalidConfigError: nothing was said about Service Bus or storage, as in a `dstream.hcl` of 2024.
    """

    def __init__(self, settings: Settings, *, resident: bool = False) -> None:
        problems = Problems(settings.file)
        connections.require(settings.bus, settings.state, problems)
        problems.check()
        self.settings = settings
        self._resident = resident
        self.clock = SystemClock()
        self._open = AsyncExitStack()
        self._account: AzureAccount | None = None
        self._bus: ServiceBusSink | None = None
        self._look: QueueLook | None = None
        self._looking: asyncio.Task[list[str]] | None = None
        self._captures: dict[int, Capture] = {}
        self._deliver: Deliver | None = None
        self._topics: TopicSync | None = None
        self._sources: dict[str, SourceInUse] = {}

    @property
    def destinations(self) -> tuple[str, ...]:
        """The names of the outputs, which the marks carry."""
        return tuple(output.name for output in self.settings.outputs)

    @property
    def account(self) -> AzureAccount:
        """The storage account that keeps state, leases and claims."""
        if self._account is None:
            self._account = AzureAccount(self.settings.state)
            self._open.push_async_callback(self._account.close)
        return self._account

    @property
    def bus(self) -> ServiceBusSink:
        """The namespace that has the ingest queue and the rejected queue."""
        if self._bus is None:
            self._bus = ServiceBusSink(self.settings.bus, max_message_bytes=self.settings.capture.max_message_bytes)
            self._open.push_async_callback(self._bus.close)
        return self._bus

    @property
    def states(self) -> AzureStateStore:
        """The states and marks of all streams."""
        return AzureStateStore(self.account, self.settings.state_table)

    @property
    def control(self) -> AzureControl:
        """The bell that every operator's command rings."""
        return AzureControl(self.account, self.settings.state_table)

    @property
    def taking(self) -> AzureTaking:
        """What copies all that is stored."""
        return AzureTaking(self.account, self.settings.state_table, self.settings.memo_container)

    @property
    def restoring(self) -> AzureRestoring:
        """What brings a copy back."""
        place = (self.account, self.settings.state_table, self.settings.memo_container)
        return AzureRestoring(*place, destinations=self.destinations, clock=self.clock)

    async def sources(self) -> dict[str, SourceInUse]:
        """Return the configured sources by name, opened.

        Raises:
            ConfigError: a source cannot be used on this machine (no driver).
        """
        for source in self.settings.sources:
            if source.name not in self._sources:
                opened = await self._open.enter_async_context(self._opened(source))
                self._sources[source.name] = SourceInUse(opened, source.deadline_s, source.page)
        return self._sources

    def check_machine(self) -> None:
        """See that this machine has what the sources need.

        Raises:
            ConfigError: a driver is missing.
        """
        for source in self.settings.sources:
            _kind(sources, source.kind).check_machine()

    async def capture(self, shard: int = 0) -> Capture:
        """Return the capture of one shard.

        Raises:
            ConfigError: a source cannot be used on this machine (no driver).
        """
        if shard not in self._captures:
            self._captures[shard] = await self._make_capture(shard)
        return self._captures[shard]

    async def deliver(self) -> Deliver:
        """Return what delivers packs to the outputs."""
        if self._deliver is None:
            settings = self.settings
            self._deliver = Deliver(
                sinks={output.name: self._sink(output) for output in settings.outputs},
                rejected_sink=self.bus,
                rejected_queue=settings.rejected_queue,
                states=self.states,
                marks=AzureMarkStore(self.account, settings.state_table),
                control=self.control,
                claims=AzureClaimStore(self.account, settings.claims_container),
                origin=self._origin,
                settings=settings.deliver,
                clock=self.clock,
            )
        return self._deliver

    async def reasons(self) -> list[str]:
        """Return why the app does not work as it should, with the remedy; empty when all is well.

        Anybody may ask, so calls side by side share one look.
        """
        if self._looking is None or self._looking.done():
            health = Health(self.sources, self.states, self.look.dead_lettered, self.settings.ingest_queue)
            self._looking = asyncio.create_task(health.reasons())
        return await asyncio.shield(self._looking)

    @property
    def look(self) -> QueueLook:
        """What counts the packs that were dead-lettered."""
        if self._look is None:
            self._look = QueueLook(self.settings.bus)
            self._open.push_async_callback(self._look.close)
        return self._look

    async def topics(self) -> TopicSync:
        """Return what makes the topics of every stream.

        Raises:
            ConfigError: no output has topics, or the management API of a namespace cannot be reached.
        """
        if self._topics is None:
            settings = self.settings
            outputs = {output.name: tuple(output.namespaces) for output in settings.outputs if output.namespaces}
            if not outputs:
                msg = "no output has topics"
                raise ConfigError(msg, hint='output "topics" { type = "servicebus" }')
            namespaces = {name: of for output in settings.outputs for name, of in output.namespaces.items()}
            self._topics = TopicSync(
                sources=self.sources,
                named={source.name: [each.stream for each in named(source)] for source in settings.sources},
                outputs=outputs,
                administrations={name: self._administration(name, of) for name, of in namespaces.items()},
                placements=AzurePlacements(self.account, settings.state_table),
                clock=self.clock,
            )
        return self._topics

    def pump(self, deliver: Callable[[Incoming], Awaitable[None]]) -> SessionPump:
        """Return what receives from the ingest queue where no Functions host does."""
        namespace = Namespace(self.settings.bus, retry_total=0)
        self._open.push_async_callback(namespace.close)
        return SessionPump(namespace.client, self.settings.ingest_queue, lambda message: deliver(incoming(message)))

    async def found(self, stream: Stream, start: str) -> FoundStream:
        """Return what the source says of a stream, its first position as if `start` were configured.

        Raises:
            TransientError: the source is away.
            ConfigError: the source refuses, or does not have the stream.
        """
        async with self._source_of(stream, start) as source:
            for found in (await source.discover())[0]:
                if found.stream == stream:
                    return found
        raise _unknown(stream)

    async def check_position(self, stream: Stream, position: Position) -> None:
        """See that the source can go on after `position`.

        Raises:
            PositionLostError: it is no position of the stream, or what follows is gone.
            TransientError: the source is away.
            ConfigError: the source refuses, or does not have the stream.
        """
        async with self._source_of(stream) as source:
            if isinstance(source, JournaledSource):
                await source.check(stream, position)
            else:
                await source.read(stream, position, 1)

    async def close(self) -> None:
        """Release leases and connections; idempotent."""
        await self._open.aclose()

    async def _make_capture(self, shard: int) -> Capture:
        settings, clock = self.settings, self.clock
        name, duration_s = f"shard-{shard}", settings.capture.lease_s
        lease = AzureLease(self.account, settings.lease_container, name, clock, duration_s=duration_s)
        self._open.push_async_callback(lease.release)
        states = self.states
        checkpoint = Checkpoint(states, clock)
        packing = Packing(
            DStreamFormat(settings.ingest_queue),
            AzureClaimStore(self.account, settings.claims_container),
            max_message_bytes=settings.capture.max_message_bytes,
            max_changes=settings.capture.max_pack_changes,
        )
        return Capture(
            sources=await self.sources(),
            shard=Shard(
                index=shard,
                shards=settings.capture.shards,
                states=states,
                marks=AzureMarkStore(self.account, settings.state_table),
                destinations=self.destinations,
                clock=clock,
                probe_after_s=settings.capture.probe_after_s,
            ),
            forward=Forward(
                ingest=self.bus,
                queue=settings.ingest_queue,
                rejected_queue=settings.rejected_queue,
                packing=packing,
                checkpoint=checkpoint,
                settings=settings.capture,
                clock=clock,
            ),
            checkpoint=checkpoint,
            control=self.control,
            lease=lease,
            settings=settings.capture,
            clock=clock,
        )

    @asynccontextmanager
    async def _source_of(self, stream: Stream, start: str = "") -> AsyncIterator[Source]:
        """Open the source of a stream anew, as if `start` were configured."""
        for settings in self.settings.sources:
            if settings.name == naming.parts(stream)[0]:
                async with self._opened(replace(settings, start=start or settings.start)) as source:
                    yield source
                return
        raise _unknown(stream)

    @asynccontextmanager
    async def _opened(self, settings: SourceSettings) -> AsyncIterator[Source]:
        """Open a source; one that can only be observed is read through its journals."""
        module = _kind(sources, settings.kind)
        if not hasattr(module, "open_observer"):
            async with module.open_source(settings) as source:
                yield source
            return
        async with module.open_observer(settings, resident=self._resident) as observer:
            journals = AzureJournalStore(self.account, self.settings.state_table, self.settings.memo_container)
            yield JournaledSource(settings.name, observer, journals=journals, states=self.states, start=settings.start)

    def _origin(self, stream: Stream, position: Position) -> dict[str, str | int]:
        """Return what its kind of source says of a change; nothing when its source is no longer configured."""
        for settings in self.settings.sources:
            if settings.name == naming.parts(stream)[0]:
                said: dict[str, str | int] = _kind(sources, settings.kind).origin(stream, position)
                return said
        return {}

    def _administration(self, name: str, namespace: AzureSettings) -> ServiceBusAdministration:
        topics = self.settings.topics
        reached = replace(namespace, client_id=topics.client_id or namespace.client_id)
        made = ServiceBusAdministration(name, reached, topics, self.clock)
        self._open.push_async_callback(made.close)
        return made

    def _sink(self, output: OutputSettings) -> Sink:
        opened: Sink
        if len(output.namespaces) > 1:
            placements = AzurePlacements(self.account, self.settings.state_table)
            limit = self.settings.capture.max_message_bytes
            spread = {name: ServiceBusSink(of, max_message_bytes=limit) for name, of in output.namespaces.items()}
            opened = SpreadSink(spread, partial(placements.find, output.name))
        else:
            opened = _kind(sinks, output.kind).open_sink(output, self.settings)
        self._open.push_async_callback(opened.close)
        return opened


def open_source(settings: SourceSettings) -> AbstractAsyncContextManager[Source]:
    """Open a source by itself, for whoever keeps no state.

    Raises:
        ConfigError: it cannot be used on this machine (no driver).
    """
    opened: AbstractAsyncContextManager[Source] = _kind(sources, settings.kind).open_source(settings)
    return opened


def open_observer(settings: SourceSettings) -> AbstractAsyncContextManager[Observer]:
    """Open an observer by itself, for whoever remembers what it told, in a process of its own."""
    opened: AbstractAsyncContextManager[Observer] = _kind(sources, settings.kind).open_observer(settings, resident=True)
    return opened


def _unknown(stream: Stream) -> ConfigError:
    msg = f"the source does not have {stream} any more"
    return ConfigError(msg, hint="check the configuration and that the table is captured")


def _kind(package: ModuleType, kind: str) -> ModuleType:
    known = sorted(module.name for module in iter_modules(package.__path__))
    if kind not in known:
        msg = f"there is no kind {kind}"
        raise ConfigError(msg, value=kind, hint=f"known kinds: {', '.join(known)}")
    return import_module(f"{package.__name__}.{kind}")
