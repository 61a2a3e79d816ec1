"""Entities in JSON keep every type that a table has: what the SDK would send is the same before and after."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from azure.data.tables import EdmType, EntityProperty
from azure.data.tables._deserialize import _convert_to_entity
from azure.data.tables._serialize import _add_entity_properties
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.events import Saved
from shared.stores.azure import forms, odata
from tests.unit.stores.test_azure_forms import FULL

VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: EntityProperty(value, EdmType.INT64)),
    st.floats(),
    st.binary(max_size=40),
    st.uuids(),
    st.datetimes(min_value=datetime(1700, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy adds the zone
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)


def sent(entity):
    """Return what the SDK sends for an entity."""
    return json.loads(json.dumps(_add_entity_properties(entity)))


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_an_entity_goes_through_json_exactly(entity):
    stored = _convert_to_entity(sent(entity))  # as the service hands it out
    shown = json.loads(json.dumps(odata.to_json(stored)))
    assert sent(odata.from_json(shown)) == sent(stored)
    assert odata.to_json(odata.from_json(shown)) == shown


def test_the_form_is_that_of_the_service():
    stored = _convert_to_entity(
        {"at@odata.type": "Edm.DateTime", "at": "2026-11-21T07:28:06.1234567Z", "n@odata.type": "Edm.Int64", "n": "7"}
    )
    shown = {"at": "2026-11-21T07:28:06.1234567Z", "at@odata.type": "Edm.DateTime", "n": "7"}
    assert odata.to_json(stored | {"id": UUID(int=7), "all": float("inf")}) == shown | {
        "n@odata.type": "Edm.Int64",
        "id": "00000000-0000-0000-0000-000000000007",
        "id@odata.type": "Edm.Guid",
        "all": "Infinity",
        "all@odata.type": "Edm.Double",
    }


def test_a_state_can_be_read_from_its_json():
    shown = odata.to_json(forms.state_entity(Saved(FULL), "writer"))
    assert forms.state_of(odata.from_json(shown)) == FULL


@pytest.mark.parametrize(
    ("value", "kind"), [("x", "Edm.Int64"), ("%", "Edm.Binary"), ("1", "Edm.Guid"), ("1", "Edm.Colour")]
)
def test_a_value_that_is_not_of_its_type_is_refused(value, kind):
    with pytest.raises(ConfigError, match="property p of an entity cannot be read"):
        odata.from_json({"p": value, "p@odata.type": kind})
