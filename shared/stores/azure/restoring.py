"""A copy of what is stored of streams, brought into a store; also into one that is in use."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from azure.data.tables import TableEntity
from azure.storage.blob.aio import ContainerClient

from shared import chain, naming
from shared.errors import ConfigError, StaleError
from shared.events import Journal, Mark, Part, Record, Saved, StreamState
from shared.export import Beside, Copy, StreamCopy
from shared.ports import Clock
from shared.stores.azure import forms, odata
from shared.stores.azure.account import AzureAccount
from shared.stores.azure.entities import get
from shared.stores.azure.forms import Entity
from shared.stores.azure.journals import AzureJournalStore
from shared.stores.azure.tables import AzureStateStore, transact
from shared.stores.azure.taking import others

ATTEMPTS = 20
"""Writes of a stream that somebody else keeps changing."""

UNDER_WAY = "an import did not end: import the file again, with --replace"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A stream's line, in the forms of this release."""

    state: StreamState | None
    marks: Mapping[str, Mark]
    beside: Sequence[tuple[Entity, Beside | Journal]]


class AzureRestoring:
    """Writes what a copy holds; `destinations` are the outputs that are configured here."""

    def __init__(
        self, account: AzureAccount, table: str, container: str, *, destinations: tuple[str, ...], clock: Clock
    ) -> None:
        self._account = account
        self._table = table
        self._container = container
        self._destinations = destinations
        self._clock = clock
        self._states = AzureStateStore(account, table)
        self._journals = AzureJournalStore(account, table, container)
        self._writer = uuid.uuid4().hex

    async def there(self, copy: Copy) -> list[str]:
        """Return what of the copy is stored here already, by name: streams, and other entities that differ.

        Raises:
            ConfigError: this release cannot read a line of the copy.
            TransientError: the store is away.
        """
        wanted = {each.stream: _wanted(each) for each in copy.streams}
        known = {record.stream for bucket in range(naming.BUCKETS) for record in await self._states.load(bucket)}
        beside = {_key(entity): entity for entity in await others(self._account, self._table)}
        found: list[str] = [
            stream
            for stream, line in wanted.items()
            if stream in known or any(_key(entity) in beside for entity, _ in line.beside)
        ]
        for other in copy.others:
            stored = beside.get(_key(_entity(other)))
            if stored is not None and not _same(stored, other):
                found.append("/".join(_key(stored)))
        return found

    async def stream(self, each: StreamCopy, *, over: bool) -> StreamState | None:
        """Write a stream, over what is there only if `over`; return its state as it was written, if it has one.

        State and marks are one transaction. When more lies beside them, the state stays paused until that is written:
        no capture reads the one without the other.

        Raises:
            StaleError: the stream is there, or somebody else keeps changing it.
            ConfigError: a newer release wrote what is there.
            TransientError: the store is away; the stream may have been written.
        """
        wanted = _wanted(each)
        ours: StreamState | None = None
        for _ in range(ATTEMPTS):
            record = await self._states.find(each.stream)
            there = record.state.value if record.state is not None else None
            if (there or record.marks) and not over and (ours is None or there != ours):
                reason = f"{each.stream} appeared meanwhile"
                raise StaleError(reason, hint="import again, with --replace to have the copy instead")
            state, marks = self._carried(wanted, record)
            ours = replace(state, status="paused", reason=UNDER_WAY) if state and wanted.beside else state
            etag = await self._write(record, ours, marks)
            if etag is None:
                continue
            over = True
            if await self._write_beside(wanted) and (state == ours or await self._release(state, etag)):
                return state
        reason = f"{each.stream} is changed by somebody else again and again"
        raise StaleError(reason, hint=f"`sluice pause '{each.stream}'`, then import again with --replace")

    async def other(self, each: Beside, *, over: bool) -> None:
        """Write an entity that belongs to no stream, over one that differs only if `over`.

        Raises:
            StaleError: another one is there.
            TransientError: the store is away; it may have been written.
        """
        entity = _entity(each)
        for _ in range(ATTEMPTS):
            stored = await self._stored(entity)
            if stored is not None and _same(stored, each):
                return
            if stored is not None and not over:
                break
            if await self._put(entity, each.blobs, stored):
                return
        reason = f"{'/'.join(_key(entity))} is there, and differs"
        raise StaleError(reason, hint="import again, with --replace to have the copy instead")

    def _carried(self, wanted: _Wanted, record: Record) -> tuple[StreamState | None, Mapping[str, Mark]]:
        if wanted.state is None:  # capture makes one, below these marks
            return None, wanted.marks
        marks = {name: saved.value for name, saved in record.marks.items()} | dict(wanted.marks)
        instead = record.state.value if record.state is not None else None
        now = self._clock.now()
        return chain.imported(wanted.state, marks, self._destinations, instead=instead, now=now)

    async def _write(self, record: Record, state: StreamState | None, marks: Mapping[str, Mark]) -> str | None:
        """Write state and marks where nobody has changed them; return the last etag, None when somebody has."""
        entities: list[tuple[Entity, str | None]] = []
        for name, mark in marks.items():
            known = record.marks.get(name)
            saved = Saved(mark, known.etag if known else None)
            entities.append((forms.mark_entity(record.stream, name, saved, self._writer), saved.etag))
        if state is not None:
            held = Saved(state, record.state.etag if record.state else None)
            entities.append((forms.state_entity(held, self._writer), held.etag))
        etags = await transact(self._account, self._table, entities) if entities else [""]
        return etags[-1] if etags else None

    async def _write_beside(self, wanted: _Wanted) -> bool:
        return all([await self._write_one(entity, each) for entity, each in wanted.beside])

    async def _write_one(self, entity: Entity, each: Beside | Journal) -> bool:
        stored = await self._stored(entity)
        if isinstance(each, Beside):
            return await self._put(entity, each.blobs, stored)
        etag = stored.metadata["etag"] if stored is not None else None
        try:
            await self._journals.save(Saved(replace(each, dropped=_replaced(stored)), etag))
        except StaleError:
            return False
        return True

    async def _release(self, state: StreamState | None, etag: str) -> bool:
        outcome = (await self._states.save([Saved(state, etag)]))[0] if state is not None else None
        return not isinstance(outcome, StaleError)

    async def _put(self, entity: Entity, blobs: Mapping[str, bytes], stored: TableEntity | None) -> bool:
        """Write blobs, then the entity that names them, where it is still as it was found."""

        async def upload(container: ContainerClient) -> None:
            for name, data in blobs.items():
                await container.upload_blob(name, data, overwrite=True, max_concurrency=4)

        if blobs:
            await self._account.on_container(self._container, upload)
        etag = stored.metadata["etag"] if stored is not None else None
        return await transact(self._account, self._table, [(entity, etag)]) is not None

    async def _stored(self, entity: Entity) -> TableEntity | None:
        return await self._account.on_table(self._table, lambda table: get(table, *_key(entity)))


