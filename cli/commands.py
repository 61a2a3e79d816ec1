"""The `sluice` command: operate a pipeline, or run one, from a terminal.

Exit codes: 0 done, 1 it did not work, 2 the configuration or the command line is wrong.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

from cli import config, infra, run, state, status, streams, topics
from cli.monitor.commands import monitor
from cli.outcome import WRONG, finish
from shared import telemetry
from shared.errors import ConfigError, InvalidConfigError
from shared.settings import load
from shared.settings.names import CA_FILE
from shared.wiring import Wiring


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file.  [default: $SLUICE_CONFIG, else sluice.hcl, else dstream.hcl]",
)
@click.version_option(package_name="sluice", message="sluice %(version)s")
@click.pass_context
def sluice(context: click.Context, file: Path | None) -> None:
    """Stream committed changes out of databases, in order, nothing lost."""
    telemetry.configure()
    context.obj = file


@sluice.group("config")
def config_group() -> None:
    """Look at the configuration."""


@config_group.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def config_check(file: Path | None, *, as_json: bool) -> None:
    """Print every problem of the configuration, or the streams that it makes."""
    try:
        settings = load(file)
    except (ConfigError, InvalidConfigError) as why:
        problems = why.problems if isinstance(why, InvalidConfigError) else (why,)
        config.print_problems(problems, as_json=as_json)
        sys.exit(WRONG)
    config.print_settings(settings, as_json=as_json)


@sluice.command("status")
@click.argument("names", nargs=-1, metavar="[STREAM]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def status_command(file: Path | None, names: tuple[str, ...], *, as_json: bool) -> None:
    """Show where streams are, and what needs attention. STREAM may hold * and ?."""
    _work(file, lambda wiring: status.show(wiring, names, as_json=as_json))


@sluice.command("pause")
@click.argument("names", nargs=-1, required=True, metavar="STREAM...")
@click.pass_obj
def pause_command(file: Path | None, names: tuple[str, ...]) -> None:
    """Stop reading streams; what was sent already is still delivered. STREAM may hold * and ?."""
    _work(file, lambda wiring: streams.pause(wiring, names))


@sluice.command("resume")
@click.argument("names", nargs=-1, required=True, metavar="STREAM...")
@click.option(
    "--from",
    "start",
    metavar="WHERE",
    help="Go on from here instead: `earliest`, `latest`, or a position. Before what was delivered, it is delivered "
    "again; after it, --skip is needed.",
)
@click.option("--skip", is_flag=True, help="Give up the changes between what was delivered and --from.")
@click.option(
    "--restored",
    is_flag=True,
    help="The database was restored or made anew: --from is in its new history, ids are new.",
)
@click.pass_obj
def resume_command(file: Path | None, names: tuple[str, ...], start: str | None, *, skip: bool, restored: bool) -> None:
    """Go on with paused or halted streams. STREAM may hold * and ?."""
    _work(file, lambda wiring: streams.resume(wiring, names, start=start, skip=skip, restored=restored))


@sluice.group("infra")
def infra_group() -> None:
    """Prepare the deployment to Azure."""


@infra_group.command("params")
@click.option("--check", is_flag=True, help="Write nothing; print what is not up to date, and exit with 1 then.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=infra.FOLDER,
    help="Where main.bicep and its parameter files are.  [default: infra]",
)
@click.pass_obj
def infra_params_command(file: Path | None, folder: Path, *, check: bool) -> None:
    """Write what the configuration file says into the parameter files of the Bicep template."""
    finish(infra.params(file, folder, check=check))


@sluice.group("state")
def state_group() -> None:
    """Carry what is stored of streams elsewhere, or keep it."""


@state_group.command("export")
@click.option("--to", "file", metavar="FILE", default="-", show_default=True, help="Where to; - is standard output.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def export_command(config_file: Path | None, file: str, *, as_json: bool) -> None:
    """Write all that is stored of all streams, as text; they may go on meanwhile."""
    _work(config_file, lambda wiring: state.take(wiring, file, as_json=as_json))


@state_group.command("import")
@click.argument("file", metavar="FILE")
@click.option("--dry-run", is_flag=True, help="Say what is there already, and change nothing.")
@click.option("--replace", "over", is_flag=True, help="Have the copies of the file instead of what is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def import_command(config_file: Path | None, file: str, *, dry_run: bool, over: bool, as_json: bool) -> None:
    """Go on with the streams of an exported FILE (- is standard input), where they were when it was written."""
    _work(config_file, lambda wiring: state.restore(wiring, file, dry_run=dry_run, over=over, as_json=as_json))


@sluice.group("topics")
def topics_group() -> None:
    """Make the topics of the streams."""


@topics_group.command("sync")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--prune", is_flag=True, help="Delete topics that Sluice made and no stream has, with all they hold.")
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
@click.option("--adopt", is_flag=True, help="Take over topics of another deployment, which must be gone.")
@click.option(
    "--ca-file",
    envvar=CA_FILE,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Authority of the management API's certificate, a PEM file.  [default: $SLUICE_CA_FILE]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def topics_sync_command(
    file: Path | None, ca_file: Path | None, *, dry_run: bool, prune: bool, yes: bool, adopt: bool, as_json: bool
) -> None:
    """Create the topics that are missing, each with its subscription, spread over the namespaces."""
    if ca_file is not None:
        os.environ[CA_FILE] = str(ca_file)
    switches = {"dry_run": dry_run, "prune": prune, "yes": yes, "adopt": adopt, "as_json": as_json}
    _work(file, lambda wiring: topics.sync(wiring, **switches))


@sluice.command("run")
@click.option(
    "--every",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often capture looks.",
)
@click.pass_obj
def run_command(file: Path | None, every: float) -> None:
    """Capture and deliver in this process, until Ctrl-C."""
    _work(file, lambda wiring: run.run(wiring, every_s=every), resident=True)


sluice.add_command(monitor)


def _work(file: Path | None, work: Callable[[Wiring], Awaitable[None]], *, resident: bool = False) -> None:
    async def working() -> None:
        wiring = Wiring(load(file), resident=resident)
        try:
            await work(wiring)
        finally:
            await wiring.close()

    finish(working())
