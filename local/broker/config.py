"""Reads the `Config.json` of Microsoft's Service Bus emulator, so that one file serves both brokers.

Source:
    https://learn.microsoft.com/azure/service-bus-messaging/test-locally-with-service-bus-emulator
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from local.broker.entity import Settings
from local.broker.namespace import Namespace

type Properties = Mapping[str, tuple[str | None, Callable[[Any], Any]]]
"""What an entity can be given: the field that it becomes, None where nothing depends on it, and how it is read."""

_COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\])*")', re.DOTALL)
_DURATION = re.compile(
    r"P(?:(?P<days>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_NO_LIMIT_DAYS = 10_675_199
_MAX_LOCK_MS = 300_000
_STATUSES = frozenset({"Active", "Disabled", "SendDisabled", "ReceiveDisabled"})


def load(text: str, namespace: Namespace) -> None:
    """Create the entities of a configuration file.

    Raises:
        ValueError: something in it is unknown, or cannot be done here; nothing is skipped silently.
    """
    document = json.loads(_COMMENT_OR_TEXT.sub(lambda found: found[1] or " ", text))
    create(document, namespace)


def create(document: Any, namespace: Namespace) -> None:
    """Create entities from a whole document, or from one namespace of it: `{"Queues": […], "Topics": […]}`.

    Raises:
        ValueError: as for `load`.
    """
    if "UserConfig" in document:
        _only(document, {"UserConfig"}, "the document")
        _only(document["UserConfig"], {"Namespaces", "Logging"}, "UserConfig")
        for part in document["UserConfig"].get("Namespaces", []):
            create(part, namespace)
        return
    _only(document, {"Name", "Queues", "Topics"}, "the namespace")
    for queue in document.get("Queues", []):
        _only(queue, {"Name", "Properties"}, "a queue")
        namespace.create_queue(queue["Name"], read_settings(queue, QUEUE))
    for entry in document.get("Topics", []):
        _only(entry, {"Name", "Properties", "Subscriptions"}, "a topic")
        topic = namespace.create_topic(entry["Name"], read_settings(entry, TOPIC))
        for subscription in entry.get("Subscriptions", []):
            _only(subscription, {"Name", "Properties", "Rules"}, "a subscription")
            for rule in subscription.get("Rules", []):
                _only_true_filter(rule)
            namespace.create_subscription(topic, subscription["Name"], read_settings(subscription, SUBSCRIPTION))


def duration_ms(text: str) -> int | None:
    """Return an ISO 8601 duration in milliseconds; None for the service's "no limit".

    Raises:
        ValueError: it is not a duration of days, hours, minutes and seconds.
    """
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        message = f"{text!r} is not an ISO 8601 duration such as PT1M"
        raise ValueError(message)
    days, hours, minutes, seconds = (float(found[name] or 0) for name in ("days", "hours", "minutes", "seconds"))
    if days >= _NO_LIMIT_DAYS:
        return None
    return round((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        message = f"{value!r} is neither true nor false"
        raise TypeError(message)
    return value


def _lock(text: str) -> int:
    milliseconds = duration_ms(text)
    if milliseconds is None or not 0 < milliseconds <= _MAX_LOCK_MS:
        message = f"a lock lasts up to PT5M, not {text}"
        raise ValueError(message)
    return milliseconds


def _status(value: str) -> str:
    if value not in _STATUSES:
        message = f"{value!r} is none of {', '.join(sorted(_STATUSES))}"
        raise ValueError(message)
    return value


def _refused(value: Any) -> None:
    if value:
        message = f"{value!r} is not supported by the local broker"
        raise ValueError(message)


_MESSAGES: Properties = {
    "DefaultMessageTimeToLive": ("ttl_ms", duration_ms),
    "Status": ("status", _status),
    "UserMetadata": ("user_metadata", str),
    "EnableBatchedOperations": (None, _flag),  # how the service writes to its disks
}
_STORE: Properties = {
    "RequiresDuplicateDetection": ("detects", _flag),
    "DuplicateDetectionHistoryTimeWindow": ("window_ms", duration_ms),
    "MaxSizeInMegabytes": ("max_bytes", lambda value: int(value) * 1024 * 1024),
    "MaxMessageSizeInKilobytes": ("max_message_bytes", lambda value: int(value) * 1024),
    "EnablePartitioning": (None, _refused),
    "EnableExpress": (None, _refused),
    "AutoDeleteOnIdle": (None, lambda value: _refused(duration_ms(value))),
}
_RECEIVE: Properties = {
    "LockDuration": ("lock_ms", _lock),
    "MaxDeliveryCount": ("max_delivery_count", int),
    "RequiresSession": ("requires_session", _flag),
    "DeadLetteringOnMessageExpiration": ("dead_letter_expired", _flag),
    "ForwardTo": (None, _refused),
    "ForwardDeadLetteredMessagesTo": (None, _refused),
}
QUEUE: Properties = {**_MESSAGES, **_STORE, **_RECEIVE}
TOPIC: Properties = {**_MESSAGES, **_STORE, "SupportOrdering": ("support_ordering", _flag)}  # always in order here
SUBSCRIPTION: Properties = {
    **_MESSAGES,
    **_RECEIVE,
    "DeadLetteringOnFilterEvaluationExceptions": (None, _flag),  # there are no filters to fail
    "AutoDeleteOnIdle": _STORE["AutoDeleteOnIdle"],
}
_DEFAULT_WINDOW_MS = 600_000


def read_settings(entry: Mapping[str, Any], known: Properties) -> Settings:
    """Return the settings of an entity from its entry, `{"Name": …, "Properties": {…}}`.

    Raises:
        ValueError: a property is unknown, or cannot be had here.
    """
    values: dict[str, Any] = {}
    for name, value in entry.get("Properties", {}).items():
        if name not in known:
            message = f"{entry['Name']}: the property {name!r} is not known to the local broker"
            raise ValueError(message)
        field, read = known[name]
        try:
            result = read(value)
        except (ValueError, TypeError) as why:
            message = f"{entry['Name']}: {name}: {why}"
            raise ValueError(message) from why
        if field is not None:
            values[field] = result
    window = values.pop("window_ms", _DEFAULT_WINDOW_MS)
    if values.pop("detects", False):
        values["duplicate_window_ms"] = window
    return Settings(**values)


def _only(entry: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    unknown = sorted(set(entry) - set(known))
    if unknown:
        message = f"{where} has entries the local broker does not know: {', '.join(unknown)}"
        raise ValueError(message)


def _only_true_filter(rule: Mapping[str, Any]) -> None:
    properties = rule.get("Properties", {})
    expression = properties.get("SqlFilter", {}).get("SqlExpression", "1=1").replace(" ", "")
    if properties.get("FilterType") not in {"Sql", "True"} or expression != "1=1" or properties.get("Action"):
        message = f"the rule {rule.get('Name')!r}: the local broker knows no filter but the true filter"
        raise ValueError(message)
