"""The management API of a Service Bus namespace, through the official SDK: topics are listed, made and removed.

The SDK speaks it over TLS with the host of the connection. Elsewhere, as on this machine, it has an address of its own,
and a certificate of an authority that a file holds.

Sources:
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-throttling
    https://learn.microsoft.com/rest/api/servicebus/http-error-codes
"""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from azure.core.async_paging import AsyncItemPaged
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.management import TopicProperties

from shared.errors import ConfigError, TransientError
from shared.identity import credential
from shared.ports import Clock
from shared.settings.model import AzureSettings, TopicsSettings
from shared.topics import WINDOW_S, FoundTopic, Label, label_of, ready

ROLE = "Azure Service Bus Data Owner"

OPERATIONS_PER_SECOND = 50.0
"""Each costs 10 of the 1,000 credits that a Standard namespace has in a second: half of them stay for messages."""

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
MEGABYTE = 1024**2

_ENDPOINT = re.compile(r"(?i)(?:^|(?<=;))\s*endpoint=[^;]*")
_DETAIL = re.compile(r"<Detail>(.*?)</Detail>", re.DOTALL)
_MAY_PASS = re.compile(r"SubCode=(?:40301|40901)\b")  # another operation on the entity is under way


def client(connection: AzureSettings, ca_file: str = "") -> tuple[ServiceBusAdministrationClient, AsyncExitStack]:
    """Return the SDK's client of a namespace's management API, and what closes it and its credential.

    Raises:
        ConfigError: the connection is malformed, or is that of an emulator and nothing leads to its API.
    """
    options: dict[str, Any] = {
        "retry_total": 0,  # waiting and trying again is for whoever called
        "connection_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        **({"connection_verify": ca_file} if ca_file else {}),
    }
    closing = AsyncExitStack()
    text = connection.connection_string
    if "usedevelopmentemulator=true" in text.lower() and not connection.administration:
        reason = "the management API of this namespace, an emulator's, has no address"
        hint = "set ServiceBusAdministration=https://<host>:<port>, or switch it off: topics { sync = false }"
        raise ConfigError(reason, hint=hint)
    try:
        if text:
            if connection.administration:
                text = _ENDPOINT.sub(f"Endpoint=sb://{connection.administration}", text)
            made = ServiceBusAdministrationClient.from_connection_string(text, **options)
        else:
            identity = credential(connection)
            closing.push_async_callback(identity.close)
            made = ServiceBusAdministrationClient(connection.administration or connection.address, identity, **options)
    except ValueError:
        reason = "the connection of Service Bus is missing or malformed"
        hint = "give Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…, or fullyQualifiedNamespace"
        raise ConfigError(reason, where="ServiceBus", hint=hint) from None  # it may quote the key
    closing.push_async_exit(made)
    return made, closing


