"""What the instances of an app share in Azure Storage: the status of timers, and a lock so that only one fires.

Container `azure-webjobs-hosts`, as in Azure: `locks/<host id>/Host.Functions.<name>.Listener` is leased by the instance
that fires, `timers/<host id>/Host.Functions.<name>/status` holds `Last`, `Next` and `LastUpdated`.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, BlobServiceClient

from local.host.host_json import SingletonOptions
from local.host.timer import Status
from local.host.waiting import set_within

CONTAINER = "azure-webjobs-hosts"
RENEW_AGAIN_S = 1.0
AWAY_S = 5.0

_log = logging.getLogger("Host.Storage")


class BlobStorage:
    """Timer status and locks of one app in one storage account.

    `instance` names this process across restarts: the next process of that name takes the locks over at once, where
    Azure waits for the lease to run out.
    """

    def __init__(self, client: BlobServiceClient, host_id: str, options: SingletonOptions, instance: str) -> None:
        self._client = client
        self._host_id = host_id
        self._lease_s = int(options.lease.total_seconds())
        self._polling_s = options.polling.total_seconds()
        self._instance = instance

    async def load(self, function: str) -> Status | None:
        """Return the stored status of a timer, None when there is none that can be read."""
        try:
            content = await (await self._status(function).download_blob()).readall()
        except ResourceNotFoundError:
            return None
        stored = json.loads(content)
        last = _time(stored["Last"])
        return Status(None if last.year == 1 else last, _time(stored["Next"]), _time(stored["LastUpdated"]))

    async def save(self, function: str, status: Status) -> None:
        """Store the status of a timer."""
        with suppress(ResourceExistsError):
            await self._client.create_container(CONTAINER)
        await self._status(function).upload_blob(json.dumps(status.to_json()), overwrite=True)

    @asynccontextmanager
    async def lock(self, function: str, stop: asyncio.Event) -> AsyncIterator[asyncio.Event]:
        """Lease the lock of a timer, waiting for it; the event is set once stopped, or the lease is lost."""
        blob = self._client.get_blob_client(CONTAINER, f"locks/{self._host_id}/Host.Functions.{function}.Listener")
        name = f"{self._instance}/{self._host_id}/{function}"
        lease = BlobLeaseClient(blob, lease_id=str(uuid.uuid5(uuid.NAMESPACE_URL, name)))
        while (wait_s := await self._acquire(blob, lease, function)) > 0:
            if await set_within(stop, wait_s):
                yield stop
                return
        end = asyncio.Event()
        renewal = asyncio.create_task(self._renew(lease, function, stop, end))
        try:
            yield end
        finally:
            renewal.cancel()
            with suppress(AzureError):  # an unreleased lease runs out
                await lease.release()

    async def _acquire(self, blob: BlobClient, lease: BlobLeaseClient, function: str) -> float:
        """Return 0 with the lease held, otherwise after how many seconds to try again."""
        try:
            try:
                await lease.acquire(self._lease_s)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):
                    await self._client.create_container(CONTAINER)
                with suppress(ResourceExistsError):
                    await blob.upload_blob(b"")
                await lease.acquire(self._lease_s)
        except ResourceExistsError:
            _log.info("The listener of 'Functions.%s' waits: another instance holds its lock", function)
            return self._polling_s
        except AzureError as why:
            _log.warning("The lock of 'Functions.%s' cannot be taken: %s", function, why)
            return AWAY_S
        _log.debug("Lock of 'Functions.%s' acquired", function)
        return 0.0

    async def _renew(self, lease: BlobLeaseClient, function: str, stop: asyncio.Event, end: asyncio.Event) -> None:
        expires = time.monotonic() + self._lease_s
        wait_s = self._lease_s / 2
        while not await set_within(stop, wait_s):
            try:
                await lease.renew()
                expires = time.monotonic() + self._lease_s
                wait_s = self._lease_s / 2
            except AzureError as why:
                _log.warning("The lock of 'Functions.%s' cannot be renewed: %s", function, why)
                wait_s = RENEW_AGAIN_S
                if isinstance(why, ResourceExistsError) or time.monotonic() + wait_s > expires:
                    break
        end.set()

    def _status(self, function: str) -> BlobClient:
        return self._client.get_blob_client(CONTAINER, f"timers/{self._host_id}/Host.Functions.{function}/status")


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
