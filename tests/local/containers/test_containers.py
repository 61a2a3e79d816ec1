"""compose.yaml fits the local cloud, the sample settings and the tests, and the emulator takes what it is given."""

import json
import re
import shlex
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from local import containers
from local.broker.config import create, duration_ms
from local.broker.namespace import Namespace
from local.cloud import BROKER_KEY, PORTS
from local.entities import SUBSCRIPTION, config
from shared.errors import ConfigError
from tests.docs.code import environment

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SAMPLE: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
FOR_TESTS = dict(
    shlex.split(line)[0].split("=", 1)
    for line in (ROOT / "tests/containers.env").read_text().splitlines()
    if not line.startswith("#")
)
HOUR_MS, WINDOW_MS = 3_600_000, 300_000


def published() -> dict[str, set[int]]:
    """Return the ports of each service, all of them on this machine alone, under the number that they have inside."""
    found: dict[str, set[int]] = {}
    for name, service in SERVICES.items():
        for text in service.get("ports", ()):
            address, outside, inside = text.split(":")
            assert (address, outside) == ("127.0.0.1", inside)
            found.setdefault(name, set()).add(int(outside))
    return found


def of_connection(text: str) -> dict[str, str]:
    return {key.lower(): value for key, _, value in (part.partition("=") for part in text.split(";") if part)}


def prepared(folder: Path, text: str | None = None) -> Path:
    file = ROOT / "sluice.hcl"
    if text is not None:
        file = folder / "sluice.hcl"
        file.write_text(text)
    containers.prepare(file, {}, folder / "containers", folder / "ca.pem")
    return folder / "containers"


def test_the_ports_are_those_of_the_local_cloud():
    assert published() == {
        "sqlserver": {PORTS["sqlserver"]["port"]},
        "servicebus": {PORTS["broker"]["port"]},
        "administration": {PORTS["broker"]["administration-port"]},
        "azurite": set(PORTS["azurite"].values()),
        "consul": {PORTS["consul"]["port"]},
    }


def test_every_image_is_one_release_and_azurite_is_the_tested_one():
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert [name for name, image in images.items() if not re.search(r":[\w.-]*\d[\w.-]*$", image)] == []
    assert not any("latest" in image for image in images.values())
    tested = json.loads((ROOT / "local/package.json").read_text())["dependencies"]["azurite"]
    assert images["azurite"] == f"mcr.microsoft.com/azure-storage/azurite:{tested}"


def test_every_container_has_its_health_looked_at():
    checked = {name for name, service in SERVICES.items() if "healthcheck" in service}
    assert SERVICES.keys() - checked == {"servicebus"}  # its image has no shell
    assert "http://servicebus:5300/health" in SERVICES["administration"]["healthcheck"]["test"][1]
    named = {name for service in SERVICES.values() for name in service.get("depends_on", ())}
    assert named <= SERVICES.keys()
    assert SERVICES["servicebus"]["environment"]["SQL_SERVER"] in SERVICES


def test_the_sample_settings_reach_the_containers():
    sql = urlsplit(SAMPLE["SqlServer"])
    server = SERVICES["sqlserver"]
    assert (sql.hostname, {sql.port}) == ("127.0.0.1", published()["sqlserver"])
    assert (sql.username, sql.password) == ("sa", server["environment"]["MSSQL_SA_PASSWORD"])
    assert f"CREATE DATABASE {sql.query.partition('database=')[2].split('&')[0]}" in server["healthcheck"]["test"][1]
    assert server["environment"]["MSSQL_AGENT_ENABLED"] == "true"
    bus = of_connection(SAMPLE["ServiceBus"])
    assert urlsplit(bus["endpoint"]).port in published()["servicebus"]
    assert bus["sharedaccesskey"] == BROKER_KEY
    assert urlsplit(SAMPLE["ServiceBusAdministration"]).port in published()["administration"]
    assert urlsplit(SAMPLE["Consul"]).port in published()["consul"]
    assert Path(SAMPLE["SLUICE_CA_FILE"]) == containers.CA_FILE.relative_to(ROOT)


def test_the_tests_reach_the_containers_by_every_variable_that_they_know():
    known = {name for name in environment(("tests",)) if name.startswith("SLUICE_TEST_")}
    assert FOR_TESTS.keys() == known | {"SLUICE_CA_FILE"}
    sql = of_connection(FOR_TESTS["SLUICE_TEST_SQLSERVER"])
    assert sql["server"] == f"127.0.0.1,{PORTS['sqlserver']['port']}"
    assert (sql["database"], sql["pwd"]) == ("TestDB", SERVICES["sqlserver"]["environment"]["MSSQL_SA_PASSWORD"])
    for ours, sample in (
        ("SLUICE_TEST_SERVICEBUS", "ServiceBus"),
        ("SLUICE_TEST_ADMINISTRATION", "ServiceBusAdministration"),
        ("SLUICE_TEST_STORAGE", "AzureWebJobsStorage"),
        ("SLUICE_TEST_CONSUL", "Consul"),
        ("SLUICE_CA_FILE", "SLUICE_CA_FILE"),
    ):
        assert FOR_TESTS[ours] == SAMPLE[sample]


