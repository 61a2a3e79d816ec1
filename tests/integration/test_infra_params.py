"""`sluice infra params`: the parameter files follow the configuration, and keep what does not follow from it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli import infra, parameters
from shared.errors import ConfigError
from shared.settings.model import AzureSettings, Settings
from tools.bicep.parse import parse_parameters

ROOT = Path(__file__).parents[2]
FILES = ("main.parameters.json", "main.bicepparam")
OF_PIPELINES = {"scalingRoleId"}  # which deploy with the second file alone
SOURCE = 'source "sqlserver" "sql1" {\n  connection_string = env("SqlServer")\n  tables = ["T"]\n}\n'
MORE = """
source "consul" "consul1" {
  address     = env("Consul")
  token       = "${env("ConsulToken")}"
  datacenters = ["dc1"]
  services    = ["web"]
}
capture {
  shards           = 4
  schedule         = "*/5 * * * * *"
  max_message_size = "1MB"
}
topics {
  sync     = false
  expiry   = "36h"
  max_size = "10GB"
}
ingest {
  queue = "in"
}
"""


def run(folder, *arguments, hcl=SOURCE):
    file = folder / "sluice.hcl"
    file.write_text(hcl)
    return subprocess.run(
        [sys.executable, "-m", "cli", "--config", str(file), "infra", "params", "--folder", str(folder), *arguments],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    for name in FILES:
        shutil.copy(ROOT / "infra" / name, tmp_path)
    return tmp_path


def given(folder):
    return {name: each["value"] for name, each in json.loads((folder / FILES[0]).read_text())["parameters"].items()}


def in_bicep(folder):
    template, findings = parse_parameters(folder / FILES[1], (folder / FILES[1]).read_text())
    assert not findings
    return template.variables


def test_the_files_of_this_repository_are_as_its_configuration_has_it():
    done = subprocess.run(
        [sys.executable, "-m", "cli", "infra", "params", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "sluice.hcl: the parameters are up to date\n"), done.stderr


def test_what_differs_from_the_template_is_written_into_both_files(folder):
    assert run(folder, hcl=SOURCE + MORE).returncode == 0
    said = given(folder)
    secrets = ["SqlServer", "Consul", "ConsulToken"]
    assert said == {
        "environmentName": "${AZURE_ENV_NAME}",
        "location": "${AZURE_LOCATION}",
        "secrets": secrets,
        "secretValues": {name: f"${{{name}}}" for name in secrets},
        "shards": 4,
        "ingestQueue": "in",
        "topicMegabytes": 10240,
        "subscriptionExpiry": "PT36H",
        "captureSchedule": "*/5 * * * * *",
        "syncTopics": False,
        "serviceBusSku": "Premium",
    }
    assert in_bicep(folder).keys() == said.keys() | OF_PIPELINES
    text = (folder / FILES[1]).read_text()
    assert "param syncTopics = false\n" in text
    assert "param captureSchedule = '*/5 * * * * *'\n" in text
    assert "  ConsulToken: readEnvironmentVariable('ConsulToken', '')\n" in text
    assert [run(folder, "--check", hcl=SOURCE + MORE).returncode, run(folder, hcl=SOURCE + MORE).stdout] == [
        0,
        f"{folder / 'sluice.hcl'}: the parameters are up to date\n",
    ]


@pytest.mark.parametrize(("size", "wanted"), [("5GB", None), ("10GB", "Premium")])
def test_topics_that_a_standard_namespace_does_not_take_make_it_premium(folder, size, wanted):
    assert run(folder, hcl=f'{SOURCE}topics {{\n  max_size = "{size}"\n}}\n').returncode == 0
    assert given(folder).get("serviceBusSku") == wanted


def test_what_is_as_the_template_has_it_is_taken_out_again(folder):
    before = [(folder / name).read_text() for name in FILES]
    run(folder, hcl=SOURCE + MORE)
    assert run(folder).returncode == 0
    assert given(folder).pop("serviceBusSku") == "Premium"  # somebody may want it for its rates
    assert in_bicep(folder).keys() == given(folder).keys() | OF_PIPELINES
    after = [(folder / name).read_text() for name in FILES]
    assert after[1] == before[1] + "param serviceBusSku = 'Premium'\n"
    assert run(folder, "--check").returncode == 0


def test_what_does_not_follow_from_the_configuration_stays(folder):
    azd, bicep = (folder / name for name in FILES)
    document = json.loads(azd.read_text())
    document["parameters"] |= {
        "zoneRedundant": {"value": True},
        "tags": {"reference": {"keyVault": {"id": "x"}, "secretName": "y"}},
        "secretValues": {"value": {"SqlServer": "${MY_SQL}"}},
    }
    azd.write_text(json.dumps(document))
    own = "// ours\nparam tags = {\n  'a b': '}' // { [\n}\n@description('x')\nparam zoneRedundant = true"
    custom = bicep.read_text().replace("readEnvironmentVariable('SqlServer', '')", "readEnvironmentVariable('MY_SQL')")
    bicep.write_text(f"{custom}{own}")

    assert run(folder, hcl=SOURCE + "capture {\n  shards = 2\n}\n").returncode == 0

    after = json.loads(azd.read_text())["parameters"]
    assert after == document["parameters"] | {"shards": {"value": 2}}
    assert bicep.read_text() == f"{custom}{own}\nparam shards = 2\n"


def test_check_prints_what_is_out_of_date_writes_nothing_and_tells_by_its_exit_code(folder):
    before = [(folder / name).read_text() for name in FILES]
    done = run(folder, "--check", hcl=SOURCE + "capture {\n  shards = 2\n}\n")
    assert (done.returncode, "+param shards = 2" in done.stdout) == (1, True)
    assert '+    "shards": { "value": 2 }' in done.stdout
    assert "run `sluice infra params`" in done.stderr
    assert [(folder / name).read_text() for name in FILES] == before


def test_files_that_are_not_there_are_made(tmp_path):
    assert run(tmp_path).returncode == 0
    assert given(tmp_path).keys() == {"environmentName", "location", "secrets", "secretValues"}
    assert in_bicep(tmp_path).keys() == given(tmp_path).keys()


def test_no_value_of_a_secret_is_written(folder):
    values = {"SqlServer": "sqlserver://sa:hunter2@host?database=D", "PYTHONPATH": str(ROOT)}
    (folder / "sluice.hcl").write_text(SOURCE)
    arguments = ["--config", str(folder / "sluice.hcl"), "infra", "params", "--folder", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments], env=values, capture_output=True, text=True, check=True
    )
    assert "hunter2" not in done.stdout + done.stderr + "".join((folder / name).read_text() for name in FILES)


def test_further_namespaces_have_to_be_named(folder):
    spread = SOURCE + 'output "topics" {\n  connections = ["ServiceBus", "ServiceBus2"]\n}\n'
    done = run(folder, hcl=spread)
    assert (done.returncode, "names 0 namespaces, the configuration 1" in done.stderr) == (2, True)

    azd, bicep = (folder / name for name in FILES)
    azd.write_text(
        azd.read_text().replace('"secrets"', '"extraServiceBusNamespaces": { "value": ["sb-two"] },\n"secrets"')
    )
    bicep.write_text(bicep.read_text() + "param extraServiceBusNamespaces = [\n  'sb-two'\n]\n")
    assert run(folder, hcl=spread).returncode == 0
    assert run(folder).returncode == 2  # now there is one too many

    done = run(folder, hcl=spread.replace("ServiceBus2", "Orders"))
    assert (done.returncode, "got 'Orders'" in done.stderr) == (2, True)


@pytest.mark.parametrize(("seconds", "text"), [(1_209_600, "P14D"), (5_400, "PT90M"), (7_200, "PT2H"), (61, "PT61S")])
def test_durations_are_those_of_the_template(seconds, text):
    assert infra.iso(seconds) == text


@pytest.mark.parametrize("text", ["[]", "{", '{"parameters": 3}'])
def test_a_file_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="no file of deployment parameters"):
        parameters.azd(text, {"shards": 2}, (), "main.parameters.json")
    with pytest.raises(ConfigError, match="shards does not end"):
        parameters.bicep("param shards = [\n", {"shards": 2}, (), "main.bicepparam")


def test_a_text_of_the_configuration_is_quoted():
    settings = Settings((), (), AzureSettings(), AzureSettings(), ingest_queue="it's ${x}\\", file="a/sluice.hcl")
    wanted = infra.wanted_parameters(settings, ())
    assert wanted["configFile"] is None
    assert "param ingestQueue = 'it\\'s \\${x}\\\\'\n" in parameters.bicep("", wanted, (), "x").text
