"""What the service's errors mean to the operator, where no broker can be made to say them."""

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.servicebus.exceptions import ServiceBusConnectionError, ServiceBusError, ServiceBusServerBusyError

from shared.sinks.servicebus import _translation


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