def test_make_runs_every_test_that_knows_a_real_service():
    known = {name for name in FOR_TESTS if name.startswith("SLUICE_TEST_")}
    folders = re.search(r"^REAL := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert folders
    chosen = [ROOT / folder for folder in folders[1].split()]
    reading = [path for path in (ROOT / "tests").rglob("*.py") if environment((str(path),)) & known]
    assert reading
    assert [path for path in reading if not any(path.is_relative_to(folder) for folder in chosen)] == []


def test_what_the_containers_mount_is_what_is_prepared(tmp_path):
    directory = prepared(tmp_path)
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", ())]
    assert len(mounts) == 2
    for mount in mounts:
        assert (mount["read_only"], mount["bind"]["create_host_path"]) == (True, False)
        inside = (ROOT / mount["source"]).relative_to(containers.DIRECTORY)
        assert (directory / inside).exists()
    [served] = [mount["target"] for mount in mounts if mount["source"] == ".local/containers"]
    site = COMPOSE["configs"]["administration"]["content"]
    names = re.findall(rf"{served}/([\w.]+);", site)
    assert [(directory / name).exists() for name in names] == [True, True]
    assert "listen 5300 ssl" in site
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*(directory / name for name in names))
    ssl.create_default_context(cafile=tmp_path / "ca.pem")
    assert (directory / containers.KEY).stat().st_mode & 0o077 == 0

    before = (directory / containers.CERTIFICATE).read_bytes()
    prepared(tmp_path)
    assert (directory / containers.CERTIFICATE).read_bytes() == before  # nginx has read it


def test_the_emulator_gets_the_topics_of_the_configuration_within_its_limits(tmp_path):
    written = json.loads((prepared(tmp_path) / containers.CONFIG).read_text())
    [namespace] = written["UserConfig"]["Namespaces"]
    ingest, rejected = namespace["Queues"]
    assert namespace["Name"] == "sbemulatorns"
    assert (ingest["Name"], ingest["Properties"]["RequiresSession"]) == ("ingest-queue", True)
    assert (rejected["Name"], rejected["Properties"]["RequiresSession"]) == ("rejected", False)
    assert [topic["Name"] for topic in namespace["Topics"]][:2] == [
        "sql1.testdb.persons.events",
        "sql1.testdb.cars.events",
    ]
    subscriptions = [each for topic in namespace["Topics"] for each in topic["Subscriptions"]]
    assert {each["Name"] for each in subscriptions} == {SUBSCRIPTION}
    for entity in (*namespace["Queues"], *namespace["Topics"], *subscriptions):
        properties = entity["Properties"]
        assert duration_ms(properties["DefaultMessageTimeToLive"]) == HOUR_MS
        assert properties.get("MaxDeliveryCount", 1) <= 10
        assert (duration_ms(properties.get("DuplicateDetectionHistoryTimeWindow", "PT1S")) or 0) <= WINDOW_MS
    assert all(topic["Properties"]["RequiresDuplicateDetection"] for topic in namespace["Topics"])
    create(written, Namespace())  # the local broker reads the same file


def test_what_lies_within_the_limits_stays_as_it_is():
    small = config(["t"])
    [namespace] = small["UserConfig"]["Namespaces"]
    namespace["Topics"][0]["Properties"]["DuplicateDetectionHistoryTimeWindow"] = "PT20S"
    namespace["Queues"][0]["Properties"]["MaxDeliveryCount"] = 3
    [reduced] = containers.reduced(small)["UserConfig"]["Namespaces"]
    assert reduced["Topics"][0]["Properties"]["DuplicateDetectionHistoryTimeWindow"] == "PT20S"
    assert reduced["Queues"][0]["Properties"]["MaxDeliveryCount"] == 3
    assert "DefaultMessageTimeToLive" not in namespace["Queues"][0]["Properties"]


def test_what_the_emulator_cannot_have_is_refused_with_a_remedy():
    assert containers.reduced(config(f"t{number}" for number in range(48)))
    with pytest.raises(ConfigError, match="takes 50 queues and topics, not 51") as raised:
        containers.reduced(config(f"t{number}" for number in range(49)))
    assert raised.value.hint
    with pytest.raises(ConfigError, match="no such name, got 'persons_'"):
        containers.reduced(config(["persons_"]))


def test_a_schedule_of_its_own_and_settings_of_the_environment_are_taken(tmp_path):
    text = 'source "sqlserver" "a" {\n  connection_string = env("SqlServer")\n  tables = ["T"]\n}\n'
    directory = prepared(tmp_path, text + 'capture {\n  schedule = "*/7 * * * * *"\n}\ningest {\n  queue = "q"\n}\n')
    [namespace] = json.loads((directory / containers.CONFIG).read_text())["UserConfig"]["Namespaces"]
    assert [namespace["Queues"][0]["Name"], namespace["Topics"][0]["Name"]] == ["q", "a.testdb.t.events"]


def test_compose_reads_the_file():
    compose = [shutil.which("docker") or "docker", "compose"]
    if (
        shutil.which("docker") is None
        or subprocess.run([*compose, "version"], check=False, capture_output=True).returncode
    ):
        pytest.skip("needs docker compose")
    done = subprocess.run([*compose, "config", "--quiet"], check=False, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
