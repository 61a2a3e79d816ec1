"""The shape of `sluice.hcl`: `source` and `output`, and a block for each part that has something to set."""

import re
from collections.abc import Iterator, Mapping
from typing import Literal, cast

from shared.settings import connections, consul, names, tables
from shared.settings.model import (
    AzureSettings,
    CaptureSettings,
    DeliverSettings,
    OutputSettings,
    Settings,
    SourceSettings,
    SqlServerSettings,
    TableSettings,
    TopicsSettings,
)
from shared.settings.names import DEFAULTS
from shared.settings.problems import Problems, did_you_mean
from shared.settings.reading import Item, Reader

SOURCES = ("consul", "sqlserver")
OUTPUTS = {"servicebus": "topics", "console": "console"}
"""Kinds of outputs, each with the name of one that has no label."""
FORMATS = ("dstream",)
TOPIC_SIZES = (1, 2, 3, 4, 5, 10, 20, 40, 80)
"""In GB: https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas."""

_LSN = re.compile(r"(?:0x)?([0-9a-f]{20})", re.IGNORECASE)


def read(root: Reader, environ: Mapping[str, str], problems: Problems) -> Settings:
    """Return what a file in the native shape says."""
    bus, state = connections.service_bus(environ, problems), connections.storage(environ, problems)
    connections.require(bus, state, problems)
    ingest, rejected = root.block("ingest"), root.block("rejected")
    claims, store = root.block("claim_check"), root.block("state")
    settings = Settings(
        sources=tuple(_sources(root)),
        outputs=tuple(_outputs(root, environ, bus, problems)),
        bus=bus,
        state=state,
        ingest_queue=names.ingest_queue(ingest, "queue", environ),
        rejected_queue=names.named(rejected, "queue", "queue", DEFAULTS.rejected_queue),
        claims_container=names.named(claims, "container", "container", DEFAULTS.claims_container),
        lease_container=names.named(store, "lease_container", "container", DEFAULTS.lease_container),
        memo_container=names.named(store, "memo_container", "container", DEFAULTS.memo_container),
        state_table=names.named(store, "table", "table", DEFAULTS.state_table),
        capture=_capture(root.block("capture"), environ),
        deliver=_deliver(root.block("deliver")),
        topics=topics(root.block("topics"), environ),
    )
    for reader in (ingest, rejected, claims, store, root):
        reader.close()
    return settings


def _sources(root: Reader) -> Iterator[SourceSettings]:
    readers = list(root.blocks("source"))
    if not readers:
        root.problem("there is no source", hint='source "sqlserver" "name" { … }')
    taken: set[str] = set()
    for reader in readers:
        kind = reader.labels[0] if reader.labels else ""
        if kind not in SOURCES:
            reader.problem("unknown kind of source", value=kind, hint=did_you_mean(kind, SOURCES))
            continue
        source = consul.read(reader) if kind == "consul" else _sql_server(reader)
        if source.name and source.name.lower() in taken:
            reader.problem("a second source of this name", value=source.name, hint="label each source differently")
        taken.add(source.name.lower())
        yield source


def _sql_server(reader: Reader) -> SqlServerSettings:
    server = tables.server(reader, "connection_string")
    name = names.of_source(reader, server.host if server else None, "sql1")
    default = SqlServerSettings(name, "", "", "", ())
    settings = SqlServerSettings(
        name=name,
        odbc=server.odbc if server else "",
        database=server.database if server else "",
        server=server.server if server else "",
        tables=_tables(reader),
        start=_start(reader, default.start),
        values=cast(Literal["typed", "string"], reader.choice("values", ("typed", "string"), default.values)),
        connections=reader.count("connections", default.connections, high=64),
        query_timeout_s=reader.seconds("query_timeout", default.query_timeout_s, low=1),
        deadline_s=reader.seconds("deadline", default.deadline_s, low=1, high=600),
        page=reader.count("page", default.page),
        retention_s=reader.seconds("retention", 0.0, low=60) or None,
    )
    reader.close(labels=2)
    return settings


def _start(reader: Reader, default: str) -> str:
    text = reader.text("start", default)
    lsn = _LSN.fullmatch(text)
    if lsn:
        return lsn[1].lower()
    if text not in {"earliest", "latest"}:
        reader.problem(
            "is no place to start", key="start", value=text, hint="earliest, latest, or 20 hex digits of an LSN"
        )
    return text


def _tables(reader: Reader) -> tuple[TableSettings, ...]:
    pace = tables.intervals(reader, tables.Intervals())
    placed = [found for item in reader.items("tables") for found in tables.place(reader, "tables", item, pace)]
    blocks = list(reader.blocks("table"))
    for block in blocks:
        item = Item(block.labels[0] if block.labels else "", block.line)
        placed += tables.place(block, "", item, tables.intervals(block, pace))
        block.close(labels=1)
    if not blocks and not reader.given("tables"):
        reader.problem("names no table", hint='tables = ["Persons", "sales.Orders"]')
    return tables.distinct(placed)


