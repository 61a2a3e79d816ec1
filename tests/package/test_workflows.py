"""azure.yaml and the GitHub workflows: what they name exists, and they have no more rights than they need."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml  # type: ignore[import-untyped]

from tests.docs.code import environment
from tests.docs.test_docs_commands import TARGETS, parse
from tools import package

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}
AZD = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
RIGHTS = ({"contents": "read"}, {"contents": "read", "id-token": "write"})


def read(name: str) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))
    return content


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in read(name)["jobs"].values() for step in job["steps"]]


def check_commands(script: str) -> None:
    """See that every make target, command, module and file of the repository that a script names exists.

    Raises:
        AssertionError: one does not.
    """
    for line in script.splitlines():
        if target := re.search(r"\bmake ([a-z]+)\b", line):
            assert target[1] in TARGETS, line
        if command := re.search(r"(?:^|/| )(sluice [a-z].*)$", line):
            parse(command[1])
        if module := re.search(r"-m ((?:tools|local|cli)[\w.]*)", line):
            assert importlib.util.find_spec(module[1]), line
        for path in re.findall(r"(?<![\w./$])(?:infra|tests|tools|docs)/[\w./-]*\w", line):
            assert (ROOT / path).exists(), line


def test_the_workflows_are_those_that_are_documented():
    assert {"checks", "deploy", "real"} == set(WORKFLOWS)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_the_repository_and_sign_in_where_it_has_to(name):
    workflow = read(name)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        rights = job.get("permissions", workflow["permissions"])
        assert rights in RIGHTS
        assert ("id-token" in rights) == ("environment" in job)  # whoever may sign in waits for approval
        assert job["timeout-minutes"] <= 60
    uses = [step["uses"] for step in steps(name) if "uses" in step]
    assert all(re.fullmatch(r"(?:actions|azure|Azure)/[\w-]+@(?:v\d+|[0-9a-f]{40})", action) for action in uses)
    assert all(not step["with"]["persist-credentials"] for step in steps(name) if "checkout" in step.get("uses", ""))
    assert "pull_request_target" not in workflow[True]  # YAML 1.1 reads the key `on` so


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_command_of_a_workflow_exists_and_takes_no_text_from_outside(name):
    scripts = [step["run"] for step in steps(name) if "run" in step]
    assert scripts
    for script in scripts:
        assert "${{" not in script
        check_commands(script)


def test_the_checks_are_those_of_continuous_integration():
    ran = [step["run"] for step in steps("checks") if "run" in step]
    wanted = [line for line in (ROOT / ".ci/run").read_text().splitlines() if "make " in line]
    assert [command.rpartition('bicep" ')[2] for command in ran if "make " in command] == wanted


def test_the_real_services_are_those_that_tests_know():
    known = {name for name in environment(("tests",)) if name.startswith("SLUICE_TEST_")}
    containers = (ROOT / "tests/containers.env").read_text(encoding="utf-8")
    assert set(re.findall(r"^(SLUICE_TEST_\w+)=", containers, re.MULTILINE)) == known
    assert [step["run"] for step in steps("real")[-3:-1]] == ["make containers", "make test CONTAINERS=1"]
    [folders] = re.findall(r"^REAL := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    reading = {path for path in (ROOT / "tests").rglob("*.py") if environment((str(path),)) & known}
    there = [ROOT / folder for folder in folders.split()]
    assert not [path for path in reading if not any(path.is_relative_to(folder) for folder in there)]


def test_the_package_that_is_deployed_is_the_one_that_was_made():
    [made] = [step for step in steps("deploy") if step.get("run") == "make package"]
    assert made
    sent = [step["with"] for step in steps("deploy") if "functions-action" in step.get("uses", "")]
    kept = [step["with"] for step in steps("deploy") if "upload-artifact" in step.get("uses", "")]
    assert [each["package"] for each in sent] == [each["path"] for each in kept] == ["dist/sluice.zip"]
    newest = int(re.findall(r"glibc 2\.(\d+)", (ROOT / "tools/package.py").read_text())[0])
    assert newest == package.NEWEST_GLIBC
    jobs = {name: job["runs-on"] for file in ("checks", "deploy") for name, job in read(file)["jobs"].items()}
    assert jobs["package"] == jobs["checks"] == "ubuntu-22.04"  # its glibc, 2.35, is older than that of Azure's image


def test_azd_uploads_the_package_and_builds_nothing():
    service = AZD["services"]["app"]
    assert (service["host"], service["language"], service["remoteBuild"]) == ("function", "python", False)
    assert (service["project"], service["dist"]) == (".", "dist/app")
    assert "'azd-service-name': 'app'" in (ROOT / "infra/modules/functionapp.bicep").read_text()
    assert (ROOT / AZD["infra"]["path"] / f"{AZD['infra']['module']}.bicep").exists()


def test_every_hook_of_azd_runs_on_posix_and_on_windows():
    hooks = [*AZD["hooks"].values(), *AZD["services"]["app"]["hooks"].values()]
    assert hooks
    for hook in hooks:
        assert {system: each["shell"] for system, each in hook.items()} == {"posix": "sh", "windows": "pwsh"}
        for each in hook.values():
            check_commands(each["run"])
    assert AZD["services"]["app"]["hooks"]["prepackage"]["windows"]["run"].endswith("-m tools.package")


def test_what_goes_away_with_azd_down_is_said_before():
    for each in AZD["hooks"]["predown"].values():
        assert "Every position and mark" in each["run"]
        assert "docs/deploy.md, Teardown" in each["run"]


@pytest.mark.parametrize(
    "script",
    [
        "make everything",
        "sluice status --nothing",
        "python -m tools.nothing",
        "az bicep build --file infra/nothing.bicep",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(script):
    with pytest.raises((AssertionError, click.UsageError)):
        check_commands(script)
