"""Which ODBC driver is used, on machines that have other ones; each is an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIND = """
import sys
from pathlib import Path
for name in {missing!r}:
    sys.modules[name] = None  # as if it were not installed
from shared.errors import ConfigError
from shared.sources.sqlserver import driver
driver.LENT = Path({lent!r})
try:
    print(driver.find_driver())
except ConfigError as why:
    print("ConfigError", why)
"""
EIGHTEEN, SEVENTEEN = "ODBC Driver 18 for SQL Server", "ODBC Driver 17 for SQL Server"


def found(folder: Path, *registered: str, missing: tuple[str, ...] = (), **environment: str) -> str:
    """Return what is found on a machine where unixODBC knows the `registered` drivers."""
    (folder / "odbcinst.ini").write_text("".join(f"[{name}]\nDriver=/nowhere/{name}.so\n\n" for name in registered))
    return subprocess.run(
        [sys.executable, "-c", FIND.format(missing=missing, lent=str(folder))],
        cwd=ROOT,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        | {"ODBCSYSINI": str(folder)}
        | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.mark.parametrize(
    ("registered", "expected"),
    [((SEVENTEEN, EIGHTEEN), EIGHTEEN), ((SEVENTEEN, "FreeTDS"), SEVENTEEN), (("FreeTDS",), "mssql_python_odbc")],
)
def test_driver_18_is_used_else_17_else_the_one_of_the_package(tmp_path, registered, expected):
    assert expected in found(tmp_path, *registered)


def test_without_any_driver_the_remedy_is_said(tmp_path):
    said = found(tmp_path, "FreeTDS", missing=("mssql_python_odbc",))
    assert said.startswith("ConfigError there is no ODBC driver for SQL Server, got 'FreeTDS'")
    assert "install msodbcsql18 and unixodbc" in said
    assert "make package" in said


def test_a_library_that_is_missing_is_named(tmp_path):
    (tmp_path / "libkrb5.so.3").touch()  # the loader takes an empty file for a broken library
    said = found(tmp_path, LD_LIBRARY_PATH=str(tmp_path))
    assert said.startswith("ConfigError the ODBC driver of the package cannot be loaded")
    assert "libkrb5.so.3" in said


def test_without_a_driver_manager_the_remedy_is_said(tmp_path):
    (tmp_path / "libodbc.so.2").touch()
    said = found(tmp_path, LD_LIBRARY_PATH=str(tmp_path))
    assert said.startswith("ConfigError pyodbc cannot be loaded")
    assert "libodbc.so.2" in said
    assert "install msodbcsql18 and unixodbc" in said
