"""`python -m local.broker`: a Service Bus namespace on this machine."""

import argparse
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from local.broker import administration
from local.broker.broker import Broker
from local.broker.certificates import server_context
from local.broker.config import load
from local.broker.control import Control
from local.broker.sas import AccessKey
from local.broker.server import serving
from local.part import Part, main

KEY_NAME = "RootManageSharedAccessKey"


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--port", type=int, default=0, help="AMQP port; 0: a free one")
    parser.add_argument("--administration-port", type=int, default=0, help="port of the management API; 0: a free one")
    parser.add_argument("--ca-file", type=Path, help="where the certificate of the management API is put")
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
    with TemporaryDirectory() as folder:
        ca_file = (arguments.ca_file or Path(folder) / "ca.pem").absolute()
        context = server_context(ca_file)
        async with (
            serving(broker, arguments.port) as server,
            administration.serving(broker, context, arguments.administration_port) as management,
        ):
            control = Control(server)
            settings = {
                "ServiceBus": broker.key.connection_string(server.port),
                "ServiceBusAdministration": management.address,
                "SLUICE_CA_FILE": str(ca_file),
            }
            yield Part(settings, control.fault, control.state, control.routes)


if __name__ == "__main__":
    main("broker", start, describe)
