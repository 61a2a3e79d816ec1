"""The entities of the broker by their paths."""

from collections.abc import Iterator
from dataclasses import replace

from local.broker.conditions import not_found
from local.broker.entity import Settings
from local.broker.queues import Queue
from local.broker.sas import path_of
from local.broker.topics import Topic

DEAD_LETTER_SUFFIX = "$deadletterqueue"
SUBSCRIPTIONS = "/subscriptions/"
MAX_ENTITIES = 10_000
"""Queues and topics: https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas."""

type Entity = Queue | Topic


class Namespace:
    """Queues, topics, `<topic>/Subscriptions/<name>`, and `<…>/$DeadLetterQueue` of what is received from."""

    def __init__(self) -> None:
        self.max_entities = MAX_ENTITIES
        self._entities: dict[str, Entity] = {}

    def __iter__(self) -> Iterator[Entity]:
        return iter(self._entities.values())

    def find(self, address: str) -> Entity:
        """Return the entity at an address.

        Raises:
            AmqpError: there is none.
        """
        entity = self._entities.get(path_of(address))
        if entity is None:
            raise not_found(address)
        return entity

    def create_queue(self, name: str, settings: Settings) -> None:
        """Create a queue and its dead-letter queue; one that exists with the same settings is left as it is.

        Raises:
            ValueError: the name is taken by something else.
        """
        if not self._exists(name, settings, Queue):
            self._add(name, settings)

    def create_topic(self, name: str, settings: Settings) -> Topic:
        """Create a topic, as `create_queue` creates a queue; return it."""
        if not self._exists(name, settings, Topic):
            self._entities[path_of(name)] = Topic(name, settings)
        topic = self.find(name)
        assert isinstance(topic, Topic)
        return topic

    def create_subscription(self, topic: Topic, name: str, settings: Settings) -> None:
        """Create a subscription, as `create_queue` creates a queue; the topic's time to live bounds its own."""
        limits = [limit for limit in (topic.settings.ttl_ms, settings.ttl_ms) if limit is not None]
        settings = replace(settings, ttl_ms=min(limits, default=None))
        path = f"{topic.path}/Subscriptions/{name}"
        if not self._exists(path, settings, Queue):
            topic.subscriptions[name.lower()] = self._add(path, settings)

    def remove(self, address: str) -> list[Entity]:
        """Remove an entity and what belongs to it; return all of it, so that its links can be ended.

        Raises:
            AmqpError: there is none.
        """
        path = path_of(self.find(address).path)
        belongings = (f"{path}/{DEAD_LETTER_SUFFIX}", f"{path}{SUBSCRIPTIONS}")
        gone = [key for key in self._entities if key == path or key.startswith(belongings)]
        removed = [self._entities.pop(key) for key in gone]
        topic, _, name = path.partition(SUBSCRIPTIONS)
        owner = self._entities.get(topic)
        if isinstance(owner, Topic):
            owner.subscriptions.pop(name, None)
        for entity in removed:
            entity.close()
        return removed

    def _exists(self, path: str, settings: Settings, kind: type[Entity]) -> bool:
        entity = self._entities.get(path_of(path))
        if entity is None:
            return False
        if not isinstance(entity, kind) or entity.settings != settings:
            message = f"'{path}' exists already, with other properties"
            raise ValueError(message)
        return True

    def _add(self, path: str, settings: Settings) -> Queue:
        # Dead letters neither expire nor count their deliveries, and belong to no session.
        plain = Settings(lock_ms=settings.lock_ms, max_message_bytes=settings.max_message_bytes)
        grave = Queue(f"{path}/$DeadLetterQueue", plain, None)
        queue = Queue(path, settings, grave)
        self._entities[path_of(path)] = queue
        self._entities[path_of(grave.path)] = grave
        return queue
