"""One client's connection: SASL, frames, heartbeats, and its AMQP sessions.

Source:
    https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-transport-v1.0-os.html
"""

import asyncio
import logging
import time
from typing import Any

from local.broker import codec, performatives
from local.broker.broker import Broker
from local.broker.channel import Channel
from local.broker.codec import CodecError, Described
from local.broker.conditions import AmqpError, decode_error, unauthorized
from local.broker.performatives import AMQP_HEADER, FIELDS, MAX_FRAME_BYTES, SASL_HEADER
from local.broker.sas import covers, path_of

_LOG = logging.getLogger(__name__)

CONTAINER = "sluice-local-broker"
HEARTBEAT_S = 30.0
SILENCE_S = performatives.IDLE_TIMEOUT_MS / 1000 * 2
BUFFER_BYTES = 1024 * 1024
_MIN_FRAME_BYTES = 512


class Connection(asyncio.Protocol):
    """Reads frames and hands them on; what is written within one turn of the loop goes out in one write."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.max_frame_bytes = _MIN_FRAME_BYTES
        self.is_writable = True
        self.channels: dict[int, Channel] = {}
        self._rights: dict[str, float] = {}
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._awaits_header = True
        self._out: list[bytes] = []
        self._heard = 0.0
        self._heartbeat: asyncio.TimerHandle | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        self._transport = transport
        if self.broker.is_out:  # accepted just before the outage began
            transport.abort()
            return
        self.broker.peers.add(self)
        self.broker.traffic.connections_opened += 1
        self._heard = time.monotonic()
        self._heartbeat = asyncio.get_running_loop().call_later(HEARTBEAT_S, self._beat)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended makes no difference
        """End every link; the session locks they held are free."""
        self._transport = None
        self.broker.peers.discard(self)
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._end_channels()

    def pause_writing(self) -> None:
        """Deliver nothing while the client does not read."""
        self.is_writable = False

    def resume_writing(self) -> None:
        """Go on delivering."""
        self.is_writable = True
        for channel in list(self.channels.values()):
            channel.resume()

    def data_received(self, data: bytes) -> None:
        """Take the frames out of what has arrived so far."""
        self._heard = time.monotonic()
        data, at = self._received + data, 0
        try:
            while len(data) - at >= 8 and self._transport is not None:
                size = 8 if self._awaits_header else int.from_bytes(data[at : at + 4])
                if not 8 <= size <= MAX_FRAME_BYTES:
                    self.close(decode_error(f"a frame of {size} bytes"))
                    return
                if len(data) - at < size:
                    break
                self._take(data[at : at + size])
                at += size
        except CodecError as why:
            self.close(decode_error(str(why)))
        except Exception as why:  # noqa: BLE001 - the outermost edge
            # A frame that does not fit must end its connection and nothing else.
            _LOG.exception("a frame could not be acted on")
            self.close(AmqpError("amqp:internal-error", repr(why)))
        self._received = data[at:]

    # What links and channels use.

    def write(self, frame: bytes) -> None:
        """Send a frame, soon."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frame)

    def allow(self, audience: str, until_s: float) -> None:
        """Remember what the client has proved to be entitled to."""
        self._rights[path_of(audience)] = until_s

    def check_right(self, address: str) -> None:
        """Refuse an address the client has put no valid token for.

        Raises:
            AmqpError: unauthorized-access.
        """
        path, now = path_of(address), time.time()
        if not any(covers(scope, path) and until > now for scope, until in self._rights.items()):
            text = f"Unauthorized access. 'Send, Listen' claim(s) are required to perform this operation on '{path}'."
            raise unauthorized(text)

    def close(self, problem: AmqpError | None) -> None:
        """Say goodbye, with the reason if there is one."""
        self.write(performatives.frame(0, performatives.close(problem)))
        self._flush()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def abort(self) -> None:
        """End without a word."""
        if self._transport is not None:
            self._transport.abort()

    def detach(self, path: str, problem: AmqpError) -> None:
        """End the links to an entity."""
        for channel in list(self.channels.values()):
            for link in list(channel.links.values()):
                if path_of(link.path) == path_of(path):
                    link.end(problem)

    # Frames.

    def _take(self, frame: bytes) -> None:
        if self._awaits_header:
            self._greet(frame)
            return
        body = frame[frame[4] * 4 :]
        if not body:
            return
        performative, end = codec.decode(body)
        if not isinstance(performative, Described):
            message = "a frame without a performative"
            raise CodecError(message)
        if frame[5] == 1:
            self._authenticate(performative.descriptor)
            return
        code = performative.descriptor
        if code not in FIELDS:
            message = f"no performative has the code {code}"
            raise CodecError(message)
        fields = [*performative.value, *[None] * (FIELDS[code] - len(performative.value))]
        self._dispatch(code, int.from_bytes(frame[6:8]), fields, body, end)

    def _dispatch(self, code: int, number: int, fields: list[Any], body: bytes, end: int) -> None:
        channel = self.channels.get(number)
        if code == performatives.OPEN:
            self.max_frame_bytes = max(_MIN_FRAME_BYTES, min(fields[2] or MAX_FRAME_BYTES, MAX_FRAME_BYTES))
            self.write(performatives.frame(0, performatives.open_(CONTAINER)))
        elif code == performatives.BEGIN:
            self.channels[number] = Channel(self, number, fields)
        elif code == performatives.CLOSE:
            self._end_channels()
            self.close(None)
        elif channel is None:
            # A client may end its session and only then detach the links it had there.
            return
        elif code == performatives.END:
            del self.channels[number]
            channel.end()
            self.write(performatives.frame(number, performatives.end()))
        else:
            channel.take(code, fields, body, end)

    def _greet(self, header: bytes) -> None:
        if header == SASL_HEADER:
            mechanisms = codec.array_of([b"\xa3" + bytes((len(name),)) + name for name in (b"ANONYMOUS", b"MSSBCBS")])
            self.write(SASL_HEADER)
            self.write(
                performatives.sasl_frame(codec.described(performatives.SASL_MECHANISMS, codec.list_of(mechanisms)))
            )
            self._awaits_header = False
        elif header == AMQP_HEADER:
            self.write(AMQP_HEADER)
            self._awaits_header = False
        else:
            self.write(AMQP_HEADER)
            self._flush()
            self.abort()

    def _authenticate(self, code: int) -> None:
        if code == performatives.SASL_INIT:
            outcome = codec.list_of(codec.ubyte(0), codec.NULL)
            self.write(performatives.sasl_frame(codec.described(performatives.SASL_OUTCOME, outcome)))
            self._awaits_header = True

    def _end_channels(self) -> None:
        channels, self.channels = self.channels, {}
        for channel in channels.values():
            channel.end()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and out:
            self._transport.writelines(out)

    def _beat(self) -> None:
        if time.monotonic() - self._heard > SILENCE_S:
            self.abort()
            return
        self.write(performatives.EMPTY_FRAME)
        self._heartbeat = asyncio.get_running_loop().call_later(HEARTBEAT_S, self._beat)
