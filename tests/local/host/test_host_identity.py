import pytest
from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential

from local.host.errors import FunctionError
from local.host.identity import blob_client, credential, service_bus_client
from local.host.settings import Connection


@pytest.mark.parametrize(
    ("properties", "kind"),
    [
        ({}, DefaultAzureCredential),
        ({"credential": "managedidentity", "clientid": "c"}, ManagedIdentityCredential),
        ({"tenantid": "t", "clientid": "c", "clientsecret": "s"}, ClientSecretCredential),
    ],
)
async def test_the_properties_of_a_connection_choose_the_credential(properties, kind):
    async with credential(properties) as chosen:
        assert isinstance(chosen, kind)


async def test_a_namespace_is_reached_with_an_identity():
    properties = {"fullyqualifiednamespace": "name.servicebus.windows.net"}
    async with service_bus_client("Bus", Connection(properties=properties)) as client:
        assert client.fully_qualified_namespace == "name.servicebus.windows.net"


@pytest.mark.parametrize(
    "properties", [{"accountname": "name"}, {"blobserviceuri": "https://name.blob.core.windows.net"}]
)
async def test_a_storage_account_is_reached_with_an_identity(properties):
    async with blob_client("AzureWebJobsStorage", Connection(properties=properties)) as client:
        assert client.url.startswith("https://name.blob.core.windows.net")


def test_a_connection_that_names_nothing_is_refused():
    with pytest.raises(FunctionError, match="'Bus' is missing or empty"):
        service_bus_client("Bus", None)
    with pytest.raises(FunctionError, match="Bus__fullyQualifiedNamespace"):
        service_bus_client("Bus", Connection(properties={"credential": "managedidentity"}))
    with pytest.raises(FunctionError, match="'Bus' is malformed"):
        service_bus_client("Bus", Connection(string="Endpoint"))
    with pytest.raises(FunctionError, match="'X' is malformed"):
        blob_client("X", Connection(string="rubbish"))
    with pytest.raises(FunctionError, match="X__accountName"):
        blob_client("X", Connection(properties={"credential": "managedidentity"}))
