import pytest
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from shared.identity import credential
from shared.settings.model import AzureSettings


@pytest.mark.parametrize("client_id", ["", "00000000-0000-0000-0000-000000000001"])
async def test_where_the_app_has_an_identity_it_is_used(monkeypatch: pytest.MonkeyPatch, client_id: str) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    found = credential(AzureSettings(client_id=client_id))
    assert isinstance(found, ManagedIdentityCredential)
    await found.close()


async def test_elsewhere_the_developer_is_signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    found = credential(AzureSettings())
    assert isinstance(found, DefaultAzureCredential)
    await found.close()
