"""States, marks and the control entity in one table.

A stream's state and its marks share the partition of the stream's bucket: one query reads a bucket, and one range of
RowKeys a stream.
"""

import asyncio
import logging
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Sequence
from itertools import batched
from typing import Any, cast

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableEntity, TransactionOperation, UpdateMode
from azure.data.tables.aio import TableClient

from shared import naming
from shared.errors import ConfigError, StaleError, TransientError
from shared.events import Mark, Record, Saved, Stream, StreamState
from shared.stores.azure import forms
from shared.stores.azure.account import AzureAccount, code
from shared.stores.azure.entities import get, put
from shared.stores.azure.forms import Entity

MAX_TRANSACTION = 100
"""Entities; https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions."""

CONTROL = {"PartitionKey": "control", "RowKey": "control"}

log = logging.getLogger("sluice.stores")


class AzureStateStore:
    """Keeps states in a table; knows its own writes again when their answers were lost."""

    def __init__(self, account: AzureAccount, table: str) -> None:
        self._account = account
        self._table = table
        self._writer = uuid.uuid4().hex
        self._told: set[str] = set()

    async def load(self, bucket: int) -> Sequence[Record]:
        """Return every record of one bucket, in one query.

        A stream whose record this release cannot read is left out, and logged once: `find` says why.
        """
        by_stream: defaultdict[str, list[TableEntity]] = defaultdict(list)
        for entity in await self._query("PartitionKey eq @p", {"p": forms.partition(bucket)}):
            by_stream[entity.get("stream", entity["RowKey"])].append(entity)
        records: list[Record] = []
        for stream, entities in by_stream.items():
            try:
                records.append(_record(Stream(stream), entities))
            except ConfigError as why:
                if stream not in self._told:
                    self._told.add(stream)
                    log.error("stream left out", extra={"stream": stream, "reason": str(why)})  # noqa: TRY400 - no bug
        return records

    async def find(self, stream: Stream) -> Record:
        """Return what is stored of one stream, in one query.

        Raises:
            ConfigError: a newer release wrote it, or it is damaged.
        """
        first = forms.prefix(stream)
        beyond = first[:-1] + chr(ord(first[-1]) + 1)
        bounds = {"p": forms.partition(naming.bucket(stream)), "first": first, "beyond": beyond}
        found = await self._query("PartitionKey eq @p and RowKey ge @first and RowKey lt @beyond", bounds)
        return _record(stream, found)

    async def save(self, states: Sequence[Saved[StreamState]]) -> Sequence[Saved[StreamState] | StaleError]:
        """Write states in one transaction per bucket, or one by one where a transaction is refused.

        A record that a newer release wrote is never written over: its state is stale, and `find` says why.
        """
        by_bucket: defaultdict[int, list[int]] = defaultdict(list)
        for index, state in enumerate(states):
            by_bucket[naming.bucket(state.value.stream)].append(index)
        groups = [group for indices in by_bucket.values() for group in batched(indices, MAX_TRANSACTION, strict=False)]
        results = await _all(self._save_group([states[index] for index in group]) for group in groups)
        outcomes = {
            index: outcome
            for group, result in zip(groups, results, strict=True)
            for index, outcome in zip(group, result, strict=True)
        }
        return [outcomes[index] for index in range(len(states))]

    async def _save_group(self, states: Sequence[Saved[StreamState]]) -> Sequence[Saved[StreamState] | StaleError]:
        entities = [(forms.state_entity(state, self._writer), state.etag) for state in states]
        etags: Sequence[str | None] | None = None
        if len(states) > 1:
            etags = await transact(self._account, self._table, entities)
        if etags is None:
            etags = await _all(put(self._account, self._table, *entity) for entity in entities)
        return [
            Saved(state.value, etag) if etag else StaleError(f"{state.value.stream} was changed by somebody else")
            for state, etag in zip(states, etags, strict=True)
        ]

    async def _query(self, query: str, parameters: dict[str, str]) -> list[TableEntity]:
        async def read(table: TableClient) -> list[TableEntity]:
            return [entity async for entity in table.query_entities(query, parameters=parameters)]

        return await self._account.on_table(self._table, read)


class AzureMarkStore:
    """Keeps marks beside the states of their streams."""

    def __init__(self, account: AzureAccount, table: str) -> None:
        self._account = account
        self._table = table
        self._writer = uuid.uuid4().hex

    async def read(self, stream: Stream, destination: str) -> Saved[Mark] | None:
        """Return the mark, None when there is none.

        Raises:
            TransientError: storage is away, or this release cannot read the mark: it waits for one that can.
        """
        key = forms.mark_key(stream, destination)
        entity = await self._account.on_table(self._table, lambda table: get(table, *key))
        if entity is None:
            return None
        try:
            return Saved(forms.mark_of(entity), entity.metadata["etag"])
        except ConfigError as why:
            raise TransientError(why.message, lasting=True, hint=why.hint) from why

    async def write(self, stream: Stream, destination: str, mark: Saved[Mark]) -> Saved[Mark]:
        """Write the mark if it still has the given etag.

        Raises:
            StaleError: somebody else wrote it.
        """
        entity = forms.mark_entity(stream, destination, mark, self._writer)
        etag = await put(self._account, self._table, entity, mark.etag)
        if etag is None:
            reason = f"the mark of {stream} at {destination} was changed by somebody else"
            raise StaleError(reason, hint="read it again")
        return Saved(mark.value, etag)


class AzureControl:
    """The bell: an entity whose etag changes with every touch."""

    def __init__(self, account: AzureAccount, table: str) -> None:
        self._account = account
        self._table = table

    async def version(self) -> str:
        """Return the etag of the entity, "" when it was never touched."""
        entity = await self._account.on_table(self._table, lambda table: get(table, *CONTROL.values()))
        return str(entity.metadata["etag"]) if entity else ""

    async def touch(self) -> None:
        """Change the version."""
        entity = CONTROL | {"v": forms.VERSION, "touched": uuid.uuid4().hex}
        await self._account.on_table(self._table, lambda table: table.upsert_entity(entity, mode=UpdateMode.REPLACE))


def _record(stream: Stream, entities: Iterable[TableEntity]) -> Record:
    state: Saved[StreamState] | None = None
    marks: dict[str, Saved[Mark]] = {}
    for entity in entities:
        etag = entity.metadata["etag"]
        if "destination" in entity:
            marks[entity["destination"]] = Saved(forms.mark_of(entity), etag)
        else:
            state = Saved(forms.state_of(entity), etag)
    return Record(stream, state, marks)


async def transact(
    account: AzureAccount, name: str, entities: Sequence[tuple[Entity, str | None]]
) -> Sequence[str] | None:
    """Write entities of one partition, each if it still has its etag (None: if there is none): all of them or nothing.

    Return the new etags; None when the transaction is refused.
    """

    async def submit(table: TableClient) -> list[str] | None:
        try:
            answers = await table.submit_transaction([_operation(*entity) for entity in entities])
        except HttpResponseError as why:
            if why.status_code in (400, 404, 409, 412, 413) and code(why) != "TableNotFound":
                return None
            raise
        return [str(answer["etag"]) for answer in answers]

    return await account.on_table(name, submit)


def _operation(entity: Entity, etag: str | None) -> Any:
    if etag is None:
        return TransactionOperation.CREATE, entity
    condition = {"mode": UpdateMode.REPLACE, "etag": etag, "match_condition": MatchConditions.IfNotModified}
    return TransactionOperation.UPDATE, entity, condition


async def _all[T](awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Wait for all of them, also when one fails: none goes on behind the caller's back."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[T], results)
