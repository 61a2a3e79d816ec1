"""Request and response over a pair of links: `$cbs`, where tokens are put, and `$management` of each entity."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.broker import codec
from local.broker.codec import CodecError, Described, raw_items
from local.broker.conditions import AmqpError, argument_error, decode_error
from local.broker.faults import Request
from local.broker.links import Delivery, Intake, Link
from local.broker.management import Call, perform
from local.broker.message import APPLICATION_PROPERTIES, PROPERTIES, VALUE, section_value, sections
from local.broker.namespace import Entity
from local.broker.sas import path_of

if TYPE_CHECKING:
    from local.broker.channel import Channel

_STATUS = {
    "com.microsoft:server-busy": 503,
    "com.microsoft:timeout": 408,
    "com.microsoft:message-lock-lost": 410,
    "com.microsoft:session-lock-lost": 410,
    "com.microsoft:message-not-found": 404,
    "amqp:not-found": 404,
    "amqp:unauthorized-access": 401,
    "amqp:internal-error": 500,
    "amqp:not-implemented": 501,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered with."""

    status: int
    description: str
    condition: str | None = None
    body: bytes = codec.NULL


class Replies(Link):
    """The client's receiving half of a pair."""

    def __init__(self, channel: "Channel", handle: int, path: str, target: Any) -> None:
        super().__init__(channel, handle, path)
        items = target.value if isinstance(target, Described) else []
        self.reply_to = str(items[0] or "") if items else ""
        self._waiting: deque[bytes] = deque()
        self._count = 0
        self._credit = 0

    def push(self, payload: bytes) -> None:
        """Deliver a reply as soon as there is credit."""
        self._waiting.append(payload)
        self.resumed()

    def flow(self, *, count: int | None, credit: int | None, drain: bool, echo: bool) -> None:
        """Deliver what there is credit for."""
        self._credit = (count or 0) + (credit or 0) - self._count
        self.resumed()
        if drain:
            self._count, self._credit = self._count + max(self._credit, 0), 0
        if drain or echo:
            self.channel.flow((self.handle, self._count, max(self._credit, 0)), drain=drain)

    def resumed(self) -> None:
        """Deliver what there is credit and room for."""
        while self._waiting and self._credit > 0 and self.channel.has_room:
            self._count, self._credit = self._count + 1, self._credit - 1
            self.channel.transfer(self.handle, self._count.to_bytes(4), self._waiting.popleft(), settled=True)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as it arrived."""

    message_id: bytes
    reply_to: str
    properties: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    raw_body: bytes = codec.NULL

    @classmethod
    def of(cls, data: bytes) -> "_Asked":
        found = {code: data[start:end] for code, start, end in sections(data)}
        items = raw_items(found[PROPERTIES]) if PROPERTIES in found else []
        reply_to = codec.decode(items[4])[0] if len(items) > 4 else None
        properties = section_value(data, APPLICATION_PROPERTIES) or {}
        body = section_value(data, VALUE)
        raw = found.get(VALUE, b"")
        raw_body = raw[codec.skip(raw, 1) :] if raw else codec.NULL
        message_id = items[0] if items else codec.NULL
        return cls(message_id, reply_to or "", {str(key): value for key, value in properties.items()}, body, raw_body)


def put_token(intake: Intake, delivery: Delivery) -> None:
    """Answer a put-token on `$cbs`."""
    asked = _read(intake, delivery)
    if asked is None:
        return
    connection = intake.channel.connection
    try:
        if asked.properties.get("operation") != "put-token":
            text = f"$cbs knows put-token, not {asked.properties.get('operation')!r}."
            raise argument_error(text)
        audience = str(asked.properties.get("name"))
        connection.allow(audience, connection.broker.key.check(str(asked.body), audience))
        reply = Reply(202, "Accepted")
    except AmqpError as problem:
        reply = Reply(_STATUS.get(problem.condition, 400), problem.description)
    _send(intake, asked, reply, ("status-code", "status-description", "error-condition"))


def manage(entity: Entity, intake: Intake, delivery: Delivery) -> None:
    """Answer a request on the management node of an entity."""
    asked = _read(intake, delivery)
    if asked is None:
        return
    broker = intake.channel.broker
    broker.traffic.management_requests += 1
    operation = str(asked.properties.get("operation")).removeprefix("com.microsoft:")

    def apply() -> Reply:
        try:
            broker.faults.check("manage", entity.path)
            call = Call(operation, asked.body or {}, asked.raw_body, intake.channel.connection)
            body = perform(entity, call)
        except (KeyError, TypeError, ValueError) as why:
            problem = argument_error(f"The request {operation!r} lacks or misstates {why}.")
            return Reply(400, problem.description, problem.condition)
        except AmqpError as problem:
            return Reply(_STATUS.get(problem.condition, 400), problem.description, problem.condition)
        return Reply(200, "OK", body=body) if body else Reply(204, "No Content")

    def answer(reply: Reply) -> None:
        _send(intake, asked, reply, ("statusCode", "statusDescription", "errorCondition"))

    kind = "settle" if operation == "update-disposition" else "manage"
    broker.faults.run(Request(kind, entity.path, intake, apply, answer))


def _read(intake: Intake, delivery: Delivery) -> _Asked | None:
    try:
        asked = _Asked.of(delivery.data)
    except CodecError as why:
        intake.outcome(delivery, decode_error(str(why)))
        return None
    intake.outcome(delivery, None)
    return asked


def _send(intake: Intake, asked: _Asked, reply: Reply, names: tuple[str, str, str]) -> None:
    """Push the reply to the other half of the pair, with the message id repeated in its own AMQP type."""
    values = [(names[0], codec.int32(reply.status)), (names[1], codec.string(reply.description))]
    if reply.condition is not None:
        values.append((names[2], codec.symbol(reply.condition)))
    properties = codec.list_of(*[codec.NULL] * 5, asked.message_id)
    payload = b"".join(
        (
            codec.described(PROPERTIES, properties),
            codec.described(APPLICATION_PROPERTIES, codec.map_of((codec.string(k), v) for k, v in values)),
            codec.described(VALUE, reply.body),
        )
    )
    pairs = [link for link in intake.channel.links.values() if isinstance(link, Replies)]
    addressed = [link for link in pairs if asked.reply_to and link.reply_to == asked.reply_to]
    same_node = [link for link in pairs if path_of(link.path) == path_of(intake.path)]
    for link in (addressed or same_node)[:1]:
        link.push(payload)
