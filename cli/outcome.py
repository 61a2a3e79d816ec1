"""How a command ends: its exit code, and what it says when it did not work."""

import asyncio
import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine

import click

from shared.errors import ConfigError, InvalidConfigError, SluiceError

WRONG, FAILED = 2, 1
_STOPS = (signal.SIGINT, signal.SIGTERM)


def finish(work: Coroutine[object, object, None]) -> None:
    """Run `work`; exit with `WRONG` when a setting has to be mended, with `FAILED` when something else went wrong."""
    try:
        asyncio.run(work)
    except (ConfigError, InvalidConfigError) as why:
        click.echo(f"sluice: {why}", err=True)
        sys.exit(WRONG)
    except SluiceError as why:
        click.echo(f"sluice: {why}", err=True)
        sys.exit(FAILED)


def on_stop(begin: Callable[[], object]) -> None:
    """Have the first Ctrl-C or SIGTERM call `begin` in the running event loop; a second one ends the process at once.

    The exit code is 0 then, too. asyncio's own handling raises KeyboardInterrupt at a second Ctrl-C, wherever the
    program is, and is over before the process is.
    """
    loop = asyncio.get_running_loop()

    def stop(*_: object) -> None:
        for signum in _STOPS:
            signal.signal(signum, lambda *_: os._exit(0))
        with contextlib.suppress(RuntimeError):  # the loop is closed: this is the end already
            loop.call_soon_threadsafe(begin)

    for signum in _STOPS:
        signal.signal(signum, stop)
        atexit.register(signal.signal, signum, signal.SIG_IGN)  # what is left is the interpreter's
