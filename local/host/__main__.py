"""`python -m local.host`: run a function app as Azure Functions would.

Triggers: timers (NCRONTAB), HTTP, and Service Bus session queues with cardinality one. What else an app, its
`host.json` or its `local.settings.json` asks for is refused by name. The app is loaded by Microsoft's worker library
alone: one that would show "0 functions found" in Azure does not start.

`GET /state` on the control port shows the functions with their counts, the keys of the HTTP functions, and when each
timer fires next; `POST /admin/functions/<name>` runs a timer now. Exit code 124: a function exceeded `functionTimeout`.
"""

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from local.host import logs
from local.host.errors import HostError
from local.host.flex import running_by_group
from local.host.host import Launch, running
from local.part import Part, main


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options of the host."""
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--app", type=Path, default=Path(), help="folder of function_app.py and host.json")
    parser.add_argument("--settings", type=Path, help="a local.settings.json; the environment wins over it")
    parser.add_argument("--functions", help="run these alone, by name, separated by commas")
    parser.add_argument("--mode", choices=("single", "flex"), default="single", help="flex: a process per scale group")
    parser.add_argument("--port", type=int, default=0, help="port of HTTP functions; 0: a free one")
    parser.add_argument("--key", default="", help="the master key; without it, one is made up and shown by /state")
    parser.add_argument("--drain", type=float, default=30.0, help="seconds that running invocations have to end")
    parser.add_argument("--instance", default="", help="a name that survives restarts: timer locks are kept over them")


@asynccontextmanager
async def start(arguments: argparse.Namespace) -> AsyncIterator[Part]:
    """Run the app until the block is left; an app that cannot be run ends the process with the reason."""
    launch = Launch(
        app=arguments.app.resolve(),
        settings=arguments.settings.resolve() if arguments.settings else None,
        functions=arguments.functions,
        port=arguments.port,
        key=arguments.key,
        instance=arguments.instance,
        drain_s=arguments.drain,
    )
    try:
        async with (running_by_group if arguments.mode == "flex" else running)(launch) as part:
            yield part
    except HostError as why:
        sys.exit(f"error: {why}")


logs.configure()
main("host", start, describe)
