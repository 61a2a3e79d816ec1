"""docs/consul.md: its events are made by the code, its figures follow from the constants and a formula."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from benchmarks.consul import LIMITS, RESULT
from shared import naming
from shared.events import Stream
from shared.formats.dstream import DStreamFormat
from shared.settings.model import ConsulSettings
from shared.sources.consul import changes, holding, observer, refusals, sweep, watches
from shared.sources.consul.origin import properties
from shared.sources.consul.position import Place, encode
from shared.sources.consul.rows import catalog, instances
from tests.docs.markdown import ROOT, blocks, words
from tools import cost

PAGE = ROOT / "docs" / "consul.md"
TEXT = PAGE.read_text(encoding="utf-8")
MEASURED = json.loads(RESULT.read_text(encoding="utf-8"))
SHOWN = [block.text for block in blocks("json", file=PAGE)]

CATALOG = naming.stream("consul1", "dc1", "catalog")
WEB = naming.stream("consul1", "dc1", "service", "web")
EPOCH = 1_795_246_086_123


def encoded(stream: Stream, made: list[changes.Change], index: int) -> list[bytes]:
    """Return the bodies of these changes, as a topic has them."""
    observed_at = datetime(2026, 11, 21, 7, 28, 6, 123_000, UTC)
    form = DStreamFormat("ingest-queue")
    return [
        form.encode(event, naming.event_id(stream, 0, event.position), naming.topic(stream))
        for event in changes.events(stream, made, Place(EPOCH, index, 0), observed_at)
    ]


def instance(port: int, status: str) -> dict[str, Any]:
    """Return an element of Consul's answer about a service."""
    return {
        "Node": {"Node": "node-1", "Address": "10.0.0.1"},
        "Service": {
            "ID": "web-1",
            "Service": "web",
            "Port": port,
            "Tags": ["green", "blue"],
            "Meta": {"version": "2"},
            "Weights": {"Passing": 1, "Warning": 1},
        },
        "Checks": [
            {"CheckID": "service:web-1", "Status": status, "Output": "HTTP GET http://10.0.0.1:8080: 503"},
            {"CheckID": "serfHealth", "Status": "passing", "Output": "Agent alive and reachable"},
        ],
    }


def examples() -> list[bytes]:
    """Return the bodies that the page shows, in its order."""
    looks = ((80, "passing"), (8080, "passing"), (8080, "critical"))
    seen, now, later = (instances([instance(port, status)], "dc1") for port, status in looks)
    before, after = catalog({"web": ["blue"]}, "dc1"), catalog({"web": ["green", "blue"]}, "dc1")
    return [
        *encoded(WEB, changes.seen(seen), 4711),
        *encoded(WEB, changes.between(seen, now), 4715),
        *encoded(WEB, changes.between(now, later), 4720),
        *encoded(WEB, changes.between(later, {}), 4733),
        *encoded(CATALOG, changes.between(before, after), 4733),
    ]


def exact(shown: str) -> bytes:
    """Return what the page shows as it is on the wire: the same keys in the same order, without spaces."""
    return json.dumps(json.loads(shown), separators=(",", ":"), ensure_ascii=False).encode()


def test_the_events_are_those_that_the_code_makes():
    assert [exact(shown) for shown in SHOWN] == examples()


def test_a_consumer_finds_the_position_in_the_event_id():
    metadata = json.loads(SHOWN[0])["metadata"]
    position = metadata["EventID"].split(".")[2]
    assert position == encode(Place(metadata["Epoch"], metadata["Index"], 1))
    assert f"`{position}`" in TEXT


def test_every_event_property_and_column_is_told():
    kinds = {"seen", "registered", "deregistered", "changed", "added", "removed"}
    told = set(re.findall(r"`((?:service|instance|health)_[a-z]+)`", TEXT))
    assert told == {f"service_{kind}" for kind in kinds - {"added", "removed"}} | {
        f"instance_{kind}" for kind in kinds - {"registered", "deregistered"}
    } | {"health_changed"}
    assert all(f"`{name}`" in TEXT for name in ("op", "event_id", *properties(WEB, encode(Place(1, 1, 1)))))


def test_the_policy_is_the_one_that_hints_name():
    (policy,) = (block.text for block in blocks("", file=PAGE))
    assert words(policy).strip() == refusals.POLICY


