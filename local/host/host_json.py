"""`host.json`: what of it has a meaning here, with the overrides that Azure takes from app settings.

Source: https://learn.microsoft.com/azure/azure-functions/functions-host-json
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from local.host.errors import HostError

OVERRIDE = "azurefunctionsjobhost__"
DEFAULT_TIMEOUT = "00:30:00"  # of Flex Consumption

_WITHOUT_MEANING_HERE = {"version", "aggregator", "concurrency", "extensionbundle", "healthmonitor", "telemetrymode"}
_SECTIONS = {"extensions", "functiontimeout", "logging", "singleton"} | _WITHOUT_MEANING_HERE
_HTTP = {"routeprefix"}
_SERVICE_BUS = {
    "autocompletemessages",
    "maxautolockrenewalduration",
    "maxconcurrentcalls",  # of triggers without sessions, which are refused as such
    "maxconcurrentsessions",
    "prefetchcount",
    "sessionidletimeout",
}
_SINGLETON = {"listenerlockperiod", "listenerlockrecoverypollinginterval"}
_SPAN = re.compile(r"(?:(?P<d>\d+)\.)?(?P<h>\d{1,2}):(?P<m>\d{1,2})(?::(?P<s>\d{1,2}(?:\.\d{1,7})?))?")


@dataclass(frozen=True, slots=True)
class ServiceBusOptions:
    """`extensions.serviceBus`, with Azure's defaults."""

    max_concurrent_sessions: int = 8
    session_idle: timedelta = timedelta(minutes=1)
    max_auto_lock_renewal: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SingletonOptions:
    """`singleton`: how long the lock of a timer is leased, and how often others look whether it is free."""

    lease: timedelta = timedelta(minutes=1)
    polling: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class HostOptions:
    """A `host.json`; no `function_timeout` means unbounded."""

    function_timeout: timedelta | None
    route_prefix: str = "api"
    service_bus: ServiceBusOptions = field(default_factory=ServiceBusOptions)
    singleton: SingletonOptions = field(default_factory=SingletonOptions)
    log_levels: Mapping[str, str] = field(default_factory=dict)


def read_host_json(path: Path, environment: Mapping[str, str]) -> HostOptions:
    """Read the file and lay `AzureFunctionsJobHost__a__b=value` over it; names do not depend on case.

    Raises:
        HostError: the file is missing or wrong, or asks for something that this host does not do.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as why:
        message = f"{path}: {why}"
        raise HostError(message) from why
    tree = _Tree(path.name, content)
    if tree.values.get("version") != "2.0":
        message = f"{path.name}: the version must be '2.0'"
        raise HostError(message)
    for name, value in environment.items():
        flat = name.replace(":", "__")
        if flat.lower().startswith(OVERRIDE):
            tree.override(flat[len(OVERRIDE) :].split("__"), value)
    tree.allow(_SECTIONS)
    extensions = tree.section("extensions")
    timeout = tree.text("functiontimeout", DEFAULT_TIMEOUT)
    return HostOptions(
        function_timeout=None if timeout == "-1" else tree.span("functiontimeout", parse_span(DEFAULT_TIMEOUT)),
        route_prefix=extensions.section("http").allow(_HTTP).text("routeprefix", "api").strip("/"),
        service_bus=_service_bus(extensions.section("servicebus").allow(_SERVICE_BUS)),
        singleton=_singleton(tree.section("singleton").allow(_SINGLETON)),
        log_levels={name: str(level) for name, level in tree.section("logging").section("loglevel").content().items()},
    )


def parse_span(text: str) -> timedelta:
    """Parse a .NET time span, `[days.]hh:mm[:ss[.fffffff]]`.

    Raises:
        ValueError: it is none.
    """
    match = _SPAN.fullmatch(text)
    if match is None or int(match["m"]) > 59 or float(match["s"] or 0) >= 60:
        message = f"'{text}' is not a time span 'hh:mm:ss'"
        raise ValueError(message)
    if int(match["h"]) > 23:  # .NET reads '24:00:00' as 24 days, which nobody means
        message = f"'{text}' has more than 23 hours; write days before a point, as in '1.00:00:00'"
        raise ValueError(message)
    return timedelta(
        days=int(match["d"] or 0), hours=int(match["h"]), minutes=int(match["m"]), seconds=float(match["s"] or 0)
    )


class _Tree:
    """An object of the file; its names do not depend on case, but are kept as they were written."""

    def __init__(self, where: str, content: Any) -> None:
        if not isinstance(content, dict):
            message = f"{where}: an object is expected"
            raise HostError(message)
        self.where = where
        self.values: dict[str, Any] = {name.lower(): value for name, value in content.items()}
        self._written = {name.lower(): name for name in content}

    def override(self, path: list[str], value: str) -> None:
        """Set a value below; the objects on the way are made."""
        name = path[0].lower()
        self._written.setdefault(name, path[0])
        if len(path) == 1:
            self.values[name] = value
            return
        below = self.section(name)
        below.override(path[1:], value)
        self.values[name] = below.content()

    def content(self) -> dict[str, Any]:
        return {self._written[name]: value for name, value in self.values.items()}

    def allow(self, names: set[str]) -> Self:
        """Refuse every other name: a typing error would be ignored without a word in Azure."""
        for name in self.values:
            if name not in names:
                message = f"{self.where}: '{self._written[name]}' is not known to the local host"
                raise HostError(message)
        return self

    def section(self, name: str) -> "_Tree":
        return _Tree(f"{self.where}: {name}", self.values.get(name) or {})

    def text(self, name: str, default: str) -> str:
        value = self.values.get(name, default)
        if not isinstance(value, str):
            message = f"{self.where}: '{name}' must be a string, got {json.dumps(value)}"
            raise HostError(message)
        return value

    def number(self, name: str, default: int, *, least: int) -> int:
        value = self.values.get(name, default)
        try:
            number = int(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else least - 1
        except ValueError:
            number = least - 1
        if number < least:
            message = f"{self.where}: '{name}' must be a number of at least {least}, got {json.dumps(value)}"
            raise HostError(message)
        return number

    def span(self, name: str, default: timedelta) -> timedelta:
        if name not in self.values:
            return default
        try:
            return parse_span(self.text(name, ""))
        except ValueError as why:
            message = f"{self.where}: '{name}': {why}"
            raise HostError(message) from why


def _service_bus(tree: _Tree) -> ServiceBusOptions:
    if str(tree.values.get("autocompletemessages", True)).lower() != "true":
        message = f"{tree.where}: 'autoCompleteMessages' must be true: settling by the function is not supported here"
        raise HostError(message)
    if tree.number("prefetchcount", 0, least=0):
        message = f"{tree.where}: 'prefetchCount' must be 0: receiving ahead is not supported here"
        raise HostError(message)
    default = ServiceBusOptions()
    return ServiceBusOptions(
        max_concurrent_sessions=tree.number("maxconcurrentsessions", default.max_concurrent_sessions, least=1),
        session_idle=tree.span("sessionidletimeout", default.session_idle),
        max_auto_lock_renewal=tree.span("maxautolockrenewalduration", default.max_auto_lock_renewal),
    )


def _singleton(tree: _Tree) -> SingletonOptions:
    default = SingletonOptions()
    lease = tree.span("listenerlockperiod", default.lease)
    if not timedelta(seconds=15) <= lease <= timedelta(seconds=60):
        message = f"{tree.where}: 'listenerLockPeriod' must be 15 to 60 seconds, as blob leases are"
        raise HostError(message)
    return SingletonOptions(lease, tree.span("listenerlockrecoverypollinginterval", default.polling))
