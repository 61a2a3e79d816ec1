"""Claim checks: bodies too large for the broker, one blob each."""

import hashlib

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import ContainerClient

from shared.errors import RejectedError
from shared.events import ClaimCheck
from shared.stores.azure.account import AzureAccount


class AzureClaimStore:
    """Keeps each body in the blob named by its event's id."""

    def __init__(self, account: AzureAccount, container: str) -> None:
        self._account = account
        self._container = container

    async def put(self, event_id: str, body: bytes) -> ClaimCheck:
        """Store the body, replacing an earlier one."""

        async def upload(container: ContainerClient) -> None:
            await container.upload_blob(event_id, body, overwrite=True, max_concurrency=4)

        await self._account.on_container(self._container, upload)
        return ClaimCheck(self._container, event_id, len(body), hashlib.sha256(body).hexdigest())

    async def get(self, claim: ClaimCheck) -> bytes:
        """Return the body.

        Raises:
            RejectedError: it is gone, or is not the one that was put.
        """

        async def download(container: ContainerClient) -> bytes:
            try:
                blob = await container.download_blob(claim.blob)
                return await blob.readall()
            except ResourceNotFoundError as why:
                reason = f"claim {claim.container}/{claim.blob} is gone"
                raise RejectedError(reason) from why

        body = await self._account.on_container(claim.container, download)
        if hashlib.sha256(body).hexdigest() != claim.sha256:
            reason = f"claim {claim.container}/{claim.blob} is not the body that was put"
            raise RejectedError(reason)
        return body
