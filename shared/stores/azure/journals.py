"""Journals: one entity each, in partitions beside those of the states; what is too large for it in blobs of its own.

A blob is named once and never written again, so that whoever still holds an older version of the journal reads what
that version said, or nothing.

Source:
    https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
"""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import batched

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableEntity
from azure.data.tables.aio import TableClient
from azure.storage.blob.aio import ContainerClient

from shared import naming
from shared.errors import ConfigError, StaleError, TransientError
from shared.events import Journal, Part, Saved, Stream
from shared.stores.azure import forms
from shared.stores.azure.account import AzureAccount, code
from shared.stores.azure.entities import get, put

INLINE_BYTES = 48 * 1024
"""Up to so many bytes all parts together stay in the entity; a property holds 64 KiB."""
INLINE_PARTS = 200
"""Up to so many parts, each a property of its own; an entity has 252."""
MAX_CARRIED = 128
"""Names of dropped blobs that a version carries on. It may drop each blob of the one before as well, and a property
holds 32 Ki characters, 481 names."""
AT_ONCE = 16

REMEDY = "delete the journal's entity to begin with a snapshot"

log = logging.getLogger("sluice.stores")


class AzureJournalStore:
    """Keeps journals in the table of the states, and their large parts in a container; knows its own writes again."""

    def __init__(self, account: AzureAccount, table: str, container: str) -> None:
        self._account = account
        self._table = table
        self._container = container
        self._writer = uuid.uuid4().hex

    async def load(self, source: str) -> Sequence[Saved[Journal]]:
        """Return the journals of a source; one that this release cannot read is left out, and logged."""
        last = forms.journal_partition(naming.BUCKETS - 1)
        query = "PartitionKey ge @first and PartitionKey le @last and source eq @source"
        bounds = {"first": forms.journal_partition(0), "last": last, "source": source}

        async def read(table: TableClient) -> list[TableEntity]:
            return [entity async for entity in table.query_entities(query, parameters=bounds)]

        journals: list[Saved[Journal]] = []
        for some in batched(await self._account.on_table(self._table, read), AT_ONCE, strict=False):
            for found in await asyncio.gather(*map(self._journal, some), return_exceptions=True):
                if isinstance(found, ConfigError):
                    log.error("journal left out", extra={"source": source, "reason": str(found)})
                elif isinstance(found, BaseException):
                    raise found
                else:
                    journals.append(found)
        return journals

    async def find(self, stream: Stream, known: Saved[Journal] | None = None) -> Saved[Journal] | None:
        """Return one journal, None when there is none; `known` itself if it is the newest.

        Raises:
            ConfigError: a newer release wrote it, or a part of it is gone.
        """
        entity = await self._entity(*forms.journal_key(stream))
        if entity is None or known is None or entity.metadata["etag"] != known.etag:
            return await self._journal(entity) if entity is not None else None
        return known

    async def save(self, journal: Saved[Journal]) -> Saved[Journal]:
        """Store the large parts that are new, then the entity if it still has its etag; then delete what it dropped.

        Raises:
            StaleError: somebody else wrote it.
            TransientError: the store is away, or refuses it: that is lasting, and nothing was written.
        """
        value, new = _aside(journal.value)
        blobs = [part.blob for part in new]
        await self._upload(new)
        entity = forms.journal_entity(Saved(value, journal.etag), self._writer)
        try:
            etag = await put(self._account, self._table, entity, journal.etag)
        except TransientError as why:
            if not why.lasting:  # it may have been written
                raise
            await self._clean(blobs)
            reason = f"the journal of {value.stream} cannot be stored: {why.message}"
            raise TransientError(reason, lasting=True, hint=why.hint or REMEDY) from why
        if etag is None:
            await self._clean(blobs)
            reason = f"the journal of {value.stream} was changed by somebody else"
            raise StaleError(reason, hint="read it again")
        await self._clean(value.dropped)
        return Saved(replace(value, dropped=()), etag)

    async def _upload(self, parts: Sequence[Part]) -> None:
        """Store parts, all or none."""

        async def upload(part: Part) -> None:
            await self._account.on_container(
                self._container, lambda container: container.upload_blob(part.blob, part.data, overwrite=True)
            )

        try:
            await _all(map(upload, parts))
        except TransientError:
            await self._clean([part.blob for part in parts])
            raise

    async def _clean(self, blobs: Sequence[str]) -> None:
        """Delete blobs that nothing refers to; those that stay behind are named again by the next version, or lost."""
        try:
            await self._delete(blobs)
        except TransientError as why:
            log.warning("blobs left behind", extra={"blobs": ",".join(blobs), "reason": str(why)})

    async def _delete(self, blobs: Sequence[str]) -> None:
        async def delete(container: ContainerClient, blob: str) -> None:
            try:
                await container.delete_blob(blob)
            except ResourceNotFoundError as why:
                if code(why) == "ContainerNotFound":
                    raise

        await _all(self._account.on_container(self._container, partial(delete, blob=blob)) for blob in blobs)

    async def _entity(self, partition: str, row: str) -> TableEntity | None:
        return await self._account.on_table(self._table, lambda table: get(table, partition, row))

    async def _journal(self, entity: TableEntity) -> Saved[Journal]:
        """Return what an entity says, or what was written while its blobs were read, which may have deleted some."""
        while True:
            try:
                return await self._read(entity)
            except ConfigError:
                newer = await self._entity(entity["PartitionKey"], entity["RowKey"])
                if newer is None or newer.metadata["etag"] == entity.metadata["etag"]:
                    raise
                entity = newer

    async def _read(self, entity: TableEntity) -> Saved[Journal]:
        journal = forms.journal_of(entity)
        if len(journal.dropped) > MAX_CARRIED:
            await self._delete(journal.dropped)
            journal = replace(journal, dropped=())
        outbox, *memo = await asyncio.gather(
            *(self._whole(journal.stream, part) for part in (journal.outbox, *journal.memo))
        )
        return Saved(replace(journal, outbox=outbox, memo=tuple(memo)), entity.metadata["etag"])

    async def _whole(self, stream: Stream, part: Part) -> Part:
        if not part.blob:
            return part

        async def download(container: ContainerClient) -> bytes | None:
            try:
                return await (await container.download_blob(part.blob)).readall()
            except ResourceNotFoundError:
                return None

        data = await self._account.on_container(self._container, download)
        if data is None:
            reason = f"stream {stream} is held: blob {self._container}/{part.blob} of its journal is gone"
            raise ConfigError(reason, hint=f"restore the blob, or {REMEDY}")
        return Part(data, part.blob)


def _aside(journal: Journal) -> tuple[Journal, Sequence[Part]]:
    """Name blobs for the parts when they are too much for an entity; return the journal, and the parts to store."""
    parts = (journal.outbox, *journal.memo)
    if sum(len(part.data) for part in parts) <= INLINE_BYTES and len(parts) <= INLINE_PARTS:
        dropped = (*journal.dropped, *(part.blob for part in parts if part.blob))
        outbox, *memo = (Part(part.data) for part in parts)
        return replace(journal, outbox=outbox, memo=tuple(memo), dropped=dropped), ()
    folder = hashlib.sha256(journal.stream.encode()).hexdigest()[:32]
    named = [
        part if part.blob or not part.data else replace(part, blob=f"{folder}/{uuid.uuid4().hex}") for part in parts
    ]
    outbox, *memo = named
    new = [part for part, before in zip(named, parts, strict=True) if part.blob and not before.blob]
    return replace(journal, outbox=outbox, memo=tuple(memo)), new


async def _all(calls: Iterable[Awaitable[object]]) -> None:
    """Wait for calls, some at a time, until one fails; none goes on after that."""
    for some in batched(calls, AT_ONCE, strict=False):
        for outcome in await asyncio.gather(*some, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
