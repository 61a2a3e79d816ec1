"""The settings tables of the README, printed from the code that reads the settings.

    python -m tools.settings_table            prints them
    python -m tools.settings_table --write    puts them between the README's markers

The configuration reader runs over a file that names every block, and writes down each key that it is asked for, with
the type, the limits and the default that the code gives. What a key means is written here; a key without a meaning, or
a meaning without a key, is an error.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shared.settings import connections, hcl, names, native
from shared.settings.load import FILE_SETTING
from shared.settings.model import Settings
from shared.settings.names import DEFAULTS
from shared.settings.problems import Problems
from shared.settings.reading import Item, Reader
from shared.telemetry import FORMAT_SETTING, LEVEL_SETTING, LEVELS

README = Path(__file__).parents[1] / "README.md"
SECTION = re.compile(r"(<!-- settings -->\n).*?(<!-- end of settings -->)", re.DOTALL)

EVERY_BLOCK = """
source "sqlserver" "sql1" {
  connection_string = "Server=host;Database=Name"
  tables            = ["Persons"]
  table "Cars" {}
}
source "consul" "consul1" {
  address = "http://host:8500"
}
output "topics" {}
"""

MEANINGS = {
    'source "sqlserver"': {
        "connection_string": "`sqlserver://` URL or ODBC connection string, without the driver",
        "tables": "captured tables: `Name` (schema `dbo`) or `schema.Name`",
        "start": "where a new stream begins: `earliest`, `latest` or an LSN (20 hex digits)",
        "values": "`string` shows numbers and booleans as text, as DStream did",
        "poll_interval": "how often a table is looked at while it changes",
        "max_poll_interval": "the interval doubles up to this while quiet",
        "connections": "ODBC connections, each with a thread",
        "query_timeout": "how long one statement may take",
        "deadline": "how long one round of this source may take",
        "page": "changes that one statement reads",
        "retention": "how long the source keeps a change",
    },
    'source "sqlserver": table': {
        "poll_interval": "of this table alone",
        "max_poll_interval": "of this table alone",
    },
    'source "consul"': {
        "address": "URL of an agent or of the servers",
        "token": "ACL token, sent in a header; `docs/consul.md` has its policy",
        "datacenter": "the datacenter to observe",
        "datacenters": "instead, several",
        "services": "names and patterns (`web-*`) of services to observe; none: the catalog alone",
        "tags": "observes instances that have all of these",
        "filter": "observes instances that match this expression of Consul's",
        "start": "`latest` leaves out what is there when the source is first seen",
        "start_index": "leaves out of the snapshot what has not changed since this index",
        "poll_interval": "how often the cluster is looked at",
        "wait": "how long a blocking query waits for a change",
        "hold_removals_over": 'a greater share gone at once (`"30%"`) needs a second look',
        "accept_filtered": "`true` believes answers from which ACLs have left something out",
        "consistency": "who answers: any server, the leader, a proven one",
        "max_stale": "an answer older than this is asked for again, from the leader",
        "connections": "requests at once, each with a thread; watches not counted",
        "watches": "services that change often and are watched on their own",
        "requests_per_second": "requests to the cluster, at most",
        "request_timeout": "how long a request may take, beside its `wait`",
        "deadline": "how long one round of this source may take",
        "page": "changes that one round takes of a stream",
        "ca_file": "PEM file with the authorities that vouch for the agent",
        "client_cert": "PEM file with the certificate to show to the agent",
        "client_key": "PEM file with its key",
    },
    "output": {
        "type": "kind of destination",
        "connections": "app settings that name the namespaces of the topics",
    },
    "ingest": {"queue": "the queue between capture and deliver; as `INGEST_QUEUE`"},
    "rejected": {"queue": "keeps events that can never be delivered"},
    "claim_check": {"container": "keeps bodies too large for a message"},
    "state": {
        "lease_container": "has one blob per shard, whose lease capture holds",
        "memo_container": "keeps what is too large to remember in the table",
        "table": "keeps states and marks",
    },
    "capture": {
        "schedule": "timer of capture, NCRONTAB with seconds; as `CAPTURE_SCHEDULE`",
        "shards": "capture timers that share the streams",
        "lease": "how long a shard stays taken when its holder dies",
        "linger": "how long a tick goes on while changes keep arriving",
        "linger_poll": "pause between two looks of a tick",
        "probe_after": "quiet time until a probe looks for a lost pack",
        "max_probe_after": "the time between probes doubles up to this",
        "ahead": "packs that a stream may be ahead of its slowest output",
        "max_message_size": "the broker's limit for a message",
        "max_pack_changes": "changes in one pack",
        "format": "form of the message body",
    },
    "deliver": {
        "hold": "how long a pack is tried before its stream is parked",
        "store_hold": "how long the state store may be away before a pack comes again",
        "park": "how long a stream is parked first",
        "max_park": "the parking time doubles up to this",
    },
    "topics": {
        "sync": "whether the app creates the topics of its streams",
        "schedule": "timer of that, NCRONTAB with seconds; as `TOPICS_SCHEDULE`",
        "subscription": "the subscription that a topic is created with",
        "expiry": "how long it keeps a message that nobody takes; then it is dead-lettered",
        "max_size": "1 to 5 GB, in a Premium namespace also 10, 20, 40 or 80",
    },
}

DEFAULTS_SAID = {
    ('source "sqlserver"', "tables"): "required",
    ('source "sqlserver"', "max_poll_interval"): "`30s`, or `poll_interval`",
    ('source "sqlserver"', "retention"): "what the server says, else `72h`",
    ('source "sqlserver": table', "max_poll_interval"): "the source's",
    ('source "sqlserver": table', "poll_interval"): "the source's",
    ('source "consul"', "datacenter"): "the agent's",
    ('source "consul"', "datacenters"): "the agent's",
    ('source "consul"', "wait"): "short in Functions, else long",
    ('source "consul"', "ca_file"): "those of this machine",
    ("ingest", "queue"): f"`{DEFAULTS.ingest_queue}`",
    ("capture", "schedule"): f"`{DEFAULTS.capture.schedule}`",
    ("topics", "schedule"): f"`{DEFAULTS.topics.schedule}`",
    ("output", "connections"): f'`["{connections.SERVICE_BUS}"]`',
}
"""Defaults that the code works out from something else."""

_LEVELS = {number: level for level, number in reversed(LEVELS.items())}.values()  # one spelling of each
_BUS, _STATE, _WEB = connections.SERVICE_BUS, *connections.STORAGE
APP_SETTINGS = {
    FILE_SETTING: "configuration file; else `sluice.hcl`, else `dstream.hcl`",
    _BUS: "Service Bus connection string; for local use",
    f"{_BUS}__fullyQualifiedNamespace": "instead, with the app's identity: `<namespace>.servicebus.windows.net`",
    f"{_BUS}__clientId": "which user-assigned identity",
    f"{_BUS}Administration": "address of its management API where it is another one: `https://127.0.0.1:5300`",
    names.TOPIC_ADMIN: "the identity that creates topics; else the namespace's own",
    names.CA_FILE: "authority of the certificate of that API, a PEM file; for local use",
    _STATE: "connection string of the account for states, leases and claim checks",
    f"{_STATE}__accountName": "instead, with the app's identity: the account's name",
    f"{_STATE}__blobServiceUri": "or its address, for another cloud",
    f"{_STATE}__tableServiceUri": "or this; either implies the other",
    f"{_STATE}__clientId": "which user-assigned identity",
    _WEB: f"the Functions host's account; used for states where `{_STATE}` is not set",
    f"{_WEB}__accountName": f"likewise, as for `{_STATE}`",
    f"{_WEB}__blobServiceUri": "likewise",
    f"{_WEB}__tableServiceUri": "likewise",
    f"{_WEB}__clientId": "likewise",
    names.INGEST_QUEUE: "queue of the deliver trigger; required in Functions",
    names.CAPTURE_SCHEDULE: "schedule of the capture trigger; required in Functions",
    names.TOPICS_SCHEDULE: f"schedule of `sync_topics`; default `{DEFAULTS.topics.schedule}`",
    LEVEL_SETTING: f"{', '.join(f'`{level}`' for level in reversed(_LEVELS))}; default `info`",
    FORMAT_SETTING: "`text` or `json`; default `text`",
}

type Row = tuple[str, str, str, str]


class _Asked(Reader):
    """A reader that writes down what it is asked for."""

    rows: dict[tuple[str, str], Row]
    place: str

    @classmethod
    def of(cls, block: hcl.Block, problems: Problems, rows: dict[tuple[str, str], Row], place: str) -> "_Asked":
        reader = cls(block, problems)
        reader.rows, reader.place = rows, place
        return reader

    def text(self, key: str, default: str = "", *, required: bool = False) -> str:
        self._note(key, "text", "required" if required else f"`{default}`" if default else "none")
        return super().text(key, default, required=required)

    def secret(self, key: str, *, required: bool = False) -> str:
        found = super().secret(key, required=required)
        self._note(key, "text, secret", "required" if required else "none")
        return found

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        found = super().choice(key, known, default)
        self._note(key, " or ".join(f"`{word}`" for word in known), f"`{default}`")
        return found

    def flag(self, key: str, *, default: bool) -> bool:
        self._note(key, "`true` or `false`", f"`{str(default).lower()}`")
        return super().flag(key, default=default)

    def seconds(self, key: str, default: float, *, low: float = 0.0, high: float = float("inf")) -> float:
        self._note(key, f"duration{_limits(duration, low, high, 0)}", f"`{duration(default)}`")
        return super().seconds(key, default, low=low, high=high)

    def size(self, key: str, default: int, *, low: int = 1, high: float = float("inf")) -> int:
        self._note(key, f"size{_limits(size, low, high, 1)}", f"`{size(default)}`")
        return super().size(key, default, low=low, high=high)

    def count(self, key: str, default: int, *, low: int = 1, high: float = float("inf")) -> int:
        self._note(key, f"number{_limits(lambda n: f'{n:g}', low, high, 1)}", f"`{default}`")
        return super().count(key, default, low=low, high=high)

    def share(self, key: str, default: float) -> float:
        self._note(key, "share, 0 to 1", f"`{default:g}`")
        return super().share(key, default)

    def items(self, key: str) -> list[Item]:
        self._note(key, "list of texts", "none")
        return super().items(key)

    def blocks(self, kind: str) -> Iterator[Reader]:
        self._kinds.add(kind)
        blocks = [block for block in self._block.blocks if block.kind == kind]
        if not blocks and kind not in ("source", "output", "table"):
            blocks = [hcl.Block(kind, (), 1, kind)]
        return (_Asked.of(block, self.problems, self.rows, self._place(block)) for block in blocks)

    def _place(self, block: hcl.Block) -> str:
        kind = f'source "{block.labels[0]}"' if block.kind == "source" else block.kind
        return f"{self.place}: {kind}" if self.place else kind

    def _note(self, key: str, form: str, default: str) -> None:
        meaning = MEANINGS[self.place][key]
        said = DEFAULTS_SAID.get((self.place, key), default)
        self.rows[self.place, key] = (f"`{key}`", form, said, meaning)


def duration(seconds: float) -> str:
    """Return a duration as the file writes it: `100ms`, `5s`, `2m`, `72h`."""
    for unit, name in ((3600, "h"), (60, "m"), (1, "s")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:g}{name}"
    return f"{seconds * 1000:g}ms" if seconds else "0"


def size(count: float) -> str:
    """Return a number of bytes as the file writes it: `256KB`, `100MB`."""
    return f"{count / 1024**2:g}MB" if count % 1024**2 == 0 else f"{count / 1024:g}KB"


def _limits(shown: Callable[[float], str], low: float, high: float, usual: float) -> str:
    """Return the limits in words; `usual` is the low one that needs no word."""
    if high != float("inf"):
        return f", {shown(low)} to {shown(high)}"
    return f", from {shown(low)}" if low != usual else ""


def rows() -> dict[tuple[str, str], Row]:
    """Return name, type, default and meaning of every key, by block and key, in the order of `MEANINGS`.

    Raises:
        LookupError: a key has no meaning, or a meaning no key.
    """
    problems = Problems("sluice.hcl")
    asked: dict[tuple[str, str], Row] = {}
    environ = {
        connections.SERVICE_BUS: "Endpoint=sb://host/;SharedAccessSignature=s",
        connections.STORAGE[1]: "UseDevelopmentStorage=true",
    }
    root = _Asked.of(hcl.parse(EVERY_BLOCK, environ, problems), problems, asked, "")
    settings: Settings = native.read(root, environ, problems)
    problems.check()
    wanted = [(place, key) for place, keys in MEANINGS.items() for key in keys]
    if unread := set(wanted) - asked.keys():
        message = f"nothing reads {unread} of {settings.file or 'the file'}"
        raise LookupError(message)
    return {each: asked[each] for each in wanted}


def tables() -> str:
    """Return both tables as Markdown."""
    lines: list[str] = []
    found = rows()
    lines += ["| block, key | type | default | meaning |", "|---|---|---|---|"]
    for place in MEANINGS:
        block = place.replace(": ", " { ") + (" { … } }" if ": " in place else " { … }")
        lines.append(f"| **`{block}`** | | | |")
        lines += ["| " + " | ".join(row) + " |" for (at, _), row in found.items() if at == place]
    lines += ["", "| app setting | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in APP_SETTINGS.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables, or with `--write` put them into the README."""
    if sys.argv[1:] == ["--write"]:
        text = README.read_text(encoding="utf-8")
        README.write_text(SECTION.sub(lambda found: f"{found[1]}{tables()}{found[2]}", text), encoding="utf-8")
    else:
        print(tables(), end="")


if __name__ == "__main__":
    main()
