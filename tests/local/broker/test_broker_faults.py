"""Each fault, seen from the unmodified library."""

import asyncio
import base64
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient, ServiceBusMessage
from azure.servicebus.exceptions import ServiceBusError, ServiceBusServerBusyError

# The library leaves the socket of a lost connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


PROGRAM = """
import sys
from azure.servicebus import ServiceBusClient, ServiceBusMessage
with ServiceBusClient.from_connection_string(sys.argv[1]) as client:
    with client.get_queue_sender(sys.argv[2]) as sender:
        sender.send_messages(ServiceBusMessage("from the killed"))
"""


def numbered(count: int, session: str | None = None) -> list[ServiceBusMessage]:
    return [ServiceBusMessage(str(number), session_id=session) for number in range(count)]


def bodies(broker: Any, entity: str) -> list[str]:
    return [base64.b64decode(message["body"]).decode() for message in broker.messages(entity)]


def test_an_outage_cuts_and_refuses_connections_and_keeps_the_contents(broker):
    broker.queue("out")
    with (
        ServiceBusClient.from_connection_string(broker.connection, retry_total=4, retry_backoff_factor=0.1) as client,
        client.get_queue_sender("out") as sender,
    ):
        sender.send_messages(ServiceBusMessage("before"))
        broker.fault(outage_s=0.7)
        port = int(broker.connection.partition(";")[0].rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        sender.send_messages(ServiceBusMessage("after"))

    assert bodies(broker, "out") == ["before", "after"]


def test_a_throttled_entity_is_busy_as_often_as_asked(broker, clients):
    broker.queue("busy")
    broker.fault(throttle={"entity": "busy", "count": 2})
    sender = clients.sender("busy")
    for _ in range(2):
        with pytest.raises(ServiceBusServerBusyError, match="50009"):
            sender.send_messages(ServiceBusMessage("x"))
    sender.send_messages(ServiceBusMessage("x"))

    assert broker.state("busy")["incoming"] == 1


def test_one_send_is_refused_with_the_condition_asked_for(broker, clients):
    broker.queue("refusing")
    broker.queue("willing")
    broker.fault(refuse={"entity": "refusing", "count": 1, "condition": "com.microsoft:timeout"})
    refusing = clients.sender("refusing")

    clients.sender("willing").send_messages(ServiceBusMessage("x"))
    with pytest.raises(ServiceBusError, match=r"com\.microsoft:timeout"):
        refusing.send_messages(ServiceBusMessage("x"))
    refusing.send_messages(ServiceBusMessage("x"))


def test_requests_are_answered_later_while_a_delay_is_set(broker, clients):
    broker.queue("slow")
    sender = clients.sender("slow")
    sender.send_messages(ServiceBusMessage("0"))
    broker.fault(delay_s=0.4, entity="slow")
    started = time.monotonic()
    sender.send_messages(ServiceBusMessage("1"))
    took = time.monotonic() - started
    broker.fault(delay_s=0, entity="slow")
    sender.send_messages(ServiceBusMessage("2"))

    assert took >= 0.4
    assert bodies(broker, "slow") == ["0", "1", "2"]


def test_messages_are_removed_swapped_and_dead_lettered_where_asked(broker, clients):
    broker.queue("edited", RequiresSession=True)
    clients.sender("edited").send_messages(numbered(6, "a"))
    here = {"entity": "edited", "session": "a"}

    broker.fault(remove={**here, "index": 1})
    assert bodies(broker, "edited") == ["0", "2", "3", "4", "5"]
    broker.fault(remove={**here, "index": -1})
    broker.fault(swap={**here, "index": 0})
    assert bodies(broker, "edited") == ["2", "0", "3", "4"]
    broker.fault(dead_letter={**here, "index": 2, "reason": "on purpose"})
    assert bodies(broker, "edited/$DeadLetterQueue") == ["3"]
    assert broker.call("POST", "/faults", {"remove": {**here, "index": 9}})[0] == 400

    receiver = clients.receiver("edited", session_id="a")
    assert [str(message) for message in receiver.receive_messages(3)] == ["2", "0", "4"]
    broker.fault(purge="edited")
    assert broker.state("edited")["locked"] == broker.state("edited")["active"] == 0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_paused_send_is_applied_before_or_after_it_is_resumed(broker, client, when):
    queue = broker.queue(f"pause-send-{when}")
    async with client.get_queue_sender(queue) as sender:
        broker.fault(pause={"on": "send", "entity": queue, "after": 2, "when": when})
        await sender.send_messages(ServiceBusMessage("0"))
        sending = asyncio.create_task(sender.send_messages(ServiceBusMessage("1")))
        [paused] = await asyncio.to_thread(broker.wait_until, broker.paused, "the send is paused")
        assert {**paused, "id": 0} == {"id": 0, "on": "send", "entity": queue, "when": when}
        assert bodies(broker, queue) == (["0"] if when == "before" else ["0", "1"])
        assert not sending.done()

        broker.fault(resume=paused["id"])
        await sending

    assert bodies(broker, queue) == ["0", "1"]


@pytest.mark.parametrize(("when", "kept"), [("before", 0), ("after", 1)])
def test_a_client_killed_at_a_paused_send_has_or_has_not_sent(broker, when, kept):
    queue = broker.queue(f"killed-{when}")
    broker.fault(pause={"on": "send", "entity": queue, "when": when})
    with subprocess.Popen([sys.executable, "-c", PROGRAM, broker.connection, queue]) as process:
        [paused] = broker.wait_until(broker.paused, "the send is paused")
        process.kill()
    broker.fault(resume=paused["id"], drop=True)

    assert len(broker.messages(queue)) == kept
    assert broker.paused() == []


@pytest.mark.parametrize(("when", "left"), [("before", 1), ("after", 0)])
def test_a_dropped_settlement_was_applied_or_not(broker, clients, when, left):
    queue = broker.queue(f"pause-settle-{when}", RequiresSession=True)
    clients.sender(queue).send_messages(numbered(1, "a"))
    receiver = clients.receiver(queue, session_id="a")
    [message] = receiver.receive_messages(1)
    broker.fault(pause={"on": "settle", "entity": queue, "when": when})
    with ThreadPoolExecutor(1) as thread:
        settling = thread.submit(receiver.complete_message, message)
        [paused] = broker.wait_until(broker.paused, "the settlement is paused")
        broker.fault(resume="all", drop=True)
        with pytest.raises(ServiceBusError):
            settling.result()

    assert paused["on"] == "settle"
    assert len(broker.messages(queue)) == left


@pytest.mark.parametrize(("when", "locked"), [("before", 0), ("after", 1)])
def test_a_paused_delivery_is_locked_or_not_and_keeps_its_order(broker, clients, when, locked):
    queue = broker.queue(f"pause-receive-{when}", RequiresSession=True)
    clients.sender(queue).send_messages(numbered(3, "a"))
    broker.fault(pause={"on": "receive", "entity": queue, "after": 2, "when": when})
    receiver = clients.receiver(queue, session_id=NEXT_AVAILABLE_SESSION)

    [first] = receiver.receive_messages(3)
    assert (str(first), broker.state(queue)["locked"]) == ("0", 1 + locked)
    broker.fault(resume="all")
    rest = receiver.receive_messages(2)
    if len(rest) < 2:
        rest += receiver.receive_messages(1)

    assert [str(message) for message in rest] == ["1", "2"]


def test_an_unknown_fault_is_refused(broker):
    for wrong in ({"explode": 1}, {"pause": {"on": "lunch"}}, {"resume": 99}, {"purge": "nowhere"}, {}):
        assert broker.call("POST", "/faults", wrong)[0] == 400


def test_faults_can_be_cleared_together(broker, clients):
    broker.queue("cleared")
    broker.fault(throttle={"entity": "cleared", "count": 9})
    broker.fault(delay_s=9, entity="cleared")
    broker.fault(clear=True)

    clients.sender("cleared").send_messages(ServiceBusMessage("x"))
