"""Opening links: which node a client asks for, whether it may, and what it is told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from local.broker import codec, nodes, performatives
from local.broker.codec import Described, raw_items, raw_pairs
from local.broker.conditions import (
    entity_disabled,
    no_session_in_time,
    not_allowed,
    not_implemented,
    session_receiver_needed,
    sessions_not_enabled,
)
from local.broker.links import Delivery, Intake, Link, Outlet, store_in
from local.broker.namespace import Entity
from local.broker.queues import Queue
from local.broker.sas import path_of
from local.broker.sessions import Session

if TYPE_CHECKING:
    from local.broker.channel import Channel

SESSION_FILTER = "com.microsoft:session-filter"
MAX_BATCH = "com.microsoft:max-message-batch-size"
TIMEOUT = "com.microsoft:timeout"
MANAGEMENT_SUFFIX = "/$management"
DEFAULT_TIMEOUT_MS = 60_000
NODE_MESSAGE_BYTES = 1024 * 1024
_TICKS_OF_1970 = 621_355_968_000_000_000
_SOURCE_FILTER, _SETTLED = 7, b"\x50\x01"


@dataclass(frozen=True, slots=True)
class Attach:
    """A client's attach. Names, modes, source and target stay encoded, as they are repeated in the answer."""

    name: bytes
    handle: int
    is_receiver: bool
    settle_modes: tuple[bytes, bytes]
    source: bytes
    target: bytes
    address: str
    properties: dict[str, Any]

    @classmethod
    def of(cls, fields: list[Any], raw: list[bytes]) -> "Attach":
        """Read an attach from its decoded and its raw fields."""
        raw = [*raw, *[codec.NULL] * (14 - len(raw))]
        is_receiver = bool(fields[2])
        node = fields[5] if is_receiver else fields[6]
        items = node.value if isinstance(node, Described) else []
        address = str(items[0] or "") if items else ""
        return cls(raw[0], fields[1], is_receiver, (raw[3], raw[4]), raw[5], raw[6], address, fields[13] or {})

    @property
    def filters(self) -> dict[str, Any]:
        """The filters of the source."""
        items = codec.decode(self.source)[0].value if self.source != codec.NULL else []
        found = items[_SOURCE_FILTER] if len(items) > _SOURCE_FILTER else None
        return {str(key): _plain(value) for key, value in (found or {}).items()}

    def source_with_session(self, session_id: str) -> bytes:
        """Return the source with the granted session in the place of the one asked for."""
        items = raw_items(self.source)
        pairs = raw_pairs(items[_SOURCE_FILTER]) | {codec.symbol(SESSION_FILTER): codec.string(session_id)}
        items[_SOURCE_FILTER] = codec.map_of(pairs.items())
        return codec.described(0x28, codec.list_of(*items))


def open_link(channel: "Channel", attach: Attach) -> None:
    """Open the link an attach asks for.

    Raises:
        AmqpError: the link is refused.
    """
    address = attach.address
    if path_of(address) == "$cbs":
        _open_node(channel, attach, nodes.put_token)
        return
    channel.connection.check_right(address)
    if path_of(address).endswith(MANAGEMENT_SUFFIX):
        entity = channel.broker.namespace.find(address[: -len(MANAGEMENT_SUFFIX)])
        _open_node(channel, attach, partial(nodes.manage, entity))
        return
    entity = channel.broker.namespace.find(address)
    if not (entity.settings.can_receive if attach.is_receiver else entity.settings.can_send):
        raise entity_disabled(entity.path)
    if attach.is_receiver:
        _open_outlet(channel, attach, entity)
    else:
        _open_intake(channel, attach, entity)


def _open_node(channel: "Channel", attach: Attach, act: Callable[[Intake, Delivery], None]) -> None:
    if attach.is_receiver:
        replies = nodes.Replies(channel, attach.handle, attach.address, codec.decode(attach.target)[0])
        channel.links[attach.handle] = replies
        _answer(channel, attach, initial_count=0)
    else:
        intake = Intake(channel, attach.handle, attach.address, act)
        channel.links[attach.handle] = intake
        _answer(channel, attach, max_message_bytes=NODE_MESSAGE_BYTES)
        intake.open()


