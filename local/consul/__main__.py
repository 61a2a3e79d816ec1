"""`python -m local.consul`: a Consul server on this machine.

A `consul` on PATH is run as `consul agent -dev`, with data and ports of its own. Without one, or with `--stand-in`, it
is the stand-in, whose faults `local.consul.control` describes.
"""

import argparse
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from local.consul import real
from local.consul.acl import ANONYMOUS
from local.consul.cluster import Cluster
from local.consul.control import Control
from local.consul.server import MAX_CONNECTIONS, Server
from local.part import Part, main
from local.ports import HOST


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--port", type=int, default=0, help="HTTP port; 0: a free one")
    parser.add_argument(
        "--datacenter", action="append", help="a datacenter; repeatable, the first is the agent's; default: dc1"
    )
    parser.add_argument("--node", default="consul-1", help="name of the agent's node")
    parser.add_argument("--acl", type=Path, help="tokens and the default policy, as JSON (local.consul.acl)")
    parser.add_argument("--max-connections", type=int, default=MAX_CONNECTIONS, help="limits.http_max_conns_per_client")
    parser.add_argument("--stand-in", action="store_true", help="do not use the consul that is on PATH")
    parser.add_argument("--tls-cert", type=Path, help="certificate, PEM; the server speaks HTTPS")
    parser.add_argument("--tls-key", type=Path, help="its key, PEM")
    parser.add_argument("--tls-client-ca", type=Path, help="authority whose certificates clients must show, PEM")


@asynccontextmanager
async def start(arguments: argparse.Namespace) -> AsyncIterator[Part]:
    """Serve until the context ends; exit code 2 for options that cannot work."""
    consul = None if arguments.stand_in else real.executable()
    try:
        running = real.start(consul, arguments) if consul else _stand_in(arguments)
    except (OSError, ValueError, KeyError, TypeError) as why:
        print(f"error: {why}", file=sys.stderr)
        sys.exit(2)
    async with running as part:
        yield part


def _stand_in(arguments: argparse.Namespace) -> AbstractAsyncContextManager[Part]:
    cluster, tls = Cluster(arguments.datacenter or ["dc1"], arguments.node), _tls(arguments)
    if arguments.acl is not None:
        cluster.acl.load(json.loads(arguments.acl.read_text(encoding="utf-8")))
    return _serving(Server(cluster, arguments.max_connections), arguments.port, tls)


@asynccontextmanager
async def _serving(server: Server, port: int, tls: ssl.SSLContext | None) -> AsyncIterator[Part]:
    async with server.serving(port, tls):
        control = Control(server)
        address = f"{'https' if tls else 'http'}://{HOST}:{server.port}"
        yield Part({"Consul": address, "ConsulToken": ANONYMOUS}, control.fault, control.state, control.routes)


def _tls(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if not arguments.tls_cert:
        if arguments.tls_key or arguments.tls_client_ca:
            message = "--tls-key and --tls-client-ca need --tls-cert"
            raise ValueError(message)
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.tls_cert, arguments.tls_key)
    if arguments.tls_client_ca:
        context.load_verify_locations(arguments.tls_client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


if __name__ == "__main__":
    main("consul", start, describe)
