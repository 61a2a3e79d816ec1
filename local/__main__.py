"""`python -m local`: the whole local cloud until Ctrl-C."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from local.cloud import PORTS, Cloud, running
from local.host.errors import HostError
from local.host.settings import load_local_settings
from local.process import ROOT, PartError
from shared.errors import InvalidConfigError
from shared.settings.load import FILE_SETTING

ELSEWHERE = ("AzureWebJobsStorage", "SqlServer", "ServiceBus", "Consul", "ConsulToken")
"""How parts are reached, by the settings that they have in common with a function app."""


def main() -> None:
    """Run the local cloud; exit code 0 after Ctrl-C or SIGTERM, 1 when a part did not start, 2 for bad settings."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    sys.exit(asyncio.run(_run(_arguments())))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--only", default=",".join(PORTS), help="start these parts alone, separated by commas")
    parser.add_argument(
        "--directory", type=Path, default=ROOT / ".local", help="where data, logs and endpoints.json are"
    )
    parser.add_argument(
        "--settings-file", type=Path, default=os.environ.get(FILE_SETTING, ROOT / "sluice.hcl"), help="the sluice.hcl"
    )
    parser.add_argument("--fixed-ports", action="store_true", help="use the ports these servers usually have")
    for part, ports in PORTS.items():
        for option, usual in ports.items():
            parser.add_argument(_port(part, option), type=int, metavar="PORT", help=f"port of {part}, usually {usual}")
    return parser.parse_args()


def _port(part: str, option: str) -> str:
    return f"--{part}-{option}" if option == "port" else f"--{option}"


def _ports(arguments: argparse.Namespace) -> dict[str, dict[str, int]]:
    chosen: dict[str, dict[str, int]] = {}
    for part, ports in PORTS.items():
        for option, usual in ports.items():
            given = getattr(arguments, _port(part, option).removeprefix("--").replace("-", "_"))
            chosen.setdefault(part, {})[option] = given or (usual if arguments.fixed_ports else 0)
    return chosen


def _local_settings() -> dict[str, str]:
    """Return what `local.settings.json` says, less what the environment says.

    Where neither says how to reach a part that this cloud leaves out, it is where the sample settings have it.
    """
    values, usual = dict(os.environ), dict[str, str]()
    file = ROOT / "local.settings.json"
    if file.exists():
        load_local_settings(file, values)
    load_local_settings(ROOT / "local.settings.sample.json", usual)
    said = {name.partition("__")[0] for name, value in values.items() if value}
    values |= {name: usual[name] for name in ELSEWHERE if name not in said}
    return {name: value for name, value in values.items() if name not in os.environ}


async def _run(arguments: argparse.Namespace) -> int:
    stopping = _cancel_on_signal()
    parts = [name for name in arguments.only.split(",") if name]
    kept = {"sqlserver": ("--data", str((arguments.directory / "sqlserver").absolute()))}
    try:
        async with running(
            parts,
            arguments.directory,
            settings_file=arguments.settings_file,
            ports=_ports(arguments),
            options={part: options for part, options in kept.items() if part in parts},
            environment=_local_settings(),
            revive=True,
        ) as cloud:
            _announce(cloud)
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
    except InvalidConfigError as why:
        print(f"error: {why}", file=sys.stderr)
        return 2
    except (PartError, HostError, OSError, ValueError) as why:
        print(f"error: {why}", file=sys.stderr)
        return 1
    return 0


def _cancel_on_signal() -> asyncio.Event:
    """Let the first SIGINT or SIGTERM cancel this task and set the event; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    stopping = asyncio.Event()

    def stop() -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_DFL)  # the parts end when they see their parent gone
        stopping.set()
        if task is not None:
            task.cancel()

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop)
    return stopping


def _announce(cloud: Cloud) -> None:
    for part in cloud.parts():
        for name, value in part.settings.items():
            print(f"{name:<20} pid {part.pid:<7} {value}")
    print(f"Settings and logs are in {cloud.directory}. Ctrl-C stops everything.", flush=True)


if __name__ == "__main__":
    main()
