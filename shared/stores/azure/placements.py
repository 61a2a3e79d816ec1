"""Where topics were placed: one entity each, in the partition `topics` of the state table; and who we are to them."""

import uuid
from collections.abc import Mapping
from typing import Any

from azure.data.tables.aio import TableClient

from shared import naming
from shared.errors import ConfigError, TransientError
from shared.stores.azure import forms
from shared.stores.azure.account import AzureAccount
from shared.stores.azure.entities import get, put
from shared.stores.azure.forms import Entity
from shared.topics import Placement

PARTITION = "topics"
OWNER = "owner"
"""The RowKey of who we are; a placement's has a colon."""


class AzurePlacements:
    """Keeps placements in a table."""

    def __init__(self, account: AzureAccount, table: str) -> None:
        self._account = account
        self._table = table

    async def load(self) -> tuple[str, list[Placement]]:
        """Return who we are to topics, "" when that was never decided, and every placement, in one query.

        Raises:
            TransientError: storage is away.
            ConfigError: a newer release wrote a placement.
        """

        async def read(table: TableClient) -> list[Mapping[str, Any]]:
            return [each async for each in table.query_entities("PartitionKey eq @p", parameters={"p": PARTITION})]

        owner, placements = "", []
        for entity in await self._account.on_table(self._table, read):
            _check_version(entity)
            if entity["RowKey"] == OWNER:
                owner = entity["owner"]
            else:
                placements.append(Placement(entity["output"], entity["topic"], entity["namespace"]))
        return owner, placements

    async def find(self, output: str, topic: str) -> str | None:
        """Return the namespace of one topic, None when it has none yet; one read.

        Raises:
            TransientError: storage is away, or this release cannot read the placement: it waits for one that can.
        """
        row = naming.row_key(output, topic)
        entity = await self._account.on_table(self._table, lambda table: get(table, PARTITION, row))
        if entity is None:
            return None
        try:
            _check_version(entity)
        except ConfigError as why:
            raise TransientError(why.message, lasting=True, hint=why.hint) from why
        return str(entity["namespace"])

    async def claim(self) -> str:
        """Return who we are to topics, deciding it at the first call ever.

        Raises:
            TransientError: storage is away.
        """
        stored = await self._create(OWNER, {"owner": uuid.uuid4().hex})
        return str(stored["owner"])

    async def place(self, placement: Placement) -> str:
        """Store a placement unless there is one, and return the namespace that is stored.

        Raises:
            TransientError: storage is away.
        """
        told = {"output": placement.output, "topic": placement.topic, "namespace": placement.namespace}
        stored = await self._create(naming.row_key(placement.output, placement.topic), told)
        return str(stored["namespace"])

    async def _create(self, row: str, told: Entity) -> Mapping[str, Any]:
        """Store an entity unless there is one, and return the one that is stored."""
        entity = {"PartitionKey": PARTITION, "RowKey": row, "v": forms.VERSION, "writer": uuid.uuid4().hex, **told}
        if await put(self._account, self._table, entity, None) is not None:
            return entity
        found = await self._account.on_table(self._table, lambda table: get(table, PARTITION, row))
        if found is None:
            reason = f"the entity {PARTITION}/{row} was deleted at this moment"
            raise TransientError(reason)
        return found


def _check_version(entity: Mapping[str, Any]) -> None:
    version = entity.get("v")
    if not isinstance(version, int) or version > forms.VERSION:
        reason = f"the placement {entity.get('RowKey')} was written by a newer release, in form {version}"
        raise ConfigError(reason, hint=f"deploy that release again; this one reads forms up to {forms.VERSION}")
