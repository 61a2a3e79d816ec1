"""The management API: entities made, listed, changed and removed over HTTPS; they are there for AMQP at once.

    GET              /$Resources/queues, /$Resources/topics, /<topic>/subscriptions      pages, by $skip and $top
    GET PUT DELETE   /<queue or topic>, /<topic>/subscriptions/<name>      PUT creates; with If-Match it changes
    GET              /<topic>/subscriptions/<name>/rules      the default rule, which is the only one there is
    GET              /$namespaceinfo

Source:
    https://learn.microsoft.com/rest/api/servicebus/
    https://learn.microsoft.com/rest/api/servicebus/http-error-codes
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web

from local.broker import atom, config
from local.broker.broker import Broker
from local.broker.conditions import AmqpError
from local.broker.config import Properties, read_settings
from local.broker.entity import Settings
from local.broker.faults import Request
from local.broker.namespace import Entity
from local.broker.queues import Queue
from local.broker.topics import Topic

HOST = "127.0.0.1"
PAGE = 100
_NAME = re.compile(r"[A-Za-z0-9](?:[\w./-]{0,258}[\w])?", re.ASCII)
_SUBSCRIPTION_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,48}[\w])?", re.ASCII)
_OF_TOPIC = re.compile(r"(.+?)/subscriptions(?:/([^/]+)(?:(/rules)(?:/([^/]+))?)?)?", re.IGNORECASE)
_STATUS = {"amqp:unauthorized-access": 401, "amqp:not-found": 404, "com.microsoft:server-busy": 503}
_KINDS: dict[str, Properties] = {
    "QueueDescription": config.QUEUE,
    "TopicDescription": config.TOPIC,
    "SubscriptionDescription": config.SUBSCRIPTION,
}


class RefusedError(Exception):
    """A request is refused with a status; the text begins with the service's own code, `SubCode=40900`."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its path without the outer slashes, and where it came from."""

    method: str
    path: str
    body: bytes
    is_update: bool
    skip: int
    top: int
    base: str


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """The connection of a request, as a fault sees it, and the answer that it waits for."""

    transport: asyncio.BaseTransport | None
    answered: asyncio.Future[web.Response]

    def cut(self) -> None:
        """End it without a word."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        self.answer(web.Response(status=503))  # which reaches nobody

    def answer(self, response: web.Response) -> None:
        """Answer the request, unless it was answered or cut."""
        if not self.answered.done():
            self.answered.set_result(response)

    def resumed(self) -> None:
        """Nothing else waits on it."""


class Administration:
    """Answers the requests of one broker; `port` is where."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.port = 0

    @property
    def address(self) -> str:
        """The address that clients are configured with."""
        return f"https://{HOST}:{self.port}"

    async def serve(self, request: web.Request) -> web.Response:
        """Answer one request, when no fault holds it up."""
        origin = _Origin(request.transport, asyncio.get_running_loop().create_future())
        if self._broker.is_out:
            origin.cut()
            return await origin.answered
        query = request.query
        asked = Asked(
            request.method,
            unquote(request.rel_url.raw_path).strip("/"),
            await request.read(),
            "If-Match" in request.headers,
            int(query.get("$skip", 0)),
            int(query.get("$top", PAGE)),
            self.address,
        )
        token = request.headers.get("Authorization", "")
        self._broker.faults.run(
            Request("administer", asked.path, origin, lambda: self._respond(asked, token), origin.answer)
        )
        return await origin.answered

    def _respond(self, asked: Asked, token: str) -> web.Response:
        traffic = self._broker.traffic
        if asked.method == "GET":
            traffic.administration_reads += 1
        else:
            traffic.administration_writes += 1
        try:
            self._broker.faults.check("administer", asked.path)
            self._broker.key.check(token, asked.path)
            status, body = self._perform(asked)
        except AmqpError as problem:
            status = _STATUS.get(problem.condition, 400)
            body = atom.error(status, problem.description)
        except RefusedError as why:
            status, body = why.status, atom.error(why.status, str(why))
        except (ValueError, TypeError) as why:
            status, body = 400, atom.error(400, f"SubCode=40000. {why}")
        return web.Response(status=status, body=body, content_type="application/xml", charset="utf-8")

    def _perform(self, asked: Asked) -> tuple[int, bytes]:
        if asked.path == "$namespaceinfo":
            return 200, atom.entry(HOST, atom.namespace_info(HOST), asked.base)
        if asked.path.startswith("$Resources/"):
            return 200, self._list(asked, self._all(asked.path.removeprefix("$Resources/")))
        of_topic = _OF_TOPIC.fullmatch(asked.path)
        if of_topic is None:
            return self._entity(asked, asked.path, None)
        topic, name, rules, rule = of_topic.groups()
        if name is None:
            return 200, self._list(asked, sorted(self._topic(topic).subscriptions.items()))
        if rules is not None:
            return self._rule(asked, f"{topic}/subscriptions/{name}", rule)
        return self._entity(asked, name, topic)

    def _entity(self, asked: Asked, name: str, topic: str | None) -> tuple[int, bytes]:
        """Do what is asked of a queue or a topic, or of a subscription of `topic`."""
        path = name if topic is None else f"{topic}/subscriptions/{name}"
        found = self._find(path)
        if asked.method == "GET":
            if found is None:
                return 200, atom.feed((), asked.base)  # the service says so, and clients make "not found" of it
            return 200, atom.entry(name, atom.description(found), asked.base)
        if asked.method == "PUT":
            made = self._change(asked, found, name) if asked.is_update else self._create(asked, found, name, topic)
            return 200 if asked.is_update else 201, atom.entry(name, atom.description(made), asked.base)
        if asked.method != "DELETE":
            text = f"SubCode=40500. {asked.method} is not supported."
            raise RefusedError(405, text)
        if found is None:
            raise _missing(path)
        self._broker.remove(path)
        return 200, b""

    def _create(self, asked: Asked, found: Entity | None, name: str, topic: str | None) -> Entity:
        kind, settings = _read(asked, name)
        namespace = self._broker.namespace
        if topic is not None:
            if kind != "SubscriptionDescription" or not _SUBSCRIPTION_NAME.fullmatch(name):
                text = f"SubCode=40000. '{name}' is no name of a subscription, or {kind} does not describe one."
                raise RefusedError(400, text)
            owner = self._topic(topic)
            _check_new(found, f"{topic}/subscriptions/{name}")
            namespace.create_subscription(owner, name, settings)
            return owner.subscriptions[name.lower()]
        if kind == "SubscriptionDescription" or not _NAME.fullmatch(name):
            text = f"SubCode=40000. '{name}' is no name of a queue or topic, or {kind} does not describe one."
            raise RefusedError(400, text)
        _check_new(found, name)
        if len(self._all("queues")) + len(self._all("topics")) >= namespace.max_entities:
            text = f"SubCode=40300. The namespace holds {namespace.max_entities} queues and topics, as many as it may."
            raise RefusedError(403, text)
        if kind == "QueueDescription":
            namespace.create_queue(name, settings)
        else:
            namespace.create_topic(name, settings)
        return namespace.find(name)

    def _change(self, asked: Asked, found: Entity | None, name: str) -> Entity:
        if found is None:
            raise _missing(asked.path)
        _, settings = _read(asked, name)
        found.change(settings)
        return found

    def _rule(self, asked: Asked, path: str, rule: str | None) -> tuple[int, bytes]:
        if asked.method != "GET":
            text = "SubCode=40000. The local broker knows no rule but the default one, which it keeps."
            raise RefusedError(400, text)
        if self._find(path) is None:
            raise _missing(path)
        if rule is None:
            return 200, atom.feed([(atom.RULE, atom.rule())], asked.base)
        if rule != atom.RULE:
            return 200, atom.feed((), asked.base)
        return 200, atom.entry(rule, atom.rule(), asked.base)

    def _list(self, asked: Asked, entities: Iterable[tuple[str, Entity]]) -> bytes:
        found = list(entities)
        page = found[asked.skip : asked.skip + asked.top]
        following = None
        if asked.skip + asked.top < len(found):
            following = f"{asked.base}/{asked.path}?$skip={asked.skip + asked.top}&$top={asked.top}"
        return atom.feed(((name, atom.description(entity)) for name, entity in page), asked.base, following)

    def _all(self, kind: str) -> list[tuple[str, Entity]]:
        of_kind = {"queues": _is_queue, "topics": _is_topic}.get(kind)
        if of_kind is None:
            text = f"SubCode=40400. There is no resource '{kind}'."
            raise RefusedError(404, text)
        return sorted((entity.path, entity) for entity in self._broker.namespace if of_kind(entity))

    def _topic(self, path: str) -> Topic:
        found = self._find(path)
        if not isinstance(found, Topic):
            raise _missing(path)
        return found

    def _find(self, path: str) -> Entity | None:
        try:
            return self._broker.namespace.find(path)
        except AmqpError:
            return None


