"""The real compiler, where there is one: its errors and warnings are findings.

Source:
    https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-cli
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.bicep.findings import Finding
from tools.bicep.parameters import BICEP
from tools.bicep.tree import MAIN

VARIABLE = "BICEP"
TIMEOUT_S = 300

_LINE = re.compile(r"^(?P<path>.+?)\((?P<line>\d+),\d+\) : (?:Error|Warning) (?P<code>[\w-]+): (?P<message>.+)$")


def executable(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the compiler that `BICEP` names, else the one on PATH, None when there is none."""
    return environ.get(VARIABLE) or shutil.which("bicep", path=environ.get("PATH"))


def check(folder: Path, bicep: str) -> Iterator[Finding]:
    """Yield what `bicep build`, `bicep lint` and, for the parameter file, `bicep build-params` have to say."""
    for arguments in (
        ["build", str(folder / MAIN), "--stdout"],
        ["lint", str(folder / MAIN)],
        ["build-params", str(folder / BICEP), "--stdout"],
    ):
        yield from _run(folder, [bicep, *arguments])


def _run(folder: Path, command: list[str]) -> Iterator[Finding]:
    environ = os.environ | {"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}  # it would look for a library of languages
    name = f"bicep {command[1]}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as why:
        yield Finding(folder / MAIN, 1, name, f"cannot be run: {why}")
        return
    found = [line for text in (done.stderr, done.stdout) for line in map(_LINE.match, text.splitlines()) if line]
    for line in found:
        yield Finding(Path(line["path"]), int(line["line"]), f"bicep-{line['code']}", line["message"])
    if done.returncode and not found:
        said = (done.stderr or done.stdout).strip().partition("\n")[0]
        yield Finding(folder / MAIN, 1, name, f"ended with {done.returncode}: {said}")
