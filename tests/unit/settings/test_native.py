from pathlib import Path

import pytest

from shared.errors import InvalidConfigError
from shared.settings import load
from shared.settings.model import AzureSettings, CaptureSettings, DeliverSettings, TableSettings, TopicsSettings

SOURCE = 'source "sqlserver" "sql1" {\n  connection_string = env("SqlServer")\n  tables = ["Persons"]\n}\n'
ALL = """
source "sqlserver" "sql1" {
  connection_string = env("SqlServer")
  start             = "0x0000003600000B280003"
  values            = "string"
  poll_interval     = "500ms"
  max_poll_interval = "1m"
  connections       = 2
  query_timeout     = "10s"
  deadline          = "1m"
  page              = 100
  retention         = "72h"
  tables            = ["Persons", "sales.Orders", "[my schema].[a.b]]c]", "Order Details"]
  table "dbo.Cars" { poll_interval = "5s"  max_poll_interval = "10s" }
}
source "sqlserver" { # named by its host
  connection_string = "${env("Scheme")}://u:{{ env "Password" }}@SQL2.contoso.com?database=Two"
  tables            = ["Persons"]
}
output "topics" { type = "servicebus" }
output "elsewhere" {
  type        = "servicebus"
  connections = ["OtherBus", "ServiceBus"]
}
output { type = "console" }
ingest   { queue = "in/gest" }
rejected { queue = "bad" }
state {
  table           = "states"
  lease_container = "locks"
}
claim_check { container = "large" }
capture {
  schedule         = "*/5 * * * * *"
  shards           = 4
  lease            = "15s"
  linger           = "0"
  linger_poll      = "50ms"
  probe_after      = "2m"
  max_probe_after  = "30m"
  ahead            = 8
  max_message_size = "1MB"
  max_pack_changes = 10
  format           = "dstream"
}
deliver {
  hold       = "1m"
  store_hold = "2m"
  park       = "10s"
  max_park   = "1m"
}
topics {
  sync         = false
  schedule     = "0 0 * * * *"
  subscription = "consumers"
  expiry       = "48h"
  max_size     = "2GB"
}
"""


def test_every_key_is_read(files, app):
    environ = app | {
        "Scheme": "sqlserver",
        "Password": "p",
        "OtherBus__fullyQualifiedNamespace": "o.servicebus.windows.net",
        "TopicAdmin__clientId": "9-9",
        "SLUICE_CA_FILE": "ca.pem",
    }
    settings = files.load(ALL, environ)
    one, two = settings.sources
    assert (one.name, one.database, one.server, one.start) == (
        "sql1",
        "TestDB",
        "sql1.contoso.com,1433",
        "0000003600000b280003",
    )
    assert one.odbc == "Server=sql1.contoso.com,1433;UID=sa;PWD=hunter2;Database=TestDB"
    assert (one.values, one.connections, one.query_timeout_s, one.deadline_s) == ("string", 2, 10, 60)
    assert (one.page, one.retention_s) == (100, 259_200)
    assert one.tables == (
        TableSettings("dbo", "Persons", 0.5, 60),
        TableSettings("sales", "Orders", 0.5, 60),
        TableSettings("my schema", "a.b]c", 0.5, 60),
        TableSettings("dbo", "Order Details", 0.5, 60),
        TableSettings("dbo", "Cars", 5, 10),
    )
    assert (two.name, two.tables) == ("sql2", (TableSettings("dbo", "Persons", 1, 30),))
    assert [(output.name, output.kind) for output in settings.outputs] == [
        ("topics", "servicebus"),
        ("elsewhere", "servicebus"),
        ("console", "console"),
    ]
    bus = AzureSettings(connection_string=app["ServiceBus"])
    assert (settings.bus, settings.outputs[0].namespaces) == (bus, {"ServiceBus": bus})
    assert list(settings.outputs[1].namespaces.items()) == [
        ("OtherBus", AzureSettings(address="o.servicebus.windows.net")),
        ("ServiceBus", bus),
    ]
    assert settings.outputs[2].namespaces == {}
    assert settings.state == AzureSettings(connection_string="UseDevelopmentStorage=true")
    assert (settings.ingest_queue, settings.rejected_queue) == ("in/gest", "bad")
    assert (settings.state_table, settings.lease_container, settings.claims_container) == ("states", "locks", "large")
    assert settings.capture == CaptureSettings("*/5 * * * * *", 4, 15, 0, 0.05, 120, 1800, 8, 1_048_576, 10, "dstream")
    assert settings.deliver == DeliverSettings(60, 120, 10, 60)
    assert settings.topics == TopicsSettings(
        sync=False,
        schedule="0 0 * * * *",
        subscription="consumers",
        expiry_s=172_800,
        max_size_bytes=2 * 1024**3,
        client_id="9-9",
        ca_file="ca.pem",
    )


