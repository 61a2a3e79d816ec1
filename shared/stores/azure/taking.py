"""A copy of all that is stored of streams, taken while they go on."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableEntity
from azure.data.tables.aio import TableClient
from azure.storage.blob.aio import ContainerClient

from shared import naming
from shared.errors import ConfigError, TransientError
from shared.events import Stream
from shared.export import Beside, Copy, StreamCopy
from shared.stores.azure import forms, odata
from shared.stores.azure.account import AzureAccount
from shared.stores.azure.tables import CONTROL

ATTEMPTS = 20
"""Looks at a stream that keeps changing."""


class AzureTaking:
    """Reads states, marks and what lies beside them, so that what it returns of a stream belongs together."""

    def __init__(self, account: AzureAccount, table: str, container: str) -> None:
        self._account = account
        self._table = table
        self._container = container

    async def take(self, now: datetime, progress: Callable[[str], None]) -> Copy:
        """Return a copy of everything but the bell; `progress` is told what was read.

        What lies beside a stream's state and marks is read before them and looked at again after them, and the stream
        is read once more if it changed meanwhile.

        Raises:
            TransientError: the store is away, or a stream keeps changing.
            ConfigError: a blob that an entity names is gone.
        """
        before = await others(self._account, self._table)
        blobs = {_key(entity): await self._blobs(entity) for entity in before}
        progress(f"{len(before)} entities beside the streams")
        streams: dict[Stream, StreamCopy] = {}
        for bucket in range(naming.BUCKETS):
            found = await _query(self._account, self._table, "PartitionKey eq @p", {"p": forms.partition(bucket)})
            streams |= {each.stream: each for each in _streams(found)}
        progress(f"{len(streams)} streams")
        after = await others(self._account, self._table) if before else before
        changed = _changed(before, after)
        rest: list[Beside] = []
        for entity in before:
            if (stream := entity.get("stream")) is None:
                rest.append(_beside(entity, blobs[_key(entity)]))
            elif stream not in changed:
                streams[stream] = _with(streams.get(stream), stream, [_beside(entity, blobs[_key(entity)])])
        for stream in sorted(changed):
            progress(f"{stream} changed meanwhile: read again")
            streams[stream] = await self._again(stream)
        return Copy(f"{now:%Y-%m-%dT%H:%M:%SZ}", tuple(streams.values()), tuple(rest))

    async def _again(self, stream: Stream) -> StreamCopy:
        key = forms.prefix(stream)
        own = "PartitionKey eq @p and RowKey ge @first and RowKey lt @beyond"
        bounds = {"p": forms.partition(naming.bucket(stream)), "first": key, "beyond": f"{key[:-1]};"}
        for _ in range(ATTEMPTS):
            before = await others(self._account, self._table, stream)
            blobs = [await self._blobs(entity) for entity in before]
            found = await _query(self._account, self._table, own, bounds)
            if not _changed(before, await others(self._account, self._table, stream)):
                beside = [_beside(*entry) for entry in zip(before, blobs, strict=True)]
                return _with(next(iter(_streams(found)), None), stream, beside)
        reason = f"{stream} keeps changing while it is read"
        raise TransientError(reason, hint=f"`sluice pause '{stream}'`, export, and resume it")

    async def _blobs(self, entity: TableEntity) -> dict[str, bytes | None]:
        """Return the blobs that an entity names; None for one that is gone."""

        async def download(container: ContainerClient, name: str) -> bytes | None:
            try:
                return await (await container.download_blob(name)).readall()
            except ResourceNotFoundError:
                return None

        async def one(name: str) -> bytes | None:
            return await self._account.on_container(self._container, lambda container: download(container, name))

        names = named(entity)
        return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


async def others(account: AzureAccount, table: str, stream: Stream | None = None) -> list[TableEntity]:
    """Return the entities that are neither states nor marks, or those of one stream; the bell is none of them."""
    wanted = "( PartitionKey lt @first or PartitionKey gt @last )"  # the SDK looks for words
    bounds = {"first": forms.partition(0), "last": forms.partition(naming.BUCKETS - 1)}
    if stream is not None:
        wanted, bounds = f"{wanted} and stream eq @stream", {**bounds, "stream": stream}
    found = await _query(account, table, wanted, bounds)
    return [each for each in found if each["PartitionKey"] != CONTROL["PartitionKey"]]


async def _query(account: AzureAccount, name: str, query: str, parameters: dict[str, str]) -> list[TableEntity]:
    async def read(table: TableClient) -> list[TableEntity]:
        return [entity async for entity in table.query_entities(query, parameters=parameters)]

    return await account.on_table(name, read)


def named(entity: Mapping[str, object]) -> Sequence[str]:
    """Return the names of the blobs that belong to an entity: those of its property `blobs`, a JSON list."""
    text = entity.get("blobs")
    return [name for name in msgspec.json.decode(text, type=list[str]) if name] if isinstance(text, str) else []


def _streams(entities: Iterable[TableEntity]) -> list[StreamCopy]:
    """Return what entities of buckets hold, by stream."""
    by_stream: defaultdict[Stream, list[TableEntity]] = defaultdict(list)
    for entity in entities:
        by_stream[Stream(entity.get("stream", entity["RowKey"]))].append(entity)
    return [_stream(stream, found) for stream, found in by_stream.items()]


def _stream(stream: Stream, entities: Sequence[TableEntity]) -> StreamCopy:
    states = [odata.to_json(entity) for entity in entities if "destination" not in entity]
    marks = [odata.to_json(entity) for entity in entities if "destination" in entity]
    return StreamCopy(stream, next(iter(states), None), tuple(marks))


def _with(copy: StreamCopy | None, stream: Stream, beside: Sequence[Beside]) -> StreamCopy:
    kept = copy or StreamCopy(stream)
    return StreamCopy(stream, kept.state, kept.marks, (*kept.beside, *beside))


def _beside(entity: TableEntity, blobs: Mapping[str, bytes | None]) -> Beside:
    if gone := [name for name, data in blobs.items() if data is None]:
        reason = f"blob {gone[0]} of the entity {'/'.join(_key(entity))} is gone"
        raise ConfigError(reason, hint="restore the blob, or delete the entity to begin with a snapshot")
    return Beside(odata.to_json(entity), {name: data for name, data in blobs.items() if data is not None})


def _changed(before: Iterable[TableEntity], after: Iterable[TableEntity]) -> set[Stream]:
    """Return the streams of which an entity came, went or changed."""
    then, now = _versions(before), _versions(after)
    streams = {_key(entity): entity.get("stream") for entity in (*before, *after)}
    return {Stream(stream) for key, stream in streams.items() if stream and then.get(key) != now.get(key)}


def _versions(entities: Iterable[TableEntity]) -> dict[tuple[str, str], str]:
    return {_key(entity): str(entity.metadata["etag"]) for entity in entities}


def _key(entity: Mapping[str, str]) -> tuple[str, str]:
    return entity["PartitionKey"], entity["RowKey"]
