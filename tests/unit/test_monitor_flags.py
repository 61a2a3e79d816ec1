"""No hint about a source of Consul leaves somebody at a monitor with a setting that only a configuration has."""

import re
from dataclasses import fields

import pytest

from cli.monitor import flags
from shared.settings.model import ConsulSettings
from tests.docs.code import modules, texts

SETTINGS = {field.name for field in fields(ConsulSettings) if "_" in field.name}
ADVICE = {said for _, tree in modules("shared/sources/consul") for said in texts(tree) if " " in said}


def settings(said: str) -> set[str]:
    """Return what only a configuration has."""
    return SETTINGS.intersection(re.findall(r"\w+", said)) | set(
        re.findall("of the source|the source's|the source a", said)
    )


@pytest.mark.parametrize("said", sorted(said for said in ADVICE if settings(said)))
def test_settings_are_named_as_options(said):
    assert settings(flags.named(said)) == set()
    assert said not in flags.named(said)


def test_other_hints_stay_as_they_are():
    hint = "is Consul running, and reachable at http://of-the-source:8500 from here?"
    assert flags.named(hint) == hint
