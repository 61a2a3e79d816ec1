"""How a message says which table its change comes from; pure."""

from shared import naming
from shared.events import Position, Stream


def metadata(stream: Stream) -> dict[str, str]:
    """Return what the body says of the table, in DStream's words and order."""
    _, database, schema, table = naming.parts(stream)
    return {"TableName": table, "Schema": schema, "Database": database}


def properties(stream: Stream, position: Position) -> dict[str, str | int]:
    """Return what the properties of a message say of the table and of the commit."""
    _, database, schema, table = naming.parts(stream)
    return {"table": table, "schema": schema, "database": database, "lsn": position.partition("-")[0]}
