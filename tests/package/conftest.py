"""The deployment package, built once, and run by an interpreter that sees nothing but the package."""

import json
import os
import subprocess
import sys
import zipfile
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
    """The package: the files that were zipped, and the zip unpacked at `root`, as Azure runs it."""

    def __init__(self, archive: Path, root: Path, beside: Path) -> None:
        self.archive = archive
        self.app = archive.parent / "app"
        self.root = root
        self._beside = beside
        self._head = SEE_THE_PACKAGE_ALONE.format(app=str(root), beside=str(beside))

    def without(self, name: str, root: Path) -> "Package":
        """Return the package without one of its folders, at `root`."""
        root.mkdir()
        for path in self.root.iterdir():
            if path.name != name:
                (root / path.name).symlink_to(path)
        return Package(self.archive, root, self._beside)

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
    root, beside = folder / "wwwroot", folder / "beside"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(root)
    beside.mkdir()  # the app's own `shared` is imported, not the repository's
    (beside / "local").symlink_to(ROOT / "local")
    return Package(archive, root, beside)


@pytest.fixture
def bare(built: Package, tmp_path: Path) -> dict[str, str]:
    """The environment of a machine without an ODBC driver, a driver manager and Kerberos."""
    if len(list((built.app / package.LIBRARIES).glob("*"))) < len(package.NEEDED):
        pytest.skip("needs a packing machine whose libraries run in Azure: Debian 12 or Ubuntu 22.04, with unixODBC")
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in package.NEEDED:
        (folder / name).touch()  # the loader looks here first, and takes an empty file for a broken library
    return {"LD_LIBRARY_PATH": str(folder), "ODBCSYSINI": str(folder)}
