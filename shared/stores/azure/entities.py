"""Single entities: read one, or write one and know one's own write again."""

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableEntity, UpdateMode
from azure.data.tables.aio import TableClient

from shared.stores.azure.account import AzureAccount, code
from shared.stores.azure.forms import Entity


async def put(account: AzureAccount, name: str, entity: Entity, etag: str | None) -> str | None:
    """Write an entity if it still has `etag` (None: if there is none); return its new etag, None when refused.

    A refused write whose entity turns out to carry our own nonce had succeeded before: its answer was lost.
    """

    async def attempt(table: TableClient) -> str | None:
        try:
            if etag is None:
                answer = await table.create_entity(entity)
            else:
                answer = await table.update_entity(
                    entity, UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
                )
        except HttpResponseError as why:
            if why.status_code not in (404, 409, 412) or code(why) == "TableNotFound":
                raise
        else:
            return str(answer["etag"])
        found = await get(table, entity["PartitionKey"], entity["RowKey"])
        return found.metadata["etag"] if found and found.get("writer") == entity["writer"] else None

    return await account.on_table(name, attempt)


async def get(table: TableClient, partition: str, row: str) -> TableEntity | None:
    """Return an entity, None when there is none; its table is there."""
    try:
        return await table.get_entity(partition, row)
    except HttpResponseError as why:
        if why.status_code == 404 and code(why) != "TableNotFound":
            return None
        raise
