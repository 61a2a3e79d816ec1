"""Where a monitor writes: lines for people or JSON on standard output, what concerns the contact on standard error."""

import asyncio
import contextlib
import os
import select
import shutil
import sys
from collections.abc import Coroutine

import click

from cli.outcome import on_stop
from shared.errors import TransientError
from shared.ports import Clock
from shared.sinks.console import joined

AGAIN_S = 1.0
"""How soon a source that cannot serve is asked again."""
CLOSE_S = 2.0
"""How long closing may take once it was asked for."""


class Screen:
    """Standard output.

    Lines are written where they are made, so that nothing is ahead of what the reader takes. `colour` None means: at a
    terminal, unless NO_COLOR is set (https://no-color.org).
    """

    def __init__(self, *, as_json: bool, colour: bool | None) -> None:
        self.as_json = as_json
        self._out = sys.stdout.buffer
        self._is_terminal = self._out.isatty()
        self.colour = self._is_terminal and not os.environ.get("NO_COLOR") if colour is None else colour
        self._poll = select.poll()
        self._poll.register(self._out, 0)

    @property
    def width(self) -> int | None:
        """The columns of the terminal; None where lines may have any length."""
        return shutil.get_terminal_size().columns if self._is_terminal else None

    def show(self, *spans: tuple[str, str]) -> None:
        """Write a line of parts, each with its colour.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        self.write(joined(spans, None, colour=self.colour))

    def write(self, line: str) -> None:
        """Write a line as it is.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        self._out.write(f"{line}\n".encode(errors="backslashreplace"))
        self._out.flush()

    def check(self) -> None:
        """See that somebody reads.

        Raises:
            BrokenPipeError: nobody does any more.
        """
        if any(events & (select.POLLERR | select.POLLHUP) for _, events in self._poll.poll(0)):
            raise BrokenPipeError


class Contact:
    """Says once that a source cannot be reached, and once that it is back."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._lost_at: float | None = None

    def lose(self, why: TransientError) -> float:
        """Note a failed attempt, and return in how many seconds to try again."""
        if self._lost_at is None:
            self._lost_at = self._clock.monotonic()
            say(f"{self._name} cannot serve now, trying again until it can: {why}")
        return max(AGAIN_S, why.retry_after or 0.0)

    def keep(self) -> None:
        """Note an attempt that did not fail."""
        if self._lost_at is not None:
            say(f"{self._name} is back after {self._clock.monotonic() - self._lost_at:.0f} s")
            self._lost_at = None


async def until_stopped(work: Coroutine[object, object, None]) -> None:
    """Await `work` until Ctrl-C, SIGTERM, or until nobody reads standard output any more: all of that ends well."""
    this = asyncio.current_task()
    if this is not None:
        on_stop(this.cancel)
    task = asyncio.create_task(work)
    try:
        await asyncio.wait((task,))
        await task
    except asyncio.CancelledError:
        if sys.stderr.isatty():
            click.echo(err=True)  # behind the terminal's ^C
        task.cancel()
        await asyncio.wait((task,), timeout=CLOSE_S)
        if not task.done():
            os._exit(0)  # a driver that is connecting cannot be stopped, and there is nothing to lose
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is for nobody


def say(text: str) -> None:
    """Write a line on standard error."""
    click.echo(f"sluice: {text}", err=True)
