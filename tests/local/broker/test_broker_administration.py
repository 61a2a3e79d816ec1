"""The management API as the unmodified SDK uses it: over TLS, with the namespace's key; what it makes is there."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.exceptions import MessagingEntityDisabledError, MessagingEntityNotFoundError

HOUR = timedelta(hours=1)
of_the_sdk = pytest.mark.filterwarnings(
    "ignore:Testing an element's truth value:DeprecationWarning:azure.servicebus.management._utils"
)


def administration(broker, **options: Any) -> ServiceBusAdministrationClient:
    _, _, key = broker.connection.partition(";")
    endpoint = broker.settings["ServiceBusAdministration"].replace("https:", "sb:")
    options = {"connection_verify": broker.settings["SLUICE_CA_FILE"], "retry_total": 0} | options
    return ServiceBusAdministrationClient.from_connection_string(f"Endpoint={endpoint};{key}", **options)


@pytest.fixture
async def service(broker) -> AsyncIterator[ServiceBusAdministrationClient]:
    async with administration(broker) as client:
        yield client


@of_the_sdk
async def test_a_topic_is_made_with_what_was_asked_for_and_takes_messages_at_once(broker, service, client):
    made = await service.create_topic(
        "a/b.events",
        requires_duplicate_detection=True,
        duplicate_detection_history_time_window=HOUR,
        support_ordering=True,
        max_size_in_megabytes=2048,
        user_metadata='{"of": "é<&>"}',
    )
    subscription = await service.create_subscription(
        "a/b.events",
        "sub1",
        default_message_time_to_live=timedelta(days=14),
        dead_lettering_on_message_expiration=True,
    )
    async with client.get_topic_sender("a/b.events") as sender:
        await sender.send_messages([ServiceBusMessage("x" * 100, message_id="1")] * 2)

    found = await service.get_topic("a/b.events")
    assert (found.requires_duplicate_detection, found.duplicate_detection_history_time_window) == (True, HOUR)
    assert (found.support_ordering, found.enable_partitioning, found.max_size_in_megabytes) == (True, False, 2048)
    assert found.user_metadata == made.user_metadata == '{"of": "é<&>"}'
    assert subscription.default_message_time_to_live == timedelta(days=14)
    assert subscription.dead_lettering_on_message_expiration
    runtime = await service.get_topic_runtime_properties("a/b.events")
    assert (runtime.subscription_count, runtime.size_in_bytes > 100) == (1, True)
    counts = await service.get_subscription_runtime_properties("a/b.events", "SUB1")
    assert (counts.active_message_count, counts.total_message_count) == (1, 1)
    assert [rule.name async for rule in service.list_rules("a/b.events", "sub1")] == ["$Default"]


async def test_a_queue_is_made_listed_and_removed(service):
    await service.create_queue("made", requires_session=True, lock_duration="PT1M", max_delivery_count=100)
    queue = await service.get_queue("made")
    assert (queue.requires_session, queue.max_delivery_count, queue.lock_duration) == (True, 100, timedelta(minutes=1))
    assert "made" in [each.name async for each in service.list_queues()]
    await service.delete_queue("made")
    assert "made" not in [each.name async for each in service.list_queues()]


async def test_long_lists_come_in_pages(broker, service):
    names = [f"page.{number:03}" for number in range(201)]
    for name in names:
        broker.topic(name, "sub1")
    assert [each.name async for each in service.list_topics() if each.name.startswith("page.")] == names
    before = broker.traffic()["administration_reads"]
    counts = {each.name: each.subscription_count async for each in service.list_topics_runtime_properties()}
    assert broker.traffic()["administration_reads"] - before == -(-len(counts) // 100)
    assert {counts[name] for name in names} == {1}


async def test_a_topic_that_takes_no_messages_takes_them_once_it_is_active(service, client):
    made = await service.create_topic("later", status="SendDisabled")
    with pytest.raises(MessagingEntityDisabledError):
        async with client.get_topic_sender("later") as sender:
            await sender.send_messages(ServiceBusMessage("x"))
    await service.update_topic(made, status="Active", user_metadata="done")
    async with client.get_topic_sender("later") as sender:
        await sender.send_messages(ServiceBusMessage("x"))
    assert (await service.get_topic("later")).user_metadata == "done"


async def test_what_exists_conflicts_and_what_is_missing_is_not_found(broker, service):
    broker.queue("taken")
    broker.topic("there")
    with pytest.raises(ResourceExistsError):
        await service.create_topic("TAKEN")
    with pytest.raises(ResourceNotFoundError):
        await service.get_topic("missing")
    with pytest.raises(ResourceNotFoundError):
        await service.delete_topic("missing")
    with pytest.raises(ResourceNotFoundError):
        await service.create_subscription("missing", "sub1")
    with pytest.raises(ResourceNotFoundError):
        await service.get_subscription("there", "missing")


@of_the_sdk
async def test_what_cannot_be_had_is_refused(service):
    topic = await service.create_topic("plain")
    for refused in (
        service.update_topic(topic, requires_duplicate_detection=True),
        service.create_topic("parted", enable_partitioning=True),
        service.create_topic("-name"),
        service.create_rule("plain", "sub1", "mine"),
    ):
        with pytest.raises(HttpResponseError) as failure:
            await refused
        assert failure.value.status_code == 400


async def test_a_removed_topic_is_gone_for_senders(service, client):
    await service.create_topic("gone")
    async with client.get_topic_sender("gone") as sender:
        await sender.send_messages(ServiceBusMessage("x"))
    await service.delete_topic("gone")
    with pytest.raises(MessagingEntityNotFoundError):
        async with client.get_topic_sender("gone") as sender:
            await sender.send_messages(ServiceBusMessage("x"))


async def test_a_full_namespace_a_busy_one_and_one_that_is_out_say_so(broker, service):
    broker.fault(entity_limit=0)
    with pytest.raises(HttpResponseError) as full:
        await service.create_topic("beyond")
    assert (full.value.status_code, "SubCode=40300" in str(full.value)) == (403, True)
    broker.fault(entity_limit=10_000)
    broker.fault(throttle={"count": 1})
    with pytest.raises(HttpResponseError) as busy:
        await service.create_topic("beyond")
    assert busy.value.status_code == 503
    await service.create_topic("beyond")


async def test_who_has_no_key_and_who_does_not_know_the_authority_are_refused(broker):
    wrong = broker.connection.partition("SharedAccessKey=")[0] + "SharedAccessKey=d3Jvbmc="
    endpoint = broker.settings["ServiceBusAdministration"].replace("https:", "sb:")
    stranger = ServiceBusAdministrationClient.from_connection_string(
        f"Endpoint={endpoint};{wrong.partition(';')[2]}", connection_verify=broker.settings["SLUICE_CA_FILE"]
    )
    async with stranger:
        with pytest.raises(ClientAuthenticationError):
            await stranger.get_topic("any")
    async with administration(broker, connection_verify=True) as trusting:
        with pytest.raises(ServiceRequestError, match="certificate"):
            await trusting.get_topic("any")
