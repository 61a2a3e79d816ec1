"""What `sluice config check` prints."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from shared import naming
from shared.errors import ConfigError
from shared.settings.model import Settings
from shared.settings.streams import named, selected


def print_problems(problems: Sequence[ConfigError], *, as_json: bool) -> None:
    """Print every problem, on standard error; as JSON on standard output."""
    if as_json:
        entries = [
            {"where": problem.where, "problem": _said(problem), "value": problem.value, "hint": problem.hint}
            for problem in problems
        ]
        click.echo(json.dumps({"valid": False, "problems": entries}, ensure_ascii=False))
        return
    for problem in problems:
        click.echo(str(problem), err=True)
    count = len(problems)
    click.echo(f"{count} problem{'s' if count != 1 else ''}", err=True)


def print_settings(settings: Settings, *, as_json: bool) -> None:
    """Print what the configuration makes: each stream and its topic, and what a source has yet to name."""
    streams = [
        (each.stream, naming.topic(each.stream), each.poll_interval_s, each.max_poll_interval_s)
        for source in settings.sources
        for each in named(source)
    ]
    others = [each for source in settings.sources for each in selected(source)]
    if as_json:
        entries = [
            dict(zip(("stream", "topic", "poll_interval_s", "max_poll_interval_s"), s, strict=True)) for s in streams
        ]
        outputs = [{"name": output.name, "type": output.kind} for output in settings.outputs]
        shown = {
            "valid": True,
            "file": settings.file,
            "streams": entries,
            "selected": [asdict(each) for each in others],
            "outputs": outputs,
        }
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    more = ", and what Consul has yet to name" if others else ""
    click.echo(f"{settings.file}: {len(streams)} stream{'s' if len(streams) != 1 else ''}{more}, nothing wrong")
    for stream, topic, poll, max_poll in streams:
        quiet = f", up to {max_poll:g} s while quiet" if max_poll != poll else ""
        click.echo(f"  {stream} -> {topic} (every {poll:g} s{quiet})")
    for each in others:
        click.echo(f"  {each.form}: {each.why} (every {each.poll_interval_s:g} s)")


def _said(problem: ConfigError) -> str:
    """Return what is wrong, without the place and the value that JSON has beside it."""
    return problem.message.removeprefix(f"{problem.where}: ").removesuffix(f", got {problem.value!r}")
