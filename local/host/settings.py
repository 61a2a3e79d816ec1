"""App settings as the host reads them: `local.settings.json`, `%Name%`, connections, disabled functions.

Source: https://learn.microsoft.com/azure/azure-functions/functions-reference#connections
"""

import json
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.host.errors import FunctionError, HostError

_NAME = re.compile(r"%([^%]*)%")


def load_local_settings(path: Path, environment: MutableMapping[str, str]) -> None:
    """Copy the `Values` of a `local.settings.json` into the environment; what is set there already wins.

    Raises:
        HostError: the file cannot be read, is encrypted, or holds a value that is not a string.
    """
    try:
        content: Any = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as why:
        message = f"{path}: {why}"
        raise HostError(message) from why
    if not isinstance(content, dict) or not isinstance(content.get("Values", {}), dict):
        message = f"{path}: an object with the object 'Values' is expected"
        raise HostError(message)
    if content.get("IsEncrypted"):
        message = f"{path}: encrypted settings cannot be read; decrypt them with 'func settings decrypt'"
        raise HostError(message)
    if content.get("ConnectionStrings") or "CORS" in content.get("Host", {}):
        message = f"{path}: 'ConnectionStrings' and 'Host.CORS' are not supported by the local host"
        raise HostError(message)
    for name, value in content.get("Values", {}).items():
        if not isinstance(value, str):
            message = f"{path}: the value of '{name}' must be a string, got {json.dumps(value)}"
            raise HostError(message)
        environment.setdefault(name, value)


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a service: a connection string, or else the properties of an identity-based connection."""

    string: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


class Settings:
    """The app settings, by name: exact, or `:` for `__`, or in another case."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._exact = environment
        self._folded = {_fold(name): value for name, value in environment.items()}

    def get(self, name: str) -> str | None:
        """Return a setting, None when there is none or it is empty."""
        return self._exact.get(name) or self._folded.get(_fold(name)) or None

    def resolve(self, text: str) -> str:
        """Replace each `%Name%` by the setting of that name.

        Raises:
            FunctionError: there is no such setting.
        """

        def value(match: re.Match[str]) -> str:
            found = self.get(match[1])
            if found is None:
                message = f"'{match[0]}' does not resolve to a value."
                raise FunctionError(message)
            return found

        return _NAME.sub(value, text)

    def section(self, name: str) -> dict[str, str]:
        """Return the settings `name__…`, by the rest of their names, folded to lower case."""
        prefix = _fold(name) + "__"
        return {key.removeprefix(prefix): value for key, value in self._folded.items() if key.startswith(prefix)}

    def connection(self, name: str) -> Connection | None:
        """Find a connection by the name a binding gives: `name`, `AzureWebJobs<name>`, or the section of either."""
        for candidate in (name, f"AzureWebJobs{name}"):
            string = self.get(candidate)
            if string is not None:
                return Connection(string=string)
        for candidate in (name, f"AzureWebJobs{name}"):
            properties = self.section(candidate)
            if properties:
                return Connection(properties=properties)
        return None

    def is_disabled(self, function: str) -> bool:
        """Whether the function is switched off; every spelling of the setting that Azure accepts counts."""
        spellings = (f"AzureWebJobs{mark}{function}{mark}Disabled" for mark in (".", "_", "__"))
        return any((self.get(spelling) or "").lower() in {"true", "1"} for spelling in spellings)


def _fold(name: str) -> str:
    return name.replace(":", "__").lower()
