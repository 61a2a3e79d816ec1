import json
import re
import shlex
import subprocess

from shared.settings import connections, load
from shared.settings.problems import Problems
from tests.docs.code import environment
from tests.docs.markdown import FILES, ROOT, blocks
from tools import settings_table

README = (ROOT / "README.md").read_text(encoding="utf-8")
EVERYTHING = "".join(path.read_text(encoding="utf-8") for path in FILES)
SETTINGS = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
FOLDERS = (
    "function_app.py",
    "shared",
    "functions",
    "cli",
    "local",
    "benchmarks",
    "tests/conformance",
    "tests/integration",
)


def test_the_readme_has_the_tables_that_the_code_prints():
    found = settings_table.SECTION.search(README)
    assert found
    expected = f"{found[1]}{settings_table.tables()}{found[2]}"
    assert found[0] == expected, "run: python -m tools.settings_table --write"


def test_the_tables_tell_every_key_of_the_configuration_once():
    rows = settings_table.rows()
    assert len(rows) == sum(map(len, settings_table.MEANINGS.values()))
    assert all(all(row) for row in rows.values())


def test_a_key_of_the_tables_is_one_that_the_configuration_takes(tmp_path):
    file = tmp_path / "sluice.hcl"
    samples = {"text": '"x1x"', "duration": '"1m"', "size": '"64KB"', "number": "3", "list": '["p"]'}
    samples |= {"share": '"30%"', "`true`": "true"}
    own = {
        "connection_string": '"Server=host;Database=Name"',
        "start": '"latest"',
        "max_size": '"2GB"',
        "sync": "false",
        "schedule": '"*/15 * * * * *"',
        "address": '"https://host:8501"',
        "start_index": "0",
        **dict.fromkeys(("ca_file", "client_cert", "client_key"), f'"{file}"'),
    }
    found: dict[str, list[str]] = {}
    for (block, key), (_, form, default, _) in settings_table.rows().items():
        word = re.split(r"[ ,]", form)[0]
        sample = (
            own.get(key)
            or ('["ServiceBus"]' if (block, key) == ("output", "connections") else "")
            or samples.get(word)
            or default.replace("`", '"')
        )
        found.setdefault(block, []).append(f"{key} = {sample}")
    sql, consul = 'source "sqlserver"', 'source "consul"'
    found[sql].append(f'table "Cars" {{\n{"\n".join(found.pop(f"{sql}: table"))}\n}}')
    found[consul].remove('datacenter = "x1x"')  # beside datacenters it is a problem
    labels = {sql: f'{sql} "sql1"', consul: f'{consul} "consul1"'}
    file.write_text("\n".join(f"{labels.get(kind, kind)} {{\n{'\n'.join(keys)}\n}}" for kind, keys in found.items()))
    settings = load(
        file,
        {
            "ServiceBus": "Endpoint=sb://host/;SharedAccessKeyName=n;SharedAccessKey=k",
            "AzureWebJobsStorage": "UseDevelopmentStorage=true",
        },
    )
    assert settings.sources[0].start == "latest"
    assert settings.capture.max_message_bytes == 64 * 1024


class Recorded(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, **values: str) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        self.asked.add(name)
        return super().get(name, default)


def test_the_tables_tell_every_app_setting_that_reaches_a_service():
    asked: set[str] = set()
    for values in ({}, {"StateStorage": "x"}, {"AzureWebJobsStorage": "x"}):
        environ = Recorded(**values)
        connections.service_bus(environ, Problems(""))
        connections.storage(environ, Problems(""))
        asked |= environ.asked
    assert asked <= settings_table.APP_SETTINGS.keys()


def test_every_environment_variable_that_the_code_reads_is_documented():
    scripts = [ROOT / "Makefile", *(ROOT / "tools").glob("*.sh")]
    read = environment(FOLDERS) | {
        name for path in scripts for name in re.findall(r"\$\{([A-Z_]+):-", path.read_text(encoding="utf-8"))
    }
    assert {"SLUICE_LOG_LEVEL", "SLUICE_TEST_SQLSERVER", "DEMO_SECONDS", "PYTHON", "NO_COLOR"} <= read
    placeholders = {"NAME"}
    assert {name for name in read - placeholders if not re.search(rf"\b{name}\b", EVERYTHING)} == set()
    assert {name for name in SETTINGS if name not in EVERYTHING} == set()


def test_every_variable_for_tests_against_real_services_is_read_by_a_test():
    told = set(re.findall(r"\bSLUICE_TEST_[A-Z]+\b", EVERYTHING))
    assert told == {name for name in environment(("tests",)) if name.startswith("SLUICE_TEST_")}


def test_the_configurations_that_are_shown_load(tmp_path):
    shown = list(blocks("hcl"))
    assert shown
    for block in shown:
        file = tmp_path / "sluice.hcl"
        file.write_text(block.text)
        assert load(file, SETTINGS).sources


def test_the_settings_of_the_local_cloud_are_exported_as_the_page_shows(tmp_path):
    [command] = [
        each.text for each in blocks("sh", file=ROOT / "docs" / "operations.md") if "endpoints.json" in each.text
    ]
    values = {"ServiceBus": "Endpoint=sb://x/;Key='a b'=", "SqlServer": "sqlserver://sa:$x@h", "parts": {"host": {}}}
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "endpoints.json").write_text(json.dumps(values))
    script = command.replace(".venv/bin/python", shlex.quote(str(ROOT / ".venv/bin/python")))
    script = script.replace(".venv/bin/sluice status", 'printf "%s\\n" "$ServiceBus" "$SqlServer"')
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [values["ServiceBus"], values["SqlServer"]]