def test_what_is_not_said_has_its_default(files):
    settings = files.load(SOURCE)
    assert settings.capture == CaptureSettings()
    assert settings.deliver == DeliverSettings()
    assert settings.topics == TopicsSettings()
    assert [(output.name, output.kind) for output in settings.outputs] == [("topics", "servicebus")]
    assert (settings.ingest_queue, settings.rejected_queue) == ("ingest-queue", "rejected")
    assert settings.sources[0].tables == (TableSettings("dbo", "Persons", 1, 30),)
    assert settings.sources[0].start == "earliest"


def test_a_longer_poll_interval_lifts_the_default_maximum(files):
    settings = files.load(SOURCE.replace("tables", 'poll_interval = "2m"\n  tables'))
    assert settings.sources[0].tables == (TableSettings("dbo", "Persons", 120, 120),)


def test_identities_take_the_place_of_connection_strings(files, app):
    environ = {
        "SqlServer": app["SqlServer"],
        "ServiceBus__fullyQualifiedNamespace": "bus.servicebus.windows.net",
        "ServiceBus__clientId": "1-2",
        "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        "StateStorage__accountName": "account",
    }
    settings = files.load(SOURCE, environ)
    assert settings.bus == AzureSettings(address="bus.servicebus.windows.net", client_id="1-2")
    assert settings.state == AzureSettings(address="account")


def test_a_storage_account_may_be_named_by_its_endpoints(files, app):
    environ = app | {
        "AzureWebJobsStorage": "",
        "AzureWebJobsStorage__blobServiceUri": "https://account.blob.core.usgovcloudapi.net",
        "AzureWebJobsStorage__tableServiceUri": "https://account.table.core.usgovcloudapi.net",
    }
    assert files.load(SOURCE, environ).state == AzureSettings(address="account.blob.core.usgovcloudapi.net")


def test_app_settings_of_the_bindings_fill_in_where_the_file_is_silent(files, app):
    settings = files.load(SOURCE, app | {"INGEST_QUEUE": "in", "CAPTURE_SCHEDULE": "* * * * * *"})
    assert settings.ingest_queue == "in"
    assert settings.capture.schedule == "* * * * * *"


def test_app_settings_that_agree_with_the_file_are_fine(files, app):
    assert files.load(SOURCE + 'ingest { queue = "in" }', app | {"INGEST_QUEUE": "in"}).ingest_queue == "in"


def test_sluice_config_names_the_file(files, app):
    path = files.write(SOURCE, "other.hcl")
    assert load(environ=app | {"SLUICE_CONFIG": str(path)}).file == str(path)


def test_the_file_is_looked_for_in_the_working_directory(files, app, monkeypatch):
    path = files.write(SOURCE)
    monkeypatch.chdir(path.parent)
    assert load(environ=app).file == "sluice.hcl"


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path, app, content):
    path = tmp_path / "sluice.hcl"
    if content:
        path.write_bytes(content)
    with pytest.raises(InvalidConfigError, match="there is no such file" if content is None else "is not UTF-8"):
        load(path, app)
