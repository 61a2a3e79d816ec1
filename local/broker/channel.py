"""An AMQP session: links by handle, delivery numbers, windows. The word session alone means a Service Bus session."""

from collections import deque
from typing import TYPE_CHECKING, Any

from local.broker import performatives
from local.broker.attach import Attach, open_link
from local.broker.codec import raw_items
from local.broker.conditions import AmqpError
from local.broker.links import Link, Outlet, TransferFrame
from local.broker.performatives import INCOMING_WINDOW

if TYPE_CHECKING:
    from local.broker.connection import Connection

_HEADROOM_BYTES = 64


class Channel:
    """One session of a connection; the broker uses the client's channel and handle numbers for its own."""

    def __init__(self, connection: "Connection", number: int, begin: list[Any]) -> None:
        self.connection = connection
        self.broker = connection.broker
        self.number = number
        self.links: dict[int, Link] = {}
        self.unsettled: dict[int, tuple[Outlet, bytes]] = {}
        self._next_incoming = begin[1]
        self._remote_window = begin[2]
        self._next_outgoing = 1
        self._next_delivery = 0
        self._granted = INCOMING_WINDOW
        self._backlog: deque[bytes] = deque()
        handle_max = 2**32 - 1 if begin[4] is None else begin[4]
        self.write(performatives.begin(number, handle_max))

    @property
    def has_room(self) -> bool:
        """Whether a delivery would leave at once."""
        return not self._backlog and self._remote_window > 0 and self.connection.is_writable

    def write(self, performative: bytes) -> None:
        """Send a performative on this channel."""
        self.connection.write(performatives.frame(self.number, performative))

    def flow(self, link: tuple[int, int, int] | None = None, *, available: int = 0, drain: bool = False) -> None:
        """Tell the client the windows, and the state of a link given as (handle, delivery count, credit)."""
        self._granted = INCOMING_WINDOW
        numbers = {"next_incoming": self._next_incoming, "next_outgoing": self._next_outgoing}
        self.write(performatives.flow(**numbers, link=link, available=available, drain=drain))

    def transfer(self, handle: int, tag: bytes, payload: bytes, *, settled: bool) -> int:
        """Send a delivery in as many frames as it takes; return its number."""
        number, self._next_delivery = self._next_delivery, (self._next_delivery + 1) & 0xFFFFFFFF
        chunk = self.connection.max_frame_bytes - _HEADROOM_BYTES
        for start in range(0, max(len(payload), 1), chunk):
            more = start + chunk < len(payload)
            head = performatives.transfer(handle, number, tag, settled=settled, more=more)
            self._backlog.append(performatives.frame(self.number, head, payload[start : start + chunk]))
        self._drain_backlog()
        return number

    def settle(self, delivery: int, state: bytes, *, receiver: bool) -> None:
        """Tell the client the outcome of one delivery."""
        self.write(performatives.disposition(delivery, state, receiver=receiver))

    def forget(self, link: Link) -> None:
        """Drop a link that has ended, with its deliveries."""
        if self.links.get(link.handle) is link:
            del self.links[link.handle]
        for number in [number for number, (outlet, _) in self.unsettled.items() if outlet is link]:
            del self.unsettled[number]

    def resume(self) -> None:
        """Go on delivering after the connection or the window was full."""
        for link in list(self.links.values()):
            link.resumed()

    def end(self) -> None:
        """End every link."""
        for link in list(self.links.values()):
            self.forget(link)
            link.closed()

    def take(self, code: int, fields: list[Any], body: bytes, end: int) -> None:
        """Act on a frame of the client."""
        if code == performatives.TRANSFER:
            self._transfer(fields, body[end:])
        elif code == performatives.DISPOSITION:
            self._disposition(fields, body)
        elif code == performatives.FLOW:
            self._flow(fields)
        elif code == performatives.ATTACH:
            self._attach(Attach.of(fields, raw_items(body)))
        elif code == performatives.DETACH:
            link = self.links.get(fields[0])
            if link is not None:
                self.forget(link)
                link.closed()
                self.write(performatives.detach(link.handle, None))

    def _attach(self, attach: Attach) -> None:
        try:
            open_link(self, attach)
        except AmqpError as problem:
            self.refuse(attach, problem)

    def refuse(self, attach: Attach, problem: AmqpError) -> None:
        """Refuse a link as the service does: attach it to nothing, then detach it with the reason."""
        self.write(performatives.attach(attach.name, attach.handle, receiver=not attach.is_receiver, initial_count=0))
        self.write(performatives.detach(attach.handle, problem))

    def _transfer(self, fields: list[Any], payload: bytes) -> None:
        self._next_incoming = (self._next_incoming + 1) & 0xFFFFFFFF
        self._granted -= 1
        link = self.links.get(fields[0])
        if link is not None:
            link.transfer(TransferFrame(fields[1], fields[3], fields[4], fields[5], bool(fields[9])), payload)
        if self._granted < INCOMING_WINDOW // 2:
            self.flow()

    def _disposition(self, fields: list[Any], body: bytes) -> None:
        is_receiver, first, last, is_settled = fields[:4]
        if not is_receiver:
            return  # the client forgets what the broker has settled
        raw = raw_items(body)
        for number in range(first, (first if last is None else last) + 1):
            entry = self.unsettled.pop(number, None)
            if entry is not None:
                self.broker.traffic.dispositions_received += 1
                outlet, token = entry
                outlet.settle(number, token, raw[4], answered=not is_settled)

    def _flow(self, fields: list[Any]) -> None:
        next_incoming, window, _, _, handle = fields[:5]
        sent = 0 if next_incoming is None else (self._next_outgoing - next_incoming) & 0xFFFFFFFF
        self._remote_window = window - sent
        was_full = bool(self._backlog)
        self._drain_backlog()
        link = None if handle is None else self.links.get(handle)
        if link is not None:
            link.flow(count=fields[5], credit=fields[6], drain=bool(fields[8]), echo=bool(fields[9]))
        elif handle is None and fields[9]:
            self.flow()
        if was_full or handle is None:
            self.resume()

    def _drain_backlog(self) -> None:
        while self._backlog and self._remote_window > 0:
            self.connection.write(self._backlog.popleft())
            self._remote_window -= 1
            self._next_outgoing = (self._next_outgoing + 1) & 0xFFFFFFFF
