"""Topics, and every refusal as the unmodified library reports it."""

from datetime import UTC, datetime, timedelta

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusError,
    ServiceBusQuotaExceededError,
)

# The library leaves the socket of a lost connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


def test_every_subscription_gets_its_own_copy(broker, clients):
    broker.topic("copies", "one", "two", RequiresDuplicateDetection=True)
    sender = clients.topic_sender("copies")
    sender.send_messages([ServiceBusMessage(body, message_id=body) for body in ("a", "b", "a")])

    one = clients.subscription("copies", "one")
    got = one.receive_messages(2)
    one.complete_message(got[0])
    one.dead_letter_message(got[1], reason="bad")
    [dead] = clients.subscription("copies", "one", sub_queue="deadletter").receive_messages(1)

    assert [(str(message), message.enqueued_sequence_number) for message in got] == [("a", 1), ("b", 2)]
    assert (str(dead), dead.dead_letter_reason) == ("b", "bad")
    assert [message["id"] for message in broker.messages("copies/Subscriptions/two")] == ["a", "b"]
    assert broker.state("copies")["dropped_duplicates"] == 1


def test_a_message_without_a_session_is_dead_lettered_in_a_subscription_with_sessions(broker, clients):
    entry = {"Name": "needs", "Subscriptions": [{"Name": "sub1", "Properties": {"RequiresSession": True}}]}
    assert broker.call("POST", "/entities", {"Topics": [entry]})[0] == 201

    clients.topic_sender("needs").send_messages([ServiceBusMessage("x"), ServiceBusMessage("y", session_id="a")])

    assert [message["session"] for message in broker.messages("needs/Subscriptions/sub1")] == ["a"]
    [dead] = broker.messages("needs/Subscriptions/sub1/$DeadLetterQueue")
    assert dead["properties"]["DeadLetterReason"] == "Session ID is null"


def test_a_message_to_a_topic_without_subscriptions_is_lost_silently(broker, clients):
    broker.topic("nobody")

    clients.topic_sender("nobody").send_messages(ServiceBusMessage("x"))

    assert broker.state("nobody")["incoming"] == 1
    assert broker.state("nobody")["bytes"] == 0


def test_what_does_not_exist_is_not_found(broker, clients):
    broker.topic("real", "sub1")
    with pytest.raises(MessagingEntityNotFoundError, match="could not be found"):
        clients.sender("missing").send_messages(ServiceBusMessage("x"))
    with pytest.raises(MessagingEntityNotFoundError, match="could not be found"):
        clients.subscription("real", "missing").receive_messages(1)


def test_an_entity_that_is_removed_ends_its_links_and_can_come_back(broker, clients):
    broker.topic("fleeting", "sub1")
    sender = clients.topic_sender("fleeting")
    sender.send_messages(ServiceBusMessage("before"))

    status, said = broker.call("DELETE", "/entities/fleeting")
    assert (status, said["removed"][0]) == (200, "fleeting")
    with pytest.raises(ServiceBusError):
        sender.send_messages(ServiceBusMessage("lost"))
    with pytest.raises(MessagingEntityNotFoundError):
        sender.send_messages(ServiceBusMessage("lost"))

    broker.topic("fleeting", "sub1")
    sender.send_messages(ServiceBusMessage("after"))
    assert len(broker.messages("fleeting/Subscriptions/sub1")) == 1
    assert broker.call("DELETE", "/entities/never-there")[0] == 404


def test_a_message_or_batch_above_the_limit_is_refused(broker, clients):
    broker.queue("small", MaxMessageSizeInKilobytes=10)
    broker.queue("roomy")
    batch = clients.sender("roomy").create_message_batch()
    batch.add_message(ServiceBusMessage("x" * 6_000))
    batch.add_message(ServiceBusMessage("y" * 6_000))

    for too_large in (batch, ServiceBusMessage("x" * 11_000)):
        with pytest.raises(MessageSizeExceededError, match=r"exceeds the limit \(10240 bytes\)"):
            clients.sender("small").send_messages(too_large)

    assert broker.messages("small") == []


def test_the_library_learns_the_limit_from_the_link(broker, clients):
    broker.queue("learned", MaxMessageSizeInKilobytes=64)

    assert clients.sender("learned").create_message_batch().max_size_in_bytes == 64 * 1024


def test_a_full_entity_refuses_more(broker, clients):
    broker.queue("full", MaxSizeInMegabytes=1)
    sender = clients.sender("full")
    for _ in range(5):
        sender.send_messages(ServiceBusMessage("x" * 200_000))

    with pytest.raises(ServiceBusQuotaExceededError):
        sender.send_messages(ServiceBusMessage("x" * 200_000))

    assert broker.call("POST", "/purge/full")[0] == 200
    sender.send_messages(ServiceBusMessage("x" * 200_000))


def test_a_disabled_entity_takes_part_in_nothing(broker, clients):
    broker.queue("disabled", Status="Disabled")

    with pytest.raises(MessagingEntityDisabledError):
        clients.sender("disabled").send_messages(ServiceBusMessage("x"))


def test_sessions_are_required_where_they_are_required_and_refused_where_not(broker, clients):
    broker.queue("with-sessions", RequiresSession=True)
    broker.queue("without-sessions")

    with pytest.raises(ServiceBusError, match="SessionId was not set"):
        clients.sender("with-sessions").send_messages(ServiceBusMessage("x"))
    with pytest.raises(ServiceBusError, match="non-sessionful message receiver"):
        clients.receiver("with-sessions").receive_messages(1)
    with pytest.raises(ServiceBusError, match="sessionful message receiver cannot be created"):
        clients.receiver("without-sessions", session_id=NEXT_AVAILABLE_SESSION).receive_messages(1)


def test_what_the_broker_does_not_do_is_refused(broker, clients):
    broker.queue("unsupported")
    sender, receiver = clients.sender("unsupported"), clients.receiver("unsupported")
    soon = datetime.now(UTC) + timedelta(hours=1)

    with pytest.raises(ServiceBusError, match="does not support scheduled messages"):
        sender.send_messages(ServiceBusMessage("x", scheduled_enqueue_time_utc=soon))
    with pytest.raises(ServiceBusError, match="does not support the operation schedule-message"):
        sender.schedule_messages(ServiceBusMessage("x"), soon)
    sender.send_messages(ServiceBusMessage("kept"))
    [message] = receiver.receive_messages(1)
    with pytest.raises(ServiceBusError, match="does not support deferred messages"):
        receiver.defer_message(message)
    assert broker.state("unsupported")["locked"] == 1


def test_topics_are_sent_to_and_subscriptions_received_from(broker, clients):
    broker.topic("one-way", "sub1")

    with pytest.raises(ServiceBusError, match="is a topic"):
        clients.receiver("one-way").receive_messages(1)
    with pytest.raises(ServiceBusError, match="not an entity that messages can be sent to"):
        clients.sender("one-way/Subscriptions/sub1").send_messages(ServiceBusMessage("x"))


@pytest.mark.parametrize("wrong", ["SharedAccessKey=", "SharedAccessKeyName="])
def test_a_wrong_key_is_refused(broker, wrong):
    broker.queue("secret")
    connection = broker.connection.replace(wrong, f"{wrong}x")

    with (
        ServiceBusClient.from_connection_string(connection, retry_total=0) as client,
        pytest.raises(ServiceBusAuthenticationError),
        client.get_queue_sender("secret") as sender,
    ):
        sender.send_messages(ServiceBusMessage("x"))
