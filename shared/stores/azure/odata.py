"""Entities in the JSON of Table Storage: every value with its exact type.

Source:
    https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
    https://learn.microsoft.com/rest/api/storageservices/payload-format-for-table-service-operations
"""

import base64
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from azure.data.tables import EdmType, EntityProperty

from shared import export
from shared.errors import ConfigError
from shared.stores.azure.forms import Entity

TYPE = "@odata.type"


def to_json(entity: Mapping[str, Any]) -> export.Entity:
    """Return an entity, as the SDK hands it out, in JSON."""
    shown: export.Entity = {}
    for name, value in entity.items():
        plain, kind = _shown(value)
        shown[name] = plain
        if kind is not None:
            shown[f"{name}{TYPE}"] = kind.value
    return shown


def from_json(shown: export.Entity) -> Entity:
    """Return the entity that JSON shows, as the SDK takes it, and as it would hand it out.

    Raises:
        ConfigError: a value is not of the type that it says.
    """
    names = [name for name in shown if not name.endswith(TYPE)]
    return {name: _value(name, shown[name], shown.get(f"{name}{TYPE}")) for name in names}


def _shown(value: object) -> tuple[str | int | float | bool, EdmType | None]:
    match value:
        case EntityProperty(value=inner, edm_type=EdmType.INT64 | EdmType.DATETIME as kind):
            return str(inner), EdmType(kind)
        case str() | bool() | int():
            return value, None
        case float():
            return value if math.isfinite(value) else _WORDS[str(value)], EdmType.DOUBLE
        case bytes():
            return base64.b64encode(value).decode(), EdmType.BINARY
        case UUID():
            return str(value), EdmType.GUID
        case datetime():
            # The SDK cuts the seventh digit off, and keeps the service's own words beside.
            said = getattr(value, "tables_service_value", "")
            return said or f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}", EdmType.DATETIME
        case _:
            message = f"no property of a table is a {type(value).__name__}"
            raise TypeError(message)


_WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _value(name: str, shown: str | float, kind: object) -> object:
    try:
        match kind:
            case None:
                return shown
            case EdmType.INT64.value:
                return EntityProperty(int(shown), EdmType.INT64)
            case EdmType.DOUBLE.value:
                return float(shown)
            case EdmType.BINARY.value:
                return base64.b64decode(str(shown), validate=True)
            case EdmType.GUID.value:
                return UUID(str(shown))
            case EdmType.DATETIME.value:
                return EntityProperty(str(shown), EdmType.DATETIME)
            case _:
                message = f"there is no type {kind}"
                raise ValueError(message)  # noqa: TRY301 - one refusal for all
    except ValueError as why:
        reason = f"property {name} of an entity cannot be read: {why}"
        raise ConfigError(reason, hint="give a file as `sluice state export` wrote it") from why
