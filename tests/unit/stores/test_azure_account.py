import subprocess
import sys
from types import SimpleNamespace
from typing import cast

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.core.pipeline.transport import HttpResponse

from shared.clock import ManualClock
from shared.errors import ConfigError, TransientError
from shared.settings.model import AzureSettings
from shared.stores.azure.account import AzureAccount, translated
from shared.stores.azure.leases import AzureLease


def answered(status: int, **headers: str) -> HttpResponse:
    return cast(HttpResponse, SimpleNamespace(status_code=status, reason="Reason", headers=headers))


def seen(why: Exception) -> TransientError:
    with pytest.raises(TransientError) as raised, translated("table sluice", "Some Role"):
        raise why
    return raised.value


@pytest.mark.parametrize(
    ("address", "table"),
    [
        ("mystate", "https://mystate.table.core.windows.net"),
        ("mystate.blob.core.windows.net", "https://mystate.table.core.windows.net"),
        ("https://mystate.table.core.usgovcloudapi.net/", "https://mystate.table.core.usgovcloudapi.net"),
    ],
)
def test_every_service_is_found_from_the_account_or_from_one_of_its_hosts(address: str, table: str) -> None:
    assert AzureAccount(AzureSettings(address=address))._endpoint("table") == table


async def test_both_services_share_one_identity_and_one_connection_pool() -> None:
    account = AzureAccount(AzureSettings(address="mystate", client_id="00000000-0000-0000-0000-000000000001"))
    table, container = account._table("sluice"), account._container("claims")
    assert table.url == "https://mystate.table.core.windows.net"
    assert container.url == "https://mystate.blob.core.windows.net/claims"
    assert table.credential is container.credential is account._credential
    assert account._table("sluice") is table
    await account.close()
    await account.close()


@pytest.mark.parametrize("address", ["", "https://", "mystate.example.com", "mystate.blob"])
async def test_an_address_of_something_else_is_refused(address: str) -> None:
    account = AzureAccount(AzureSettings(address=address))
    with pytest.raises(ConfigError, match="not a storage account"):
        await account.on_table("sluice", lambda table: table.create_table())
    await account.close()


async def test_a_connection_string_that_cannot_be_read_is_refused_without_repeating_it() -> None:
    account = AzureAccount(AzureSettings(connection_string="AccountKey=secret"))
    for opened in (account.on_table("sluice", _unreachable), account.on_container("claims", _unreachable)):
        with pytest.raises(ConfigError, match="connection string") as raised:
            await opened
        assert "secret" not in str(raised.value)
    await account.close()


async def _unreachable(_client: object) -> None:
    pytest.fail("there is nothing to open")


def test_what_a_refusal_means() -> None:
    assert not seen(ServiceRequestError("no route")).lasting
    assert not seen(HttpResponseError(response=answered(500))).lasting
    assert not seen(HttpResponseError(response=answered(429))).lasting
    assert seen(HttpResponseError(response=answered(404))).lasting
    assert seen(HttpResponseError(response=answered(403))).lasting
    assert "Some Role" in seen(HttpResponseError(response=answered(403))).hint
    assert "Some Role" in seen(ClientAuthenticationError("no identity endpoint\nmore")).hint


def test_the_peer_says_how_long_to_wait() -> None:
    busy = answered(503, **{"Retry-After": "7"})
    assert seen(HttpResponseError(response=busy)).retry_after == 7
    busy = answered(503, **{"x-ms-retry-after-ms": "1500"})
    assert seen(HttpResponseError(response=busy)).retry_after == 1.5
    assert seen(HttpResponseError(response=answered(503))).retry_after is None


@pytest.mark.parametrize("duration_s", [14.0, 61.0])
def test_a_lease_that_azure_would_not_grant_is_refused(duration_s: float) -> None:
    with pytest.raises(ConfigError, match="15 to 60"):
        AzureLease(AzureAccount(AzureSettings()), "leases", "shard-0", ManualClock(), duration_s=duration_s)


def test_a_connection_string_needs_no_identity_library() -> None:
    code = """
import asyncio, sys
from shared.settings.model import AzureSettings
from shared.stores.azure.account import AzureAccount

async def main():
    account = AzureAccount(AzureSettings(connection_string="AccountName=a;AccountKey=a2V5"))
    account._table("sluice"), account._container("claims")
    await account.close()

asyncio.run(main())
assert not [name for name in sys.modules if name.startswith("azure.identity")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