def _outputs(
    root: Reader, environ: Mapping[str, str], bus: AzureSettings, problems: Problems
) -> Iterator[OutputSettings]:
    readers = list(root.blocks("output"))
    if not readers:
        yield OutputSettings("topics", "servicebus", {connections.SERVICE_BUS: bus})
    taken: set[str] = set()
    for reader in readers:
        kind = reader.choice("type", tuple(OUTPUTS), "servicebus")
        name = reader.labels[0] if reader.labels else OUTPUTS[kind]
        if not names.is_name("name", name):
            reader.problem("cannot name an output", value=name, hint=names.form("name"))
        if name.lower() in taken:
            reader.problem("a second output of this name", value=name, hint="label each output differently")
        taken.add(name.lower())
        yield OutputSettings(name, kind, _namespaces(reader, environ, bus, problems) if kind == "servicebus" else {})
        reader.close(labels=1)


def _namespaces(
    reader: Reader, environ: Mapping[str, str], bus: AzureSettings, problems: Problems
) -> dict[str, AzureSettings]:
    """Return the namespaces of an output's topics: that of the ingest queue, or those of the app settings it names."""
    found: dict[str, AzureSettings] = {}
    for item in reader.items("connections") or [Item(connections.SERVICE_BUS, reader.line)]:
        setting = item.text
        is_bus = setting == connections.SERVICE_BUS
        reached = bus if is_bus else connections.service_bus(environ, problems, setting)
        if not is_bus and not (reached.connection_string or reached.address):
            hint = f"set {setting}, or {setting}__fullyQualifiedNamespace"
            reader.problem(f"the app setting {setting} is not set", key="connections", line=item.line, hint=hint)
        elif setting in found or any(connections.alike(reached, other) for other in found.values()):
            hint = "name each namespace once"
            reader.problem(
                "a second time the same namespace", key="connections", line=item.line, value=setting, hint=hint
            )
        found[setting] = reached
    return found


def topics(reader: Reader, environ: Mapping[str, str]) -> TopicsSettings:
    """Return what a `topics` block and the app settings beside it say."""
    default = DEFAULTS.topics
    size = reader.size("max_size", default.max_size_bytes, low=1024**3, high=80 * 1024**3)
    if size not in {gigabytes * 1024**3 for gigabytes in TOPIC_SIZES}:
        reader.problem("is no size of a topic", key="max_size", hint=f"{', '.join(map(str, TOPIC_SIZES))} GB")
    settings = TopicsSettings(
        sync=reader.flag("sync", default=default.sync),
        schedule=names.schedule(reader, "schedule", environ, names.TOPICS_SCHEDULE, default.schedule),
        subscription=names.named(reader, "subscription", "subscription", default.subscription),
        expiry_s=reader.seconds("expiry", default.expiry_s, low=60),
        max_size_bytes=size,
        client_id=environ.get(names.TOPIC_ADMIN, ""),
        ca_file=environ.get(names.CA_FILE, ""),
    )
    reader.close()
    return settings


def _capture(reader: Reader, environ: Mapping[str, str]) -> CaptureSettings:
    default = DEFAULTS.capture
    settings = CaptureSettings(
        schedule=names.schedule(reader, "schedule", environ, names.CAPTURE_SCHEDULE, default.schedule),
        shards=reader.count("shards", default.shards, high=16),
        lease_s=reader.seconds("lease", default.lease_s, low=15, high=60),
        linger_s=reader.seconds("linger", default.linger_s, high=300),
        linger_poll_s=reader.seconds("linger_poll", default.linger_poll_s, low=0.01),
        probe_after_s=reader.seconds("probe_after", default.probe_after_s, low=1),
        max_probe_after_s=reader.seconds("max_probe_after", default.max_probe_after_s, low=1),
        ahead=reader.count("ahead", default.ahead),
        max_message_bytes=reader.size("max_message_size", default.max_message_bytes, low=16 * 1024, high=100 * 1024**2),
        max_pack_changes=reader.count("max_pack_changes", default.max_pack_changes),
        format=reader.choice("format", FORMATS, default.format),
    )
    _ascending(reader, "probe_after", settings.probe_after_s, "max_probe_after", settings.max_probe_after_s)
    reader.close()
    return settings


def _deliver(reader: Reader) -> DeliverSettings:
    default = DEFAULTS.deliver
    settings = DeliverSettings(
        hold_s=reader.seconds("hold", default.hold_s, high=480),
        store_hold_s=reader.seconds("store_hold", default.store_hold_s, high=540),
        park_s=reader.seconds("park", default.park_s, low=1),
        max_park_s=reader.seconds("max_park", default.max_park_s, low=1),
    )
    _ascending(reader, "park", settings.park_s, "max_park", settings.max_park_s)
    reader.close()
    return settings


def _ascending(reader: Reader, low_key: str, low: float, high_key: str, high: float) -> None:
    if high < low:
        hint = f"here {low_key} is {low:g}s and {high_key} {high:g}s"
        reader.problem(f"{high_key} is below {low_key}", key=high_key if reader.given(high_key) else low_key, hint=hint)
