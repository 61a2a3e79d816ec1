"""`sluice topics sync`: makes the topics that the streams need, and says what an operator has to mend."""

import json
import sys
from collections.abc import Sequence

import click

from shared.errors import ConfigError, SluiceError
from shared.ports import Clock
from shared.topic_sync import Look, Outcome
from shared.topics import Action, Finding
from shared.wiring import Wiring

PROGRESS_S = 2.0
_DONE = {
    "create": "created",
    "complete": "completed",
    "subscribe": "given a subscription",
    "adopt": "taken over",
    "place": "found and noted",
    "delete": "deleted",
}


async def sync(wiring: Wiring, *, dry_run: bool, prune: bool, yes: bool, adopt: bool, as_json: bool) -> None:
    """Print what is to be done, and unless `dry_run` do it; deleting is confirmed at a terminal, or by `yes`.

    Raises:
        ConfigError: something would be deleted and nobody confirmed it.
        SluiceError: not all could be done, or a topic cannot be used as it is.
    """
    topics = await wiring.topics()
    look = await topics.look(prune=prune, adopt=adopt)
    outcome = Outcome()
    if not as_json:
        _print_plan(look)
    if not dry_run:
        _confirm([action for action in look.plan.actions if action.kind == "delete"], yes=yes)
        outcome = await topics.carry_out(look.plan, _Progress(wiring.clock))
    if as_json:
        click.echo(json.dumps(_told(look, outcome, dry_run=dry_run), ensure_ascii=False))
    else:
        _print_outcome(look, outcome, dry_run=dry_run)
    unusable = sum(finding.failed for finding in look.plan.findings)
    if look.troubles or outcome.failures or outcome.left or unusable:
        counts = {"problems of sources": len(look.troubles), "actions left": outcome.left, "unusable topics": unusable}
        msg = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        raise SluiceError(msg, hint="mend what is said above, and run it again")


def _confirm(deleted: Sequence[Action], *, yes: bool) -> None:
    if not deleted or yes:
        return
    said = (
        f"{len(deleted)} topics would be deleted, with the {sum(each.size_bytes for each in deleted)} bytes they hold"
    )
    if not sys.stdin.isatty() or not click.confirm(f"{said}. Delete them?", err=True):
        raise ConfigError(said, hint="add --yes to accept that, or look first with --dry-run")


class _Progress:
    """Says on standard error how far long work is, every two seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = clock.monotonic() + PROGRESS_S

    def __call__(self, done: int, of: int) -> None:
        if self._clock.monotonic() >= self._next:
            self._next = self._clock.monotonic() + PROGRESS_S
            click.echo(f"{done} of {of} done", err=True)


def _print_plan(look: Look) -> None:
    for action in look.plan.actions:
        held = f", with {action.size_bytes} bytes" if action.kind == "delete" else ""
        click.echo(f"{action.kind}: {action.placement.topic} in {action.placement.namespace}{held}")
    for finding in look.plan.findings:
        click.echo(f"{finding.topic} in {finding.namespace}: {finding.message} ({finding.hint})")
    for trouble in look.troubles:
        click.echo(f"left as they are, the topics of {trouble}", err=True)


def _print_outcome(look: Look, outcome: Outcome, *, dry_run: bool) -> None:
    for failure in outcome.failures:
        click.echo(failure, err=True)
    unchanged = f"{look.plan.unchanged} as they should be"
    if dry_run:
        click.echo(f"{len(look.plan.actions)} to do, {unchanged}; nothing was changed")
        return
    done = [f"{count} {_DONE[kind]}" for kind, count in sorted(outcome.done.items())]
    click.echo(", ".join([*done, unchanged]))


def _told(look: Look, outcome: Outcome, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "actions": [_action(each) for each in look.plan.actions],
        "findings": [_finding(each) for each in look.plan.findings],
        "troubles": list(look.troubles),
        "unchanged": look.plan.unchanged,
        "done": dict(sorted(outcome.done.items())),
        "failures": outcome.failures,
        "left": outcome.left,
    }


def _action(action: Action) -> dict[str, object]:
    placement = action.placement
    return {
        "action": action.kind,
        "topic": placement.topic,
        "namespace": placement.namespace,
        "source": action.source,
        "bytes": action.size_bytes,
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "finding": finding.kind,
        "topic": finding.topic,
        "namespace": finding.namespace,
        "message": finding.message,
        "hint": finding.hint,
    }
