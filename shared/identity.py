"""Who the app is to Azure: its managed identity there, the developer's own sign-in elsewhere."""

import os
from typing import TYPE_CHECKING

from shared.settings.model import AzureSettings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


def credential(settings: AzureSettings) -> "AsyncTokenCredential":
    """Return a credential for a service that is reached without a connection string; its owner closes it.

    `settings.client_id` picks one of several user-assigned identities.

    Source:
        https://learn.microsoft.com/azure/developer/python/sdk/authentication/credential-chains#defaultazurecredential-overview
    """
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential  # noqa: PLC0415 - slow to load

    client_id = settings.client_id or None
    if "IDENTITY_ENDPOINT" in os.environ:  # set where the app has a managed identity; the chain would only be slower
        return ManagedIdentityCredential(client_id=client_id)
    return DefaultAzureCredential(managed_identity_client_id=client_id)
