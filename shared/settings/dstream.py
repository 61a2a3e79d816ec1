"""The shapes of `dstream.hcl`, of 2024 and of 2025, as DStream's users wrote them.

A server that is localhost or an IP address, which has no name of its own, becomes the source `dstream`: these files
have no key for it, and DStream itself took the name of whichever machine it ran on. What the files do not say, such as
the storage account in the older shape, comes from app settings as it does for `sluice.hcl`.
"""

from collections.abc import Mapping
from dataclasses import replace

from shared.settings import connections, names, native, tables
from shared.settings.hcl import Block
from shared.settings.model import AzureSettings, OutputSettings, Settings, SqlServerSettings, TableSettings
from shared.settings.names import DEFAULTS
from shared.settings.problems import Problems, did_you_mean
from shared.settings.reading import Item, Reader

UNNAMED = "dstream"

_KINDS = {"azure_service_bus": "servicebus", "servicebus": "servicebus", "console": "console"}
_QUEUES = ("azure_service_bus", "servicebus")
_LOCKS = ("azure_blob", "azure_blob_db")


def read_2024(root: Reader, environ: Mapping[str, str], problems: Problems) -> Settings:
    """Return what a file with `db_connection_string`, `output` and `tables` blocks says.

    It names neither a bus nor storage, for DStream needed none: where app settings say nothing either, they are empty.
    """
    bus = connections.service_bus(environ, problems)
    placed: list[tables.Placed] = []
    for reader in root.blocks("tables"):
        pace = tables.intervals(reader, tables.Intervals())
        name = reader.text("name", required=True)
        placed += tables.place(reader, "name", Item(name, reader.line), pace) if name else []
        reader.close()
    if not placed:
        root.problem("names no table", hint='tables { name = "Persons" }')
    output = root.block("output")
    settings = replace(
        DEFAULTS,
        sources=(_source(root, tables.distinct(placed)),),
        outputs=(_output(_kind(output), None, bus),),
        bus=bus,
        state=connections.storage(environ, problems),
    )
    output.close()
    root.close()
    return _with_app_settings(settings, Reader(Block("", (), 1, ""), problems), environ)


def read_2025(root: Reader, environ: Mapping[str, str], problems: Problems) -> Settings:
    """Return what a file with `ingester` and `router`, which some files call `publisher`, says."""
    ingester, router = root.block("ingester"), _router(root)
    queue, locks = ingester.block("queue"), ingester.block("locks")
    source, output = router.block("source"), router.block("output")
    queue.choice("type", _QUEUES, "servicebus")
    source.choice("type", _QUEUES, "servicebus")
    locks.choice("type", _LOCKS, "azure_blob")
    bus = _bus(queue, source, environ, problems)
    state = _state(locks, environ, problems)
    connections.require(bus, state, problems)
    settings = replace(
        DEFAULTS,
        sources=(_source(ingester, _tables(ingester)),),
        outputs=(_output(_kind(output), _own(output, bus), bus),),
        bus=bus,
        state=state,
        lease_container=names.named(locks, "container_name", "container", DEFAULTS.lease_container),
    )
    settings = _with_app_settings(settings, queue, environ)
    for reader in (queue, locks, source, output, ingester, router, root):
        reader.close()
    return settings


def _with_app_settings(settings: Settings, queue: Reader, environ: Mapping[str, str]) -> Settings:
    unsaid, default = Reader(Block("", (), 1, ""), queue.problems), settings.capture
    schedule = names.schedule(unsaid, "schedule", environ, names.CAPTURE_SCHEDULE, default.schedule)
    return replace(
        settings,
        ingest_queue=names.ingest_queue(queue, "name", environ),
        capture=replace(default, schedule=schedule),
        topics=native.topics(unsaid, environ),
    )


def _router(root: Reader) -> Reader:
    found = sorted([*root.blocks("router"), *root.blocks("publisher")], key=lambda block: block.line)
    for other in found[1:]:
        other.problem("a second router", hint="router and publisher are two names of one block: keep one")
    return found[0] if found else root.block("router")


