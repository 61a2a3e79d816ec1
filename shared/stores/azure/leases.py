"""Leases of shards: blob leases, which end by themselves when their holder is gone."""

import uuid
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob.aio import BlobClient, BlobLeaseClient, ContainerClient

from shared.errors import ConfigError, LeaseError, TransientError
from shared.ports import Clock
from shared.stores.azure.account import AzureAccount, code


class AzureLease:
    """The lease of blob `name`, 15 to 60 seconds long; kept between calls, taken again when it was lost.

    Blob and container are created when they are missing, also under a holder.

    Source:
        https://learn.microsoft.com/rest/api/storageservices/lease-blob
    """

    def __init__(
        self, account: AzureAccount, container: str, name: str, clock: Clock, *, duration_s: float = 60.0
    ) -> None:
        if not 15 <= duration_s <= 60:
            reason = "a lease lasts 15 to 60 seconds"
            raise ConfigError(reason, value=f"{duration_s:g} s")
        self._account = account
        self._container = container
        self._name = name
        self._clock = clock
        self._duration_s = int(duration_s)
        self._id = str(uuid.uuid4())
        self._ends: float | None = None

    async def hold(self) -> bool:
        """Renew the lease, or take it; True when it was not held without a break since the last call.

        A lease that ran out before it was renewed counts as lost even if nobody else took it.

        Raises:
            LeaseError: another process holds it.
            TransientError: storage is away.
        """
        asked = self._clock.monotonic()  # the lease lasts at least so long from here, however late the answer comes
        unbroken = self._ends is not None and asked < self._ends
        if self._ends is None or not await self._account.on_container(self._container, self._renew):
            self._ends = None
            unbroken = False
            await self._account.on_container(self._container, self._acquire)
        self._ends = asked + self._duration_s
        return not unbroken

    async def release(self) -> None:
        """Give the lease back if it is held; one that cannot be given back ends by itself."""
        if self._ends is None:
            return
        self._ends = None
        try:
            await self._account.on_container(self._container, self._give_back)
        except TransientError:
            return

    async def _renew(self, container: ContainerClient) -> bool:
        """Return whether the lease was still ours."""
        try:
            await self._lease(container).renew(**self._timeouts())
        except HttpResponseError as why:
            if why.status_code in (404, 409, 412):
                return False
            raise
        return True

    async def _acquire(self, container: ContainerClient) -> None:
        try:
            await self._take(container)
        except HttpResponseError as why:
            if code(why) != "BlobNotFound":
                raise
            await self._create(container.get_blob_client(self._name))
            await self._take(container)

    async def _take(self, container: ContainerClient) -> None:
        try:
            await self._lease(container).acquire(self._duration_s, **self._timeouts())
        except ResourceExistsError as why:
            if code(why) != "LeaseAlreadyPresent":
                raise
            reason = f"another process holds the lease {self._container}/{self._name}"
            hint = f"when it is gone, the lease is free within {self._duration_s} s"
            raise LeaseError(reason, hint=hint) from why

    async def _create(self, blob: BlobClient) -> None:
        try:
            await blob.upload_blob(b"", overwrite=False)
        except HttpResponseError as why:
            if why.status_code not in (409, 412):  # somebody else was faster, and may hold it already
                raise

    async def _give_back(self, container: ContainerClient) -> None:
        try:
            await self._lease(container).release()
        except HttpResponseError as why:
            if why.status_code not in (404, 409, 412):
                raise

    def _lease(self, container: ContainerClient) -> BlobLeaseClient:
        # One id for life: taking the lease again after an answer was lost finds it ours.
        return BlobLeaseClient(container.get_blob_client(self._name), lease_id=self._id)

    def _timeouts(self) -> dict[str, Any]:
        third = self._duration_s / 3  # so that an answer that does not come leaves time to ask again
        return {"connection_timeout": third, "read_timeout": third}
