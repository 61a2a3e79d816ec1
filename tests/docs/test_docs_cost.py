"""The cost tables of docs/deploy.md: they follow from the formula, and the formula from what is deployed."""

import json
import re

import pytest

from shared.settings.names import DEFAULTS
from tests.docs.markdown import ROOT, words
from tools import cost
from tools.cost import Month

PAGE = cost.DEPLOY.read_text(encoding="utf-8")
MAIN = (ROOT / "infra/main.bicep").read_text(encoding="utf-8")


def default(parameter: str) -> str:
    found = re.search(rf"^param {parameter} \w+ = (.+)$", MAIN, re.MULTILINE)
    assert found, parameter
    return found[1].strip("'")


def test_the_tables_of_the_page_are_those_of_the_formula():
    found = cost.SECTION.search(PAGE)
    assert found
    assert found[0] == f"{found[1]}{cost.tables()}{found[2]}", "run `python -m tools.cost --write`"


def test_the_formula_is_about_the_default_deployment():
    assert (default("serviceBusSku"), default("instanceMemoryMB"), default("shards")) == ("Standard", "512", "1")
    assert int(default("instanceMemoryMB")) / 1024 == cost.GB
    assert default("captureSchedule") == DEFAULTS.capture.schedule == "*/15 * * * * *"
    assert default("topicsSchedule") == "0 */5 * * * *"
    assert (default("deliverInstances"), default("captureInstances")) == ("0", "0")
    assert DEFAULTS.capture.linger_s == 20
    assert pytest.approx(20 / 30) == cost.LINGERING
    sampling = json.loads((ROOT / "host.json").read_text())["logging"]["applicationInsights"]["samplingSettings"]
    assert sampling["maxTelemetryItemsPerSecond"] == cost.ITEMS_A_SECOND
    network = (ROOT / "infra/modules/network.bicep").read_text()
    assert network.count("service: '") == cost.ENDPOINTS
    assert default("auditState") == "false"


def test_at_rest_functions_are_free_and_a_second_timer_would_not_be():
    rest = Month(0)
    assert (rest.packs, rest.operations, rest.service_bus, rest.functions) == (0, 0, cost.BASE, 0)
    assert rest.ticks * cost.GB == 86_400 < rest.gb_s < 100_000 < rest.gb_s + rest.ticks * cost.GB


def test_operations_are_paid_in_steps():
    """90 M for the changes and 51.84 M for 17.28 M packs: 13 are free, 87 at the first price, 41.84 at the second."""
    month = Month(1_000_000)
    assert month.packs == 17_280_000
    assert month.operations == 141_840_000
    assert month.service_bus == pytest.approx(9.81 + 87 * 0.80 + 41.84 * 0.50)
    assert Month(100_000_000).service_bus == pytest.approx(9.81 + 87 * 0.8 + 2_400 * 0.5 + 6_551.84 * 0.2)


def test_the_audit_of_the_state_is_an_addition():
    month = Month(1_000_000)
    assert month.audit == pytest.approx(cost.LOGS * month.storage_calls * cost.KB_OF_AN_ENTRY / 1e6)
    assert month.audit > 100 > month.parts["Audit log of the host's storage"]
    total = sum(month.parts.values())
    assert f"| … and the audit log of the state | {sum(Month(0).parts.values()) + Month(0).audit:,.0f} |" in PAGE
    assert f" {total + month.audit:,.0f} |" in PAGE


def test_few_changes_make_few_packs():
    assert Month(100).packs == 3_000
    assert Month(95).packs == 3_000  # ten for each of ten tables, rounded up


def test_what_the_page_says_in_words_is_what_the_formula_has():
    page = words(PAGE)
    assert f"0.5 GB = {cost.TICKS * cost.GB:,.0f} GB-s" in page
    assert f"the smaller of {cost.LOOKS_A_DAY:,} and" in page
    assert "20 would cost ten times as much" in page
    unsampled = min(cost.ITEMS * (Month(1_000_000).packs + Month(1_000_000).ticks), 2 * 20 * cost.MONTH_S) / 1e6
    assert unsampled * cost.LOGS == pytest.approx(10 * Month(1_000_000).telemetry, rel=0.4)
    held = 120 * cost.GB * cost.GB_S
    assert held == pytest.approx(0.002, rel=0.3)
    assert held * cost.MONTH_S / (120 + 600) < 6
