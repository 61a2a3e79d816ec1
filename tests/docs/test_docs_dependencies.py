import json
import re
import tomllib
from importlib.metadata import distributions

import pytest

from tests.docs.markdown import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MODULES = {
    "PyYAML": "yaml",
    "azure-data-tables": "azure.data.tables",
    "azure-storage-blob": "azure.storage.blob",
    "pycep-parser": "pycep",
    "pyodbc": "pyodbc",
    "python-hcl2": "hcl2",
}
TOOLS = {
    "import-linter": ("Makefile", "lint-imports"),
    "mypy": ("Makefile", "/mypy "),
    "ruff": ("Makefile", "/ruff "),
    "pytest-asyncio": ("pyproject.toml", "asyncio_mode"),
    "pytest-timeout": ("pyproject.toml", "\ntimeout = "),
    "pytest-xdist": ("Makefile", "-n auto"),
    "setuptools": ("pyproject.toml", "setuptools.build_meta"),
    **{
        f"azure-mgmt-{service}": ("tools/bicep/catalog.py", f'"azure.mgmt.{service}.')
        for service in (
            "applicationinsights",
            "authorization",
            "keyvault",
            "loganalytics",
            "monitor",
            "msi",
            "network",
            "privatedns",
            "resource",
            "servicebus",
            "storage",
            "web",
        )
    },
}
"""What is not imported: where it is called, and by which words."""


def pins(file: str) -> set[str]:
    return {line.partition("==")[0] for line in (ROOT / file).read_text().splitlines() if "==" in line}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def direct() -> set[str]:
    """Return the development pins that nothing else asks for, and those that are used directly all the same."""
    asked = {
        normal(found[0])
        for each in distributions()
        if normal(each.metadata["Name"]) != "sluice"
        for requirement in each.requires or ()
        if "extra ==" not in requirement and (found := re.match(r"[\w.-]+", requirement))
    }
    both = {"pytest", "setuptools"}
    return {name for name in pins("requirements-dev.txt") if normal(name) not in asked or name in both}


def told(heading: str) -> set[str]:
    section = PAGE.partition(heading)[2].partition("\n\nFor ")[0]
    return set(re.findall(r"^\| `([^`]+)` \| .", section, re.MULTILINE))


def test_every_deployed_dependency_has_its_line():
    assert told("Deployed, in `requirements.txt`:") == pins("requirements.txt")


@pytest.mark.parametrize("name", sorted(direct() - pins("requirements.txt")))
def test_every_development_dependency_has_its_line(name):
    assert name in told("For development, in `requirements-dev.txt`")


def test_no_line_is_about_a_dependency_that_is_not_there():
    assert told("For development, in `requirements-dev.txt`") <= pins("requirements-dev.txt")


def test_every_package_of_the_local_cloud_has_its_line():
    assert told("For the local cloud") == set(json.loads((ROOT / "local" / "package.json").read_text())["dependencies"])


@pytest.mark.parametrize(
    "name", sorted(told("## Dependencies") | told("For development") | told("For the local cloud"))
)
def test_every_dependency_with_a_line_is_used(name):
    if name in TOOLS:
        file, words = TOOLS[name]
        assert words in (ROOT / file).read_text(encoding="utf-8")
        return
    if name.startswith("@") or name == "azurite":
        sources = [*(ROOT / "tests").rglob("*.mjs"), *(ROOT / "local" / "azurite").glob("*.py")]
        assert any(name in path.read_text(encoding="utf-8") for path in sources)
        return
    module = MODULES.get(name) or name.replace("-", "_")
    forms = {module, module.replace("azure_", "azure.", 1)}
    folders = ("shared", "functions", "cli", "local", "tests", "tools")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts]
    wanted = re.compile(rf"^\s*(?:import|from) (?:{'|'.join(map(re.escape, forms))})\b", re.MULTILINE)
    quoted = f"{module}." if name == "aiohttp" else "\0"
    assert any(wanted.search(text) or quoted in text for path in sources if (text := path.read_text(encoding="utf-8")))


def test_the_layers_are_those_that_are_checked():
    contract = PROJECT["tool"]["importlinter"]["contracts"][1]
    checked = [re.split(r" [|:] ", layer) for layer in contract["layers"]]
    section = PAGE.partition("| layer of `shared`")[2].partition("\n\n")[0]
    shown = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in section.splitlines()[2:]]
    assert shown == checked
