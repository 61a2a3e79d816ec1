"""`sluice infra params`: the parameter files of the Bicep template, as the configuration file has it.

A parameter stands there where the configuration differs from the template's default. Parameters that do not follow from
the configuration stay as they are. Of secrets, the files have names alone: the values come from the environment of
whoever deploys.
"""

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cli import parameters
from shared.errors import ConfigError, SluiceError
from shared.settings import hcl, load
from shared.settings.connections import SERVICE_BUS
from shared.settings.load import FILES, find
from shared.settings.model import Settings
from shared.settings.names import DEFAULTS
from shared.settings.problems import Problems

FOLDER = Path(__file__).parents[1] / "infra"
AZD, BICEP = "main.parameters.json", "main.bicepparam"
STANDARD_MESSAGE_BYTES = 256 * 1024
STANDARD_TOPIC_BYTES = 5 * 1024**3
"""https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas"""

_BUS = "Endpoint=sb://host/;SharedAccessKeyName=name;SharedAccessKey=key"
_STORAGE = "UseDevelopmentStorage=true"
_SAMPLES = {
    r"(ingester: queue|publisher|router)": _BUS,
    r"ingester: locks": _STORAGE,
    r".*connection_string$": "sqlserver://user:password@host?database=Name",
    r".*address$": "http://127.0.0.1:8500",
}
"""Stand for secrets that are not at hand, by the place that wants them: the files do not depend on them."""

_MARK = re.compile("\0(.*?)\0")


async def params(file: Path | None, folder: Path, *, check: bool) -> None:
    """Bring the parameter files up to date; with `check`, print what is not.

    Raises:
        SluiceError: `check` was said, and something is not up to date.
        ConfigError: a parameter file cannot be read, or does not name what the configuration needs.
        InvalidConfigError: the configuration cannot work.
    """
    settings, names = _configured(file or find())
    wanted = wanted_parameters(settings, names)
    fresh = True
    for path, merged in ((folder / AZD, parameters.azd), (folder / BICEP, parameters.bicep)):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        changed = merged(before, wanted, names, str(path))
        _check_namespaces(settings, changed.further, path)
        after = changed.text
        if after == before:
            continue
        fresh = False
        if check:
            said = (before.splitlines(), after.splitlines(), str(path), settings.file)
            click.echo("\n".join(difflib.unified_diff(*said, lineterm="")))
        else:
            path.write_text(after, encoding="utf-8")
            click.echo(f"written: {path}")
    if fresh:
        click.echo(f"{settings.file}: the parameters are up to date")
    elif check:
        msg = f"the parameters are not as {settings.file} has it"
        raise SluiceError(msg, hint="run `sluice infra params`, and deploy")


def wanted_parameters(settings: Settings, secrets: tuple[str, ...]) -> dict[str, Any]:
    """Return each parameter that follows from the configuration; None where it is the template's default."""
    default = DEFAULTS
    pairs: dict[str, tuple[object, object]] = {
        "shards": (settings.capture.shards, default.capture.shards),
        "configFile": (Path(settings.file).name, FILES[0]),
        "ingestQueue": (settings.ingest_queue, default.ingest_queue),
        "rejectedQueue": (settings.rejected_queue, default.rejected_queue),
        "subscriptionName": (settings.topics.subscription, default.topics.subscription),
        "topicMegabytes": (settings.topics.max_size_bytes // 1024**2, default.topics.max_size_bytes // 1024**2),
        "subscriptionExpiry": (iso(settings.topics.expiry_s), iso(default.topics.expiry_s)),
        "stateTable": (settings.state_table, default.state_table),
        "leaseContainer": (settings.lease_container, default.lease_container),
        "claimsContainer": (settings.claims_container, default.claims_container),
        "memoContainer": (settings.memo_container, default.memo_container),
        "captureSchedule": (settings.capture.schedule, default.capture.schedule),
        "syncTopics": (settings.topics.sync, default.topics.sync),
        "topicsSchedule": (settings.topics.schedule, default.topics.schedule),
    }
    wanted: dict[str, Any] = {name: None if value == usual else value for name, (value, usual) in pairs.items()}
    large = settings.capture.max_message_bytes > STANDARD_MESSAGE_BYTES
    if large or settings.topics.max_size_bytes > STANDARD_TOPIC_BYTES:
        wanted["serviceBusSku"] = "Premium"
    wanted["secrets"] = list(secrets)
    return wanted


def iso(seconds: float) -> str:
    """Return a duration in ISO 8601, in the largest unit that it is a multiple of."""
    whole = round(seconds)
    for prefix, unit, size in (("P", "D", 86_400), ("PT", "H", 3_600), ("PT", "M", 60)):
        if whole % size == 0:
            return f"{prefix}{whole // size}{unit}"
    return f"PT{whole}S"


def _configured(path: Path) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings, and the app settings that their file names with `env`, in its order."""
    seen = _Seen()
    try:
        root = hcl.parse(path.read_text(encoding="utf-8"), seen, Problems(str(path)))
    except OSError as why:
        reason = f"{path} cannot be read: {why.strerror}"
        raise ConfigError(reason, hint="name the configuration file: `sluice --config FILE infra params`") from why
    environ = {SERVICE_BUS: _BUS, "AzureWebJobsStorage": _STORAGE}
    for place, value in _values(root):
        text = value.data if isinstance(value.data, str) else ""
        if place.endswith(("connection", "connections")) and not value.secret:
            environ[text] = f"Endpoint=sb://{text}/;SharedAccessKeyName=name;SharedAccessKey=key"
        sample = next((said for pattern, said in _SAMPLES.items() if re.match(pattern, place)), "x")
        environ |= {name: os.environ.get(name) or sample for name in _MARK.findall(text)}
    return load(path, environ), tuple(seen)


class _Seen(dict[str, str]):
    """An environment in which every name has a value that tells the name; it keeps those that were asked for."""

    def get(self, name: str, default: object = None) -> str:  # noqa: ARG002 - as of any mapping
        return self.setdefault(name, f"\0{name}\0")


def _values(block: hcl.Block) -> Iterator[tuple[str, hcl.Value]]:
    """Yield every value of a block and of those inside it, with its place; the items of a list one by one."""
    for name, value in block.values.items():
        for each in value.data if isinstance(value.data, tuple) else (value,):
            yield f"{block.where}: {name}", each
    for inner in block.blocks:
        yield from _values(inner)


def _check_namespaces(settings: Settings, further: int | None, path: Path) -> None:
    """See that the template makes the namespaces of the configuration, under the app settings that it names."""
    named = list(dict.fromkeys(name for output in settings.outputs for name in output.namespaces))
    expected = [SERVICE_BUS, *(f"{SERVICE_BUS}{number}" for number in range(2, len(named) + 1))]
    for name in named:
        if name not in expected:
            reason = f"the template calls the app settings of namespaces {', '.join(expected)}"
            raise ConfigError(reason, where="connections", value=name, hint="call them so in the configuration")
    if further is not None and further != max(len(named) - 1, 0):
        reason = f"{parameters.FURTHER} names {further} namespaces, the configuration {max(len(named) - 1, 0)}"
        hint = "name each beside the first, unique in Azure, 6 to 50 letters, digits and hyphens"
        raise ConfigError(reason, where=str(path), hint=hint)
