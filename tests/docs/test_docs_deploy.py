"""What the README says about deploying is what the code and its settings have."""

import json
import re

from local import entities
from tests.docs.code import modules, texts
from tests.docs.markdown import ROOT, words

README = words((ROOT / "README.md").read_text(encoding="utf-8"))
CONTRIBUTING = words((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def test_the_limits_of_the_host_are_those_of_host_json():
    host = json.loads((ROOT / "host.json").read_text())
    bus = host["extensions"]["serviceBus"]
    assert f"{bus['maxConcurrentSessions']} at once" in README
    assert (bus["sessionIdleTimeout"], "one second until an idle one makes room" in README) == ("00:00:01", True)
    assert (host["functionTimeout"], "ten minutes for one invocation" in README) == ("00:10:00", True)


def test_the_queues_and_topics_are_those_of_the_local_broker():
    [namespace] = entities.config(["topic"])["UserConfig"]["Namespaces"]
    ingest, rejected = (queue["Properties"] for queue in namespace["Queues"])
    [topic] = namespace["Topics"]
    assert (ingest["RequiresSession"], ingest["RequiresDuplicateDetection"]) == (True, False)
    assert f"delivery count {ingest['MaxDeliveryCount']}; no expiry; lock 1 minute" in README
    assert ingest["LockDuration"] == "PT1M"
    assert not rejected["RequiresSession"]
    assert topic["Properties"]["DuplicateDetectionHistoryTimeWindow"] == "PT1H"
    assert "duplicate detection with a window of one hour" in README


def test_the_functions_and_roles_are_those_of_the_code():
    said = [text for _, tree in modules("functions", "shared") for text in texts(tree)]
    role = re.compile(r"(?:Azure Service Bus|Storage (?:Table|Blob)) Data \w+")
    assert set(role.findall(README)) == {text for text in said if role.fullmatch(text)}
    for _, tree in modules("functions"):
        for text in texts(tree):
            if re.fullmatch(r"capture|deliver|health(_reasons)?", text):
                assert re.search(rf"\b{text}\b", README)


def test_what_is_not_deployed_is_ignored():
    ignored = {line.rstrip("/") for line in (ROOT / ".funcignore").read_text().splitlines()}
    folders = re.search(r"(local, tests, [\w, ]+ and \w+) are not deployed", CONTRIBUTING)
    assert folders
    assert set(re.split(r", | and ", folders[1])) <= ignored
    assert not ignored & {"shared", "functions", "function_app.py", "host.json", "requirements.txt", "sluice.hcl"}


def test_the_releases_that_were_tried_are_those_that_are_installed():
    pins = dict(line.split("==") for line in (ROOT / "requirements-dev.txt").read_text().splitlines() if "==" in line)
    table = README.partition("Verified against")[2]
    tried = dict(re.findall(r"((?:azure-|pyodbc)[a-z-]*) (\d[\d.]+\d)", table))
    assert len(tried) == 5
    assert {name: pins[name] for name in tried} == tried
    assert pins["mssql-python-odbc"].split(".")[0] == "18"
    assert f"Azurite {json.loads((ROOT / 'local' / 'package.json').read_text())['dependencies']['azurite']}" in table
