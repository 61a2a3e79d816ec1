"""Sessions through the unmodified library, in its asynchronous form."""

import asyncio
from typing import Any

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

# The library leaves the socket of a lost connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


def fill(clients: Any, queue: str, *sessions: str) -> None:
    """Send one message per named session; its body is its number."""
    clients.send(queue, *(ServiceBusMessage(str(number), session_id=one) for number, one in enumerate(sessions)))


def accept(client: ServiceBusClient, queue: str, session_id: Any = NEXT_AVAILABLE_SESSION, wait_s: float = 5) -> Any:
    return client.get_queue_receiver(queue, session_id=session_id, max_wait_time=wait_s)


async def test_each_session_is_held_by_one_receiver_and_arrives_in_order(broker, client, clients):
    broker.queue("fifo", RequiresSession=True)
    fill(clients, "fifo", "a", "b", "a", "b", "a")

    async def drain() -> tuple[str, list[str]]:
        async with accept(client, "fifo") as receiver:
            got = await receiver.receive_messages(10, max_wait_time=2)
            await asyncio.gather(*(receiver.complete_message(message) for message in got))
            return receiver.session.session_id, [str(message) for message in got]

    assert sorted(await asyncio.gather(drain(), drain())) == [("a", ["0", "2", "4"]), ("b", ["1", "3"])]
    assert broker.state("fifo")["completed"] == 5


async def test_a_named_session_is_refused_to_a_second_receiver_until_the_first_closes(broker, client, clients):
    broker.queue("named", RequiresSession=True)
    fill(clients, "named", "a")

    async with accept(client, "named", "a") as first:
        assert broker.state("named")["sessions"]["a"]["is_held"]
        with pytest.raises(SessionCannotBeLockedError):
            async with accept(client, "named", "a"):
                pass
        assert [str(message) for message in await first.receive_messages(1)] == ["0"]
    async with accept(client, "named", "a") as second:
        [again] = await second.receive_messages(1)
        await second.complete_message(again)

    assert again.delivery_count == 0, "closing a session with unsettled messages counts no delivery"


async def test_the_next_session_is_waited_for(broker, client):
    broker.queue("waited", RequiresSession=True)

    async def wait() -> str:
        async with accept(client, "waited", wait_s=10) as receiver:
            return str(receiver.session.session_id)

    waiting = asyncio.create_task(wait())
    async with client.get_queue_sender("waited") as sender:
        await sender.send_messages(ServiceBusMessage("x", session_id="late"))
        assert await waiting == "late"


async def test_nobody_sends_and_the_wait_times_out(broker, client):
    broker.queue("empty", RequiresSession=True)

    with pytest.raises(OperationTimeoutError):
        async with accept(client, "empty", wait_s=1):
            pass


async def test_a_session_that_is_given_up_waits_behind_the_others(broker, client, clients):
    broker.queue("turns", RequiresSession=True)
    fill(clients, "turns", "a", "a", "b")

    order = []
    for _ in range(2):
        async with accept(client, "turns") as receiver:
            order.append(receiver.session.session_id)
            [message] = await receiver.receive_messages(1)
            await receiver.complete_message(message)

    assert order == ["a", "b"]


async def test_state_is_kept_and_the_lock_renewed(broker, client):
    broker.queue("stateful", RequiresSession=True, LockDuration="PT5S")

    async with accept(client, "stateful", "a") as receiver:
        assert await receiver.session.get_state() is None
        await receiver.session.set_state(b"\x00halfway")
        before = receiver.session.locked_until_utc
        assert await receiver.session.renew_lock() > before
    async with accept(client, "stateful", "a") as receiver:
        assert await receiver.session.get_state() == b"\x00halfway"
        await receiver.session.set_state(None)

    assert broker.state("stateful")["sessions"] == {}


async def test_a_session_lock_that_expires_is_lost_for_good_and_counts_the_delivery(broker, client, clients):
    broker.queue("lapsed", RequiresSession=True, LockDuration="PT0.8S")
    fill(clients, "lapsed", "a")

    async with accept(client, "lapsed", "a") as receiver:
        [message] = await receiver.receive_messages(1)
        broker.wait_until(lambda: not broker.state("lapsed")["sessions"]["a"]["is_held"], "the lock expires")
        with pytest.raises(SessionLockLostError):
            await receiver.complete_message(message)
        with pytest.raises(SessionLockLostError):
            await receiver.session.renew_lock()

    assert [message["delivery_count"] for message in broker.messages("lapsed")] == [1]


async def test_an_abandoned_message_of_a_session_comes_first_again(broker, client, clients):
    broker.queue("again", RequiresSession=True, MaxDeliveryCount=2)
    fill(clients, "again", "a", "a")

    async with accept(client, "again", "a") as receiver:
        [first] = await receiver.receive_messages(1)
        await receiver.abandon_message(first)
        [second] = await receiver.receive_messages(1)
        assert (str(second), second.delivery_count) == ("0", 1)
        await receiver.abandon_message(second)
        [third] = await receiver.receive_messages(1)
        assert str(third) == "1"
        await receiver.dead_letter_message(third, reason="bad")

    dead = broker.messages("again/$DeadLetterQueue")
    reasons = [(message["session"], message["properties"]["DeadLetterReason"]) for message in dead]
    assert reasons == [("a", "MaxDeliveryCountExceeded"), ("a", "bad")]
    async with client.get_queue_receiver("again", sub_queue="deadletter") as receiver:
        got = await receiver.receive_messages(2, max_wait_time=3)
    assert [message.session_id for message in got] == ["a"] * len(got)


async def test_sessions_with_messages_are_listed_in_pages(broker, client, clients):
    broker.queue("listed", RequiresSession=True)
    fill(clients, "listed", *(f"s{number:03}" for number in range(150)))

    assert sorted([one async for one in client.list_queue_sessions("listed")]) == [
        f"s{number:03}" for number in range(150)
    ]


def test_a_session_is_free_as_soon_as_its_connection_is_gone(broker, clients):
    broker.queue("cut", RequiresSession=True)
    clients.send("cut", ServiceBusMessage("x", session_id="a"))

    clients.receiver("cut", session_id="a").receive_messages(1)
    broker.fault(outage_s=0.1)
    broker.wait_until(lambda: not broker.state("cut")["sessions"]["a"]["is_held"], "the session is free")

    assert [message["delivery_count"] for message in broker.messages("cut")] == [0]