def _wanted(each: StreamCopy) -> _Wanted:
    try:
        return _read(each)
    except ConfigError as why:
        raise ConfigError(why.message, where=f"the line of {each.stream}", hint=why.hint) from why


def _read(each: StreamCopy) -> _Wanted:
    state = forms.state_of(odata.from_json(each.state)) if each.state is not None else None
    marks = [odata.from_json(mark) for mark in each.marks]
    strange = [mark for mark in marks if mark.get("stream") != each.stream or "destination" not in mark]
    if strange or (state is not None and state.stream != each.stream):
        reason = "it holds what belongs to another stream"
        raise ConfigError(reason, hint="give a file as `sluice state export` wrote it")
    by_name = {str(mark["destination"]): forms.mark_of(mark) for mark in marks}
    beside = [(_entity(one), one) for one in each.beside]
    journal = forms.journal_key(each.stream)
    return _Wanted(state, by_name, [(e, _journal(e, one) if _key(e) == journal else one) for e, one in beside])


def _journal(entity: Entity, beside: Beside) -> Journal:
    """Return a journal as it goes on.

    How far was seen is left out: changes may have been told since, under the positions that would follow. So the source
    numbers what it sees from now on as if it had never looked, and a position names one change for ever.
    """
    journal = forms.journal_of(entity)
    try:
        parts = [Part(beside.blobs[part.blob] if part.blob else part.data) for part in (journal.outbox, *journal.memo)]
    except KeyError as why:
        reason = f"blob {why} of its journal is not in it"
        raise ConfigError(reason, hint="give a file as `sluice state export` wrote it") from why
    return replace(journal, head="{}", outbox=parts[0], memo=tuple(parts[1:]), dropped=())


def _replaced(stored: TableEntity | None) -> tuple[str, ...]:
    """Return the blobs of a journal that is overwritten, as far as this release can tell."""
    try:
        journal = forms.journal_of(stored or {})
    except ConfigError:
        return ()
    return tuple(part.blob for part in (journal.outbox, *journal.memo) if part.blob)


def _entity(beside: Beside) -> Entity:
    """Return an entity as it is to be written.

    Raises:
        ConfigError: a newer release wrote it, or it is damaged.
    """
    entity = odata.from_json(beside.entity)
    version = entity.get("v")
    if isinstance(version, int) and version > forms.VERSION:
        reason = f"a newer release wrote the entity {entity.get('RowKey')}, in form {version}"
        raise ConfigError(reason, hint=f"import it with that release; this one reads forms up to {forms.VERSION}")
    if not {"PartitionKey", "RowKey"} <= entity.keys():
        reason = "an entity has no key"
        raise ConfigError(reason, hint="give a file as `sluice state export` wrote it")
    return entity


def _same(stored: TableEntity, beside: Beside) -> bool:
    """Whether an entity says what the copy says, whoever wrote it."""
    return odata.to_json(stored) | {"writer": ""} == beside.entity | {"writer": ""}


def _key(entity: Mapping[str, str]) -> tuple[str, str]:
    return entity["PartitionKey"], entity["RowKey"]
