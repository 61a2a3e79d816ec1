"""The listening side of the broker, and its outages."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from local.broker.broker import Broker
from local.broker.connection import Connection

HOST = "127.0.0.1"


class Server:
    """Accepts connections on one port; an outage ends and refuses them and keeps the contents."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.port = 0
        self._listener: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._back: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_out(self) -> bool:
        """Whether there is an outage."""
        return self.broker.is_out

    async def listen(self, port: int) -> None:
        """Begin to accept connections; 0 takes a free port."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self.broker), HOST, port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def outage(self, seconds: float) -> None:
        """Cut every connection and refuse new ones for a time; an outage within an outage prolongs it."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self.broker.is_out = True
            # A bound socket that does not listen keeps the port and refuses whoever connects.
            self._held = socket.socket()
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind((HOST, self.port))
            for peer in list(self.broker.peers):
                peer.abort()
        if self._back is not None:
            self._back.cancel()
        self._back = asyncio.get_running_loop().call_later(seconds, self._come_back)

    def _come_back(self) -> None:
        self._task = asyncio.ensure_future(self._listen_again())

    async def _listen_again(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None
        self.broker.is_out = False
        await self.listen(self.port)

    async def close(self) -> None:
        """End every connection."""
        if self._back is not None:
            self._back.cancel()
        if self._task is not None:
            await self._task
        if self._held is not None:
            self._held.close()
        if self._listener is not None:
            self._listener.close()
        for peer in list(self.broker.peers):
            peer.abort()
        for entity in self.broker.namespace:
            entity.close()


@asynccontextmanager
async def serving(broker: Broker, port: int = 0) -> AsyncIterator[Server]:
    """Serve a broker on a port of this machine for as long as the context lasts."""
    server = Server(broker)
    await server.listen(port)
    try:
        yield server
    finally:
        await server.close()
