"""How to reach Service Bus and storage, as app settings say: a connection string, or a name and the app's identity."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from shared.settings.model import AzureSettings
from shared.settings.problems import Problems

SERVICE_BUS = "ServiceBus"
STORAGE = ("StateStorage", "AzureWebJobsStorage")


def service_bus(environ: Mapping[str, str], problems: Problems, setting: str = SERVICE_BUS) -> AzureSettings:
    """Return the connection an app setting names, an empty one when it is not set.

    Source:
        https://learn.microsoft.com/azure/azure-functions/functions-reference#configure-an-identity-based-connection
    """
    text = environ.get(setting, "")
    host = environ.get(f"{setting}__fullyQualifiedNamespace", "")
    if text and host:
        _twice(setting, "fullyQualifiedNamespace", problems)
    elif text:
        for message, hint in service_bus_faults(text):
            problems.add_setting(setting, message, hint=hint)
    elif host and ("/" in host or "." not in host):
        hint = "write the host name alone: <namespace>.servicebus.windows.net"
        problems.add_setting(f"{setting}__fullyQualifiedNamespace", "is not a host name", hint=hint)
    if not text and not host:
        return AzureSettings(client_id=_client(environ, setting))
    administration = _administration(environ, f"{setting}Administration", problems)
    return AzureSettings(text, host, _client(environ, setting), administration)


def storage(environ: Mapping[str, str], problems: Problems) -> AzureSettings:
    """Return the storage account of `StateStorage`, else of `AzureWebJobsStorage`, an empty one when neither is set.

    An account of another cloud is named by `__blobServiceUri` or `__tableServiceUri`; either implies the other.
    """
    for setting in STORAGE:
        text = environ.get(setting, "")
        account = environ.get(f"{setting}__accountName", "")
        uris = [environ.get(f"{setting}__{service}ServiceUri", "") for service in ("blob", "table")]
        hosts = [urlsplit(uri).hostname or "" for uri in uris if uri]
        address = account or next(iter(hosts), "")
        if text and address:
            _twice(setting, "accountName" if account else "blobServiceUri", problems)
        for message, hint in storage_faults(text) if text else []:
            problems.add_setting(setting, message, hint=hint)
        if len({host.partition(".")[0] for host in [account, *hosts] if host}) > 1 or not all(hosts):
            hint = "https://<account>.blob.core.windows.net and https://<account>.table.core.windows.net"
            problems.add_setting(f"{setting}__blobServiceUri", "does not name one account with the others", hint=hint)
        if text or address:
            return AzureSettings(connection_string=text, address=address, client_id=_client(environ, setting))
    return AzureSettings()


def require(bus: AzureSettings, state: AzureSettings, problems: Problems) -> None:
    """Note each connection that nothing was said about."""
    if bus == AzureSettings():
        hint = "a connection string, or ServiceBus__fullyQualifiedNamespace to use the app's identity"
        problems.add_setting(SERVICE_BUS, "is not set", hint=hint)
    if state == AzureSettings():
        hint = "a connection string, or AzureWebJobsStorage__accountName to use the app's identity"
        problems.add_setting(STORAGE[1], "is not set", hint=hint)


def service_bus_faults(text: str) -> list[tuple[str, str]]:
    """Return what is wrong with a connection string of Service Bus, each with a hint."""
    pairs = _lower(text)
    faults = []
    if not pairs.get("endpoint", "").startswith("sb://"):
        faults.append(
            ("is not a Service Bus connection string", "Endpoint=sb://…/;SharedAccessKeyName=…;SharedAccessKey=…")
        )
    elif not {"sharedaccesskeyname", "sharedaccesskey"} <= pairs.keys() and "sharedaccesssignature" not in pairs:
        faults.append(("has no key", "append SharedAccessKeyName=…;SharedAccessKey=…"))
    if "entitypath" in pairs:
        faults.append(("is of one entity", "remove EntityPath: it has to reach the queues and the topics"))
    return faults


def storage_faults(text: str) -> list[tuple[str, str]]:
    """Return what is wrong with a connection string of storage, each with a hint."""
    pairs = _lower(text)
    if pairs.keys() & {"usedevelopmentstorage", "accountname"} or {"blobendpoint", "tableendpoint"} <= pairs.keys():
        return []
    return [("is not a storage connection string", "DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…")]


def alike(one: AzureSettings, other: AzureSettings) -> bool:
    """Return whether two connections lead to the same namespace."""
    hosts = [each.address or _lower(each.connection_string).get("endpoint", "") for each in (one, other)]
    first, second = (host.lower().removeprefix("sb://").rstrip("/") for host in hosts)
    return bool(first) and first == second


def same(one: str, other: str) -> bool:
    """Return whether two connection strings say the same, in whatever order."""
    return _lower(one) == _lower(other)


def _lower(text: str) -> dict[str, str]:
    parts = (part.partition("=") for part in text.split(";") if part.strip())
    pairs = {key.strip().lower(): value.strip() for key, _, value in parts}
    return pairs | {"endpoint": pairs["endpoint"].lower().rstrip("/")} if "endpoint" in pairs else pairs


def _administration(environ: Mapping[str, str], setting: str, problems: Problems) -> str:
    """Return host and port of a management API that has an address of its own; "" where it has none."""
    text = environ.get(setting, "")
    parts = urlsplit(text)
    if text and (parts.scheme != "https" or not parts.hostname or parts.path.strip("/")):
        hint = "https://<host>:<port>; the SDK speaks it over TLS alone"
        problems.add_setting(setting, "is not the address of a management API", hint=hint)
    return parts.netloc


def _client(environ: Mapping[str, str], setting: str) -> str:
    return environ.get(f"{setting}__clientId", "")


def _twice(setting: str, name: str, problems: Problems) -> None:
    problems.add_setting(setting, f"is set, and so is {setting}__{name}", hint="remove one of them")
