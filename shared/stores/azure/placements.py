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
            if entity["RowKey"] == OWNER:
                owner = str(entity["owner"])
            else:
                placements.append(placement_of(entity))
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
            return placement_of(entity).namespace
        except ConfigError as why:
            raise TransientError(why.message, lasting=True, hint=why.hint) from why

    async def claim(self) -> str:
        """Return who we are to topics, deciding it at the first call ever.

        Raises:
            TransientError: storage is away.
        """
        owner = {"PartitionKey": PARTITION, "RowKey": OWNER, "v": forms.VERSION, "owner": uuid.uuid4().hex}
        return str((await self._create(owner))["owner"])

    async def place(self, placement: Placement) -> str:
        """Store a placement unless there is one, and return the namespace that is stored.

        Raises:
            TransientError: storage is away.
        """
        return placement_of(await self._create(entity_of(placement))).namespace

    async def _create(self, entity: Entity) -> Mapping[str, Any]:
        """Store an entity unless there is one, and return the one that is stored."""
        entity = entity | {"writer": uuid.uuid4().hex}
        if await put(self._account, self._table, entity, None) is not None:
            return entity
        row = entity["RowKey"]
        found = await self._account.on_table(self._table, lambda table: get(table, PARTITION, row))
        if found is None:
            reason = f"the entity {PARTITION}/{row} was deleted at this moment"
            raise TransientError(reason)
        return found


def entity_of(placement: Placement) -> Entity:
    """Return the form of a placement."""
    return {
        "PartitionKey": PARTITION,
        "RowKey": naming.row_key(placement.output, placement.topic),
        "v": forms.VERSION,
        "output": placement.output,
        "topic": placement.topic,
        "namespace": placement.namespace,
    }


def placement_of(entity: Mapping[str, Any]) -> Placement:
    """Return the placement an entity holds.

    Raises:
        ConfigError: a newer release wrote it, or it is damaged.
    """
    row, version = entity.get("RowKey"), entity.get("v")
    if isinstance(version, int) and version > forms.VERSION:
        reason = f"the placement {row} was written by a newer release, in form {version}"
        raise ConfigError(reason, hint=f"deploy that release again; this one reads forms up to {forms.VERSION}")
    try:
        return Placement(entity["output"], entity["topic"], entity["namespace"])
    except KeyError as why:
        reason = f"the placement {row} cannot be read: it has no {why.args[0]}"
        raise ConfigError(
            reason, hint=f"mend the entity {row} of the partition {PARTITION}, or import the state"
        ) from why
