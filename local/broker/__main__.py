"""`python -m local.broker`: a Service Bus namespace on this machine."""

import argparse
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from local.broker.broker import Broker
from local.broker.config import load
from local.broker.control import Control
from local.broker.sas import AccessKey
from local.broker.server import serving
from local.part import Part, main

KEY_NAME = "RootManageSharedAccessKey"


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--port", type=int, default=0, help="AMQP port; 0: a free one")
    parser.add_argument(
        "--config", type=Path, help="entities to create, a Config.json as Microsoft's emulator reads it"
    )
    parser.add_argument("--key", default="", help="the shared access key; a random one unless given")


@asynccontextmanager
async def start(arguments: argparse.Namespace) -> AsyncIterator[Part]:
    """Serve until the context ends."""
    broker = Broker(AccessKey(KEY_NAME, arguments.key or secrets.token_urlsafe(32)))
    if arguments.config is not None:
        try:
            load(arguments.config.read_text(encoding="utf-8"), broker.namespace)
        except (OSError, ValueError, KeyError, TypeError) as why:
            print(f"{arguments.config}: {why}", file=sys.stderr)
            sys.exit(2)
    async with serving(broker, arguments.port) as server:
        control = Control(server)
        settings = {"ServiceBus": broker.key.connection_string(server.port)}
        yield Part(settings, control.fault, control.state, control.routes)


if __name__ == "__main__":
    main("broker", start, describe)