@asynccontextmanager
async def serving(broker: Broker, context: ssl.SSLContext, port: int = 0) -> AsyncIterator[Administration]:
    """Serve the management API of a broker on a port of this machine for as long as the block lasts."""
    administration = Administration(broker)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", administration.serve)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port, ssl_context=context, reuse_address=True).start()
        administration.port = runner.addresses[0][1]
        yield administration
    finally:
        await runner.cleanup()


def _read(asked: Asked, name: str) -> tuple[str, Settings]:
    kind, properties = atom.parse(asked.body)
    if kind not in _KINDS:
        message = f"{kind} is not known"
        raise ValueError(message)
    return kind, read_settings({"Name": name, "Properties": properties}, _KINDS[kind])


def _check_new(found: Entity | None, path: str) -> None:
    if found is not None:
        text = f"SubCode=40900. Conflict. '{path}' exists already."
        raise RefusedError(409, text)


def _missing(path: str) -> RefusedError:
    return RefusedError(404, f"SubCode=40400. Not Found. The messaging entity '{path}' could not be found.")


def _is_queue(entity: Entity) -> bool:
    return isinstance(entity, Queue) and entity.dead_letters is not None and "/Subscriptions/" not in entity.path


def _is_topic(entity: Entity) -> bool:
    return isinstance(entity, Topic)
