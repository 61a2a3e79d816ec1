"""The product's log: constant texts with fields, as text or JSON, and never a secret."""

import json
import logging
from pathlib import Path

import pytest

from shared import telemetry
from shared.settings.model import AzureSettings, OutputSettings, Settings, SqlServerSettings

SHARED = Path(__file__).parents[2] / "shared"
log = logging.getLogger("sluice.test")


@pytest.fixture
def configure():
    """Configures the product's log as outside any host, or with a handler of one; all is put back afterwards."""
    ours, root = logging.getLogger("sluice"), logging.getLogger()
    before = ours.level, ours.propagate, list(ours.handlers), list(root.handlers)

    def configured(host=None, **environ):
        ours.handlers.clear()
        root.handlers[:] = [host] if host else []
        telemetry.configure(environ)

    yield configured
    ours.setLevel(before[0])
    ours.propagate = before[1]
    ours.handlers[:], root.handlers[:] = before[2], before[3]


@pytest.fixture
def lines(capsys):
    """What was written to standard error."""

    def written():
        return capsys.readouterr().err.splitlines()

    return written


def test_a_text_line_has_time_level_text_and_the_fields_in_their_order(configure, lines):
    configure()

    log.info("captured", extra={"stream": "sql1/TestDB/dbo/Persons", "count": 2, "lag_s": 0.5})

    (line,) = lines()
    time, _, rest = line.partition(" ")
    assert rest == "INFO captured stream=sql1/TestDB/dbo/Persons count=2 lag_s=0.5"
    assert time.endswith("Z")
    assert len(time) == len("2026-11-21T07:28:06.123Z")


def test_a_value_that_would_break_a_text_line_is_quoted(configure, lines):
    configure()

    log.info("left alone", extra={"reason": 'no "answer"\nwithin 5 s', "empty": "", "pair": "a=b"})

    (line,) = lines()
    assert line.endswith(r'INFO left alone reason="no \"answer\"\nwithin 5 s" empty="" pair="a=b"')


def test_a_json_line_is_one_object_with_time_level_message_and_the_fields(configure, lines):
    configure(SLUICE_LOG_FORMAT="json")

    log.warning("captured", extra={"stream": "süd/\n", "count": 2, "other": {1}})

    (line,) = lines()
    entry = json.loads(line)
    assert list(entry) == ["time", "level", "message", "stream", "count", "other"]
    assert (entry["level"], entry["message"], entry["stream"], entry["count"]) == ("WARNING", "captured", "süd/\n", 2)


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_exception_is_part_of_its_line(configure, lines, form):
    configure(SLUICE_LOG_FORMAT=form)

    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("failed", extra={"stream": "s"})

    written = lines()
    assert "ZeroDivisionError" in "\n".join(written)
    assert form == "text" or len(written) == 1


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("", ["INFO", "WARNING", "ERROR"]),
        ("WARN", ["WARNING", "ERROR"]),
        ("warning", ["WARNING", "ERROR"]),
        ("error", ["ERROR"]),
    ],
)
def test_the_level_is_a_setting(configure, lines, level, seen):
    configure(**({"SLUICE_LOG_LEVEL": level} if level else {}))

    for write in (log.debug, log.info, log.warning, log.error):
        write("text")

    assert [line.split(" ")[1] for line in lines()] == seen


def test_an_unknown_level_or_format_is_said_and_the_default_taken(configure, lines):
    configure(SLUICE_LOG_LEVEL="loud", SLUICE_LOG_FORMAT="xml")

    assert [line.split(" ", 1)[1] for line in lines()] == [
        "WARNING unknown setting setting=SLUICE_LOG_LEVEL value=loud known=debug,info,warn,warning,error",
        "WARNING unknown setting setting=SLUICE_LOG_FORMAT value=xml known=text,json",
    ]


def test_configuring_twice_writes_every_line_once(configure, lines):
    configure()
    telemetry.configure({})

    log.info("once")

    assert len(lines()) == 1


def test_inside_a_host_lines_go_through_its_handlers_with_the_fields_in_the_text(configure):
    seen: list[logging.LogRecord] = []

    class Host(logging.Handler):
        def emit(self, record):
            seen.append(record)

    configure(Host())

    log.info("captured", extra={"count": 2})

    (record,) = seen
    assert record.getMessage() == "captured count=2"
    assert record.levelno == logging.INFO
    assert telemetry.fields(record) == {}


def test_settings_never_show_a_secret():
    secret = "hunter2"
    azure = AzureSettings(connection_string=f"Endpoint=sb://x/;SharedAccessKey={secret}")
    source = SqlServerSettings("sql1", f"PWD={secret}", "TestDB", "server", ())
    settings = Settings((source,), (OutputSettings("A", "servicebus", {"ServiceBus": azure}),), azure, azure)

    assert secret not in repr(settings)
    assert secret not in str(settings)


def test_log_texts_are_constant():
    """Fields carry what varies, so that lines can be counted by their text."""
    varying = [
        f"{path.name}: {line.strip()}"
        for path in SHARED.rglob("*.py")
        for line in path.read_text().splitlines()
        if ("log.info(" in line or "log.warning(" in line or "log.error(" in line or "log.debug(" in line)
        and ('(f"' in line or "%s" in line or ".format(" in line)
    ]
    assert varying == []
