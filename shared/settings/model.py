"""What a configuration says, once it is known to be right: frozen values, durations in seconds, sizes in bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class TableSettings:
    """One captured table. `poll_interval_s` doubles while it is quiet, up to `max_poll_interval_s`."""

    schema: str
    name: str
    poll_interval_s: float
    max_poll_interval_s: float


@dataclass(frozen=True, slots=True)
class SqlServerSettings:
    """One SQL Server database to capture from.

    `name` is the stream's first part; `odbc` the ODBC connection string without its driver, secret: never logged;
    `start` is "earliest", "latest" or 20 hex digits of an LSN. `retention_s` None: ask the server, else three days.
    """

    name: str
    odbc: str = field(repr=False)
    database: str
    server: str
    tables: tuple[TableSettings, ...]
    start: str = "earliest"
    values: Literal["typed", "string"] = "typed"
    connections: int = 4
    query_timeout_s: float = 30.0
    deadline_s: float = 120.0
    page: int = 5_000
    retention_s: float | None = None
    kind: str = "sqlserver"


@dataclass(frozen=True, slots=True)
class ConsulSettings:
    """One Consul cluster to observe: its catalog, and the instances of the services that match a pattern of `services`.

    `address` is a URL; `datacenters` () means the agent's own. `tags` and `filter` narrow the instances down. `wait_s`
    is how long a blocking query waits, None: briefly in Functions, long in a process of its own. `start` "latest"
    leaves out the snapshot, `start_index` of it what has not changed since. `hold_removals_over` is the share of a
    stream's items, 0 to 1, above which removals need a second, consistent look.
    """

    name: str
    address: str
    token: str = field(default="", repr=False)
    datacenters: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    filter: str = ""
    poll_interval_s: float = 1.0
    wait_s: float | None = None
    start: str = "earliest"
    start_index: int = 0
    hold_removals_over: float = 0.3
    accept_filtered: bool = False
    consistency: Literal["stale", "default", "consistent"] = "stale"
    max_stale_s: float = 10.0
    connections: int = 32
    watches: int = 100
    requests_per_second: float = 500.0
    request_timeout_s: float = 10.0
    deadline_s: float = 120.0
    page: int = 5_000
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    kind: str = "consul"


type SourceSettings = SqlServerSettings | ConsulSettings


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """How to reach one Azure service: by connection string (local use), or by host name or account and identity.

    Without a connection string and an address nothing is configured. `administration` is the host and port of the
    management API where the connection does not lead to it, as on this machine.
    """

    connection_string: str = field(default="", repr=False)
    address: str = ""
    client_id: str = ""
    administration: str = ""


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """One destination of every stream; `name` is the destination its marks carry.

    `namespaces` has those that its topics are spread over, by the app settings that say how to reach them.
    """

    name: str
    kind: str
    namespaces: Mapping[str, AzureSettings] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicsSettings:
    """How topics are created; `schedule` is the NCRONTAB of the timer that creates them, unless `sync` is off.

    `expiry_s` is how long the subscription keeps a message. `client_id` is the identity that may create topics, "" the
    connection's own; `ca_file` the authority of a management API that is not Azure's.
    """

    sync: bool = True
    schedule: str = "0 */5 * * * *"
    subscription: str = "sub1"
    expiry_s: float = 1_209_600.0
    max_size_bytes: int = 5 * 1024**3
    client_id: str = ""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """How capture works; `schedule` is the NCRONTAB of its timer."""

    schedule: str = "*/15 * * * * *"
    shards: int = 1
    lease_s: float = 60.0
    linger_s: float = 20.0
    linger_poll_s: float = 0.1
    probe_after_s: float = 60.0
    max_probe_after_s: float = 3_600.0
    ahead: int = 64
    max_message_bytes: int = 256 * 1024
    max_pack_changes: int = 5_000
    format: str = "dstream"


@dataclass(frozen=True, slots=True)
class DeliverSettings:
    """How deliver works: how long it holds a pack for its destination, and for the state store."""

    hold_s: float = 120.0
    store_hold_s: float = 480.0
    park_s: float = 30.0
    max_park_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured. `state` holds states, leases and claim checks."""

    sources: tuple[SourceSettings, ...]
    outputs: tuple[OutputSettings, ...]
    bus: AzureSettings
    state: AzureSettings
    ingest_queue: str = "ingest-queue"
    rejected_queue: str = "rejected"
    claims_container: str = "claims"
    lease_container: str = "leases"
    memo_container: str = "memos"
    state_table: str = "sluice"
    capture: CaptureSettings = CaptureSettings()
    deliver: DeliverSettings = DeliverSettings()
    topics: TopicsSettings = TopicsSettings()
    file: str = ""
