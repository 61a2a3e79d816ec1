"""The control port: entities made and removed at run time, faults, and what there is to see.

    POST   /entities            {"Queues": [{"Name": "q", "Properties": {…}}], "Topics": […]}: as in Config.json
    DELETE /entities/<path>     with what belongs to it; its links end with amqp:not-found
    POST   /purge/<path>        remove every message of a queue or subscription
    GET    /messages?entity=<path>   its messages in order: id, session, body (base64), state, properties, …
    GET    /state               counts of each entity, connections, traffic, paused requests

`POST /faults` takes one of these; without an entity it is every entity's:

    {"outage_s": 3}                                      cut and refuse connections, keep the contents
    {"throttle": {"entity": "q", "count": 2}}            answer sends and management requests with server-busy
    {"delay_s": 0.5, "entity": "q"}                      apply and answer requests of clients later; 0 ends it
    {"refuse": {"entity": "q", "count": 1, "condition": "amqp:internal-error"}}      refuse sends
    {"detach": {"entity": "q", "condition": "amqp:link:detach-forced"}}              end the links
    {"remove": {"entity": "q", "session": "s", "index": -1}}       take an active message away
    {"swap": {"entity": "q", "session": "s", "index": 0}}          exchange it with the next one
    {"dead_letter": {"entity": "q", "session": "s", "index": 0, "reason": "…"}}
    {"purge": "q"}
    {"pause": {"on": "send", "entity": "q", "after": 2, "when": "before"}}
        hold the second send (or settle, receive, manage, administer) from now on before it is applied, or "after" it
        and before the client is told; it is listed under `paused` in /state, and those behind it on its link wait
    {"resume": 1}  {"resume": "all", "drop": true}       let it go on; or cut its connection and forget it
    {"entity_limit": 3}                                  queues and topics that the namespace may have
    {"clear": true}                                      end every fault but an outage
"""

import base64
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from local.broker.clock import now_ms
from local.broker.conditions import AmqpError
from local.broker.config import create
from local.broker.lanes import State, Stored
from local.broker.message import APPLICATION_PROPERTIES, body, section_value
from local.broker.namespace import Entity
from local.broker.queues import Queue
from local.broker.server import Server


