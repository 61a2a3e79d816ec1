"""`sluice monitor consul`: what changes in a catalog, or among the instances of a service."""

import logging

import msgspec

from cli.monitor import flags, lines
from cli.monitor.screen import Contact, Screen, say
from shared import naming
from shared.errors import ConfigError, TransientError
from shared.events import ChangeEvent, Memo, Observation, Position, Stream
from shared.formats.dstream import DStreamFormat
from shared.ports import Clock, Observer
from shared.settings.model import ConsulSettings
from shared.settings.names import DEFAULTS
from shared.wiring import open_observer

LOOK_S = 0.1
"""How often to look at what the blocking queries brought; the network is not asked."""


async def monitor(settings: ConsulSettings, service: str, screen: Screen, clock: Clock) -> None:
    """Print what there is, then every change, until cancelled; the catalog without a `service`.

    Whatever happened while the server could not be reached is printed when it is back.

    Raises:
        ConfigError: Consul refuses.
        BrokenPipeError: nobody reads any more.
    """
    logging.getLogger("sluice.consul").addFilter(_name_flags)
    contact = Contact("Consul", clock)
    watch = _Watch(_View(settings, service, screen), service)
    while True:
        try:
            async with open_observer(settings) as observer:
                await watch.begin(observer)
                while True:
                    await watch.look(observer)
                    contact.keep()
                    screen.check()
                    await clock.sleep(LOOK_S)
        except TransientError as why:  # a new observer has no back-off behind it: somebody is waiting
            hint = flags.named(why.hint)
            pause_s = contact.lose(TransientError(why.message, retry_after=why.retry_after, hint=hint))
            screen.check()
            await clock.sleep(pause_s)
        except ConfigError as why:
            raise _refusal(why) from why


def _refusal(why: ConfigError) -> ConfigError:
    return ConfigError(why.message, hint=flags.named(why.hint))


def _name_flags(record: logging.LogRecord) -> bool:
    if "hint" in vars(record):
        vars(record)["hint"] = flags.named(vars(record)["hint"])
    return True


class _Watch:
    """The stream, and what is known of it: nothing at first."""

    def __init__(self, view: "_View", service: str) -> None:
        self._view = view
        self._service = service
        self._stream = Stream("")
        self._memo: Memo | None = None
        self._last = Position("")
        self._is_partial = False

    async def begin(self, observer: Observer) -> None:
        """Find the stream; in which datacenter it is, only Consul may know. What cannot be seen is said once."""
        streams, problems = await observer.discover(())
        found = [each.stream for each in streams]
        if problems and not self._is_partial:
            self._is_partial = True
            say("\n".join(str(_refusal(problem)) for problem in problems))
        source, datacenter, *_ = naming.parts(found[0])
        self._stream = naming.stream(source, datacenter, "service", self._service) if self._service else found[0]
        if self._stream not in found:  # its name reads as a pattern, and nothing of that name is there yet
            await observer.discover((self._stream,))

    async def look(self, observer: Observer) -> None:
        """Print what has changed."""
        if self._stream not in await observer.probe((self._stream,)):
            return
        found = await observer.observe(self._stream, self._memo, self._last)
        self._view.show(self._stream, self._memo, found)
        self._memo = found.memo
        if found.events:
            self._last = found.events[-1].position


class _View:
    """What is printed, as text or JSON."""

    def __init__(self, settings: ConsulSettings, service: str, screen: Screen) -> None:
        self._settings = settings
        self._service = service
        self._screen = screen
        self._format = DStreamFormat(DEFAULTS.ingest_queue)

    def show(self, stream: Stream, before: Memo | None, found: Observation) -> None:
        """Print what was found, if anything, and how it is now."""
        if before is not None and not found.events:
            return
        if self._screen.as_json:
            for event in found.events:
                self._screen.write(self._body(event))
            self._screen.write(msgspec.json.encode({"summary": self._summary(stream, found.memo)}).decode())
            return
        index, since = found.memo.head["index"], self._settings.start_index
        if before is None:
            what = f"instances of service {self._service}" if self._service else "services"
            where = f"in datacenter {naming.parts(stream)[1]} at {self._settings.address}"
            self._screen.show((f"Monitoring {what} {where}", lines.BOLD))
            narrowed = f", changed after index {since}" if since else ""
            self._screen.show((f"Current state at index {index}{narrowed}:", lines.DIM))
        elif before.head["epoch"] != found.memo.head["epoch"]:
            said = f"The index went from {before.head['index']} to {index}: compared with what was known"
            self._screen.show((said, lines.YELLOW))
        for event in found.events:
            self._screen.show(*lines.of(event))
        items = found.memo.items
        if self._service:
            told = f"Out of {len(items)} instances, {lines.healthy(items)} are healthy."
        else:
            told = f"{len(items)} services."
        self._screen.show((told, lines.PLAIN), (f"Last index update to: {index}", lines.DIM))

    def _body(self, event: ChangeEvent) -> str:
        event_id = naming.event_id(event.stream, 0, event.position, event.n)
        return self._format.encode(event, event_id, naming.topic(event.stream)).decode()

    def _summary(self, stream: Stream, memo: Memo) -> dict[str, object]:
        said: dict[str, object] = {"Datacenter": naming.parts(stream)[1], "Index": memo.head["index"]}
        if not self._service:
            return said | {"Services": len(memo.items)}
        return said | {
            "Service": self._service,
            "Instances": len(memo.items),
            "Healthy": lines.healthy(memo.items),
        }
