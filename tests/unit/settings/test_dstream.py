from pathlib import Path

import pytest

from shared.settings import load
from shared.settings.model import AzureSettings, TableSettings

SAMPLES = Path(__file__).parent / "samples"
DSTREAM_2024 = (SAMPLES / "dstream-2024.hcl").read_text()
DSTREAM_2025 = (SAMPLES / "dstream-2025.hcl").read_text()


@pytest.fixture
def environ(app) -> dict[str, str]:
    return {
        "DSTREAM_DB_CONNECTION_STRING": app["SqlServer"],
        "DSTREAM_INGEST_CONNECTION_STRING": app["ServiceBus"],
        "DSTREAM_BLOB_CONNECTION_STRING": "UseDevelopmentStorage=true",
        "DSTREAM_PUBLISHER_CONNECTION_STRING": app["ServiceBus"],
    }


def test_a_file_of_2024_loads_without_any_app_setting(files):
    settings = files.load(DSTREAM_2024, {})
    (source,) = settings.sources
    assert (source.name, source.server, source.database) == ("dstream", "localhost,1433", "TestDB")
    assert source.odbc == "Server=localhost,1433;UID=sa;PWD={S3cret!pass};Database=TestDB"
    assert source.tables == (TableSettings("dbo", "Persons", 5, 60), TableSettings("dbo", "Cars", 10, 120))
    assert [(output.name, output.kind) for output in settings.outputs] == [("console", "console")]
    assert settings.bus == settings.state == AzureSettings()


def test_app_settings_tell_a_file_of_2024_where_bus_and_storage_are(files, app):
    settings = files.load(DSTREAM_2024, app | {"INGEST_QUEUE": "in", "CAPTURE_SCHEDULE": "* * * * * *"})
    assert settings.bus.connection_string == app["ServiceBus"]
    assert settings.state.connection_string == app["AzureWebJobsStorage"]
    assert (settings.ingest_queue, settings.capture.schedule) == ("in", "* * * * * *")


@pytest.mark.parametrize(
    "text",
    [
        DSTREAM_2025,
        DSTREAM_2025.replace("publisher {", "router {"),
        DSTREAM_2025.replace('\\"', '"'),
        DSTREAM_2025.replace('\\"', "`"),
        DSTREAM_2025.replace("\n", "\r\n"),
    ],
    ids=["publisher", "router", "plain quotes", "backquotes", "crlf"],
)
def test_a_file_of_2025_loads(files, environ, text):
    settings = files.load(text, environ)
    (source,) = settings.sources
    assert (source.name, source.database) == ("sql1", "TestDB")
    assert source.tables == (TableSettings("dbo", "Persons", 5, 600), TableSettings("dbo", "Cars", 5, 120))
    assert settings.bus.connection_string == environ["DSTREAM_INGEST_CONNECTION_STRING"]
    assert settings.state.connection_string == "UseDevelopmentStorage=true"
    assert (settings.ingest_queue, settings.lease_container) == ("ingest-queue", "locks")
    assert [(output.name, output.kind) for output in settings.outputs] == [("topics", "servicebus")]
    assert settings.outputs[0].namespaces == {"ServiceBus": settings.bus}


def test_topics_may_be_in_a_namespace_of_their_own(files, environ):
    other = environ["DSTREAM_INGEST_CONNECTION_STRING"].replace("bus.", "other.")
    text = DSTREAM_2025.replace("PUBLISHER_CONNECTION_STRING", "INGEST_CONNECTION_STRING", 1)
    settings = files.load(text, environ | {"DSTREAM_PUBLISHER_CONNECTION_STRING": other})
    assert settings.outputs[0].namespaces["output"].connection_string == other
    assert settings.bus.connection_string == environ["DSTREAM_INGEST_CONNECTION_STRING"]


def test_a_file_of_2025_falls_back_on_app_settings(files, app, environ):
    text = "\n".join(line for line in DSTREAM_2025.splitlines() if "connection_string" not in line or "DB_C" in line)
    settings = files.load(text, app | environ)
    assert settings.bus.connection_string == app["ServiceBus"]
    assert settings.state.connection_string == app["AzureWebJobsStorage"]


def test_a_file_is_found_under_its_old_name(files, environ, monkeypatch):
    path = files.write(DSTREAM_2025, "dstream.hcl")
    monkeypatch.chdir(path.parent)
    assert load(environ=environ).file == str(Path("dstream.hcl"))
