import os
import stat
import sys
from pathlib import Path

import pytest

from tools.bicep import compiler
from tools.bicep.__main__ import main

FAKE = """#!{python}
import sys
from pathlib import Path
with (Path(sys.argv[0]).parent / "calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
if sys.argv[1] == {command!r}:
    print({said!r}, file=sys.stderr)
    sys.exit({code})
"""


@pytest.fixture
def fake(tmp_path: Path):
    """Make an executable that has something to say about one command."""

    def make(command: str = "", said: str = "", code: int = 0) -> Path:
        path = tmp_path / "bin" / "bicep"
        path.parent.mkdir()
        path.write_text(FAKE.format(python=sys.executable, command=command, said=said, code=code))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def findings(original, bicep: Path) -> list[str]:
    return [finding.show(original) for finding in compiler.check(original / "infra", str(bicep))]


def test_a_compiler_that_is_content_is_asked_to_build_and_to_lint(original, fake):
    bicep = fake()

    assert findings(original, bicep) == []

    calls = (bicep.parent / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["build", "lint", "build-params"]
    assert all("infra/main.bicep" in call for call in calls)


@pytest.mark.parametrize("command", ["build", "lint", "build-params"])
@pytest.mark.parametrize(("level", "code"), [("Warning", 0), ("Error", 1)])
def test_warnings_and_errors_of_the_compiler_are_findings(original, fake, command, level, code):
    path = original / "infra" / "main.bicep"
    bicep = fake(command, f'{path}(7,7) : {level} no-unused-params: Parameter "x" is unused. [https://aka.ms/x]', code)

    [found] = findings(original, bicep)

    assert found == 'infra/main.bicep:7: bicep-no-unused-params: Parameter "x" is unused. [https://aka.ms/x]'


def test_a_compiler_that_fails_without_a_word_we_know_is_a_finding(original, fake):
    assert findings(original, fake("lint", "Unhandled exception.", 134)) == [
        "infra/main.bicep:1: bicep lint: ended with 134: Unhandled exception."
    ]


def test_a_compiler_that_cannot_be_run_is_a_finding(original, tmp_path):
    assert "cannot be run" in findings(original, tmp_path / "nothing")[0]


def test_the_variable_names_the_compiler_and_else_the_path_does(fake):
    bicep = fake()

    assert compiler.executable({"BICEP": "/elsewhere/bicep", "PATH": str(bicep.parent)}) == "/elsewhere/bicep"
    assert compiler.executable({"PATH": str(bicep.parent)}) == str(bicep)
    assert compiler.executable({"PATH": os.devnull}) is None


def test_the_command_fails_on_what_the_compiler_says(original, fake, monkeypatch, capsys):
    path = original / "infra" / "modules" / "roles.bicep"
    bicep = fake("lint", f"{path}(3,7) : Warning use-recent-api-versions: Use a newer one.", 0)
    monkeypatch.setenv("BICEP", str(bicep))

    assert main([str(original)]) == 1
    assert "infra/modules/roles.bicep:3: bicep-use-recent-api-versions: Use a newer one." in capsys.readouterr().out
