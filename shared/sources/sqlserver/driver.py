"""Where the ODBC driver and its driver manager come from: this machine, else the deployment package."""

import ctypes
import platform
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Final

from shared.errors import ConfigError

LENT: Final = Path(__file__).parents[3] / "odbc"
"""Of a deployment package: libraries for a machine that lacks them, `<number>-<name>`, to be loaded in that order."""

DRIVERS: Final = ("ODBC Driver 18 for SQL Server", "ODBC Driver 17 for SQL Server")
INSTALL: Final = (
    "install msodbcsql18 and unixodbc: https://learn.microsoft.com/sql/connect/odbc/download-odbc-driver-for-sql-server"
    "; in Azure, deploy the package of `make package`, which has them"
)


def _lend() -> None:
    for path in sorted(LENT.glob("*.so*")):
        try:
            ctypes.CDLL(path.name.partition("-")[2])
        except OSError:  # this machine has none
            with suppress(OSError):  # what needs this one says so itself
                ctypes.CDLL(str(path))


try:
    import pyodbc
except ImportError:  # it needs libodbc.so.2, which is no Python package
    _lend()
    try:
        import pyodbc
    except ImportError as missing:
        _MISSING = str(missing)
    else:
        _MISSING = ""
else:
    _MISSING = ""


def find_driver() -> str:
    """Return the name or path of Microsoft's ODBC driver: 18, else 17, else that of the package `mssql-python-odbc`.

    Raises:
        ConfigError: there is none, or a library that it needs is missing.
    """
    if _MISSING:
        msg = f"pyodbc cannot be loaded: {_MISSING}"
        raise ConfigError(msg, hint=INSTALL)
    installed = pyodbc.drivers()
    for name in DRIVERS:
        if name in installed:
            return name
    bundled = _bundled_driver()
    if bundled is None:
        msg = "there is no ODBC driver for SQL Server"
        raise ConfigError(msg, value=", ".join(installed), hint=INSTALL)
    _lend()
    try:
        ctypes.CDLL(bundled)
    except OSError as why:
        msg = f"the ODBC driver of the package cannot be loaded: {why}"
        raise ConfigError(msg, hint=INSTALL) from why
    return bundled


def _bundled_driver() -> str | None:
    try:
        libraries = Path(str(resources.files("mssql_python_odbc"))) / "libs"
    except ModuleNotFoundError:
        return None
    system, machine = platform.system(), platform.machine()
    patterns = {
        "Linux": f"linux/*/{machine}/lib/libmsodbcsql-*.so*",
        "Darwin": f"macos/{machine}/lib/libmsodbcsql*.dylib",
        "Windows": "windows/*/msodbcsql*.dll",
    }
    found = sorted(libraries.glob(patterns.get(system, "")), key=lambda path: ("debian" not in str(path), str(path)))
    return str(found[0]) if found else None
