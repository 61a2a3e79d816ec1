"""What a Service Bus sink does beyond the promise of every sink: properties, senders, the service's own errors."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient

from shared.errors import ConfigError, TransientError
from shared.events import Message
from shared.settings.model import AzureSettings
from shared.sinks import servicebus
from shared.sinks.servicebus import QueueLook, ServiceBusSink
from tests.conformance.service_bus import LIVE, OnServiceBus, namespace, place
from tests.conformance.sink_suite import message, sent, within_reach

local_only = pytest.mark.skipif(bool(LIVE), reason="needs a broker with faults: unset SLUICE_TEST_SERVICEBUS")


@pytest.fixture(scope="module")
def where() -> Iterator[tuple[str, str]]:
    with namespace() as found:
        yield found


@pytest.fixture
async def bus(where: tuple[str, str]) -> AsyncIterator[OnServiceBus]:
    async with place(where) as opened:
        yield opened


def everything(received: ServiceBusReceivedMessage) -> dict[str, Any]:
    """Return all that a receiver sees and that is not the service's own doing."""
    raw = received.raw_amqp_message
    theirs = {b"x-opt-enqueued-time", b"x-opt-sequence-number", b"x-opt-enqueue-sequence-number"}
    return {
        "properties": dict(raw.properties or {}),
        "header": {name: value for name, value in dict(raw.header or {}).items() if name != "delivery_count"},
        "annotations": {name: value for name, value in (raw.annotations or {}).items() if name not in theirs},
        "application_properties": received.application_properties,
        "body": [*received.body],
        "session and partition": (received.session_id, received.partition_key),
        "time_to_live": received.time_to_live,
    }


async def test_a_receiver_cannot_tell_encoded_messages_from_those_of_the_sdk(where: tuple[str, str]) -> None:
    messages = [
        Message("m1", "sql1/db", "c", "application/json", b"{}", {"op": "c", "n": 7, "long": 2**40, "text": "é" * 200}),
        Message("m2", "sql1/db", "d", "text/plain", b"x" * 100_000, {}, "of m1"),
        Message("m3", "sql1/db", "u", "application/vnd.sluice.pack", b"", {"n": -(2**31)}),
    ]
    async with place(where, encoded=True) as fast, place(where, encoded=False) as plain:
        seen = []
        for bus in (fast, plain):
            to = await bus.queue()
            await bus.sink.send(to, messages)
            seen.append([everything(each) for each in await bus.messages(to)])

    assert seen[0] == seen[1]
    assert [each["session and partition"] for each in seen[0]] == [("sql1/db", "sql1/db")] * 3
    assert [b"".join(each["body"]) for each in seen[0]] == [each.body for each in messages]


async def test_a_session_is_received_in_order_from_a_queue_that_requires_sessions(bus: OnServiceBus) -> None:
    to = await bus.queue(sessions=True)
    messages = [message(to, number, session=f"session/{number % 2}") for number in range(10)]

    await bus.sink.send(to, messages)

    client = ServiceBusClient.from_connection_string(bus.connection_string)
    async with client, client.get_queue_receiver(to, session_id="session/1") as receiver:
        found = await receiver.peek_messages(100)
    assert [each.message_id for each in found] == [each.id for each in messages if each.session == "session/1"]


@local_only
async def test_no_more_senders_are_kept_than_allowed_and_none_in_use_is_closed(where: tuple[str, str]) -> None:
    async with place(where, max_senders=2) as bus:
        slow, *others = [await bus.queue() for _ in range(5)]
        await bus.sink.send(slow, [message(slow, 0)])
        await bus.fault({"pause": {"on": "send", "entity": slow}})
        waiting = asyncio.create_task(bus.sink.send(slow, [message(slow, 1)]))
        await bus.until(lambda state: state["paused"])

        await asyncio.gather(*(bus.sink.send(to, [message(to, 0)]) for to in others))

        await bus.fault({"resume": "all"})
        await waiting
        assert await bus.received(slow) == sent([message(slow, 0), message(slow, 1)])
        await bus.until(lambda state: state["connections"] <= 2)


@local_only
async def test_a_sender_is_opened_once_and_senders_are_opened_side_by_side(bus: OnServiceBus) -> None:
    queues = [await bus.queue() for _ in range(8)]
    before = (await bus.state())["traffic"]["connections_opened"]

    async with asyncio.timeout(3):  # one after the other: half a second each
        await asyncio.gather(*(bus.sink.send(to, [message(to, 0)]) for to in queues))
    await asyncio.gather(*(bus.sink.send(to, [message(to, 1)]) for to in queues))

    assert (await bus.state())["traffic"]["connections_opened"] - before == len(queues)


@local_only
async def test_many_messages_go_in_few_transfers(bus: OnServiceBus) -> None:
    to = await bus.queue()
    await bus.sink.send(to, [message(to, 0)])
    before = (await bus.state())["traffic"]["transfers_received"]

    await bus.sink.send(to, [message(to, number, size=400) for number in range(1, 1_001)])

    assert (await bus.state())["traffic"]["transfers_received"] - before == 3  # 256 KiB hold some 400 of 600 bytes


@local_only
async def test_a_link_that_the_service_closed_while_idle_is_opened_again_unnoticed(bus: OnServiceBus) -> None:
    to = await bus.queue()
    await bus.sink.send(to, [message(to, 1)])

    await bus.fault({"detach": {"entity": to}})
    await bus.sink.send(to, [message(to, 2)])

    assert await bus.received(to) == sent([message(to, 1), message(to, 2)])