def _source(reader: Reader, found: tuple[TableSettings, ...]) -> SqlServerSettings:
    reader.choice("db_type", ("sqlserver",), "sqlserver")
    server = tables.server(reader, "db_connection_string")
    if server is None:
        return SqlServerSettings(UNNAMED, "", "", "", found)
    label = names.host_label(server.host)
    name = label if names.is_name("name", label) else UNNAMED
    return SqlServerSettings(name, server.odbc, server.database, server.server, found)


def _tables(ingester: Reader) -> tuple[TableSettings, ...]:
    defaults, overrides = ingester.block("poll_interval_defaults"), ingester.block("tables_overrides")
    pace = tables.intervals(defaults, tables.Intervals())
    items = ingester.items("tables")
    if not items and not ingester.given("tables"):
        ingester.problem("names no table", hint='tables = ["Persons"]')
    known = {_key(item.text): item.text for item in items}
    own: dict[str, tables.Intervals] = {}
    for reader in overrides.blocks("overrides"):
        name = reader.text("table_name", required=True)
        if name and _key(name) not in known:
            hint = did_you_mean(name, known.values())
            reader.problem("is none of the tables", key="table_name", value=name, hint=hint)
        elif _key(name) in own:
            reader.problem("a second override of this table", key="table_name", value=name, hint="keep one")
        own.setdefault(_key(name), tables.intervals(reader, pace))
        reader.close()
    defaults.close()
    overrides.close()
    return tables.distinct(
        [found for item in items for found in tables.place(ingester, "tables", item, own.get(_key(item.text), pace))]
    )


def _key(table: str) -> str:
    return table.lower().removeprefix("dbo.")


def _bus(queue: Reader, source: Reader, environ: Mapping[str, str], problems: Problems) -> AzureSettings:
    """Return how to reach the ingest queue, which both blocks and an app setting may say: they have to agree."""
    texts = [(reader, reader.secret("connection_string")) for reader in (queue, source)]
    given = [(reader, text) for reader, text in texts if text]
    for reader, text in given:
        for message, hint in connections.service_bus_faults(text):
            reader.problem(message, key="connection_string", hint=hint)
    found = connections.service_bus(environ, problems)
    if not given:
        return found
    text = given[0][1]
    if not all(connections.same(text, other) for _, other in given):
        hint = "both reach the ingest queue: give them one connection string, which may send and listen"
        source.problem("differs from that of ingester: queue", key="connection_string", hint=hint)
    if found != AzureSettings() and not connections.same(text, found.connection_string):
        hint = "deliver's binding uses the app setting: make them equal, or remove the key"
        given[0][0].problem(
            f"differs from the app setting {connections.SERVICE_BUS}", key="connection_string", hint=hint
        )
    return replace(found, connection_string=text)


def _state(locks: Reader, environ: Mapping[str, str], problems: Problems) -> AzureSettings:
    found = connections.storage(environ, problems)
    text = locks.secret("connection_string")
    if not text:
        return found
    for message, hint in connections.storage_faults(text):
        locks.problem(message, key="connection_string", hint=hint)
    setting = connections.STORAGE[0]
    if environ.get(setting) and not connections.same(text, environ[setting]):
        hint = "make them equal, or remove one"
        locks.problem(f"differs from the app setting {setting}", key="connection_string", hint=hint)
    return AzureSettings(connection_string=text)


def _kind(output: Reader) -> str:
    return _KINDS[output.choice("type", tuple(_KINDS), "servicebus")]


def _output(kind: str, own: AzureSettings | None, bus: AzureSettings) -> OutputSettings:
    namespaces = {connections.SERVICE_BUS: bus} if own is None else {"output": own}
    return OutputSettings(native.OUTPUTS[kind], kind, namespaces if kind == "servicebus" else {})


def _own(output: Reader, bus: AzureSettings) -> AzureSettings | None:
    """Return how to reach the topics where they are in a namespace of their own."""
    text = output.secret("connection_string")
    if not text or connections.same(text, bus.connection_string):
        return None
    for message, hint in connections.service_bus_faults(text):
        output.problem(message, key="connection_string", hint=hint)
    return AzureSettings(connection_string=text)
