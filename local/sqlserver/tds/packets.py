"""Packets: the 8-byte headers around every message, and the socket under them.

https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/e5ea8520-1ea3-4a75-a2a9-c17e63e9ee19
"""

import os
import select
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass

from local.sqlserver.errors import AttentionError, DisconnectError

BATCH, RPC, ATTENTION, TRANSACTION, LOGIN, PRELOGIN = 0x01, 0x03, 0x06, 0x0E, 0x10, 0x12
_ANSWER = 0x04
_END = 0x01
_RESET = 0x08 | 0x10
_HEADER = struct.Struct(">BBHHBB")
DEFAULT_SIZE = 4096
_FLUSH = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One message of the client."""

    kind: int
    body: bytes
    reset: bool


class Wire:
    """One client's socket: whole messages in, packets out."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._number = number
        self._size = DEFAULT_SIZE
        self._buffer = bytearray()
        self._packet = 0
        self._closing = threading.Lock()
        self._killed = False
        self._wake = os.eventfd(0)
        self.hold = False  # while set, nothing leaves before the end of the answer

    def resize(self, size: int) -> None:
        """Use packets of `size` bytes from the next message on."""
        self._size = size

    def receive(self) -> Request:
        """Return the next message; DisconnectError when the client is gone."""
        select.select([self._socket.fileno(), self._wake], [], [])
        if self._killed:
            raise DisconnectError
        body = bytearray()
        while True:
            kind, status, length, *_ = _HEADER.unpack(self._exactly(_HEADER.size))
            body += self._exactly(length - _HEADER.size)
            if status & _END:
                return Request(kind, bytes(body), bool(status & _RESET))

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                piece = self._socket.recv(count - len(data))
            except OSError as why:
                raise DisconnectError from why
            if not piece:
                raise DisconnectError
            data += piece
        return bytes(data)

    def interruption(self) -> type[AttentionError | DisconnectError] | None:
        """Return why the running request has to stop: the client asked for it, or it is gone."""
        if self._killed:
            return DisconnectError
        try:
            readable, _, _ = select.select([self._socket], [], [], 0)
            first = self._socket.recv(1, socket.MSG_PEEK) if readable else None
        except (OSError, ValueError):
            return DisconnectError
        if first is None:
            return None
        return AttentionError if first == bytes([ATTENTION]) else DisconnectError

    def write(self, data: bytes) -> None:
        """Add to the running answer; full packets leave once enough of them are there."""
        self._buffer += data
        if len(self._buffer) > _FLUSH and not self.hold:
            self._send(last=False)

    def flush(self) -> None:
        """Send what full packets there are now."""
        self._send(last=False)

    def end(self) -> None:
        """Send the rest of the answer: its last packet carries the end mark and is never an empty extra one."""
        self._send(last=True)
        self._packet = 0

    def _send(self, *, last: bool) -> None:
        room = self._size - _HEADER.size
        total = len(self._buffer)
        full = (total - 1) // room if total else 0  # the last, possibly full, packet is held back for the end mark
        parts: list[bytes | bytearray] = []
        for at in range(0, full * room, room):
            parts += [self._header(0, self._size), self._buffer[at : at + room]]
        del self._buffer[: full * room]
        if last:
            parts += [self._header(_END, len(self._buffer) + _HEADER.size), bytes(self._buffer)]
            self._buffer.clear()
        if not parts:
            return
        try:
            self._socket.sendall(b"".join(parts))
        except OSError as why:
            raise DisconnectError from why

    def _header(self, status: int, length: int) -> bytes:
        self._packet = self._packet % 255 + 1
        return _HEADER.pack(_ANSWER, status, length, self._number, self._packet, 0)

    def kill(self, *, busy: bool) -> None:
        """Reset the connection; callable from any thread, at any time.

        An idle one ends by the reset alone, as when a server dies. One that runs a request may be blocked sending.
        """
        with self._closing:
            if self._killed:
                return
            self._killed = True
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.eventfd_write(self._wake, 1)
            if busy:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the socket."""
        with self._closing:
            self._killed = True
            self._socket.close()
            os.close(self._wake)


class Reader:
    """Reads the fields of a message body in order."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def at_end(self) -> bool:
        """Whether everything is read."""
        return self.at >= len(self.data)

    def take(self, count: int) -> bytes:
        """Return the next bytes; DisconnectError when the message is cut short, as a server drops a garbled stream."""
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise DisconnectError
        self.at += count
        return piece

    def number(self, size: int, *, signed: bool = False) -> int:
        """Return a little-endian integer."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def short_text(self) -> str:
        """Return a B_VARCHAR: one byte of length, UTF-16."""
        return self.take(self.number(1) * 2).decode("utf-16-le")

    def text(self) -> str:
        """Return a US_VARCHAR: two bytes of length, UTF-16."""
        return self.take(self.number(2) * 2).decode("utf-16-le")

    def chunks(self) -> bytes | None:
        """Return a partially length-prefixed value; None is NULL."""
        if self.number(8) == 2**64 - 1:
            return None
        data = bytearray()
        while size := self.number(4):
            data += self.take(size)
        return bytes(data)
