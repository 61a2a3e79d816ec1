"""What every kind of sink promises; each kind brings a `Place` and passes all of it."""

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Protocol

import pytest

from shared.errors import RejectedError, TransientError
from shared.events import Message
from shared.ports import Sink


class Place(Protocol):
    """One kind of sink under test, and what is at its destinations."""

    @property
    def sink(self) -> Sink: ...

    refuses: bool  # whether a destination can refuse a message, be missing, or drop repeats
    away: bool  # whether a destination can be taken away

    async def destination(self) -> str:
        """Return a new, empty destination."""
        ...

    async def received(self, to: str) -> Sequence[tuple[str, bytes]]:
        """Return id and body of all that is durable at `to`, in its order."""
        ...

    async def take_away(self, to: str) -> None: ...
    async def bring_back(self, to: str) -> None: ...


def message(to: str, number: int, session: str = "sql1/TestDB/dbo/Persons", size: int = 0) -> Message:
    """Return a change as it is sent: its body names destination and event, so that it can be told apart anywhere."""
    event_id = f"{session.replace('/', '-')}.{number}"
    body = {"data": {"N": number, "Text": "x" * size}, "metadata": {"Destination": to, "EventID": event_id}}
    content = json.dumps(body, separators=(",", ":")).encode()
    return Message(event_id, session, "c", "application/json", content, {"op": "c", "event_id": event_id})


def sent(messages: Sequence[Message]) -> list[tuple[str, bytes]]:
    return [(each.id, each.body) for each in messages]


async def within_reach(place: Place, to: str, messages: Sequence[Message]) -> None:
    """Send again, as whoever holds messages does, until the destination is back."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await place.sink.send(to, messages)
            except TransientError:
                await asyncio.sleep(0.05)


class SinkSuite:
    async def test_when_send_returns_everything_is_durable_in_order(self, place: Place) -> None:
        to = await place.destination()
        messages = [message(to, number, size=number) for number in range(1_000)]

        await place.sink.send(to, messages)

        assert await place.received(to) == sent(messages)

    async def test_nothing_is_sent_for_no_messages(self, place: Place) -> None:
        to = await place.destination()

        await place.sink.send(to, [])

        assert await place.received(to) == []

    async def test_later_sends_come_after_earlier_ones(self, place: Place) -> None:
        to = await place.destination()
        messages = [message(to, number) for number in range(10)]

        for each in messages:
            await place.sink.send(to, [each])

        assert await place.received(to) == sent(messages)

    async def test_each_session_keeps_its_order_among_others(self, place: Place) -> None:
        to = await place.destination()
        messages = [message(to, number, session=f"session/{number * number % 3}") for number in range(60)]

        await place.sink.send(to, messages)

        found = await place.received(to)
        for session in {each.session for each in messages}:
            mine = sent([each for each in messages if each.session == session])
            assert [each for each in found if each in mine] == mine

    async def test_sends_to_one_destination_at_once_do_not_mix_up_a_session(self, place: Place) -> None:
        to = await place.destination()
        sends = [[message(to, number, session=f"session/{n}") for number in range(20)] for n in range(5)]

        await asyncio.gather(*(place.sink.send(to, messages) for messages in sends))

        found = await place.received(to)
        assert len(found) == sum(map(len, sends))
        for messages in sends:
            mine = sent(messages)
            assert [each for each in found if each in mine] == mine

    async def test_sends_to_different_destinations_run_side_by_side(self, place: Place) -> None:
        sends = {to: [message(to, n) for n in range(10)] for to in [await place.destination() for _ in range(5)]}

        await asyncio.gather(*(place.sink.send(to, messages) for to, messages in sends.items()))

        for to, messages in sends.items():
            assert await place.received(to) == sent(messages)

    async def test_a_destination_that_is_away_is_no_reason_to_reject(self, place: Place) -> None:
        if not place.away:
            pytest.skip("needs a broker that can be cut off: unset SLUICE_TEST_SERVICEBUS")
        to = await place.destination()
        first, second = message(to, 1), message(to, 2)
        await place.sink.send(to, [first])
        await place.take_away(to)

        with pytest.raises(TransientError) as failure:
            await place.sink.send(to, [second])

        assert not failure.value.lasting
        await place.bring_back(to)
        await within_reach(place, to, [first, second])
        assert list(dict.fromkeys(await place.received(to))) == sent([first, second])

    async def test_sending_again_repeats_the_same_ids(self, place: Place) -> None:
        to = await place.destination()
        messages = [message(to, number) for number in range(5)]

        await place.sink.send(to, messages[:3])
        await place.sink.send(to, messages)

        found = await place.received(to)
        assert list(dict.fromkeys(found)) == sent(messages)
        assert len(found) == (5 if place.refuses else 8)

    async def test_a_missing_destination_is_a_lasting_fault_with_a_remedy(self, place: Place) -> None:
        if not place.refuses:
            pytest.skip("every destination of this kind exists")
        await place.sink.send(present := await place.destination(), [message(present, 1)])

        with pytest.raises(TransientError) as failure:
            await place.sink.send("missing", [message("missing", 1)])

        assert failure.value.lasting
        assert failure.value.hint
        await place.sink.send(present, [message(present, 2)])
        assert len(await place.received(present)) == 2

    async def test_a_message_that_is_too_large_is_rejected_and_those_before_it_are_durable(self, place: Place) -> None:
        if not place.refuses:
            pytest.skip("no message is too large for this kind")
        to = await place.destination()
        messages = [message(to, number, size=300_000 if number == 7 else 10) for number in range(10)]

        with pytest.raises(RejectedError, match=re.escape(messages[7].id)):
            await place.sink.send(to, messages)
        assert await place.received(to) == sent(messages[:7])

        with pytest.raises(RejectedError):
            await place.sink.send(to, [messages[7]])
        await place.sink.send(to, messages[8:])
        assert await place.received(to) == sent(messages[:7] + messages[8:])

    async def test_closing_twice_is_the_same_as_once(self, place: Place) -> None:
        to = await place.destination()
        await place.sink.send(to, [message(to, 1)])

        await place.sink.close()
        await place.sink.close()

        assert await place.received(to) == sent([message(to, 1)])
