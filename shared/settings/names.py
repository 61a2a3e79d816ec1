"""Names that the file gives to queues, containers and the like, and the app settings that bindings read beside it."""

import ipaddress
import re
from collections.abc import Mapping

from shared.settings.model import AzureSettings, Settings
from shared.settings.reading import Reader

DEFAULTS = Settings(sources=(), outputs=(), bus=AzureSettings(), state=AzureSettings())
INGEST_QUEUE = "INGEST_QUEUE"
CAPTURE_SCHEDULE = "CAPTURE_SCHEDULE"
TOPICS_SCHEDULE = "TOPICS_SCHEDULE"
TOPIC_ADMIN = "TopicAdmin__clientId"
CA_FILE = "SLUICE_CA_FILE"

_SCHEDULE = re.compile(r"[0-9A-Za-z*/,-]+(?: +[0-9A-Za-z*/,-]+){5}")
_FORMS = {
    "queue": (r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,258}[A-Za-z0-9])?", "letters, digits and . _ - /, at most 260"),
    "container": (r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", "3 to 63 lower-case letters, digits and single hyphens"),
    "table": (r"[A-Za-z][A-Za-z0-9]{2,62}", "3 to 63 letters and digits, a letter first"),
    "subscription": (r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,48}[A-Za-z0-9])?", "letters, digits and . _ -, at most 50"),
    "name": (r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "letters, digits, _ and -, at most 63"),
}


def is_name(kind: str, text: str) -> bool:
    """Return whether `text` can name one of `_FORMS`; `name` is for a source or an output."""
    return bool(re.fullmatch(_FORMS[kind][0], text))


def form(kind: str) -> str:
    """Return in words what such a name is made of."""
    return _FORMS[kind][1]


def named(reader: Reader, key: str, kind: str, default: str) -> str:
    """Read a name of one of the kinds of `is_name`; a missing one is `default`."""
    text = reader.text(key, default)
    if text == default or is_name(kind, text):
        return text
    reader.problem(f"cannot name a {kind}", key=key, value=text, hint=form(kind))
    return default


def of_source(reader: Reader, host: str | None, example: str) -> str:
    """Return the name of a source: the block's label, else the first label of its host, None when that is not known."""
    kind, label, *_ = (*reader.labels, "", "")
    name = label or host_label(host or "")
    if host and not name:
        hint = f'source "{kind}" "{example}" {{ … }}: localhost and IP addresses say nothing about whose data it is'
        reader.problem("needs a name", hint=hint)
    elif name and not is_name("name", name):
        reader.problem("cannot name a source", value=name, hint=form("name"))
    return name


def host_label(host: str) -> str:
    """Return the first label of a host's name in lower case, "" for this machine and for an IP address."""
    label = host.lower().partition(".")[0]
    return "" if label in {"localhost", "(local)", ""} or _is_address(host) else label


def ingest_queue(reader: Reader, key: str, environ: Mapping[str, str]) -> str:
    """Read the ingest queue's name, which the binding of deliver takes from its app setting."""
    found = environ.get(INGEST_QUEUE, "")
    if found and not is_name("queue", found):
        reader.problems.add_setting(INGEST_QUEUE, "cannot name a queue", hint=form("queue"))
    return _bound(reader, key, named(reader, key, "queue", ""), environ, INGEST_QUEUE) or DEFAULTS.ingest_queue


def schedule(reader: Reader, key: str, environ: Mapping[str, str], setting: str, default: str) -> str:
    """Read the schedule of a timer, which may also be said by its app setting: NCRONTAB with seconds.

    Source:
        https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
    """
    text = reader.text(key)
    hint = 'six fields, seconds first: "*/15 * * * * *"'
    if text and not _SCHEDULE.fullmatch(text):
        reader.problem("is no schedule", key=key, value=text, hint=hint)
    found = environ.get(setting, "")
    if found and not _SCHEDULE.fullmatch(found):
        reader.problems.add_setting(setting, "is no schedule", hint=hint)
    return _bound(reader, key, text, environ, setting) or default


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bound(reader: Reader, key: str, text: str, environ: Mapping[str, str], setting: str) -> str:
    """Return what the file says, else the app setting; both saying different things is a problem."""
    found = environ.get(setting, "")
    if text and found and text != found:
        hint = f"the app setting {setting} is {found!r}: make them equal, or remove the key"
        reader.problem(f"differs from the app setting {setting}", key=key, value=text, hint=hint)
    return text or found
