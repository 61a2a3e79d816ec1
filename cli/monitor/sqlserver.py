"""`sluice monitor sqlserver`: what changes in tables, straight from change data capture."""

from cli.monitor import lines
from cli.monitor.screen import Contact, Screen
from shared import naming
from shared.errors import InvalidConfigError, PositionLostError, SluiceError, TransientError
from shared.events import ChangeEvent, Message, Position, Stream
from shared.formats.dstream import DStreamFormat
from shared.ports import Clock, Source
from shared.settings.model import SqlServerSettings
from shared.settings.names import DEFAULTS
from shared.sinks.console import line
from shared.wiring import open_source

ADVANCE_S = 600.0
"""How often quiet tables are read too: where one stands must not become older than what the server keeps."""


async def monitor(settings: SqlServerSettings, screen: Screen, clock: Clock) -> None:
    """Print the changes of the tables, until cancelled.

    Raises:
        ConfigError: the server refuses.
        InvalidConfigError: tables cannot be read; each with its reason.
        SluiceError: the server cleaned up what was still to be printed.
        BrokenPipeError: nobody reads any more.
    """
    contact = Contact("SQL Server", clock)
    async with open_source(settings) as source:
        watch = _Watch(settings, source, screen, clock)
        while True:
            pause_s = watch.every_s
            try:
                await watch.look()
                contact.keep()
            except TransientError as why:
                pause_s = contact.lose(why)
            except PositionLostError as why:
                hint = "start again, from what is left with --from earliest"
                raise SluiceError(why.message, hint=hint) from why
            screen.check()
            await clock.sleep(pause_s)


class _Watch:
    """Up to where each table was printed."""

    def __init__(self, settings: SqlServerSettings, source: Source, screen: Screen, clock: Clock) -> None:
        self.every_s = min(table.poll_interval_s for table in settings.tables)
        self._settings = settings
        self._source = source
        self._screen = screen
        self._clock = clock
        self._format = DStreamFormat(DEFAULTS.ingest_queue)
        self._after: dict[Stream, Position] = {}
        self._advance_at = 0.0

    async def look(self) -> None:
        """Print what is new."""
        if not self._after:
            await self._begin()
        changed = await self._source.probe(self._after)
        if self._clock.monotonic() >= self._advance_at:
            changed |= self._after.keys()
            self._advance_at = self._clock.monotonic() + ADVANCE_S
        for stream in sorted(changed):
            more = True
            while more:
                batch = await self._source.read(stream, self._after[stream], self._settings.page)
                for event in batch.events:
                    self._show(event)
                self._after[stream], more = batch.position, batch.more

    async def _begin(self) -> None:
        found, problems = await self._source.discover()
        if problems:
            raise InvalidConfigError(tuple(problems))
        self._after = {each.stream: each.first for each in found}
        self._advance_at = self._clock.monotonic() + ADVANCE_S
        if not self._screen.as_json:
            settings = self._settings
            tables = ", ".join(f"{table.schema}.{table.name}" for table in settings.tables)
            since = "from now on" if settings.start == "latest" else "from the earliest change that is kept"
            self._screen.show((f"Monitoring {tables} of {settings.database} at {settings.server} {since}", lines.BOLD))

    def _show(self, event: ChangeEvent) -> None:
        topic = naming.topic(event.stream)
        body = self._format.encode(event, naming.event_id(event.stream, 0, event.position, event.n), topic)
        if self._screen.as_json:
            self._screen.write(body.decode())
        else:
            message = Message("", event.stream, event.op, "application/json", body)
            self._screen.write(line(message, self._screen.width, self._screen.colour))
