"""The command lines of `sluice monitor`; what is wrong with one is said before anything is asked."""

import glob
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import click

from cli.monitor import consul, sqlserver
from cli.monitor.screen import Screen, until_stopped
from cli.outcome import finish
from shared.clock import SystemClock
from shared.settings import names, tables, urls
from shared.settings.consul import MAX_WAIT_S, address_faults
from shared.settings.model import ConsulSettings, SqlServerSettings, TableSettings

UNNAMED = "monitor"
"""The name of a source whose host has none, as localhost."""

_FILE = click.Path(exists=True, dir_okay=False)


def _address(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    for message, hint in address_faults(text):
        said = f"{message} ({hint})"
        raise click.BadParameter(said)
    return text.rstrip("/")


def _database(_context: click.Context, _parameter: click.Parameter, text: str) -> urls.SqlServer:
    faults: urls.Faults = []
    found = urls.sql_server(text, faults)
    if found is None:
        raise click.BadParameter("; ".join(f"{message} ({hint})" for message, hint in faults))
    return found


def _tables(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for text in given:
        table = tables.table(text, tables.Intervals())
        if table is None:
            said = f"{text!r} is not the name of a table (write Name or schema.Name)"
            raise click.BadParameter(said)
        found.append((table.schema, table.name))
    return tuple(dict.fromkeys(found))


def _shown(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every monitor."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")(command)
    return click.option(
        "--color/--no-color",
        "colour",
        default=None,
        help="Colours.  [default: at a terminal, unless NO_COLOR is set]",
    )(command)


def _interval(default: float, what: str) -> Callable[..., Any]:
    return click.option(
        "--poll-interval",
        "-p",
        type=click.FloatRange(min=0.1, max=MAX_WAIT_S),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=what,
    )


@click.group("monitor")
def monitor() -> None:
    """Print what changes at a source until Ctrl-C; nothing is deployed, and nothing is written anywhere."""


@monitor.command("consul")
@click.option(
    "--consul-addr",
    "-a",
    default="http://localhost:8500",
    show_default=True,
    metavar="URL",
    callback=_address,
    help="Address of an agent or a server.",
)
@click.option(
    "--mode",
    type=click.Choice(["service", "instance"]),
    default="service",
    show_default=True,
    help="Monitor the catalog's services, or the instances and health of one service.",
)
@click.option("--service-name", default="", metavar="NAME", help="The service; required with --mode instance.")
@_interval(
    10.0, "How long each query waits for a change. From 10 on a change is printed at once, below within this time."
)
@click.option(
    "--start-index",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Leave out of the current state what has not changed after this index.",
)
@click.option(
    "--token",
    default="",
    envvar="CONSUL_HTTP_TOKEN",
    help="ACL token. Others on this machine can see it in the list of processes: rather set $CONSUL_HTTP_TOKEN.",
)
@click.option("--datacenter", default="", metavar="NAME", help="Datacenter.  [default: the agent's]")
@click.option("--tag", "tags", multiple=True, help="Only instances with this tag; repeatable: with all of them.")
@click.option("--filter", "expression", default="", help="Only instances that meet this expression of Consul's.")
@click.option(
    "--accept-filtered",
    is_flag=True,
    help="Believe removals although the token may not see everything; otherwise they are held back.",
)
@click.option("--ca-file", type=_FILE, help="Authority of the server's certificate, a PEM file.")
@click.option("--client-cert", type=_FILE, help="Certificate to show to the server, a PEM file.")
@click.option("--client-key", type=_FILE, help="Its key, a PEM file.")
@_shown
def consul_command(*, service_name: str, mode: str, as_json: bool, colour: bool | None, **given: Any) -> None:
    """Print what changes in Consul: services, or with --mode instance the instances and health of one.

    First comes what there is, then each change with old -> new. An instance is healthy when its checks and those of
    its node all pass.
    """
    if mode == "instance" and not service_name:
        message = "--mode instance needs --service-name"
        raise click.UsageError(message)
    if mode == "service" and (service_name or given["tags"] or given["expression"]):
        message = "--service-name, --tag and --filter are about instances: add --mode instance"
        raise click.UsageError(message)
    if bool(given["client_cert"]) != bool(given["client_key"]):
        message = "--client-cert and --client-key go together"
        raise click.UsageError(message)
    address = given["consul_addr"]
    if address.startswith("http://") and (given["ca_file"] or given["client_cert"]):
        message = "--ca-file and --client-cert are for https://, and --consul-addr is not"
        raise click.UsageError(message)
    settings = ConsulSettings(
        name=names.host_label(urlsplit(address).hostname or "") or UNNAMED,
        address=address,
        token=given["token"],
        datacenters=(given["datacenter"],) if given["datacenter"] else (),
        services=(glob.escape(service_name),) if service_name else (),
        tags=given["tags"],
        filter=given["expression"],
        wait_s=given["poll_interval"],
        start_index=given["start_index"],
        accept_filtered=given["accept_filtered"],
        ca_file=given["ca_file"] or "",
        client_cert=given["client_cert"] or "",
        client_key=given["client_key"] or "",
    )
    screen = Screen(as_json=as_json, colour=colour)
    finish(until_stopped(consul.monitor(settings, service_name, screen, SystemClock())))


@monitor.command("sqlserver")
@click.option(
    "--table",
    "chosen",
    multiple=True,
    required=True,
    metavar="NAME",
    callback=_tables,
    help="A captured table, Name or schema.Name; repeatable.",
)
@click.option(
    "--connection-string",
    "database",
    required=True,
    envvar="SqlServer",
    show_envvar=True,
    metavar="TEXT",
    callback=_database,
    help="sqlserver:// URL or ODBC connection string. Others on this machine can see it in the list of processes: "
    "rather set $SqlServer.",
)
@click.option(
    "--from",
    "start",
    type=click.Choice(["earliest", "latest"]),
    default="latest",
    show_default=True,
    help="Begin with the earliest change that the database keeps, or with the next one.",
)
@_interval(1.0, "How often the database is looked at.")
@_shown
def sqlserver_command(
    *,
    chosen: tuple[tuple[str, str], ...],
    database: urls.SqlServer,
    start: str,
    poll_interval: float,
    as_json: bool,
    colour: bool | None,
) -> None:
    """Print what changes in tables, straight from change data capture, each row with old -> new.

    At a terminal, lines end where it does; --json has everything.
    """
    settings = SqlServerSettings(
        name=names.host_label(database.host) or UNNAMED,
        odbc=database.odbc,
        database=database.database,
        server=database.server,
        tables=tuple(TableSettings(schema, name, poll_interval, poll_interval) for schema, name in chosen),
        start=start,
    )
    screen = Screen(as_json=as_json, colour=colour)
    finish(until_stopped(sqlserver.monitor(settings, screen, SystemClock())))
