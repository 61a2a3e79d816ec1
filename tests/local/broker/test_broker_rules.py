"""The rules of a queue without the wire: what holds for any sequence of requests."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.broker import codec
from local.broker.clock import Alarm, now_ms
from local.broker.conditions import AmqpError
from local.broker.entity import Duplicates, Settings
from local.broker.lanes import Stored
from local.broker.management import Call, perform
from local.broker.message import Message
from local.broker.queues import Queue
from local.broker.topics import Topic

MAX_DELIVERIES = 3


def message(number: int) -> Message:
    return Message(codec.described(0x75, codec.binary(b"%d" % number)), message_id=str(number), session_id=None)


def fresh_queue(**properties: Any) -> Queue:
    limits = Settings(max_delivery_count=MAX_DELIVERIES, **properties)
    return Queue("q", limits, Queue("q/$DeadLetterQueue", Settings(), None))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["take", "take and delete"]), st.just(0)),
        st.tuples(st.sampled_from(["complete", "abandon", "release", "dead-letter", "renew"]), st.integers(0, 5)),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(steps)
def test_no_message_is_lost_or_doubled_and_the_first_active_one_is_taken(chosen):
    asyncio.run(_run(chosen))


async def _run(chosen: list[tuple[str, int]]) -> None:
    queue, held, sent, gone = fresh_queue(), list[Stored](), 0, 0
    settle: dict[str, Callable[[bytes], object]] = {
        "complete": queue.complete,
        "abandon": queue.abandon,
        "release": queue.release,
        "dead-letter": lambda token: queue.dead_letter(token, "r", "d"),
        "renew": queue.renew,
    }
    for step, number in chosen:
        if step == "send":
            queue.send([message(sent + one) for one in range(number)])
            sent += number
        elif step in settle and held:
            chosen_one = held[number % len(held)]
            settle[step](chosen_one.token)
            gone += step == "complete"
            if step != "renew":
                held.remove(chosen_one)
        elif step.startswith("take"):
            first = min((one for one in queue.messages if one not in {h.sequence_number for h in held}), default=None)
            taken = queue.take(queue.lane, locked=step == "take")
            assert (taken.sequence_number if taken else None) == first
            if taken is not None and step == "take":
                held.append(taken)
            gone += taken is not None and step != "take"
        grave = queue.dead_letters
        assert grave is not None
        assert (queue.active, len(queue.locks)) == (queue.lane.active, len(held))
        assert len(queue.messages) + len(grave.messages) + gone == sent
        assert all(one.delivery_count < MAX_DELIVERIES for one in queue.messages.values())
    queue.close()


async def test_an_expired_message_is_neither_taken_nor_peeked_for_long():
    queue = fresh_queue(ttl_ms=20)
    queue.send([message(0)])
    while queue.messages:  # noqa: ASYNC110 - a queue tells nobody
        await asyncio.sleep(0.01)

    assert queue.take(queue.lane, locked=True) is None
    assert queue.counts.expired == 1


async def test_an_expired_lock_counts_until_the_message_is_dead_lettered():
    queue = fresh_queue(lock_ms=10)
    queue.send([message(0)])
    for deliveries in range(MAX_DELIVERIES):
        taken = queue.take(queue.lane, locked=True)
        assert taken is not None
        assert taken.delivery_count == deliveries
        while queue.locks:  # noqa: ASYNC110 - a queue tells nobody
            await asyncio.sleep(0.005)

    assert queue.dead_letters is not None
    assert (len(queue.messages), len(queue.dead_letters.messages)) == (0, 1)


def test_the_window_of_duplicates_counts_from_the_first_message():
    duplicates = Duplicates(window_ms=100)

    assert [duplicates.is_repeat("a", at) for at in (0, 60, 99, 100, 199, 200)] == [
        False,
        True,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("operation", "condition"),
    [
        ("schedule-message", "amqp:not-implemented"),
        ("cancel-scheduled-message", "amqp:not-implemented"),
        ("receive-by-sequence-number", "amqp:not-implemented"),
        ("add-rule", "amqp:not-implemented"),
        ("enumerate-rules", "amqp:not-implemented"),
        ("renew-session-lock", "amqp:not-allowed"),
        ("make-coffee", "com.microsoft:argument-error"),
    ],
)
def test_what_a_management_node_cannot_do_is_refused(operation, condition):
    with pytest.raises(AmqpError) as refused:
        perform(fresh_queue(), Call(operation, {"session-id": "a"}, b"", None))

    assert refused.value.condition == condition


def test_a_topic_sends_who_asks_to_its_subscriptions():
    with pytest.raises(AmqpError, match="is a topic"):
        perform(Topic("t", Settings()), Call("peek-message", {}, b"", None))


async def test_an_alarm_rings_once_at_the_earliest_time_it_was_set_to():
    rung: list[int] = []
    done = asyncio.Event()

    def ring() -> None:
        rung.append(now_ms())
        done.set()

    alarm, start = Alarm(ring), now_ms()
    for delay_ms in (5000, 30, 9000):
        alarm.set(start + delay_ms)
    await asyncio.wait_for(done.wait(), 5)

    assert len(rung) == 1
    assert start + 30 <= rung[0] < start + 4000
