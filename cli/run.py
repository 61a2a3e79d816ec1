"""`sluice run`: capture and deliver as one ordinary process, the same code without Functions."""

import asyncio
import logging

from cli.outcome import on_stop
from shared.errors import TransientError
from shared.wiring import Wiring

log = logging.getLogger("sluice.run")


async def run(wiring: Wiring, *, every_s: float) -> None:
    """Run until SIGTERM or Ctrl-C, then let what is under way end; a second one ends at once.

    The next tick starts `every_s` seconds after the last one has ended.

    Raises:
        ConfigError: a source cannot be used on this machine.
    """
    stop = asyncio.Event()

    def begin_to_end() -> None:
        log.info("ending")
        stop.set()

    on_stop(begin_to_end)
    captures = [await wiring.capture(shard) for shard in range(wiring.settings.capture.shards)]
    deliver = await wiring.deliver()
    log.info("running", extra={"shards": len(captures), "outputs": ",".join(wiring.destinations)})

    async def ticking(shard: int) -> None:
        while not stop.is_set():
            try:
                await captures[shard].tick()
            except TransientError as why:
                log.error("tick failed", extra={"shard": shard, "reason": str(why)})  # noqa: TRY400 - no bug
            await _wait(stop, every_s)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(wiring.pump(deliver.deliver).run(stop))
        for shard in range(len(captures)):
            tasks.create_task(ticking(shard))


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
