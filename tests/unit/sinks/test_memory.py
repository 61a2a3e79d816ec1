"""The faults of the sink in memory; its promise as a sink is in the conformance suite."""

import asyncio

import pytest

from shared.errors import RejectedError, TransientError
from shared.events import Message
from shared.sinks.memory import MemorySink, Outage


def messages(*ids: str) -> list[Message]:
    return [Message(each, "session", "c", "application/json", b"{}") for each in ids]


def kept(sink: MemorySink, to: str = "to") -> list[str]:
    return [each.id for each in sink.kept[to]]


async def test_an_outage_lasts_as_many_calls_as_it_is_told_and_keeps_what_came_before_it():
    sink = MemorySink()
    sink.away("to", Outage(calls=2, keep=1, retry_after=3.0))

    for _ in range(2):
        with pytest.raises(TransientError) as failure:
            await sink.send("to", messages("a", "b"))
        assert failure.value.retry_after == 3.0
    await sink.send("to", messages("a", "b"))

    assert kept(sink) == ["a", "a", "a", "b"]
    assert sink.calls["to"] == 3


async def test_a_lasting_outage_of_one_destination_leaves_the_others_alone():
    sink = MemorySink()
    sink.away("to", Outage(lasting=True))

    with pytest.raises(TransientError) as failure:
        await sink.send("to", messages("a"))
    await sink.send("other", messages("a"))

    assert failure.value.lasting
    assert kept(sink, "other") == ["a"]


async def test_a_refused_message_is_rejected_after_those_before_it_were_kept():
    sink = MemorySink()
    sink.refuse("to", lambda message: message.id == "b")

    with pytest.raises(RejectedError, match="b"):
        await sink.send("to", messages("a", "b", "c"))
    assert kept(sink) == ["a"]

    sink.mend("to")
    await sink.send("to", messages("b", "c"))
    assert kept(sink) == ["a", "b", "c"]


async def test_repeats_are_dropped_and_counted_only_where_duplicates_are_detected():
    detecting, plain = MemorySink(detect_duplicates=True), MemorySink()

    for sink in (detecting, plain):
        await sink.send("to", messages("a", "b"))
        await sink.send("to", messages("b", "c"))

    assert kept(detecting) == ["a", "b", "c"]
    assert detecting.dropped["to"] == 1
    assert kept(plain) == ["a", "b", "b", "c"]


async def test_a_cancelled_send_keeps_a_prefix():
    sink = MemorySink()
    sending = asyncio.create_task(sink.send("to", messages("a", "b", "c")))
    while not sink.kept["to"]:  # noqa: ASYNC110 - every turn of the loop is one message
        await asyncio.sleep(0)

    sending.cancel()
    await asyncio.wait([sending])

    assert kept(sink) == ["a"]
