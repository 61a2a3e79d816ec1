"""Microsoft's ODBC driver as the PyPI wheel `mssql-python-odbc` carries it."""

from functools import cache
from pathlib import Path

import mssql_python_odbc


@cache
def path() -> str:
    """Return the full path of the driver library, for `Driver=…` without any odbcinst.ini.

    Raises:
        FileNotFoundError: the wheel holds no driver for this Linux.
    """
    root = Path(mssql_python_odbc.get_libs_dir())
    found = sorted(root.glob("linux/debian_ubuntu/*/lib/libmsodbcsql-*.so.*"))
    if not found:
        message = f"no libmsodbcsql under {root}"
        raise FileNotFoundError(message)
    return str(found[-1])


def connection_string(port: int, database: str, user: str, password: str) -> str:
    """Return the full ODBC connection string of a stand-in on this machine."""
    return (
        f"Driver={path()};Server=127.0.0.1,{port};Database={_braced(database)};"
        f"UID={_braced(user)};PWD={_braced(password)};Encrypt=no;TrustServerCertificate=yes"
    )


def _braced(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}"
