"""A topic: each message goes as a copy to every subscription; without one it is lost, as in the service."""

from collections.abc import Sequence

from local.broker.clock import now_ms
from local.broker.entity import Counts, Duplicates, Settings, check_change, check_sendable
from local.broker.message import Message
from local.broker.queues import Queue


class Topic:
    """One topic with its subscriptions."""

    def __init__(self, path: str, settings: Settings) -> None:
        self.path = path
        self.settings = settings
        self.created_ms = self.updated_ms = now_ms()
        self.counts = Counts()
        self.subscriptions: dict[str, Queue] = {}
        window = settings.duplicate_window_ms
        self._duplicates = None if window is None else Duplicates(window)
        self._last_number = 0

    @property
    def used_bytes(self) -> int:
        """What the subscriptions hold together."""
        return sum(subscription.used_bytes for subscription in self.subscriptions.values())

    def close(self) -> None:
        """Nothing of a topic waits for a time."""

    def change(self, settings: Settings) -> None:
        """Give the topic other settings.

        Raises:
            ValueError: one of them cannot be changed.
        """
        check_change(self.settings, settings)
        self.settings, self.updated_ms = settings, now_ms()
        if self._duplicates is not None and settings.duplicate_window_ms is not None:
            self._duplicates.window_ms = settings.duplicate_window_ms

    def send(self, messages: Sequence[Message]) -> None:
        """Copy messages to every subscription, all or none; duplicates are accepted and dropped.

        Raises:
            AmqpError: with the condition the service gives.
        """
        check_sendable(self.path, self.settings, messages, self.used_bytes)
        now = now_ms()
        fresh: list[tuple[Message, int | None]] = []
        for message in messages:
            self.counts.incoming += 1
            if self._duplicates is not None and self._duplicates.is_repeat(message.message_id, now):
                self.counts.dropped_duplicates += 1
            else:
                self._last_number += 1
                fresh.append((message, self._last_number))
        for subscription in self.subscriptions.values():
            subscription.counts.incoming += len(fresh)
            subscription.enqueue(fresh, now)
