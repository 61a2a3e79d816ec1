"""What is in the deployment package, and that the same input gives the same bytes."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import package

pytestmark = [pytest.mark.xdist_group("package"), pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
DEPLOYED = {
    *("function_app.py", "host.json", "requirements.txt", "sluice.hcl"),
    *("functions", "shared", ".python_packages"),
}


def test_the_package_has_the_app_and_what_it_imports_and_nothing_else(built):
    with zipfile.ZipFile(built.archive) as packed:
        names = packed.namelist()
    assert {name.partition("/")[0] for name in names} - {package.LIBRARIES.name} == DEPLOYED
    assert not [name for name in names if name.endswith((".pyc", "/RECORD")) or "__pycache__" in name]
    assert {file.relative_to(built.app).as_posix() for file in built.app.rglob("*") if file.is_file()} == set(names)


def test_nothing_in_it_is_hidden_from_func_or_azd(built):
    """What they leave out by themselves, wherever they find it; neither reads our `.funcignore` there."""
    left_out = {".funcignore", ".gitignore", "appsettings.json", "local.settings.json", "project.lock.json"}
    left_out |= {".git", ".vscode", ".azure", "__pycache__", "pyvenv.cfg"}
    assert not [file for file in built.app.rglob("*") if file.name in left_out]


def test_every_version_is_the_one_that_is_tested(built):
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    tested = {re.sub(r"[-_.]+", "-", name).lower(): version for name, _, version in (x.partition("==") for x in lines)}
    found = [path.name.removesuffix(".dist-info") for path in (built.app / package.SITE).glob("*.dist-info")]
    packed = {re.sub(r"[-_.]+", "-", name).lower(): version for name, _, version in (x.rpartition("-") for x in found)}
    assert {name: tested[name] for name in packed} == packed
    assert {"pyodbc", "azure-functions-runtime", "mssql-python-odbc"} <= set(packed)


def test_every_library_in_it_is_for_linux_on_x86_64(built):
    libraries = [path for path in built.app.rglob("*.so*") if path.is_file()]
    assert len(libraries) > 20
    for path in libraries:
        head = path.read_bytes()[:20]
        assert (head[:4], int.from_bytes(head[18:20], "little")) == (b"\x7fELF", 62), path


def test_the_time_and_the_modes_of_the_files_are_not_in_it(built, tmp_path):
    again = tmp_path / "app"
    shutil.copytree(built.app, again, copy_function=shutil.copyfile)
    for file in again.rglob("*"):
        file.chmod(0o700)
    package.write(again, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == built.archive.read_bytes()


def test_another_installation_has_the_same_bytes_and_the_driver_is_left_out_on_request(built, tmp_path):
    package.install(ROOT, tmp_path, with_driver=False)
    again, first = (
        {file.relative_to(top): file.read_bytes() for file in top.rglob("*") if file.is_file()}
        for top in (tmp_path, built.app / package.SITE)
    )
    assert again == {file: content for file, content in first.items() if "mssql_python_odbc" not in file.parts[0]}
    assert again.keys() < first.keys()


def test_host_json_is_at_the_root_with_the_extension_bundle(built):
    with zipfile.ZipFile(built.archive) as packed:
        assert json.loads(packed.read("host.json"))["extensionBundle"]["version"] == "[4.*, 5.0.0)"


@pytest.fixture
def repository(tmp_path):
    """A small repository that can be broken."""
    (tmp_path / ".funcignore").write_text("*.md\n# notes\n\ntests/\nkeep\n")
    for name in ("sluice.hcl", "README.md", "shared/a.py", "shared/tests/b.py", "tests.py", "keep/c.py", "unkept"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "requirements.txt").write_text("there-is-no-such-package-of-sluice==1\n")
    (tmp_path / "requirements-dev.txt").write_text("")
    return tmp_path


def test_funcignore_is_read_as_func_reads_it(repository):
    found = [file.as_posix() for file in package.sources(repository)]
    assert found == [
        "requirements-dev.txt",
        "requirements.txt",
        "shared/a.py",
        "sluice.hcl",
        "tests.py",
        "unkept",
    ]


@pytest.mark.parametrize("line", ["!shared/", "shared/a.py", "**.py"])
def test_a_funcignore_that_would_be_misread_is_refused(repository, line):
    (repository / ".funcignore").write_text(line)
    with pytest.raises(package.PackageError, match="only names"):
        package.sources(repository)


def test_without_a_configuration_there_is_no_package(repository):
    (repository / "sluice.hcl").unlink()
    (repository / "dist").mkdir()
    (repository / "dist/sluice.zip").touch()
    with pytest.raises(package.PackageError, match=r"there is no sluice\.hcl: write one"):
        package.make(repository, repository / "dist")
    assert not (repository / "dist/sluice.zip").exists()


def test_what_pip_cannot_do_is_said_with_the_remedy(repository, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(package.PackageError, match=r"(?s)No matching distribution.*pip has to reach its package index"):
        package.make(repository, repository / "dist")


def test_the_command_needs_the_standard_library_alone():
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(ROOT)!r}); import tools.package"]
    subprocess.run(command, check=True)
