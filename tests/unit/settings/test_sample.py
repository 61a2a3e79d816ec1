import json
import re
from pathlib import Path

from shared.settings import load
from shared.settings.model import SqlServerSettings

ROOT = Path(__file__).parents[3]
VALUES = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]

NOT_OURS = {"NO_COLOR", "IDENTITY_ENDPOINT", "NAME"}
"""What a terminal or Azure sets by itself, and the name in hints."""

READS = [
    re.compile(r"""environ(?:\.get\(|\[)\s*"(\w+)\""""),
    re.compile(r"""getenv\(\s*"(\w+)\""""),
    re.compile(r"""_SETTING = "(\w+)\""""),
    re.compile(r"""connection="(\w+)\""""),
    re.compile(r"""%([A-Z][A-Z_]+)%"""),
    re.compile(r"""^(?:SERVICE_BUS|INGEST_QUEUE|CAPTURE_SCHEDULE) = "(\w+)\"""", re.MULTILINE),
    re.compile(r"""env\("(\w+)"\)"""),
]


def test_the_sample_names_every_app_setting_that_is_read():
    files = [*ROOT.glob("*.py"), ROOT / "sluice.hcl"]
    for folder in ("shared", "functions", "cli"):
        files += (ROOT / folder).rglob("*.py")
    read = {name for file in files for form in READS for name in form.findall(file.read_text()) if name not in NOT_OURS}
    assert {"SqlServer", "ServiceBus", "INGEST_QUEUE", "CAPTURE_SCHEDULE", "SLUICE_LOG_LEVEL", "SLUICE_CONFIG"} <= read
    assert read - VALUES.keys() == set()
    assert {"AzureWebJobsStorage", "StateStorage", "FUNCTIONS_WORKER_RUNTIME"} <= VALUES.keys()


def test_the_sample_works_with_the_configuration_beside_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    settings = load(environ=VALUES)
    assert settings.file == "sluice.hcl"
    source = settings.sources[0]
    assert isinstance(source, SqlServerSettings)
    assert source.name == "sql1"
    assert [table.name for table in source.tables] == ["Persons", "Cars"]
    assert settings.outputs[0].kind == "servicebus"
    assert settings.capture.schedule == "* * * * * *"
    assert settings.state.connection_string == "UseDevelopmentStorage=true"
