"""Queues through the unmodified library, in its synchronous form."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType
from azure.servicebus.exceptions import MessageLockLostError


def test_a_message_arrives_with_everything_it_was_sent_with(broker, clients):
    broker.queue("whole")
    properties: dict[str | bytes, Any] = {
        "op": "c",
        "count": 7,
        "ok": True,
        "ratio": 0.5,
        "id": uuid.UUID(int=5),
    }
    clients.send(
        "whole",
        ServiceBusMessage(
            b"\x00body\xff",
            message_id="id-1",
            session_id="s",
            subject="c",
            content_type="application/json",
            correlation_id="corr",
            to="there",
            reply_to="here",
            reply_to_session_id="rs",
            application_properties=properties,
            time_to_live=timedelta(hours=1),
        ),
    )

    messages = clients.receiver("whole")
    [got] = messages.receive_messages(1)

    assert b"".join(got.body) == b"\x00body\xff"
    assert (got.message_id, got.session_id, got.subject) == ("id-1", "s", "c")
    assert (got.content_type, got.correlation_id, got.to) == ("application/json", "corr", "there")
    assert (got.reply_to, got.reply_to_session_id, got.time_to_live) == ("here", "rs", timedelta(hours=1))
    assert got.application_properties == {_as_read(key): _as_read(value) for key, value in properties.items()}
    assert (got.sequence_number, got.enqueued_sequence_number, got.delivery_count) == (1, 1, 0)
    assert got.enqueued_time_utc < got.locked_until_utc


def _as_read(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def test_bodies_of_values_and_sequences_pass_unchanged(broker, clients):
    broker.queue("bodies")
    sender = clients.sender("bodies")
    sender.send_messages(AmqpAnnotatedMessage(value_body={b"key": [1, 2]}))
    sender.send_messages(AmqpAnnotatedMessage(sequence_body=[[1, b"two"]]))

    messages = clients.receiver("bodies", receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE)
    value, sequence = messages.receive_messages(2)

    assert (value.body_type, value.body) == (AmqpMessageBodyType.VALUE, {b"key": [1, 2]})
    assert (sequence.body_type, list(sequence.body)) == (AmqpMessageBodyType.SEQUENCE, [[1, b"two"]])


def test_a_batch_is_received_message_by_message_in_its_order(broker, clients):
    broker.queue("batch")
    sender = clients.sender("batch")
    batch = sender.create_message_batch()
    for number in range(200):
        batch.add_message(ServiceBusMessage(str(number)))
    before = broker.traffic()["transfers_received"]
    sender.send_messages(batch)
    assert broker.traffic()["transfers_received"] - before == 1

    messages = clients.receiver("batch")
    got: list[int] = []
    while len(got) < 200:
        page = messages.receive_messages(200)
        for message in page:
            messages.complete_message(message)
        got += [int(str(message)) for message in page]

    assert got == list(range(200))
    assert broker.state("batch")["completed"] == 200
    assert broker.state("batch")["active"] == 0


def test_a_message_of_many_frames_arrives_whole(broker, clients):
    broker.queue("large")
    body = json.dumps({"x": "y" * 240_000})
    clients.send("large", ServiceBusMessage(body))

    messages = clients.receiver("large")
    [got] = messages.receive_messages(1)
    messages.complete_message(got)

    assert str(got) == body


def test_an_abandoned_message_comes_back_to_its_place_and_counts(broker, clients):
    broker.queue("abandon")
    clients.send("abandon", *(ServiceBusMessage(str(number)) for number in range(3)))

    messages = clients.receiver("abandon")
    [first] = messages.receive_messages(1)
    messages.abandon_message(first)
    again = messages.receive_messages(3)
    if len(again) < 3:
        again += messages.receive_messages(3 - len(again))

    assert [(str(message), message.delivery_count) for message in again] == [("0", 1), ("1", 0), ("2", 0)]


def test_messages_that_were_never_handed_out_come_back_without_counting(broker, clients):
    broker.queue("prefetched")
    clients.send("prefetched", *(ServiceBusMessage(str(number)) for number in range(5)))

    with clients.receiver("prefetched", prefetch_count=5) as messages:
        [first] = messages.receive_messages(1)
        messages.complete_message(first)

    broker.wait_until(lambda: broker.state("prefetched")["active"] == 4, "released messages are active")
    assert {message["delivery_count"] for message in broker.messages("prefetched")} == {0}


def test_the_last_permitted_delivery_dead_letters(broker, clients):
    broker.queue("attempts", MaxDeliveryCount=2)
    clients.send("attempts", ServiceBusMessage("poison"))

    messages = clients.receiver("attempts")
    for _ in range(2):
        [message] = messages.receive_messages(1)
        messages.abandon_message(message)
    dead = clients.receiver("attempts", sub_queue="deadletter")
    [peeked] = dead.peek_messages(5)
    [buried] = dead.receive_messages(1)
    dead.complete_message(buried)

    assert str(buried) == str(peeked) == "poison"
    assert buried.dead_letter_reason == "MaxDeliveryCountExceeded"
    assert buried.dead_letter_error_description == "Message could not be consumed after 2 delivery attempts."
    assert buried.delivery_count == 2


def test_a_dead_lettered_message_keeps_itself_and_says_why(broker, clients):
    broker.queue("bury")
    clients.send("bury", ServiceBusMessage("b", application_properties={"op": "c"}, message_id="id-1"))

    messages = clients.receiver("bury")
    [message] = messages.receive_messages(1)
    messages.dead_letter_message(message, reason="malformed", error_description="no header")
    dead = clients.receiver("bury", sub_queue="deadletter")
    [buried] = dead.receive_messages(1)
    dead.complete_message(buried)

    assert (buried.dead_letter_reason, buried.dead_letter_error_description) == ("malformed", "no header")
    assert buried.application_properties[b"op"] == b"c"
    assert (str(buried), buried.message_id, buried.sequence_number) == ("b", "id-1", 1)


def test_a_lock_that_expires_counts_and_cannot_be_settled(broker, clients):
    broker.queue("expiry", LockDuration="PT0.6S")
    clients.send("expiry", ServiceBusMessage("once"))

    messages = clients.receiver("expiry")
    [held] = messages.receive_messages(1)
    broker.wait_until(lambda: broker.state("expiry")["active"] == 1, "the lock expires")
    [again] = messages.receive_messages(1)
    with pytest.raises(MessageLockLostError):
        messages.complete_message(held)
    messages.complete_message(again)

    assert again.delivery_count == 1
    assert broker.state("expiry")["active"] == 0


def test_a_renewed_lock_lasts_longer_than_the_others(broker, clients):
    broker.queue("renewal", LockDuration="PT1S")
    clients.send("renewal", ServiceBusMessage("kept"), ServiceBusMessage("lost"))

    messages = clients.receiver("renewal")
    kept, lost = messages.receive_messages(2)
    assert messages.renew_message_lock(kept) > lost.locked_until_utc

    def lost_alone():
        messages.renew_message_lock(kept)
        return broker.state("renewal")["active"] == 1

    broker.wait_until(lost_alone, "the other lock expires")
    messages.complete_message(kept)

    [left] = broker.messages("renewal")
    assert left["delivery_count"] == 1


def test_a_lock_outlives_the_link_it_was_taken_on(broker, clients):
    broker.queue("survivor")
    clients.send("survivor", ServiceBusMessage("x"))

    messages = clients.receiver("survivor")
    [message] = messages.receive_messages(1)
    broker.fault(detach={"entity": "survivor"})
    messages.complete_message(message)

    assert broker.state("survivor")["completed"] == 1


def test_receive_and_delete_leaves_nothing_to_settle(broker, clients):
    broker.queue("rad")
    clients.send("rad", *(ServiceBusMessage(str(number)) for number in range(3)))

    messages = clients.receiver("rad", receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE)
    got = messages.receive_messages(3)
    if len(got) < 3:
        got += messages.receive_messages(3 - len(got))

    assert [str(message) for message in got] == ["0", "1", "2"]
    assert broker.state("rad")["active"] == broker.state("rad")["locked"] == 0


def test_peeking_pages_through_active_and_locked_messages(broker, clients):
    broker.queue("peek")
    clients.send("peek", *(ServiceBusMessage(str(number)) for number in range(6)))

    messages = clients.receiver("peek")
    messages.receive_messages(2)
    pages = [messages.peek_messages(4, sequence_number=1), messages.peek_messages(4, sequence_number=5)]
    end = messages.peek_messages(4, sequence_number=7)

    assert [[str(message) for message in page] for page in pages] == [["0", "1", "2", "3"], ["4", "5"]]
    assert end == []


def test_a_duplicate_within_the_window_is_accepted_dropped_and_counted(broker, clients):
    broker.queue("dedup", RequiresDuplicateDetection=True, DuplicateDetectionHistoryTimeWindow="PT0.5S")
    once = ServiceBusMessage("first", message_id="a")
    clients.send("dedup", once, ServiceBusMessage("second", message_id="a"), ServiceBusMessage("b", message_id="b"))
    assert [message["id"] for message in broker.messages("dedup")] == ["a", "b"]
    assert broker.state("dedup")["dropped_duplicates"] == 1

    sender = clients.sender("dedup")

    def sent_again():
        sender.send_messages(ServiceBusMessage("later", message_id="a"))
        return len(broker.messages("dedup")) == 3

    broker.wait_until(sent_again, "the window has passed")


def test_a_message_expires_by_the_shorter_of_its_own_and_the_queues_time_to_live(broker, clients):
    broker.queue("ttl", DefaultMessageTimeToLive="PT0.4S", DeadLetteringOnMessageExpiration=True)
    broker.queue("ttl-drop")
    clients.send("ttl", ServiceBusMessage("long", time_to_live=timedelta(hours=1)), ServiceBusMessage("default"))
    clients.send(
        "ttl-drop", ServiceBusMessage("short", time_to_live=timedelta(milliseconds=300)), ServiceBusMessage("x")
    )

    broker.wait_until(lambda: broker.state("ttl")["in_dead_letter_queue"] == 2, "both are dead-lettered")
    broker.wait_until(lambda: broker.state("ttl-drop")["active"] == 1, "the short one is dropped")

    dead = broker.messages("ttl/$DeadLetterQueue")
    assert {message["properties"]["DeadLetterReason"] for message in dead} == {"TTLExpiredException"}
    assert broker.state("ttl-drop")["in_dead_letter_queue"] == 0


def test_two_receivers_share_a_queue_and_no_message_is_seen_twice(broker, clients):
    broker.queue("shared")
    clients.send("shared", *(ServiceBusMessage(str(number)) for number in range(20)))
    receivers = clients.receiver("shared"), clients.receiver("shared")

    seen: list[int] = []
    while len(seen) < 20:
        for messages in receivers:
            for message in messages.receive_messages(3, max_wait_time=1):
                seen.append(int(str(message)))
                messages.complete_message(message)

    assert sorted(seen) == list(range(20))
