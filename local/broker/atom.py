"""The XML of the management API: one description per entity, in an ATOM entry, many of them in a feed.

Source:
    https://learn.microsoft.com/rest/api/servicebus/entities
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from local.broker.entity import Settings
from local.broker.namespace import Entity
from local.broker.queues import Queue
from local.broker.topics import Topic

ATOM = "http://www.w3.org/2005/Atom"
SERVICE_BUS = "http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
NEVER = "P10675199DT2H48M5.4775807S"
RULE = "$Default"

READ_ONLY = frozenset(
    {
        "AccessedAt",
        "AuthorizationRules",
        "CountDetails",
        "CreatedAt",
        "EnableFilteringMessagesBeforePublishing",
        "EnableSubscriptionPartitioning",
        "EntityAvailabilityStatus",
        "FilteringMessagesBeforePublishing",
        "IsAnonymousAccessible",
        "MessageCount",
        "MessageCountDetails",
        "SizeInBytes",
        "SubscriptionCount",
        "UpdatedAt",
    }
)
"""What a client sends back with an update, and the service decides by itself."""

type Page = Iterable[tuple[str, Element]]


def parse(body: bytes) -> tuple[str, dict[str, str | bool]]:
    """Return the kind of the description in an entry, `TopicDescription`, and what it says, flags as flags.

    Raises:
        ValueError: it is no entry with one description.
    """
    try:
        content = ET.fromstring(body).find(f"{{{ATOM}}}content")  # noqa: S314 - sent by programs of this machine
    except ET.ParseError as why:
        message = f"the body is not XML: {why}"
        raise ValueError(message) from why
    if content is None or len(content) != 1:
        message = "the body is no entry with one description"
        raise ValueError(message)
    texts = {each.tag.rpartition("}")[2]: each.text or "" for each in content[0]}
    flags = {"true": True, "false": False}
    kind = content[0].tag.rpartition("}")[2]
    return kind, {name: flags.get(text, text) for name, text in texts.items() if name not in READ_ONLY}


def entry(name: str, description: Element, base: str) -> bytes:
    """Return the answer about one entity."""
    return _text(_entry(name, description, base))


def feed(page: Page, base: str, following: str | None = None) -> bytes:
    """Return the answer about several entities; `following` is the address of the next page."""
    root = Element(f"{{{ATOM}}}feed")
    SubElement(root, f"{{{ATOM}}}title", type="text").text = "Publicly Listed Services"
    SubElement(root, f"{{{ATOM}}}id").text = base
    SubElement(root, f"{{{ATOM}}}updated").text = _now()
    SubElement(root, f"{{{ATOM}}}link", rel="self", href=base)
    if following is not None:
        SubElement(root, f"{{{ATOM}}}link", rel="next", href=following)
    root.extend(_entry(name, description, base) for name, description in page)
    return _text(root)


def error(status: int, detail: str) -> bytes:
    """Return the answer that refuses a request."""
    root = Element("Error")
    SubElement(root, "Code").text = str(status)
    SubElement(root, "Detail").text = detail
    return _text(root)


def description(entity: Entity) -> Element:
    """Return what there is to say about a queue, a subscription or a topic, runtime properties included."""
    settings = entity.settings
    times = {"CreatedAt": _time(entity.created_ms), "UpdatedAt": _time(entity.updated_ms), "AccessedAt": _now()}
    common = {
        "DefaultMessageTimeToLive": _duration(settings.ttl_ms),
        "Status": settings.status,
        "UserMetadata": settings.user_metadata,
        "EnableBatchedOperations": True,
        "AutoDeleteOnIdle": NEVER,
        "EntityAvailabilityStatus": "Available",
    }
    if isinstance(entity, Topic):
        counts = {"SizeInBytes": entity.used_bytes, "SubscriptionCount": len(entity.subscriptions)}
        ordering = {"SupportOrdering": settings.support_ordering}
        return _described("TopicDescription", common | _store(settings) | ordering | counts | times)
    receive = {
        "LockDuration": _duration(settings.lock_ms),
        "RequiresSession": settings.requires_session,
        "DeadLetteringOnMessageExpiration": settings.dead_letter_expired,
        "MaxDeliveryCount": settings.max_delivery_count,
        "MessageCount": len(entity.messages) + (len(entity.dead_letters.messages) if entity.dead_letters else 0),
    }
    if "/Subscriptions/" in entity.path:
        made = _described("SubscriptionDescription", common | receive | times)
    else:
        size = {"SizeInBytes": entity.used_bytes}
        made = _described("QueueDescription", common | _store(settings) | receive | size | times)
    made.append(_count_details(entity))
    return made


def rule() -> Element:
    """Return the one rule that a subscription has here: everything."""
    made = Element(f"{{{SERVICE_BUS}}}RuleDescription")
    everything = SubElement(made, f"{{{SERVICE_BUS}}}Filter", {f"{{{_INSTANCE}}}type": "TrueFilter"})
    SubElement(everything, f"{{{SERVICE_BUS}}}SqlExpression").text = "1=1"
    SubElement(everything, f"{{{SERVICE_BUS}}}CompatibilityLevel").text = "20"
    SubElement(made, f"{{{SERVICE_BUS}}}Action", {f"{{{_INSTANCE}}}type": "EmptyRuleAction"})
    SubElement(made, f"{{{SERVICE_BUS}}}Name").text = RULE
    return made


def namespace_info(name: str) -> Element:
    """Return what there is to say about the namespace."""
    told = {"CreatedTime": _now(), "MessagingSKU": "Standard", "ModifiedTime": _now(), "Name": name}
    return _described("NamespaceInfo", told | {"NamespaceType": "Messaging"})


def _store(settings: Settings) -> dict[str, object]:
    window = settings.duplicate_window_ms
    return {
        "MaxSizeInMegabytes": settings.max_bytes // 1024**2,
        "MaxMessageSizeInKilobytes": settings.max_message_bytes // 1024,
        "RequiresDuplicateDetection": window is not None,
        "DuplicateDetectionHistoryTimeWindow": _duration(600_000 if window is None else window),
        "EnablePartitioning": False,
        "EnableExpress": False,
    }


def _count_details(queue: Queue) -> Element:
    details = Element(f"{{{SERVICE_BUS}}}CountDetails")
    counts = {
        "ActiveMessageCount": len(queue.messages),
        "DeadLetterMessageCount": len(queue.dead_letters.messages) if queue.dead_letters else 0,
        "ScheduledMessageCount": 0,
        "TransferDeadLetterMessageCount": 0,
        "TransferMessageCount": 0,
    }
    for name, count in counts.items():
        SubElement(details, f"{{http://schemas.microsoft.com/netservices/2011/06/servicebus}}{name}").text = str(count)
    return details


def _described(kind: str, told: Mapping[str, object]) -> Element:
    made = Element(f"{{{SERVICE_BUS}}}{kind}")
    for name, value in told.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        SubElement(made, f"{{{SERVICE_BUS}}}{name}").text = text
    return made


def _entry(name: str, told: Element, base: str) -> Element:
    made = Element(f"{{{ATOM}}}entry")
    SubElement(made, f"{{{ATOM}}}id").text = f"{base}/{name}"
    SubElement(made, f"{{{ATOM}}}title", type="text").text = name
    for moment in ("published", "updated"):
        SubElement(made, f"{{{ATOM}}}{moment}").text = _now()
    SubElement(made, f"{{{ATOM}}}link", rel="self", href=f"{base}/{name}")
    SubElement(made, f"{{{ATOM}}}content", type="application/xml").append(told)
    return made


def _text(root: Element) -> bytes:
    return b'<?xml version="1.0" encoding="utf-8"?>' + ET.tostring(root, encoding="unicode").encode()


def _duration(milliseconds: int | None) -> str:
    return NEVER if milliseconds is None else f"PT{milliseconds / 1000:.12g}S"


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
