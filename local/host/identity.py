"""Azure clients for the connections of bindings: connection strings, or identities."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential
from azure.servicebus.aio import ServiceBusClient
from azure.storage.blob.aio import BlobServiceClient

from local.host.errors import FunctionError
from local.host.settings import Connection


def credential(properties: Mapping[str, str]) -> AsyncTokenCredential:
    """Return the credential an identity-based connection asks for; without a word about it, what this machine has.

    Source: https://learn.microsoft.com/azure/azure-functions/functions-reference#common-properties-for-identity-based-connections
    """
    client = properties.get("clientid")
    if properties.get("credential", "").lower() == "managedidentity":
        return ManagedIdentityCredential(client_id=client)
    if client and "clientsecret" in properties and "tenantid" in properties:
        return ClientSecretCredential(properties["tenantid"], client, properties["clientsecret"])
    return DefaultAzureCredential()


def service_bus_client(name: str, connection: Connection | None) -> ServiceBusClient:
    """Return a client for the connection that a trigger names `name`; it does not retry: the pump does.

    Raises:
        FunctionError: the connection is not configured, or malformed.
    """
    if connection is None:
        message = f"Microsoft Azure WebJobs SDK ServiceBus connection string '{name}' is missing or empty."
        raise FunctionError(message)
    if connection.string:
        with _named(name):
            return ServiceBusClient.from_connection_string(connection.string, retry_total=0)
    namespace = connection.properties.get("fullyqualifiednamespace")
    if not namespace:
        message = f"the connection '{name}' has no '{name}__fullyQualifiedNamespace'"
        raise FunctionError(message)
    return ServiceBusClient(namespace, credential(connection.properties), retry_total=0)


def blob_client(name: str, connection: Connection) -> BlobServiceClient:
    """Return a client for a storage account; it does not retry: who holds a lock has to know soon that it is away.

    Raises:
        FunctionError: the connection names no account, or is malformed.
    """
    if connection.string:
        with _named(name):
            return BlobServiceClient.from_connection_string(connection.string, retry_total=0)
    properties = connection.properties
    account = properties.get("accountname")
    url = properties.get("blobserviceuri") or (account and f"https://{account}.blob.core.windows.net")
    if not url:
        message = f"the connection '{name}' has neither '{name}__accountName' nor '{name}__blobServiceUri'"
        raise FunctionError(message)
    return BlobServiceClient(url, credential(properties), retry_total=0)


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as why:  # its text may hold a key: it is not repeated
        message = f"the connection string '{name}' is malformed"
        raise FunctionError(message) from why
