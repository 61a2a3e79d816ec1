"""The one place where capture and deliver wait and try again."""

import logging
import random
from collections.abc import Awaitable, Callable

from shared.errors import TransientError
from shared.ports import Clock
from shared.schedule import backoff

log = logging.getLogger("sluice")

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 10.0


async def hold[T](action: Callable[[], Awaitable[T]], *, budget_s: float, clock: Clock, stubborn: bool = False) -> T:
    """Call `action` until it succeeds, waiting longer after each TransientError, for at most `budget_s` seconds.

    The wait is the peer's own `retry_after` when that is longer. A `lasting` fault is tried once more and not waited
    out, unless `stubborn`. An attempt that is under way when the budget ends may finish.

    Raises:
        TransientError: the last one, when the budget does not allow another attempt.
    """
    ends = clock.monotonic() + budget_s
    failures = 0
    while True:
        try:
            return await action()
        except TransientError as why:
            failures += 1
            jitter = random.random()  # noqa: S311 - spreads retries, guards nothing
            wait = max(backoff(failures, FIRST_WAIT_S, LONGEST_WAIT_S, jitter), why.retry_after or 0.0)
            if (why.lasting and failures > 1 and not stubborn) or clock.monotonic() + wait > ends:
                raise
            if failures == 1:
                log.warning("trying again", extra={"for_s": budget_s, "reason": str(why)})
        await clock.sleep(wait)
