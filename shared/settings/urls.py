"""Where a SQL Server database is: `sqlserver://` URLs and ODBC connection strings, as the ODBC driver wants them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from shared.settings.problems import did_you_mean

type Faults = list[tuple[str, str]]
"""What is wrong, each with a hint; never with a part of the text."""

_YES_NO = {"true": "yes", "yes": "yes", "1": "yes", "false": "no", "no": "no", "0": "no"}
_ENCRYPT = {**_YES_NO, "mandatory": "yes", "optional": "no", "disable": "no", "strict": "strict"}
_AUTHENTICATION = {
    "activedirectorymanagedidentity": "ActiveDirectoryMsi",
    "activedirectorymsi": "ActiveDirectoryMsi",
    "activedirectorypassword": "ActiveDirectoryPassword",
    "activedirectoryintegrated": "ActiveDirectoryIntegrated",
    "activedirectoryserviceprincipal": "ActiveDirectoryServicePrincipal",
}
_PARAMETERS: Mapping[str, tuple[str, Mapping[str, str] | None]] = {
    "database": ("Database", None),
    "user id": ("UID", None),
    "password": ("PWD", None),
    "fedauth": ("Authentication", _AUTHENTICATION),
    "encrypt": ("Encrypt", _ENCRYPT),
    "trustservercertificate": ("TrustServerCertificate", _YES_NO),
    "hostnameincertificate": ("HostNameInCertificate", None),
    "app name": ("APP", None),
    "workstation id": ("WSID", None),
    "applicationintent": ("ApplicationIntent", {"readonly": "ReadOnly", "readwrite": "ReadWrite"}),
    "multisubnetfailover": ("MultiSubnetFailover", _YES_NO),
    "failoverpartner": ("Failover_Partner", None),
    "packet size": ("PacketSize", None),
    "keepalive": ("KeepAlive", None),
}
_IGNORED = {"connection timeout", "dial timeout", "log", "failoverport", "protocol"}
"""Parameters of DStream's driver that say how it dials and logs; here the adapter does that."""

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]|\(local\)|\.")
_INSTANCE = re.compile(r"[A-Za-z_][A-Za-z0-9_$#-]{0,15}")
_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_PAIR = re.compile(r"\s*([^=;{}]+?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;{}]*?)\s*(?:;|$)")


@dataclass(frozen=True, slots=True)
class SqlServer:
    r"""`server` as the driver has it (`host`, `host,port`, `host\instance`); `odbc` without the driver, secret."""

    host: str
    server: str
    database: str
    odbc: str = field(repr=False)


def sql_server(text: str, faults: Faults) -> SqlServer | None:
    """Return where `text` points to; None when `faults` has grown.

    Source:
        https://github.com/microsoft/go-mssqldb#connection-parameters-and-dsn
        https://learn.microsoft.com/sql/connect/odbc/dsn-connection-string-attribute
    """
    scheme, found, _ = text.partition("://")
    before = len(faults)
    if found and scheme.isalnum():
        if scheme.lower() != "sqlserver":
            faults.append(("is not a SQL Server URL", "sqlserver://user:password@host:1433?database=Name"))
            return None
        server, pairs = _from_url(text, faults)
    else:
        server, pairs = _from_odbc(text, faults)
    if len(faults) > before:
        return None
    host = server.removeprefix("tcp:").partition(",")[0].partition("\\")[0]
    odbc = ";".join(
        f"{key}={value}" for key, value in [("Server", server), *((k, quoted(v)) for k, v in pairs.items())]
    )
    return SqlServer(host.strip("[]"), server, pairs["Database"], odbc)


def quoted(value: str) -> str:
    """Return a value of an ODBC connection string, in braces unless it is plain."""
    return value if _PLAIN.fullmatch(value) else "{" + value.replace("}", "}}") + "}"


