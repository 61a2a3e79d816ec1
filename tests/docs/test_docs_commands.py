import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from cli.commands import sluice
from tests.docs.code import HOLE, modules, texts
from tests.docs.markdown import FILES, ROOT, Block, blocks

EVERYTHING = "".join(path.read_text(encoding="utf-8") for path in FILES)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def parse(command: str) -> None:
    """Have click parse a `sluice` command as a terminal would, without doing anything.

    That a file it names is there is not asked: some are made by what a page says before.

    Raises:
        click.UsageError: it is none.
    """
    _, *arguments = shlex.split(command)
    context = sluice.make_context("sluice", arguments)
    found: click.Command = sluice
    while isinstance(found, click.Group):
        name, sub, arguments = found.resolve_command(context, [*context._protected_args, *context.args])
        assert name is not None
        assert sub is not None
        try:
            context, found = sub.make_context(name, arguments, parent=context), sub
        except click.BadParameter as why:
            if "does not exist" not in why.message:
                raise
            return


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(commands(sluice, "sluice"))


def shell_lines() -> Iterator[tuple[Block, str]]:
    for block in blocks("sh"):
        yield from ((block, line) for line in block.text.splitlines() if line.strip())


def test_every_verb_of_the_makefile_is_documented_and_every_documented_one_exists():
    assert set(re.findall(r"`make ([a-z]+)`", EVERYTHING)) == TARGETS
    assert set(re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[1].split()) == TARGETS  # type: ignore[index]


def test_continuous_integration_runs_what_the_readme_says():
    lines = [line.split("<")[0].split() for line in CI.splitlines()]
    ran = [" ".join(word for word in line if "=" not in word) for line in lines if "make" in line]
    assert ran == ["make setup", "make check", "make test", "make demo"]
    assert "DEMO_SECONDS=30 make demo" in CI
    [first, *_] = blocks("sh", file=ROOT / "README.md")
    assert first.text.splitlines() == ["make demo", "make test"]


def test_every_line_of_a_shell_block_is_one_that_works():
    """Each is a make target, a sluice command that parses, or part of the export, which another test runs."""
    for block, line in shell_lines():
        if line.startswith("make "):
            assert line.split()[1] in TARGETS, f"{block}: {line}"
        elif line.removeprefix(".venv/bin/").startswith("sluice "):
            parse(line.removeprefix(".venv/bin/"))
        else:
            assert "endpoints.json" in block.text, f"{block}: {line}"


def test_every_command_in_a_line_of_text_parses():
    found = set(re.findall(r"`(sluice [^`\n]+)`", EVERYTHING))
    assert "sluice resume STREAM --from POSITION" in found
    for command in found - {"sluice COMMAND --help"}:
        try:
            parse(command)
        except (click.exceptions.Exit, click.MissingParameter):  # --version; named without what it requires
            continue


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_each_of_its_options_is_documented(path):
    lines = [line for line in EVERYTHING.splitlines() if path in line]
    assert lines
    options = [parameter.opts for parameter in COMMANDS[path].params if isinstance(parameter, click.Option)]
    assert [names for names in options if not any(name in line for name in names for line in lines)] == []


def test_the_options_of_every_command_are_documented():
    options = [
        option for parameter in sluice.params if isinstance(parameter, click.Option) for option in parameter.opts
    ]
    assert all(option in EVERYTHING for option in options)
    assert "`sluice COMMAND --help`" in EVERYTHING


def hinted() -> set[str]:
    """Return every command that a text of the product names, values as `x`."""
    found: set[str] = set()
    for _, tree in modules("shared", "cli", "functions", "function_app.py"):
        for text in texts(tree):
            found |= set(re.findall(r"`(sluice [^`]+)`", text))
            found |= set(re.findall(r"(?:: |^)(sluice (?:resume|pause|status|run|config|topics)\b[^`()]*)$", text))
    return {command.replace(HOLE, "x") for command in found}


@pytest.mark.parametrize("command", sorted(hinted()))
def test_every_command_that_a_hint_names_can_be_copied(command):
    parse(command)


def test_hints_name_commands():
    assert "sluice resume x --from earliest --skip" in hinted()


def test_an_option_that_does_not_exist_does_not_parse():
    with pytest.raises(click.UsageError):
        parse("sluice status --nothing")


@pytest.mark.parametrize("module", ["local", "tools.settings_table"])
def test_the_modules_that_are_named_run(module):
    assert f"python -m {module}`" in EVERYTHING
    option = ["--help"] if module == "local" else []
    done = subprocess.run([sys.executable, "-m", module, *option], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout
