"""The pace of the management API, what its refusals mean to the operator, and how it is reached."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from shared.administration import OPERATIONS_PER_SECOND, ServiceBusAdministration, _Pace, client
from shared.clock import ManualClock
from shared.errors import ConfigError, TransientError
from shared.settings.model import AzureSettings, TopicsSettings

KEY = "SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0"
BUS = AzureSettings(f"Endpoint=sb://bus.servicebus.windows.net/;{KEY}")


@dataclass
class Response:
    """What the errors of the SDK look at."""

    status_code: int
    headers: dict[str, str] = field(default_factory=dict)
    reason: str = "refused"

    def text(self, encoding: str | None = None) -> str:
        return ""


def refusal(status: int, detail: str = "", **headers: str) -> HttpResponseError:
    body = (
        f"Operation returned an invalid status\nContent: <Error><Code>{status}</Code><Detail>{detail}</Detail></Error>"
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response: Any = Response(status, named)
    return HttpResponseError(body, response)


@pytest.fixture
async def administration():
    made = ServiceBusAdministration("ServiceBus", BUS, TopicsSettings(), ManualClock())
    yield made
    await made.close()


async def test_operations_are_spread_over_time():
    clock = ManualClock()
    pace = _Pace(clock)
    for _ in range(101):
        await pace.turn()
    assert clock.monotonic() == pytest.approx(100 / OPERATIONS_PER_SECOND)


async def test_a_busy_namespace_is_left_alone_for_as_long_as_it_asks():
    clock = ManualClock()
    pace = _Pace(clock)
    assert pace.slow_down(refusal(503, Retry_After="7")) == 7.0
    await pace.turn()
    assert clock.monotonic() == pytest.approx(7)
    assert pace.slow_down(refusal(503)) is None


@pytest.mark.parametrize(
    ("why", "lasting", "hint"),
    [
        (refusal(401), True, "Azure Service Bus Data Owner"),
        (ClientAuthenticationError("no token"), True, "TopicAdmin__clientId"),
        (refusal(403, "SubCode=40300. Quota."), True, "at its quota"),
        (refusal(403, "SubCode=40301. Conflict."), False, ""),
        (refusal(409, "SubCode=40901. Another operation."), False, ""),
        (refusal(429), False, ""),
        (refusal(500), False, ""),
        (refusal(503, "SubCode=50009. Busy."), False, ""),
    ],
)
async def test_a_refusal_says_whether_waiting_mends_it(administration, why, lasting, hint):
    with pytest.raises(TransientError) as failure, administration._translated("orders"):
        raise why
    assert (failure.value.lasting, hint in failure.value.hint) == (lasting, True)


async def test_what_no_waiting_mends_is_a_matter_of_configuration(administration):
    with pytest.raises(ConfigError, match="No such size"), administration._translated("orders"):
        raise refusal(400, "SubCode=40000. No such size.")


async def test_a_management_api_is_at_the_host_of_its_connection_or_at_an_address_of_its_own():
    for connection, host in (
        (BUS, "bus.servicebus.windows.net"),
        (AzureSettings(BUS.connection_string, administration="127.0.0.1:5300"), "127.0.0.1:5300"),
        (AzureSettings(f"{KEY};endpoint=sb://x/", administration="127.0.0.1:5300"), "127.0.0.1:5300"),
        (AzureSettings(address="bus.servicebus.windows.net"), "bus.servicebus.windows.net"),
    ):
        made, closing = client(connection)
        assert made.fully_qualified_namespace == host
        await closing.aclose()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (f"Endpoint=sb://127.0.0.1;{KEY};UseDevelopmentEmulator=true", "set ServiceBusAdministration="),
        ("Endpoint=sb:/;Shared=c2VjcmV0", "give Endpoint="),
    ],
)
def test_a_connection_that_leads_to_no_management_api_is_refused_and_stays_secret(text, hint):
    with pytest.raises(ConfigError) as failure:
        client(AzureSettings(text))
    assert hint in failure.value.hint
    assert "c2VjcmV0" not in str(failure.value)
