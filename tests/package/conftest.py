"""The deployment package, built once, and run by an interpreter that sees nothing but the package."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools import package

ROOT = Path(__file__).parents[2]

SEE_THE_PACKAGE_ALONE = """
import sys
app, beside = {app!r}, {beside!r}
sys.path += [app + "/.python_packages/lib/site-packages", app, beside]
"""


class Package:
    """The package in a folder of its own, as Azure unpacks it."""

    def __init__(self, archive: Path, app: Path, beside: Path) -> None:
        self.archive = archive
        self.app = app
        self._beside = beside
        self._head = SEE_THE_PACKAGE_ALONE.format(app=str(app), beside=str(beside))

    def without(self, name: str, app: Path) -> "Package":
        """Return the package without one of its folders, at `app`."""
        app.mkdir()
        for path in self.app.iterdir():
            if path.name != name:
                (app / path.name).symlink_to(path)
        return Package(self.archive, app, self._beside)

    @contextmanager
    def running(self, code: str, environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
        """Run `code` with the standard library, the package and the local host; nothing else can be imported."""
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", self._head + code],
                env={"PATH": os.environ["PATH"], **environment},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.terminate()

    def prints(self, code: str, environment: Mapping[str, str], log: Path) -> object:
        """Return what `code` prints as JSON."""
        with self.running(code, environment, log) as process:
            assert process.stdout is not None
            printed = process.stdout.read()
            assert process.wait() == 0, log.read_text()
        return json.loads(printed)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package of this repository."""
    folder = tmp_path_factory.mktemp("package")
    archive = package.make(ROOT, folder)
    beside = folder / "beside"  # the app's own `shared` is imported, not the repository's
    beside.mkdir()
    (beside / "local").symlink_to(ROOT / "local")
    return Package(archive, folder / "app", beside)


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine without an ODBC driver, a driver manager and Kerberos."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in package.NEEDED:
        (folder / name).touch()  # the loader looks here first, and takes an empty file for a broken library
    return {"LD_LIBRARY_PATH": str(folder), "ODBCSYSINI": str(folder)}