@local_only
async def test_a_batch_that_the_link_finds_too_large_goes_in_halves(bus: OnServiceBus) -> None:
    to = await bus.queue()
    messages = [message(to, number) for number in range(7)]
    await bus.fault({"refuse": {"entity": to, "count": 2, "condition": "amqp:link:message-size-exceeded"}})

    await bus.sink.send(to, messages)

    assert await bus.received(to) == sent(messages)


@local_only
async def test_a_throttled_entity_says_how_long_to_wait_and_keeps_its_sender(bus: OnServiceBus) -> None:
    to = await bus.queue()
    await bus.sink.send(to, [message(to, 1)])
    opened = (await bus.state())["traffic"]["connections_opened"]
    await bus.fault({"throttle": {"entity": to, "count": 2}})

    with pytest.raises(TransientError, match="throttled") as failure:
        await bus.sink.send(to, [message(to, 2)])

    assert failure.value.retry_after == 2.0
    assert not failure.value.lasting
    await bus.sink.send(to, [message(to, 2)])
    assert (await bus.state())["traffic"]["connections_opened"] == opened


@local_only
@pytest.mark.parametrize(
    ("condition", "remedy"),
    [
        ("amqp:resource-limit-exceeded", "quota"),
        ("com.microsoft:entity-disabled", "status"),
        ("amqp:unauthorized-access", "Azure Service Bus Data Sender"),
        ("amqp:not-found", "create "),
    ],
)
async def test_a_fault_that_needs_the_operator_is_lasting_and_names_the_remedy(
    bus: OnServiceBus, condition: str, remedy: str
) -> None:
    to = await bus.queue()
    await bus.fault({"refuse": {"entity": to, "count": 2, "condition": condition}})

    with pytest.raises(TransientError) as failure:
        await bus.sink.send(to, [message(to, 1)])

    assert failure.value.lasting
    assert remedy in failure.value.hint
    await within_reach(bus, to, [message(to, 1)])
    assert await bus.received(to) == sent([message(to, 1)])


async def test_a_wrong_key_is_a_lasting_fault_and_stays_secret(bus: OnServiceBus) -> None:
    to = await bus.queue()
    key = "d3JvbmcgYnV0IHNlY3JldA=="
    said = [part for part in bus.connection_string.split(";") if not part.startswith("SharedAccessKey=")]
    wrong = AzureSettings(connection_string=";".join([*said, f"SharedAccessKey={key}"]))
    sink = ServiceBusSink(wrong, max_message_bytes=262_144)

    with pytest.raises(TransientError) as failure:
        await sink.send(to, [message(to, 1)])
    await sink.close()

    assert failure.value.lasting
    assert "role 'Azure Service Bus Data Sender'" in failure.value.hint
    assert key not in str(failure.value)


def test_a_malformed_connection_is_a_matter_of_configuration_and_stays_secret() -> None:
    with pytest.raises(ConfigError) as failure:
        ServiceBusSink(AzureSettings(connection_string="Endpoint=sb:/;Shared=secret"), max_message_bytes=262_144)

    assert failure.value.hint
    assert "secret" not in str(failure.value)


@local_only
async def test_a_service_that_does_not_answer_is_not_waited_for_for_ever(
    where: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(servicebus._OPTIONS, "try_timeout", 0.8)
    async with place(where) as bus:
        to = await bus.queue()
        await bus.sink.send(to, [message(to, 1)])
        await bus.fault({"pause": {"on": "send", "entity": to}})

        with pytest.raises(TransientError) as failure:
            await bus.sink.send(to, [message(to, 2)])

        assert not failure.value.lasting
        await bus.fault({"resume": "all"})
        await within_reach(bus, to, [message(to, 2), message(to, 3)])
        assert list(dict.fromkeys(await bus.received(to))) == sent([message(to, number) for number in (1, 2, 3)])


@local_only
async def test_after_a_cancelled_send_the_next_one_keeps_the_order(bus: OnServiceBus) -> None:
    to = await bus.queue()
    await bus.sink.send(to, [message(to, 1)])
    await bus.fault({"pause": {"on": "send", "entity": to}})
    cancelled = asyncio.create_task(bus.sink.send(to, [message(to, 2)]))
    await bus.until(lambda state: state["paused"])

    cancelled.cancel()
    await asyncio.wait([cancelled])
    await bus.fault({"resume": "all", "drop": True})
    await bus.sink.send(to, [message(to, 2), message(to, 3)])

    assert await bus.received(to) == sent([message(to, number) for number in (1, 2, 3)])


@local_only
async def test_dead_lettered_messages_are_counted_and_left_where_they_are(bus: OnServiceBus) -> None:
    to = await bus.queue()
    await bus.sink.send(to, [message(to, number) for number in range(120)])
    look = QueueLook(bus.connection)

    assert await look.dead_lettered(to) == 0
    for _ in range(3):
        await bus.fault({"dead_letter": {"entity": to}})
    assert await look.dead_lettered(to) == 3
    assert await look.dead_lettered(to) == 3
    for _ in range(100):
        await bus.fault({"dead_letter": {"entity": to}})
    assert await look.dead_lettered(to) == 100
    await look.close()


async def test_a_look_into_a_missing_queue_says_so(bus: OnServiceBus) -> None:
    look = QueueLook(bus.connection)

    with pytest.raises(TransientError, match="missing") as failure:
        await look.dead_lettered("missing")
    await look.close()

    assert failure.value.lasting