class Control:
    """What the control port does to a running broker."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._broker = server.broker
        self._faults: dict[str, Callable[[dict[str, Any]], None]] = {
            "outage_s": self._outage,
            "throttle": self._throttle,
            "delay_s": self._delay,
            "refuse": self._refuse,
            "detach": self._detach,
            "remove": self._remove,
            "swap": self._swap,
            "dead_letter": self._dead_letter,
            "purge": self._purge,
            "pause": self._pause,
            "resume": self._resume,
            "entity_limit": self._entity_limit,
            "clear": self._clear,
        }

    @property
    def routes(self) -> tuple[web.RouteDef, ...]:
        """The routes besides those of every part."""
        return (
            web.post("/entities", self._create),
            web.delete("/entities/{path:.+}", self._delete),
            web.post("/purge/{path:.+}", self._purge_route),
            web.get("/messages", self._messages),
        )

    async def fault(self, wanted: dict[str, Any]) -> None:
        """Set one fault.

        Raises:
            ValueError: it is not known, or cannot be.
        """
        chosen = [name for name in self._faults if name in wanted]
        if len(chosen) != 1:
            message = f"one of {', '.join(self._faults)} is expected, not {sorted(wanted)}"
            raise ValueError(message)
        try:
            self._faults[chosen[0]](wanted)
        except AmqpError as problem:
            raise ValueError(str(problem)) from problem

    async def state(self) -> dict[str, Any]:
        """Return what `GET /state` shows."""
        broker = self._broker
        return {
            "connections": len(broker.peers),
            "is_out": self._server.is_out,
            "traffic": asdict(broker.traffic),
            "paused": broker.faults.paused(),
            "entities": {entity.path: _describe(entity) for entity in broker.namespace},
        }

    # Faults.

    def _outage(self, wanted: dict[str, Any]) -> None:
        self._server.outage(float(wanted["outage_s"]))

    def _throttle(self, wanted: dict[str, Any]) -> None:
        given = _given(wanted["throttle"], {"entity", "count"})
        self._broker.faults.throttle(given.get("entity", ""), int(given.get("count", 1)))

    def _delay(self, wanted: dict[str, Any]) -> None:
        given = _given(wanted, {"delay_s", "entity"})
        self._broker.faults.delay(given.get("entity", ""), float(given["delay_s"]))

    def _refuse(self, wanted: dict[str, Any]) -> None:
        given = _given(wanted["refuse"], {"entity", "count", "condition", "description"})
        condition = given.get("condition", "amqp:internal-error")
        problem = AmqpError(condition, given.get("description", "The request was refused on purpose."))
        self._broker.faults.refuse(given.get("entity", ""), int(given.get("count", 1)), problem)

    def _detach(self, wanted: dict[str, Any]) -> None:
        given = _given(wanted["detach"], {"entity", "condition", "description"})
        condition = given.get("condition", "amqp:link:detach-forced")
        problem = AmqpError(condition, given.get("description", "The link was force detached on purpose."))
        self._end_links(self._broker.namespace.find(given["entity"]), problem)

    def _remove(self, wanted: dict[str, Any]) -> None:
        given = _given(wanted["remove"], {"entity", "session", "index"})
        queue = self._queue(given["entity"])
        queue.withdraw(_active(queue, given.get("session"), int(given.get("index", 0))))

    def _swap(self, wanted: dict[str, Any]) -> None:
        given = _given(wanted["swap"], {"entity", "session", "index"})
        queue, index = self._queue(given["entity"]), int(given.get("index", 0))
        neighbour = index + 1 if index != -1 else 0
        first, second = (_active(queue, given.get("session"), one) for one in (index, neighbour))
        first.swap(second)

    def _dead_letter(self, wanted: dict[str, Any]) -> None:
        given = _given(wanted["dead_letter"], {"entity", "session", "index", "reason", "description"})
        queue = self._queue(given["entity"])
        stored = _active(queue, given.get("session"), int(given.get("index", 0)))
        stored.lane.discard(stored)
        queue.bury(stored, given.get("reason", "Fault"), given.get("description", "Dead-lettered on purpose."))
        queue.offer(stored.lane)

    def _purge(self, wanted: dict[str, Any]) -> None:
        queue = self._queue(wanted["purge"])
        for stored in list(queue.messages.values()):
            if stored.state is State.ACTIVE:
                queue.withdraw(stored)
            else:
                queue.complete(stored.token)

    def _pause(self, wanted: dict[str, Any]) -> None:
        given = _given(wanted["pause"], {"on", "entity", "after", "when"})
        when = given.get("when", "before")
        self._broker.faults.pause(given["on"], given.get("entity", ""), int(given.get("after", 1)), when)

    def _resume(self, wanted: dict[str, Any]) -> None:
        given = _given(wanted, {"resume", "drop"})
        number = None if given["resume"] == "all" else int(given["resume"])
        self._broker.faults.resume(number, drop=bool(given.get("drop", False)))

    def _entity_limit(self, wanted: dict[str, Any]) -> None:
        self._broker.namespace.max_entities = int(wanted["entity_limit"])

    def _clear(self, _: dict[str, Any]) -> None:
        self._broker.faults.clear()

    # Routes.

    async def _create(self, request: web.Request) -> web.Response:
        try:
            create(await request.json(), self._broker.namespace)
        except (ValueError, KeyError, TypeError) as why:
            return web.json_response({"error": str(why)}, status=400)
        return web.json_response({"done": True}, status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        try:
            removed = self._broker.remove(request.match_info["path"])
        except AmqpError as problem:
            return web.json_response({"error": str(problem)}, status=404)
        return web.json_response({"removed": [entity.path for entity in removed]})

    async def _purge_route(self, request: web.Request) -> web.Response:
        try:
            await self.fault({"purge": request.match_info["path"]})
        except ValueError as why:
            return web.json_response({"error": str(why)}, status=404)
        return web.json_response({"done": True})

    async def _messages(self, request: web.Request) -> web.Response:
        try:
            queue = self._queue(request.query["entity"])
        except (AmqpError, ValueError, KeyError) as why:
            return web.json_response({"error": str(why)}, status=404)
        return web.json_response([_show(stored) for stored in queue.peek(0, len(queue.messages), None)])

    def _queue(self, path: str) -> Queue:
        entity = self._broker.namespace.find(path)
        if not isinstance(entity, Queue):
            message = f"'{path}' is a topic: its subscriptions hold the messages"
            raise ValueError(message)  # noqa: TRY004 - what was asked for is wrong, not a type
        return entity

    def _end_links(self, entity: Entity, problem: AmqpError) -> None:
        for peer in list(self._broker.peers):
            peer.detach(entity.path, problem)


def _given(wanted: Any, known: set[str]) -> dict[str, Any]:
    unknown = set(wanted) - known
    if unknown:
        message = f"{sorted(unknown)} is not known, {sorted(known)} is"
        raise ValueError(message)
    return dict(wanted)


def _active(queue: Queue, session: str | None, index: int) -> Stored:
    found = [one for one in queue.peek(0, len(queue.messages), session) if one.state is State.ACTIVE]
    if not -len(found) <= index < len(found):
        message = f"there is no active message {index} among {len(found)} in '{queue.path}'"
        raise ValueError(message)
    return found[index]


def _describe(entity: Entity) -> dict[str, Any]:
    told: dict[str, Any] = asdict(entity.counts)
    if not isinstance(entity, Queue):
        return told | {"subscriptions": sorted(entity.subscriptions), "bytes": entity.used_bytes}
    told |= {"active": entity.active, "locked": len(entity.locks), "bytes": entity.used_bytes}
    told["in_dead_letter_queue"] = (
        entity.dead_letters.active + len(entity.dead_letters.locks) if entity.dead_letters else 0
    )
    if entity.sessions is not None:
        told["sessions"] = {
            one.session_id: {"active": one.active, "locked": len(one.taken), "is_held": one.receiver is not None}
            for one in entity.sessions
        }
    return told


def _show(stored: Stored) -> dict[str, Any]:
    message = stored.message
    properties = section_value(message.bare, APPLICATION_PROPERTIES) or {}
    return {
        "id": message.message_id,
        "session": message.session_id,
        "sequence_number": stored.sequence_number,
        "delivery_count": stored.delivery_count,
        "state": stored.state.value,
        "age_ms": now_ms() - stored.enqueued_ms,
        "body": base64.b64encode(body(message)).decode(),
        "properties": {str(key): value for key, value in properties.items()},
    }
