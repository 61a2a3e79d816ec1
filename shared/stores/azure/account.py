"""The storage account: its clients, opened when first used, and its errors in our words."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableClient, TableServiceClient
from azure.storage.blob.aio import BlobServiceClient, ContainerClient, LinearRetry

from shared import identity
from shared.errors import ConfigError, TransientError
from shared.settings.model import AzureSettings

TABLE_ROLE = "Storage Table Data Contributor"
BLOB_ROLE = "Storage Blob Data Contributor"

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
BLOCK_BYTES = 1 << 20
"""A larger body goes in blocks: the HTTP client warns that more at once holds up the event loop."""

_SERVICES = ("blob", "dfs", "file", "queue", "table", "web")


class AzureAccount:
    """One storage account, reached over one HTTP session; everything below is opened when it is first used.

    The SDK sends a request again once, at once, when its connection broke, as a kept one does that the server closed
    meanwhile: waiting and trying again is for whoever called.
    """

    def __init__(self, settings: AzureSettings) -> None:
        self._settings = settings
        self._tables: TableServiceClient | None = None
        self._blobs: BlobServiceClient | None = None
        self._table_clients: dict[str, TableClient] = {}
        self._container_clients: dict[str, ContainerClient] = {}
        self._credential: AsyncTokenCredential | None = None
        self._transport: AioHttpTransport | None = None

    async def on_table[T](self, name: str, action: Callable[[TableClient], Awaitable[T]]) -> T:
        """Do something with a table, which is created if it is missing.

        Raises:
            TransientError: storage is away, or refuses us.
        """
        table = self._table(name)
        with translated(f"table {name}", TABLE_ROLE):
            try:
                return await action(table)
            except HttpResponseError as why:
                if code(why) != "TableNotFound":
                    raise
            try:
                await table.create_table()
            except ResourceExistsError as why:
                if code(why) != "TableAlreadyExists":
                    raise
            return await action(table)

    async def on_container[T](self, name: str, action: Callable[[ContainerClient], Awaitable[T]]) -> T:
        """Do something with a blob container, which is created if it is missing.

        Raises:
            TransientError: storage is away, or refuses us.
        """
        container = self._container(name)
        with translated(f"container {name}", BLOB_ROLE):
            try:
                return await action(container)
            except HttpResponseError as why:
                if code(why) != "ContainerNotFound":
                    raise
            try:
                await container.create_container()
            except ResourceExistsError as why:
                if code(why) != "ContainerAlreadyExists":
                    raise
            return await action(container)

    async def close(self) -> None:
        """Release connections; idempotent. The account is not used afterwards."""
        opened = (self._tables, self._blobs, self._credential, self._transport)
        self._tables = self._blobs = self._credential = self._transport = None
        self._table_clients.clear()
        self._container_clients.clear()
        for one in opened:
            if one is not None:
                await one.close()

    def _table(self, name: str) -> TableClient:
        if self._tables is None:
            self._tables = self._open_tables()
        if name not in self._table_clients:
            self._table_clients[name] = self._tables.get_table_client(name)
        return self._table_clients[name]

    def _container(self, name: str) -> ContainerClient:
        if self._blobs is None:
            self._blobs = self._open_blobs()
        if name not in self._container_clients:
            self._container_clients[name] = self._blobs.get_container_client(name)
        return self._container_clients[name]

    def _open_tables(self) -> TableServiceClient:
        options = self._options(retry_total=1, retry_status=0)
        if self._settings.connection_string:
            with _readable_connection_string():
                return TableServiceClient.from_connection_string(self._settings.connection_string, **options)
        return TableServiceClient(self._endpoint("table"), credential=self._sign_in(), **options)

    def _open_blobs(self) -> BlobServiceClient:
        once_more = LinearRetry(backoff=0, retry_total=1, random_jitter_range=0, retry_status=0)
        sizes = {"max_single_put_size": BLOCK_BYTES, "max_block_size": BLOCK_BYTES}
        options = self._options(retry_policy=once_more, **sizes)
        if self._settings.connection_string:
            with _readable_connection_string():
                return BlobServiceClient.from_connection_string(self._settings.connection_string, **options)
        return BlobServiceClient(self._endpoint("blob"), credential=self._sign_in(), **options)

    def _options(self, **special: Any) -> dict[str, Any]:
        self._transport = self._transport or AioHttpTransport()
        timeouts = {"connection_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
        return {"transport": self._transport, **timeouts, **special}

    def _sign_in(self) -> AsyncTokenCredential:
        self._credential = self._credential or identity.credential(self._settings)
        return self._credential

    def _endpoint(self, service: str) -> str:
        """Return a service's address from an account's name, or from the host name of any of its services.

        Source:
            https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-endpoints
        """
        host = self._settings.address.removeprefix("https://").rstrip("/")
        account, _, rest = host.partition(".")
        named, _, suffix = rest.partition(".")
        if not account or (rest and (named not in _SERVICES or not suffix)):
            reason = "not a storage account"
            hint = "give its name, `mystate`, or the host of one of its services, `mystate.table.core.windows.net`"
            raise ConfigError(reason, value=self._settings.address, hint=hint)
        return f"https://{account}.{service}.{suffix or 'core.windows.net'}"


def code(why: HttpResponseError) -> str:
    """Return the service's own word for what is wrong, `TableNotFound`; "" when it gave none."""
    found: object = getattr(why, "error_code", None) or ""
    return str(getattr(found, "value", found))


@contextmanager
def translated(what: str, role: str) -> Iterator[None]:
    """Turn errors of the SDK into TransientError, which says whether waiting mends it."""
    try:
        yield
    except (HttpResponseError, ClientAuthenticationError) as why:
        raise _refusal(why, what, role) from why
    except AzureError as why:
        reason = f"{what} cannot be reached: {_first_line(why)}"
        raise TransientError(reason, hint="see that the storage account is there and its firewall lets us in") from why


def _refusal(why: HttpResponseError, what: str, role: str) -> TransientError:
    status = why.status_code
    said = f"{what}: {status or 'no access'} {code(why) or _first_line(why)}"
    if status is None or status in (401, 403):
        hint = f"give the app's identity the role '{role}' on the account, and see that its firewall lets us in"
        return TransientError(said, lasting=True, hint=hint)
    busy = status >= 500 or status in (408, 409, 429)
    return TransientError(said, retry_after=_retry_after(why), lasting=not busy)


def _retry_after(why: HttpResponseError) -> float | None:
    headers: Mapping[str, str] = getattr(why.response, "headers", {})
    for name, unit in (("x-ms-retry-after-ms", 0.001), ("Retry-After", 1.0)):
        if (text := headers.get(name, "")).isdecimal():
            return int(text) * unit
    return None


def _first_line(why: AzureError) -> str:
    return str(why.message).partition("\n")[0]


@contextmanager
def _readable_connection_string() -> Iterator[None]:
    try:
        yield
    except ValueError:
        # The SDK's message is not passed on: it may repeat the key.
        reason = "the connection string of the storage account cannot be read"
        hint = "copy it again: DefaultEndpointsProtocol=…;AccountName=…;AccountKey=…"
        raise ConfigError(reason, hint=hint) from None
