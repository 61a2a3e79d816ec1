"""The queues and topics a configuration needs, as the settings file of Microsoft's Service Bus emulator."""

from collections.abc import Iterable
from typing import Any

from shared.naming import topic
from shared.settings.model import Settings
from shared.settings.streams import named

SUBSCRIPTION = "sub1"
DETECTION_WINDOW = "PT1H"
INGEST_DELIVERIES = 100
LOCK = "PT1M"


def entities(settings: Settings) -> dict[str, Any]:
    """Return the Config.json for one configuration: ingest queue, rejected queue, a topic per named stream."""
    topics = [topic(each.stream) for source in settings.sources for each in named(source)]
    return config(topics, ingest=settings.ingest_queue, rejected=settings.rejected_queue)


def config(
    topics: Iterable[str] = (), *, ingest: str = "ingest-queue", rejected: str = "rejected", lock: str = LOCK
) -> dict[str, Any]:
    """Return the Config.json for these names; `lock` is the lock duration of the queues, ISO 8601.

    No time to live is named: messages never expire here, and live for an hour, the most it allows, in the emulator.

    https://learn.microsoft.com/azure/service-bus-messaging/test-locally-with-service-bus-emulator
    """
    queues = [
        _queue(ingest, lock, sessions=True, deliveries=INGEST_DELIVERIES),
        _queue(rejected, lock, sessions=False, deliveries=10),
    ]
    namespace = {"Name": "sbemulatorns", "Queues": queues, "Topics": [_topic(name, lock) for name in topics]}
    return {"UserConfig": {"Namespaces": [namespace], "Logging": {"Type": "File"}}}


def _queue(name: str, lock: str, *, sessions: bool, deliveries: int) -> dict[str, Any]:
    properties = {
        "DeadLetteringOnMessageExpiration": False,
        "LockDuration": lock,
        "MaxDeliveryCount": deliveries,
        "RequiresDuplicateDetection": False,
        "RequiresSession": sessions,
    }
    return {"Name": name, "Properties": properties}


def _topic(name: str, lock: str) -> dict[str, Any]:
    properties = {
        "DuplicateDetectionHistoryTimeWindow": DETECTION_WINDOW,
        "RequiresDuplicateDetection": True,
    }
    subscription = {
        "DeadLetteringOnMessageExpiration": True,
        "LockDuration": lock,
        "MaxDeliveryCount": 10,
        "RequiresSession": False,
    }
    return {
        "Name": name,
        "Properties": properties,
        "Subscriptions": [{"Name": SUBSCRIPTION, "Properties": subscription, "Rules": []}],
    }
