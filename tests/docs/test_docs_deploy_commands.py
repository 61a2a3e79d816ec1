"""The commands of docs/deploy.md, as far as they can be checked without Azure: names, files, parameters, outputs."""

import json
import re
import shlex

import pytest

from shared.sources.sqlserver import queries
from tests.docs.markdown import ROOT, blocks, words
from tests.docs.test_docs_commands import TARGETS, parse

FILE = ROOT / "docs/deploy.md"
PAGE = FILE.read_text(encoding="utf-8")
MAIN = (ROOT / "infra/main.bicep").read_text(encoding="utf-8")
PARAMETERS = set(re.findall(r"^param (\w+)", MAIN, re.MULTILINE))
OUTPUTS = set(re.findall(r"^output (\w+)", MAIN, re.MULTILINE))
PROVIDERS = {
    found
    for path in (ROOT / "infra").rglob("*.bicep")
    for found in re.findall(r"'(Microsoft\.\w+)/", path.read_text(encoding="utf-8"))
}
LINES = sorted({line for block in blocks("bash", file=FILE) for line in block.text.splitlines()})
SUBSTITUTED = (ROOT / "infra/main.parameters.json").read_text(encoding="utf-8")


def check(line: str) -> None:
    """See that a command is one of the tools that the page asks for, and that what it names is there.

    Raises:
        AssertionError: it is not.
    """
    tool, *rest = shlex.split(line)
    match tool:
        case "make":
            assert rest[0] in TARGETS, line
        case "sluice":
            parse(line)
        case "func":
            assert {"--no-build", "--python"} <= set(rest), line
            assert rest[:3] == ["azure", "functionapp", "publish"], line
        case "az":
            assert rest[0] in {"login", "provider", "deployment", "functionapp", "group", "keyvault"}, line
            assert "config-zip" not in rest, line
            assert rest[0] != "provider" or rest[-1] in PROVIDERS, line
        case "azd":
            assert rest[0] in {"auth", "env", "up", "down", "provision", "deploy"}, line
            assert rest[:2] != ["env", "set"] or f"${{{rest[2]}}}" in SUBSTITUTED, line
        case "export":
            names = [word.partition("=")[0] for word in rest]
            environment = (ROOT / "infra/main.bicepparam").read_text(encoding="utf-8")
            assert all(f"readEnvironmentVariable('{name}'" in environment for name in names), line
        case _:
            assert (tool, *rest) in {("cd", "dist/app"), ("git", "pull")}, line
    for word in rest:
        assert not word.startswith("infra/") or (ROOT / word).exists(), line


@pytest.mark.parametrize("line", LINES)
def test_every_command_of_the_page_names_what_is_there(line):
    check(line)


@pytest.mark.parametrize(
    "line",
    [
        "make everything",
        "func azure functionapp publish APP",
        "az functionapp deployment source config-zip --src dist/sluice.zip",
        "azd env set Nothing 'x'",
        "az deployment sub create -f infra/nothing.bicep",
    ],
)
def test_a_command_that_would_not_work_is_noticed(line):
    with pytest.raises(AssertionError):
        check(line)


def test_every_parameter_and_output_that_is_named_exists():
    named = set(re.findall(r"`(\w+)=[\w.]+`", PAGE)) | set(re.findall(r"bicepparam (\w+)=", words(PAGE)))
    assert {"privateNetworking", "stateReplication", "instanceMemoryMB"} <= named <= PARAMETERS
    for name in ("scalingRoleId", "secrets", "secretValues", "addressPrefix", "extraServiceBusNamespaces"):
        assert f"`{name}`" in PAGE
        assert name in PARAMETERS
    shown = set(re.findall(r"`((?:SERVICE_|APP_|STATE_)[A-Z_]+)`", PAGE))
    assert {"SERVICE_APP_NAME", "APP_IDENTITY_NAME", "APP_IDENTITY_CLIENT_ID"} <= shown <= OUTPUTS


def test_the_grants_are_those_that_the_app_asks_for():
    said = " ".join(block.text for block in blocks("sql", file=FILE))
    assert queries.grant_changes("id-app-…") in said
    assert "CREATE USER [id-app-…] FROM EXTERNAL PROVIDER" in said
    assert said.count("ALTER ROLE db_datareader ADD MEMBER") == 2


def test_the_loss_is_said_before_the_command():
    assert (
        PAGE.index("deletes every position and mark") < PAGE.index("sluice state export") < PAGE.index("\nazd down\n")
    )


def test_the_checks_that_are_named_exist():
    for name in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (ROOT / name).exists()
    assert json.loads((ROOT / "host.json").read_text())["version"] == "2.0"