def _open_intake(channel: "Channel", attach: Attach, entity: Entity) -> None:
    if isinstance(entity, Queue) and (entity.dead_letters is None or "/Subscriptions/" in entity.path):
        text = f"'{entity.path}' is not an entity that messages can be sent to."
        raise not_allowed(text)
    intake = Intake(channel, attach.handle, entity.path, partial(store_in, entity))
    channel.links[attach.handle] = intake
    properties = {MAX_BATCH: codec.uint(entity.settings.max_batch_bytes)}
    _answer(channel, attach, max_message_bytes=entity.settings.max_message_bytes, properties=properties)
    intake.open()


def _open_outlet(channel: "Channel", attach: Attach, entity: Entity) -> None:
    if not isinstance(entity, Queue):
        text = f"'{entity.path}' is a topic: messages are received from its subscriptions."
        raise not_allowed(text)
    filters = attach.filters
    unknown = sorted(set(filters) - {SESSION_FILTER})
    if unknown:
        what = f"the filter {unknown[0]}"
        raise not_implemented(what)
    if SESSION_FILTER in filters:
        _open_session(channel, attach, entity, filters[SESSION_FILTER])
        return
    if entity.sessions is not None:
        raise session_receiver_needed()
    outlet = Outlet(channel, attach.handle, entity, entity.lane, settled=attach.settle_modes[0] == _SETTLED)
    channel.links[attach.handle] = outlet
    entity.lane.receivers.append(outlet)
    _answer(channel, attach, initial_count=0)


def _open_session(channel: "Channel", attach: Attach, queue: Queue, session_id: str | None) -> None:
    sessions = queue.sessions
    if sessions is None:
        raise sessions_not_enabled()
    timeout_ms = attach.properties.get(TIMEOUT) or DEFAULT_TIMEOUT_MS
    wait = SessionWait(channel, attach, queue, timeout_ms)
    if session_id is None:
        channel.links[attach.handle] = wait
        sessions.accept_next(wait)
    else:
        sessions.accept(session_id, wait)


class SessionWait(Link):
    """A held attach: a session receiver that has no session yet."""

    def __init__(self, channel: "Channel", attach: Attach, queue: Queue, timeout_ms: int) -> None:
        super().__init__(channel, attach.handle, queue.path)
        self._attach = attach
        self._queue = queue
        self._timeout_ms = timeout_ms
        self._flow: Callable[[Outlet], None] = lambda _: None
        self._timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, self._give_up)

    def granted(self, session: Session) -> Outlet:
        """Answer the attach: the client holds the session."""
        self._timer.cancel()
        channel, attach = self.channel, self._attach
        settled = attach.settle_modes[0] == _SETTLED
        outlet = Outlet(channel, attach.handle, self._queue, session, settled=settled)
        channel.links[attach.handle] = outlet
        ticks = session.locked_until_ms * 10_000 + _TICKS_OF_1970
        properties = {"com.microsoft:locked-until-utc": codec.int64(ticks)}
        source = attach.source_with_session(session.session_id)
        _answer(channel, attach, source=source, initial_count=0, properties=properties)
        # A client may give credit before it is answered; the session is the receiver's only after this returns.
        asyncio.get_running_loop().call_soon(self._flow, outlet)
        return outlet

    def flow(self, *, count: int | None, credit: int | None, drain: bool, echo: bool) -> None:
        """Keep the client's credit for later."""
        self._flow = lambda outlet: outlet.flow(count=count, credit=credit, drain=drain, echo=echo)

    def closed(self) -> None:
        """The client waits no longer."""
        super().closed()
        self._timer.cancel()
        if self._queue.sessions is not None:
            self._queue.sessions.stop_waiting(self)
        name, handle = self._attach.name, self.handle
        self.channel.write(performatives.attach(name, handle, receiver=False, initial_count=0))

    def _give_up(self) -> None:
        self.channel.forget(self)
        self.end(no_session_in_time(self._timeout_ms))


def _answer(
    channel: "Channel",
    attach: Attach,
    *,
    source: bytes | None = None,
    initial_count: int | None = None,
    max_message_bytes: int | None = None,
    properties: dict[str, bytes] | None = None,
) -> None:
    channel.write(
        performatives.attach(
            attach.name,
            attach.handle,
            receiver=not attach.is_receiver,
            settle_modes=attach.settle_modes,
            source=attach.source if source is None else source,
            target=attach.target,
            initial_count=initial_count,
            max_message_bytes=codec.NULL if max_message_bytes is None else codec.ulong(max_message_bytes),
            properties=codec.NULL if properties is None else performatives.link_properties(properties),
        )
    )


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Described) else value
