"""Parameters in the two files that the template is deployed with: JSON for azd, `.bicepparam` for az.

Sources:
    https://learn.microsoft.com/azure/azure-resource-manager/templates/parameter-files
    https://learn.microsoft.com/azure/azure-resource-manager/bicep/parameter-files
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import ConfigError

FURTHER = "extraServiceBusNamespaces"
SECRETS = "secretValues"

_NEW_AZD = """{
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
  "contentVersion": "1.0.0.0",
  "parameters": {
    "environmentName": { "value": "${AZURE_ENV_NAME}" },
    "location": { "value": "${AZURE_LOCATION}" }
  }
}
"""
_NEW_BICEP = """using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'sluice')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
"""

_PARAM = re.compile(r"^param[ \t]+(\w+)[ \t]*=[ \t]*", re.MULTILINE)
_PIECE = re.compile(r"'(?:[^'\\\n]|\\.)*'|//[^\n]*|[\[{(]|[\]})]|\n")
_KEY = re.compile(r"^\s*'?([^\s':]+)'?\s*:", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Merged:
    """A parameter file as it is to be; `further` is how many namespaces it adds, None when an expression says that."""

    text: str
    further: int | None


def azd(text: str, wanted: Mapping[str, Any], secrets: Sequence[str], where: str) -> Merged:
    """Return the JSON file with these parameters, without those that are None, and all others as they are.

    Raises:
        ConfigError: it is no parameter file.
    """
    try:
        document = json.loads(text or _NEW_AZD)
        given: dict[str, Any] = document["parameters"]
        values = given.get(SECRETS, {}).get("value", {})
        kept = {name: values.get(name, f"${{{name}}}") for name in secrets}
        for name, value in {**wanted, SECRETS: kept or None}.items():
            if value is None:
                given.pop(name, None)
            else:
                given[name] = {"value": value}
        further = given.get(FURTHER, {}).get("value", [])
    except (ValueError, KeyError, TypeError, AttributeError) as why:
        reason = f"this is no file of deployment parameters: {why}"
        raise ConfigError(reason, where=where, hint="mend it, or delete it to have a new one") from why
    lines = [f"    {json.dumps(name)}: {_spaced(value)}" for name, value in given.items()]
    shown = {**{name: _spaced(value) for name, value in document.items()}, "parameters": _block(lines)}
    outer = ",\n".join(f"  {json.dumps(name)}: {value}" for name, value in shown.items())
    return Merged(f"{{\n{outer}\n}}\n", len(further) if isinstance(further, list) else None)


def bicep(text: str, wanted: Mapping[str, Any], secrets: Sequence[str], where: str) -> Merged:
    """Return the `.bicepparam` file likewise; comments and expressions of other parameters stay.

    Raises:
        ConfigError: a parameter does not end.
    """
    text = text or _NEW_BICEP
    for name, value in wanted.items():
        text = _placed(text, name, None if value is None else _bicep(value), where)
    found = _statements(text, where).get(SECRETS)
    if set(_KEY.findall(found.partition("=")[2]) if found else ()) != set(secrets):
        pairs = (f"  {_key(name)}: readEnvironmentVariable('{name}', '')\n" for name in secrets)
        text = _placed(text, SECRETS, f"{{\n{''.join(pairs)}}}" if secrets else None, where)
    further = _statements(text, where).get(FURTHER, "=[]").partition("=")[2].strip()
    return Merged(text, len(re.findall(r"'[^']*'", further)) if further.startswith("[") else None)


def _placed(text: str, name: str, value: str | None, where: str) -> str:
    """Return the text with one parameter set, or taken out."""
    before = _statements(text, where).get(name)
    after = None if value is None else f"param {name} = {value}\n"
    if before is not None:
        return text.replace(before, after or "", 1)
    return text if after is None else f"{text.rstrip()}\n{after}"


def _statements(text: str, where: str) -> dict[str, str]:
    """Return each `param` with its line end, by name."""
    found: dict[str, str] = {}
    for match in _PARAM.finditer(text):
        depth, end = 0, None
        for piece in _PIECE.finditer(text, match.end()):
            depth += (piece.group() in "[{(") - (piece.group() in "]})")
            if piece.group() == "\n" and depth == 0:
                end = piece.end()
                break
        if end is None and depth:
            reason = f"the parameter {match[1]} does not end"
            raise ConfigError(reason, where=where, hint="close its brackets")
        found[match[1]] = text[match.start() : end]
    return found


def _bicep(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${")
            return f"'{escaped}'"
        case list():
            return f"[\n{''.join(f'  {_bicep(item)}\n' for item in value)}]" if value else "[]"
        case _:
            return str(value)


def _key(name: str) -> str:
    return name if _WORD.fullmatch(name) else f"'{name}'"


def _block(lines: Sequence[str]) -> str:
    return "{\n" + ",\n".join(lines) + "\n  }"


def _spaced(value: object) -> str:
    match value:
        case dict() if value:
            return f"{{ {', '.join(f'{json.dumps(key)}: {_spaced(inner)}' for key, inner in value.items())} }}"
        case list():
            return f"[{', '.join(map(_spaced, value))}]"
        case _:
            return json.dumps(value, ensure_ascii=False)
