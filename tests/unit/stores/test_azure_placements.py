import json
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.stores.azure.placements import OWNER, entity_of, placement_of
from shared.topics import Placement

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "placement.v1.json").read_text())
PLACEMENT = Placement("topics", "sql1.testdb.persons.events", "ServiceBus2")


def test_the_stored_form_is_exactly_the_golden_one_and_is_read():
    assert entity_of(PLACEMENT) == GOLDEN
    assert placement_of(GOLDEN) == PLACEMENT


def test_no_topic_has_the_row_of_the_owner():
    assert entity_of(Placement("", OWNER, "ServiceBus"))["RowKey"] != OWNER


def test_a_form_of_a_newer_release_and_a_damaged_one_are_refused():
    with pytest.raises(ConfigError, match=r"newer release.*deploy that release again"):
        placement_of(GOLDEN | {"v": 2})
    with pytest.raises(ConfigError, match=r"has no namespace.*mend the entity"):
        placement_of({name: value for name, value in GOLDEN.items() if name != "namespace"})
