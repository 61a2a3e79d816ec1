"""`source "consul"`: a cluster to observe, what of it, and how."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, cast
from urllib.parse import SplitResult, urlsplit

from shared import naming
from shared.settings import names
from shared.settings.model import ConsulSettings
from shared.settings.reading import Item, Reader

MAX_WAIT_S = 600.0
"""Consul cuts a longer wait: https://developer.hashicorp.com/consul/api-docs/features/blocking."""
MAX_CONNECTIONS = 200
"""What Consul grants one client (`limits.http_max_conns_per_client`)."""
COARSE = 3
"""Blocking queries that watch a whole datacenter."""
_OTHERS = MAX_CONNECTIONS - COARSE

_DATACENTER = re.compile(r"[a-z0-9_-]+")
_URL = "http://consul.example.com:8500 or https://consul.example.com:8501"


def read(reader: Reader) -> ConsulSettings:
    """Return what a block says; the caller has looked at its kind, and its name is still to be compared."""
    url = _address(reader)
    name = names.of_source(reader, url.hostname if url else None, "consul1")
    default = ConsulSettings(name, "")
    settings = ConsulSettings(
        name=name,
        address=url.geturl().rstrip("/") if url else "",
        token=reader.secret("token"),
        datacenters=_datacenters(reader),
        services=_services(reader),
        tags=_once(reader, "tags", reader.items("tags")),
        filter=reader.text("filter"),
        poll_interval_s=reader.seconds("poll_interval", default.poll_interval_s, low=0.001),
        wait_s=reader.seconds("wait", 0.0, low=0.01, high=MAX_WAIT_S) or None,
        start=reader.choice("start", ("earliest", "latest"), default.start),
        start_index=reader.count("start_index", default.start_index, low=0),
        hold_removals_over=reader.share("hold_removals_over", default.hold_removals_over),
        accept_filtered=reader.flag("accept_filtered", default=default.accept_filtered),
        consistency=cast(
            Literal["stale", "default", "consistent"],
            reader.choice("consistency", ("stale", "default", "consistent"), default.consistency),
        ),
        max_stale_s=reader.seconds("max_stale", default.max_stale_s),
        connections=reader.count("connections", default.connections, high=_OTHERS),
        watches=reader.count("watches", default.watches, low=0, high=_OTHERS),
        requests_per_second=float(reader.count("requests_per_second", int(default.requests_per_second))),
        request_timeout_s=reader.seconds("request_timeout", default.request_timeout_s, low=0.1),
        deadline_s=reader.seconds("deadline", default.deadline_s, low=1, high=600),
        page=reader.count("page", default.page),
        ca_file=_file(reader, "ca_file"),
        client_cert=_file(reader, "client_cert"),
        client_key=_file(reader, "client_key"),
    )
    _together(reader, url, settings)
    reader.close(labels=2)
    return settings


def address_faults(text: str) -> list[tuple[str, str]]:
    """Return what is wrong with the address of an agent, each with a hint; never with a part of the text."""
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return [("is not a URL", _URL)]
    if url.scheme not in {"http", "https"} or not url.hostname:
        return [("is not an http:// or https:// URL", _URL)]
    faults = []
    if url.username is not None or "token" in url.query:
        faults.append(("carries a secret", 'write token = env("ConsulToken"): Consul reads it from a header'))
    elif url.query or url.fragment:
        faults.append(("has more than a host and a path", _URL))
    if url.path.rstrip("/").endswith("/v1"):
        faults.append(("ends in /v1", "leave it out: every request adds it"))
    return faults


def _address(reader: Reader) -> SplitResult | None:
    text = reader.text("address", required=True)
    faults = address_faults(text) if text else []
    for message, hint in faults:
        reader.problem(message, key="address", hint=hint)
    return urlsplit(text) if text and not faults else None


def _datacenters(reader: Reader) -> tuple[str, ...]:
    one = reader.text("datacenter")
    if reader.given("datacenter") and reader.given("datacenters"):
        reader.problem("datacenter and datacenters say the same", key="datacenter", hint="keep one of them")
    several = reader.items("datacenters")
    given: list[tuple[str, str, int | None]] = [("datacenters", each.text, each.line) for each in several]
    if one:
        given.append(("datacenter", one, None))
    for key, name, line in given:
        if not _DATACENTER.fullmatch(name):
            hint = "lower-case letters, digits, _ and -, as `consul members` shows it"
            reader.problem("is not the name of a datacenter", key=key, line=line, value=name, hint=hint)
    return (one,) if one else _once(reader, "datacenters", several)


def _services(reader: Reader) -> tuple[str, ...]:
    """Read names and patterns of services: `*`, `?` and `[…]` match as in a shell."""
    items = reader.items("services")
    for item in items:
        if "[" in item.text and not _brackets_close(item.text):
            hint = 'close the bracket, "web[0-9]"; a bracket itself is written "[[]"'
            reader.problem("is not a pattern", key="services", line=item.line, value=item.text, hint=hint)
    services = _once(reader, "services", items)
    lines = {item.text: item.line for item in items}
    topics = naming.shared_topics(naming.stream("source", "datacenter", "service", name) for name in services)
    for streams in topics.values():
        claimants = [naming.parts(stream)[-1] for stream in streams]
        hint = "topics are lower case: keep one of the services"
        said = f"{' and '.join(claimants)} claim one default topic"
        reader.problem(said, key="services", line=lines[claimants[-1]], hint=hint)
    return services


def _brackets_close(pattern: str) -> bool:
    """Return whether each `[` begins a set: at least one character, and a `]` behind it."""
    return "[" not in re.sub(r"\[!?+\]?+[^]]*\]", "", pattern)


def _once(reader: Reader, key: str, items: Iterable[Item]) -> tuple[str, ...]:
    first: dict[str, int] = {}
    for item in items:
        if item.text in first:
            reader.problem("is named twice", key=key, line=item.line, value=item.text, hint="keep one of them")
        first.setdefault(item.text, item.line)
    return tuple(first)


def _file(reader: Reader, key: str) -> str:
    name = reader.text(key)
    if name and not Path(name).is_file():
        hint = "a PEM file; its path is seen from the working directory"
        reader.problem("there is no such file", key=key, value=name, hint=hint)
    return name


def _together(reader: Reader, url: SplitResult | None, settings: ConsulSettings) -> None:
    """Note what each key may say, but not beside the others."""
    files: Sequence[str] = [key for key in ("ca_file", "client_cert", "client_key") if reader.given(key)]
    if url and url.scheme == "http" and files:
        reader.problem("the address is not encrypted", key=files[0], hint="write address = https://…")
    if len({"client_cert", "client_key"} & set(files)) == 1:
        missing = "client_key" if "client_cert" in files else "client_cert"
        reader.problem(f"{missing} is missing", key=files[-1], hint=f'write {missing} = "…", a PEM file')
    if settings.connections + settings.watches > _OTHERS:
        key = "watches" if reader.given("watches") else "connections"
        hint = f"{_OTHERS} together: Consul grants one client {MAX_CONNECTIONS}, and {COARSE} watch the catalog"
        reader.problem("connections and watches are too many", key=key, hint=hint)
    if settings.start == "latest" and settings.start_index:
        hint = "latest leaves out the whole snapshot: keep one of them"
        reader.problem("start is latest", key="start_index", value=settings.start_index, hint=hint)
