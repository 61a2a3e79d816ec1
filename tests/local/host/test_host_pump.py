"""The session pump, over the real SDK, against the broker."""

import asyncio
import gc
import logging
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from shared.pump import SessionPump

IDLE = timedelta(milliseconds=200)

# A connection that breaks, or whose opening is cancelled, is left to the garbage collector by the SDK (7.15).
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore:loop is closed:ResourceWarning")


@pytest.fixture(autouse=True)
def collected():
    """Let what the SDK left be collected in the test that caused it."""
    yield
    gc.collect()


def text(message) -> str:
    return b"".join(message.body).decode()


def messages(session: str, *bodies: str) -> list[ServiceBusMessage]:
    return [ServiceBusMessage(body, session_id=session) for body in bodies]


@pytest.fixture
async def client(broker):
    async with ServiceBusClient.from_connection_string(broker.connection, retry_total=0) as client:
        yield client


@asynccontextmanager
async def running(pump: SessionPump):
    """Run a pump while the block lasts; then drain it."""
    stop = asyncio.Event()
    task = asyncio.create_task(pump.run(stop))
    yield
    stop.set()
    await task


def is_empty(broker, queue) -> bool:
    state = broker.state(queue)
    return bool(state["active"] == state["locked"] == 0)


async def test_each_session_keeps_its_order_while_several_go_on_at_once(broker, client, until):
    queue = broker.queue()
    await broker.send(queue, *(one for session in "abc" for one in messages(session, "0", "1", "2", "3", "4")))
    seen = defaultdict(list)
    inside: Counter[str] = Counter()
    most = 0

    async def work(message):
        nonlocal most
        inside[message.session_id] += 1
        most = max(most, inside.total())
        assert inside[message.session_id] == 1
        await asyncio.sleep(0.3)
        inside[message.session_id] -= 1
        seen[message.session_id].append(text(message))

    async with running(SessionPump(client, queue, work, session_idle=IDLE)):
        await until(lambda: is_empty(broker, queue))
    assert seen == {session: ["0", "1", "2", "3", "4"] for session in "abc"}
    assert most >= 2


async def test_no_more_sessions_are_held_than_allowed(broker, client, until):
    queue = broker.queue()
    await broker.send(queue, *(ServiceBusMessage("x", session_id=f"s{number}") for number in range(4)))
    held = []

    async def work(_):
        held.append(sum(one["is_held"] for one in broker.state(queue)["sessions"].values()))

    pump = SessionPump(client, queue, work, max_sessions=2, session_idle=IDLE)
    async with running(pump):
        await until(lambda: is_empty(broker, queue))
    assert len(held) == 4
    assert max(held) <= 2


async def test_no_more_sessions_are_being_accepted_than_allowed(broker, client, until) -> None:
    async def work(_): ...

    def connections() -> int:
        return int(broker.call("GET", "/state")["connections"])

    before = connections()
    async with running(SessionPump(client, broker.queue(), work, accepting=3)):
        await until(lambda: connections() == before + 3)
        await asyncio.sleep(1)
        assert connections() == before + 3


async def test_a_message_whose_callback_raises_comes_again_before_the_next(broker, client, until, caplog):
    queue = broker.queue()
    await broker.send(queue, *messages("a", "first", "second"))
    seen = []

    async def work(message):
        seen.append((text(message), message.delivery_count))
        if len(seen) < 3:
            message = "on purpose"
            raise ValueError(message)

    async with running(SessionPump(client, queue, work, session_idle=IDLE)):
        await until(lambda: is_empty(broker, queue))
    assert seen == [("first", 0), ("first", 1), ("first", 2), ("second", 0)]
    assert caplog.text.count("message abandoned") == 2


async def test_the_lock_is_renewed_for_as_long_as_a_callback_takes(broker, client, until, caplog):
    queue = broker.queue(LockDuration="PT1S")
    await broker.send(queue, *messages("a", "slow", "next"))
    seen = []

    async def work(message):
        seen.append((text(message), message.delivery_count))
        await asyncio.sleep(2.2 if text(message) == "slow" else 0)

    async with running(SessionPump(client, queue, work, session_idle=IDLE)):
        await until(lambda: is_empty(broker, queue))
    assert seen == [("slow", 0), ("next", 0)]
    assert caplog.text == ""


async def test_past_the_longest_renewal_the_lost_settlement_is_logged_and_the_message_comes_again(
    broker, client, until, caplog
):
    queue = broker.queue(LockDuration="PT1S")
    await broker.send(queue, *messages("a", "slow"))
    counts = []

    async def work(message):
        counts.append(message.delivery_count)
        await asyncio.sleep(2 if len(counts) == 1 else 0)

    pump = SessionPump(client, queue, work, session_idle=IDLE, max_auto_lock_renewal=timedelta(milliseconds=100))
    async with running(pump):
        await until(lambda: is_empty(broker, queue))
    assert counts == [0, 1]
    assert "session lock no longer renewed" in caplog.text
    assert caplog.text.count("settlement lost, the message comes again") == 1


async def test_a_drain_finishes_what_is_under_way_and_takes_nothing_more(broker, client):
    queue = broker.queue()
    await broker.send(queue, *messages("a", "first", "second"))
    began = asyncio.Event()
    done = []

    async def work(message):
        began.set()
        await asyncio.sleep(0.5)
        done.append(text(message))

    async with running(SessionPump(client, queue, work, session_idle=timedelta(seconds=60))):
        await began.wait()
    assert done == ["first"]
    state = broker.state(queue)
    assert (state["active"], state["locked"]) == (1, 0)
    assert not state["sessions"]["a"]["is_held"]


async def test_a_drain_does_not_wait_for_an_idle_session_or_an_empty_queue(broker, client, until):
    queue = broker.queue()
    await broker.send(queue, *messages("a", "x"))

    async def work(_): ...

    loop = asyncio.get_running_loop()
    async with running(SessionPump(client, queue, work, session_idle=timedelta(seconds=60))):
        await until(lambda: is_empty(broker, queue))
        asked = loop.time()
    assert loop.time() - asked < 10


async def test_an_outage_and_the_settlement_it_costs_are_logged_once_and_work_goes_on(broker, client, until, caplog):
    caplog.set_level(logging.INFO, "sluice.pump")
    queue = broker.queue()
    await broker.send(queue, *messages("a", "x"))
    seen = []

    async def work(message):
        seen.append(text(message))
        if len(seen) == 1:
            broker.call("POST", "/faults", {"outage_s": 1.5})

    async with running(SessionPump(client, queue, work, session_idle=IDLE)):
        await until(lambda: seen and not broker.call("GET", "/state")["is_out"])
        await broker.send(queue, *messages("a", "y"), *messages("b", "z"))
        await until(lambda: len(seen) == 4 and is_empty(broker, queue), 30)
    assert [one for one in seen if one != "z"] == ["x", "x", "y"]
    assert caplog.text.count("settlement lost, the message comes again") == 1
    assert caplog.text.count("no sessions can be accepted") == 1
    assert caplog.text.count("sessions are accepted again") == 1


async def test_sessions_of_one_message_drain_at_more_than_a_hundred_a_minute(broker, client, until):
    queue = broker.queue()
    await broker.send(queue, *(ServiceBusMessage("x", session_id=f"s{number}") for number in range(40)))

    async def work(_): ...

    async with running(SessionPump(client, queue, work, accepting=4)):
        await until(lambda: is_empty(broker, queue), 40 / 100 * 60)