def test_the_delays_are_those_of_the_code():
    settings = ConsulSettings("consul1", "http://localhost:8500")
    rate = settings.requests_per_second
    text = words(TEXT)
    assert f"the address of a node | the nodes | {watches.NODES_EVERY_S:g} s" in text
    assert f"which it asks for in the beginning, every {watches.IDENTITY_EVERY_S:g} s, and after every failed" in text
    assert f"a sweep then goes on for {sweep.URGENT_S:g} s of each look, a slow one for {sweep.LEISURE_S:g} s" in text
    assert f"services / {sweep.SHARE:.0%} of requests_per_second".replace("%", " %") in text
    assert f"the default of {rate:g} requests per second take {10_000 / rate:g} s" in text
    assert f"slowly {10_000 / rate / sweep.SHARE:g} s" in text
    assert f"waits for {observer.SHORT_WAIT_S * 1000:g} ms" in text
    assert f"queries wait for {observer.LONG_WAIT_S / 60:g} minutes" in text
    assert f"below {watches.HELD_S:g} s a look waits for it" in text
    assert f"hold_removals_over ({settings.hold_removals_over:.0%})".replace("%", " %") in text
    assert (holding.FIRST_LOOK_AGAIN_S, holding.LONGEST_LOOK_AGAIN_S) == (1.0, 60.0)
    assert "looks again after one second, then after longer, at last every minute" in text
    assert f"nothing is held, at last every {holding.LONGEST_INCOMPLETE_S / 60:g} minutes" in text


def test_what_it_costs_follows_from_the_formula():
    assert f"<!-- cost -->\n{costs()}<!-- end of cost -->" in TEXT


def test_what_was_measured_is_the_result_of_the_benchmark():
    assert f"<!-- measured -->\n{measured()}<!-- end of measured -->" in TEXT
    text, figures = words(TEXT), MEASURED
    assert f"on {figures['measured']}, with {figures['machine']}:" in text
    assert f"up to {figures['most_connections']} connections" in text
    assert f"{figures['short_first_look_journals_written']:,} journals" in text
    assert f"{figures['short_idle_look_requests']:g} requests and {figures['short_idle_look_bytes']:,.0f} bytes" in text
    assert f"{figures['idle_look_storage_calls']:g} calls of the store" in text
    assert f"{figures['short_idle_look_cpu_ms']:.0f} ms of CPU" in text
    for what in ("instance", "catalog"):
        times = (f"{figures[f'{what}_{work}_ms']:.2f}" for work in ("diff", "parse", "store"))
        assert f"| {' | '.join(times)} |" in text


def test_what_was_measured_is_within_the_limits():
    assert {name: MEASURED[name] for name, most in LIMITS.items() if MEASURED[name] > most} == {}


def measured() -> str:
    """Return the table of what the benchmark has measured."""
    lines = ["| | short waits | long waits | asking for all |\n|---|---|---|---|\n"]
    for what, name, form in (
        ("first look, seconds", "first_look_s", ".0f"),
        ("… requests", "first_look_requests", ",.0f"),
        ("memory beyond what imports take, MiB", "mb", ".0f"),
        ("nothing happens for a minute: requests", "idle_requests_per_minute", ",.0f"),
        ("… KiB received", "idle_kb_per_minute", ",.0f"),
        ("… CPU seconds", "idle_cpu_s_per_minute", ".1f"),
    ):
        lines.append(line(what, (format(MEASURED[f"{who}_{name}"], form) for who in ("short", "long", "polling"))))
    for what, kind in (
        ("a check fails: seconds to the event", "health"),
        ("the port of a service that changes often", "hot"),
        ("the port of one that never changed", "cold"),
    ):
        lines.append(line(what, map(latency, (f"short_{kind}", f"long_{kind}", "polling"))))
        asked = (f"{MEASURED[f'{who}_{kind}_change_requests']:,}" for who in ("short", "long"))
        lines.append(line("… requests until then", (*asked, "")))
    return "".join(lines)


def line(what: str, values: Iterable[str]) -> str:
    return f"| {' | '.join((what, *values))} |\n"


def latency(what: str) -> str:
    """Return after how many seconds a change was an event: the median, and almost always."""
    return " / ".join(f"{MEASURED[f'{what}_latency_ms_p{percent}'] / 1_000:.1f}" for percent in (50, 99))


def costs() -> str:
    """Return the table of a month of one quiet datacenter: three coarse watches, its nodes and its identity."""
    seldom = round(cost.MONTH_S / watches.NODES_EVERY_S + cost.MONTH_S / watches.IDENTITY_EVERY_S)
    lines = ["| `wait` | Consul is asked, times | Functions run, seconds | US dollars |\n|---|---|---|---|\n"]
    for name, wait_s in (("`250ms`, the default of Functions", observer.SHORT_WAIT_S), ("`5s`", 5.0)):
        seconds = cost.TICKS * max(1.0, wait_s * 17 / 16)
        lines.append(row(name, 3 * cost.TICKS + seldom, seconds))
    held = round(3 * cost.MONTH_S / observer.LONG_WAIT_S)
    lines.append(row("`5m`, held open all the time", held + seldom, cost.MONTH_S))
    return "".join(lines)


def row(name: str, requests: int, seconds: float) -> str:
    """Return one line of the table."""
    dollars = cost.GB_S * max(0.0, cost.GB * seconds - 100_000)
    return f"| {name} | {requests:,} | {seconds:,.0f} | {dollars:.2f} |\n"
