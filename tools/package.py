"""The deployment package: the app and everything it imports, for Azure Functions on Linux x86-64 with Python 3.13.

    python -m tools.package                     makes dist/app and dist/sluice.zip, the same files twice
    python -m tools.package --without-driver    leaves out Microsoft's ODBC driver, which has a licence of its own

It runs on any system, and needs pip and nothing else that has to be installed. The same repository and the same
package index give the same bytes, with one exception: libraries of the ODBC driver manager and of Kerberos, which no
index has, are taken from the machine that packs, if it is a Linux that is not newer than the one in Azure. They are
for a Functions image without them.
"""

import argparse
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
IGNORED: Final = ".funcignore"
PYTHON: Final = "3.13"
SITE: Final = Path(".python_packages/lib/site-packages")
LIBRARIES: Final = Path("odbc")
DRIVER: Final = "mssql-python-odbc"
NEWEST_GLIBC: Final = 36
"""Debian 12 has glibc 2.36. Source: https://github.com/Azure/azure-functions-docker (host/4/bookworm/python)."""

PLATFORMS: Final = (*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)), "manylinux2014_x86_64")
NEEDED: Final = (
    *("libltdl.so.7", "libodbc.so.2"),
    *("libkeyutils.so.1", "libcom_err.so.2", "libkrb5support.so.0", "libk5crypto.so.3", "libkrb5.so.3"),
    "libgssapi_krb5.so.2",
)
"""What pyodbc and the driver are linked against and a small image may lack, each after what it needs itself."""

_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64")
_OF_THIS_MACHINE = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_GLIBC = re.compile(rb"GLIBC_2\.(\d+)")
_EPOCH = (1980, 1, 1, 0, 0, 0)


class PackageError(Exception):
    """The package cannot be made; the message says what to do."""


def make(root: Path, to: Path, *, with_driver: bool = True) -> Path:
    """Make `to/app` and `to/sluice.zip` from the repository at `root`; return the zip.

    Raises:
        PackageError: something is missing.
    """
    app, archive = to / "app", to / "sluice.zip"
    archive.unlink(missing_ok=True)  # no package is better than that of another day
    shutil.rmtree(app, ignore_errors=True)
    files = sources(root)
    if not {Path("sluice.hcl"), Path("dstream.hcl")} & set(files):
        message = "there is no sluice.hcl: write one (README.md, Configure), then `sluice config check`"
        raise PackageError(message)
    for file in files:
        (app / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / file, app / file)
    _say(f"the app: {', '.join(sorted({file.parts[0] for file in files}))}", app)
    install(root, app / SITE, with_driver=with_driver)
    _say(f"what it imports, for Python {PYTHON}", app / SITE)
    lend(app / LIBRARIES)
    write(app, archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB, sha256 {digest}")
    return archive


def sources(root: Path) -> list[Path]:
    """Return the files that are deployed: everything that `.funcignore` does not name, in order.

    Raises:
        PackageError: a line of `.funcignore` is more than a name, a folder/ or a *.suffix.
    """
    patterns = [line.strip() for line in (root / IGNORED).read_text("utf-8").splitlines()]
    patterns = [line for line in patterns if line and not line.startswith("#")]
    if odd := [line for line in patterns if line.startswith("!") or "/" in line[:-1] or "**" in line]:
        message = f"{IGNORED}: only names, folders with a slash at the end and *.suffix are known here, got {odd}"
        raise PackageError(message)
    return sorted(file.relative_to(root) for file in _walk(root, [*patterns, IGNORED]))


def _walk(folder: Path, ignored: list[str]) -> Iterator[Path]:
    for path in folder.iterdir():
        names = {path.name, f"{path.name}/"} if path.is_dir() else {path.name}
        if any(fnmatchcase(name, pattern) for name in names for pattern in ignored):
            continue
        if path.is_dir():
            yield from _walk(path, ignored)
        else:
            yield path


def install(root: Path, site: Path, *, with_driver: bool) -> None:
    """Install what `requirements.txt` asks for, in the versions of `requirements-dev.txt`, as wheels for Azure.

    Raises:
        PackageError: pip cannot.
    """
    wanted = ["-r", str(root / "requirements.txt"), *([DRIVER] if with_driver else [])]
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--no-warn-conflicts", "--target", str(site), "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", PYTHON),
        *(f"--platform={name}" for name in PLATFORMS),
        *("--constraint", str(root / "requirements-dev.txt"), *wanted),
    ]
    print("pip fetches the wheels …", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        remedy = (
            f"install pip: {sys.executable} -m ensurepip"
            if "No module named pip" in done.stderr
            else "pip has to reach its package index, as for `make setup` (PIP_INDEX_URL, HTTPS_PROXY)"
        )
        message = f"{done.stderr.strip()}\n{remedy}"
        raise PackageError(message)
    shutil.rmtree(site / "bin", ignore_errors=True)  # commands, with the path of this machine's Python
    for info in site.glob("*.dist-info"):
        for name in _OF_THIS_MACHINE:
            (info / name).unlink(missing_ok=True)


def lend(folder: Path) -> None:
    """Put the libraries that Azure's image may lack into `folder`, numbered in the order in which they are loaded."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        print(f"no driver manager: {platform.system()} {platform.machine()} has none that runs in Azure; see docs")
        return
    there = {name: Path(place, name) for place in _FOLDERS for name in NEEDED if Path(place, name).is_file()}
    for number, name in enumerate(NEEDED):
        if name not in there:
            print(f"without {name}, which is not on this machine (apt-get install unixodbc libgssapi-krb5-2)")
            continue
        content = there[name].read_bytes()
        newest = max((int(minor) for minor in _GLIBC.findall(content)), default=0)
        if newest > NEWEST_GLIBC:
            print(f"without {name}, which needs glibc 2.{newest}: Azure has 2.{NEWEST_GLIBC}; pack on Debian 12")
            continue
        folder.mkdir(exist_ok=True)
        (folder / f"{number}-{name}").write_bytes(content)
    if folder.is_dir():
        _say("ODBC driver manager and Kerberos, of this machine", folder)


def write(app: Path, archive: Path) -> None:
    """Write every file of `app` into `archive`, in order, without anything of this machine or this day."""
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted(file for file in app.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(app).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, on Windows too
            entry.external_attr = 0o100644 << 16
            packed.writestr(entry, file.read_bytes())


def _say(what: str, folder: Path) -> None:
    count = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    print(f"{what}: {len(count)} files, {sum(count) / 1e6:.1f} MB", flush=True)


def main() -> None:
    """Make the package, or say what is missing and exit with 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.package", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=ROOT / "dist", metavar="FOLDER", help="dist by default")
    parser.add_argument("--without-driver", action="store_true", help="leave out Microsoft's ODBC driver")
    arguments = parser.parse_args()
    try:
        make(ROOT, arguments.to.resolve(), with_driver=not arguments.without_driver)
    except PackageError as why:
        sys.exit(f"error: {why}")


if __name__ == "__main__":
    main()