class ServiceBusAdministration:
    """Topics of one namespace, whose `name` is the app setting that says how to reach it."""

    def __init__(self, name: str, connection: AzureSettings, settings: TopicsSettings, clock: Clock) -> None:
        self._name = name
        self._settings = settings
        self._client, self._closing = client(connection, settings.ca_file)
        self._pace = _Pace(clock)

    async def topics(self) -> list[FoundTopic]:
        """Return every topic of the namespace, in two listings: the subscriptions are counted in the second alone.

        Raises:
            TransientError: the namespace is away, busy or refuses us.
        """
        with self._translated("its topics"):
            found = [each async for each in self._paced(self._client.list_topics())]
            runtime = self._paced(self._client.list_topics_runtime_properties())
            subscriptions = {each.name: each.subscription_count or 0 async for each in runtime}
        return [self._found(each, subscriptions[each.name]) for each in found if each.name in subscriptions]

    async def make(self, topic: str, label: Label, *, adopt: bool = False) -> None:
        """Bring a topic of ours to be all there, from wherever an earlier attempt has left it; idempotent.

        It is created without taking messages, and takes them from when it has its subscription.

        Raises:
            TransientError: the namespace is away, busy, full or refuses us.
            ConfigError: the topic cannot be made so, or belongs to somebody else.
        """
        with self._translated(topic):
            properties = await self._created(topic, label)
            now = label_of(properties.user_metadata or "")
            if now is None or (now.owner != label.owner and not adopt):
                reason = f"topic {topic} belongs to somebody else"
                raise ConfigError(reason, where=self._name, hint="to see to whom: sluice topics sync --dry-run")
            if not (now.ready and adopt):
                await self._subscribe(topic)
            if not now.ready or now.owner != label.owner:
                await self._pace.turn()
                await self._client.update_topic(properties, status="Active", user_metadata=ready(label).text())

    async def delete(self, topic: str) -> None:
        """Delete a topic with all that it holds; one that is gone is no error.

        Raises:
            TransientError: the namespace is away, busy or refuses us.
        """
        with self._translated(topic), contextlib.suppress(ResourceNotFoundError):
            await self._pace.turn()
            await self._client.delete_topic(topic)

    async def close(self) -> None:
        """Release the connections; idempotent."""
        await self._closing.aclose()

    async def _created(self, topic: str, label: Label) -> TopicProperties:
        """Return the topic, which is created if it is missing."""
        await self._pace.turn()
        try:
            return await self._client.create_topic(
                topic,
                requires_duplicate_detection=True,
                duplicate_detection_history_time_window=timedelta(seconds=WINDOW_S),
                support_ordering=True,
                enable_partitioning=False,
                max_size_in_megabytes=self._settings.max_size_bytes // MEGABYTE,
                user_metadata=label.text(),
                status="SendDisabled",
            )
        except ResourceExistsError as why:
            if _MAY_PASS.search(str(why)):
                raise
        await self._pace.turn()
        try:
            return await self._client.get_topic(topic)
        except AttributeError as why:  # the SDK looks for a topic's description in a queue's
            reason = f"{topic} is the name of a queue"
            raise ConfigError(
                reason, where=self._name, hint="delete the queue, or give the source another name"
            ) from why

    async def _subscribe(self, topic: str) -> None:
        await self._pace.turn()
        try:
            await self._client.create_subscription(
                topic,
                self._settings.subscription,
                default_message_time_to_live=timedelta(seconds=self._settings.expiry_s),
                dead_lettering_on_message_expiration=True,
            )
        except ResourceExistsError as why:
            if _MAY_PASS.search(str(why)):
                raise

    async def _paced[T](self, listing: AsyncItemPaged[T]) -> AsyncIterator[T]:
        """Yield what a listing holds, at one page a turn."""
        pages = listing.by_page()
        while True:
            await self._pace.turn()
            try:
                page = await anext(pages)
            except StopAsyncIteration:
                return
            async for each in page:
                yield each

    def _found(self, topic: TopicProperties, subscriptions: int) -> FoundTopic:
        window = topic.duplicate_detection_history_time_window
        return FoundTopic(
            namespace=self._name,
            topic=topic.name,
            label=label_of(topic.user_metadata or ""),
            size_bytes=topic.size_in_bytes or 0,
            max_bytes=(topic.max_size_in_megabytes or 0) * MEGABYTE,
            subscriptions=subscriptions,
            ordered=bool(topic.support_ordering),
            partitioned=bool(topic.enable_partitioning),
            window_s=window.total_seconds()
            if topic.requires_duplicate_detection and isinstance(window, timedelta)
            else None,
        )

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (HttpResponseError, ClientAuthenticationError) as why:
            raise self._translation(what, why) from why
        except AzureError as why:
            reason = f"the management API of {self._name} cannot be reached: {why.message}"
            if "CERTIFICATE" in reason.upper():
                hint = "name the file of its authority: --ca-file, or SLUICE_CA_FILE"
                raise TransientError(reason, lasting=True, hint=hint) from why
            raise TransientError(reason, hint="see that the namespace is there and its firewall lets us in") from why

    def _translation(self, what: str, why: HttpResponseError) -> TransientError | ConfigError:
        said = _DETAIL.search(str(why)) or re.match("(.*)", str(why))
        reason = f"the management API of {self._name} refuses {what}: {why.status_code or ''} {said[1] if said else ''}"
        if why.status_code in (None, 401):
            hint = f"give the identity that creates topics the role '{ROLE}' on the namespace: TopicAdmin__clientId"
            return TransientError(reason, lasting=True, hint=hint)
        if why.status_code == 403 and not _MAY_PASS.search(reason):
            hint = "the namespace is at its quota: add another one to the connections of the output"
            return TransientError(reason, lasting=True, hint=hint)
        if why.status_code in (400, 404, 405):
            return ConfigError(reason, hint="correct the topics block of the configuration")
        wait = self._pace.slow_down(why)
        return TransientError(reason, retry_after=wait)


class _Pace:
    """Spreads operations over time; a namespace that is busy gets a pause as long as it asks for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the turn of one operation."""
        at = max(self._next, self._clock.monotonic())
        self._next = at + 1 / OPERATIONS_PER_SECOND
        await self._clock.sleep(at - self._clock.monotonic())

    def slow_down(self, why: HttpResponseError) -> float | None:
        """Put everything off for as long as the service said; return it in seconds."""
        headers = getattr(why.response, "headers", {})
        text = headers.get("Retry-After", "")
        if not text.isdecimal():
            return None
        self._next = max(self._next, self._clock.monotonic() + int(text))
        return float(text)
