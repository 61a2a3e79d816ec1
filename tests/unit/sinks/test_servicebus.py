"""What the service's errors mean to the operator, where no broker can be made to say them."""

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.servicebus.exceptions import ServiceBusConnectionError, ServiceBusError, ServiceBusServerBusyError

from shared.errors import TransientError
from shared.events import Message
from shared.sinks.memory import MemorySink
from shared.sinks.servicebus import SpreadSink, _translation


def test_an_identity_without_a_token_is_a_lasting_fault_that_names_the_role():
    why = ServiceBusError("Handler failed", error=ClientAuthenticationError("no managed identity"))

    found = _translation("orders", "Azure Service Bus Data Sender", why)

    assert found.lasting
    assert "Azure Service Bus Data Sender" in found.hint


@pytest.mark.parametrize(
    ("why", "wait"),
    [
        (ServiceBusServerBusyError(message="Error code : 50009. Please wait 10 seconds and try again."), 10.0),
        (ServiceBusServerBusyError(message="The service is busy."), None),
        (ServiceBusConnectionError(message="Connection reset. Please wait 10 seconds."), None),
        (ServiceBusError("anything else"), None),
    ],
)
def test_what_passes_by_itself_is_not_lasting_and_is_waited_for_as_the_service_says(why, wait):
    found = _translation("orders", "any", why)

    assert not found.lasting
    assert found.retry_after == wait
    assert "orders" in str(found)


async def test_a_topic_is_looked_up_once_and_one_without_a_place_is_looked_up_again():
    asked: list[str] = []
    placed: dict[str, str] = {}

    async def look_up(topic: str) -> str | None:
        asked.append(topic)
        return placed.get(topic)

    here, there = MemorySink(), MemorySink()
    sink = SpreadSink({"A": here, "B": there}, look_up)
    message = Message("1", "sql1/db", "c", "application/json", b"{}")

    with pytest.raises(TransientError, match="topic orders is in no namespace yet") as failure:
        await sink.send("orders", [message])
    assert (failure.value.lasting, "sluice topics sync" in failure.value.hint) == (True, True)
    placed["orders"] = "B"
    for _ in range(3):
        await sink.send("orders", [message])
    assert (asked, len(here.kept["orders"]), len(there.kept["orders"])) == (["orders", "orders"], 0, 3)

    placed["cars"] = "Z"
    with pytest.raises(TransientError, match="is in Z, which is not listed") as failure:
        await sink.send("cars", [message])
    assert failure.value.lasting
    await sink.send("anything", [])
    assert "anything" not in asked
