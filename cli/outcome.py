"""How a command ends: its exit code, and what it says when it did not work."""

import asyncio
import sys
from collections.abc import Coroutine

import click

from shared.errors import ConfigError, InvalidConfigError, SluiceError

WRONG, FAILED = 2, 1


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