def pairs_of(text: str) -> list[tuple[str, str]] | None:
    """Return the keys and values of an ODBC connection string, braces undone; None when it is none."""
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if not found:
            return pairs if not text[at:].strip("; \t\r\n") else None
        key, value = found.groups()
        pairs.append((key, value[1:-1].replace("}}", "}") if value.startswith("{") else value))
        at = found.end()
    return pairs


def _from_url(text: str, faults: Faults) -> tuple[str, dict[str, str]]:
    encoded = "sqlserver://host/INSTANCE for an instance; percent-encode : / ? # [ ] @ % in user and password"
    try:
        url = urlsplit(text)
        port = url.port
        host = url.netloc.rpartition("@")[2].removesuffix(f":{port}" if port else ":")
    except ValueError:
        faults.append(("is not a URL", encoded))
        return "", {}
    if url.fragment or "#" in text or not _HOST.fullmatch(host):
        faults.append(("has no readable host", encoded))
    instance = unquote(url.path.removeprefix("/"))
    if instance and not _INSTANCE.fullmatch(instance):
        faults.append(("has a path that is no instance name", "sqlserver://host/INSTANCE?database=Name"))
    pairs = _credentials(url)
    _add_parameters(parse_qsl(url.query, keep_blank_values=True), pairs, faults)
    if not pairs.get("Database"):
        faults.append(("names no database", "append ?database=Name"))
    if "UID" not in pairs and "Authentication" not in pairs:
        faults.append(("names no user", "sqlserver://user:password@… or &fedauth=ActiveDirectoryManagedIdentity"))
    # As in every driver, a port makes the instance's name irrelevant.
    where = f",{port}" if port else f"\\{instance}" if instance else ""
    return f"{host}{where}", pairs


def _credentials(url: SplitResult) -> dict[str, str]:
    user, _, password = url.netloc.rpartition("@")[0].partition(":")
    return {key: unquote(value) for key, value in (("UID", user), ("PWD", password)) if value}


def _add_parameters(parameters: Iterable[tuple[str, str]], pairs: dict[str, str], faults: Faults) -> None:
    for name, value in parameters:
        lower = name.lower()
        if lower in _IGNORED:
            continue
        if lower not in _PARAMETERS:
            faults.append(("has an unknown parameter", did_you_mean(lower, _PARAMETERS)))
            continue
        key, words = _PARAMETERS[lower]
        if key in pairs:
            faults.append((f"gives the {lower} twice", "keep one"))
        elif words is not None and value.lower() not in words:
            faults.append((f"has an unknown value of {lower}", f"known: {', '.join(sorted(words))}"))
        else:
            pairs[key] = words[value.lower()] if words else value


def _from_odbc(text: str, faults: Faults) -> tuple[str, dict[str, str]]:
    found = pairs_of(text)
    if not found:
        hint = "sqlserver://user:password@host:1433?database=Name or Server=…;Database=…;UID=…;PWD=…"
        faults.append(("is neither a sqlserver:// URL nor an ODBC connection string", hint))
        return "", {}
    names = {"server": "Server", "address": "Server", "addr": "Server", "database": "Database"}
    pairs: dict[str, str] = {}
    for name, value in found:
        key = names.get(name.lower(), name)
        if key.lower() in {"dsn", "filedsn"}:
            faults.append(("names a data source of one machine", "write Server=…;Database=…"))
        if key.lower() in {known.lower() for known in pairs}:
            faults.append(("gives a keyword twice", "keep one"))
        if key.lower() != "driver":
            pairs[key] = value
    server = pairs.pop("Server", "")
    if not re.fullmatch(r"(?:tcp:)?(?:[A-Za-z0-9._:-]+|\[[0-9A-Fa-f:.]+\]|\(local\))(?:\\[^,;{}=]+)?(?:,\d+)?", server):
        faults.append(("names no readable server", "Server=host,1433"))
    if not pairs.get("Database"):
        faults.append(("names no database", "append ;Database=Name"))
    return server, pairs
