"""What queues, subscriptions and topics have in common: their settings, what they refuse, what they count."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from local.broker.conditions import (
    argument_error,
    entity_disabled,
    full,
    not_implemented,
    session_id_missing,
)
from local.broker.message import Message

MAX_ID_CHARS = 128
MAX_BATCH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """The properties of an entity; the defaults are the service's own. Durations in milliseconds, None: no limit."""

    lock_ms: int = 60_000
    ttl_ms: int | None = None
    dead_letter_expired: bool = False
    max_delivery_count: int = 10
    requires_session: bool = False
    duplicate_window_ms: int | None = None
    max_bytes: int = 1024 * 1024 * 1024
    max_message_bytes: int = 256 * 1024
    status: str = "Active"
    support_ordering: bool = True
    user_metadata: str = ""

    @property
    def can_send(self) -> bool:
        """Whether messages are taken in."""
        return self.status not in {"Disabled", "SendDisabled"}

    @property
    def can_receive(self) -> bool:
        """Whether messages are given out."""
        return self.status not in {"Disabled", "ReceiveDisabled"}

    @property
    def max_batch_bytes(self) -> int:
        """The limit of a batch: that of a message, but no more than 1 MB."""
        return min(self.max_message_bytes, MAX_BATCH_BYTES)


@dataclass(slots=True)
class Counts:
    """What happened to an entity since it was created."""

    incoming: int = 0
    dropped_duplicates: int = 0
    delivered: int = 0
    completed: int = 0
    abandoned: int = 0
    dead_lettered: int = 0
    expired: int = 0


@dataclass(slots=True)
class Duplicates:
    """Remembers the message ids of a window; the window counts from the first message with the id.

    Source:
        https://learn.microsoft.com/azure/service-bus-messaging/duplicate-detection
    """

    window_ms: int
    _seen: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def is_repeat(self, message_id: str, now: int) -> bool:
        """Say whether the id was seen within the window, and remember it."""
        while self._seen and next(iter(self._seen.values())) <= now - self.window_ms:
            self._seen.popitem(last=False)
        if message_id in self._seen:
            return True
        self._seen[message_id] = now
        return False


def check_change(old: Settings, new: Settings) -> None:
    """Refuse to change what an entity is created with for good.

    Raises:
        ValueError: naming it.
    """
    fixed = {
        "RequiresDuplicateDetection": (old.duplicate_window_ms is None, new.duplicate_window_ms is None),
        "RequiresSession": (old.requires_session, new.requires_session),
    }
    for name, (before, after) in fixed.items():
        if before != after:
            message = f"the value for {name} cannot be changed"
            raise ValueError(message)


def check_sendable(path: str, settings: Settings, messages: Sequence[Message], used_bytes: int) -> None:
    """Refuse what the entity cannot take; a batch is refused whole.

    Raises:
        AmqpError: with the condition the service gives.
    """
    if not settings.can_send:
        raise entity_disabled(path)
    size = 0
    for message in messages:
        size += message.size_bytes
        if message.is_scheduled:
            what = "scheduled messages"
            raise not_implemented(what)
        if settings.requires_session and not message.session_id:
            raise session_id_missing()
        _check_length("message id", message.message_id)
        _check_length("session id", message.session_id or "")
    if used_bytes + size > settings.max_bytes:
        raise full(path, used_bytes, settings.max_bytes)


def _check_length(what: str, text: str) -> None:
    if len(text) > MAX_ID_CHARS:
        text = f"The {what} has {len(text)} characters, {MAX_ID_CHARS} are allowed."
        raise argument_error(text)
