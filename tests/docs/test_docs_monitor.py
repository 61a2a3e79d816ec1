"""What the README shows of `sluice monitor` is what a terminal shows, times and the port aside."""

import json
import re
import shlex

import click
import pytest

from cli.monitor.commands import consul_command
from shared.sources.consul.watches import HELD_S
from tests.docs.markdown import ROOT, blocks
from tests.integration.consul.server import serving
from tests.integration.monitoring import monitoring

TIME = re.compile(r"^\d\d:\d\d:\d\d\.\d{3}", re.MULTILINE)
ADDRESS = "http://localhost:8500"


def test_the_help_and_the_page_say_from_which_wait_on_a_change_is_shown_at_once():
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"`-p` from {HELD_S:g} on shows a change at once" in page
    [interval] = [each for each in consul_command.params if each.name == "poll_interval"]
    assert isinstance(interval, click.Option)
    assert f"From {HELD_S:g} on a change is printed at once" in (interval.help or "")


async def test_the_readme_shows_what_a_terminal_shows():
    [shown] = [block.text for block in blocks("console", file=ROOT / "README.md") if "monitor consul" in block.text]
    command, _, expected = shown.removeprefix("$ ").partition("\n")
    _, _, *arguments = shlex.split(command)
    async with serving() as consul:
        await consul.register("web", "web-1", node="node-1", status="passing", Port=8080, Tags=["v1"])
        await consul.register(
            "web", "web-1", node="node-2", status="passing", Port=8080, Tags=["v1"], address="10.0.0.2"
        )
        for node in ("node-1", "node-2"):
            await consul.check("serfHealth", "passing", node=node)
        async with monitoring(*arguments, "-a", consul.address) as monitor:
            await monitor.until_said("Out of 2 instances, 2 are healthy.")
            await consul.check("serfHealth", "critical", node="node-2")
            await monitor.until_said("Out of 2 instances, 1 are healthy.")
            await consul.register("web", "web-1", node="node-1", Port=8081, Tags=["v2"])
            await monitor.until_said("changed")
            await monitor.until(lambda lines: "Out of" in lines[-1])
            await consul.deregister("web-1", node="node-2")
            await monitor.until_said("Out of 1 instances, 1 are healthy.")
            assert await monitor.end() == 0
        printed = "\n".join(monitor.lines).replace(consul.address, ADDRESS) + "\n"
    assert TIME.findall(printed)
    assert TIME.sub("TIME", printed) == TIME.sub("TIME", expected)


@pytest.mark.parametrize("mode", [(), ("--mode", "instance", "--service-name", "web")])
async def test_a_summary_is_as_the_page_shows_it(mode):
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = [json.loads(text)["summary"] for text in re.findall(r'`(\{"summary":.*?\}\})`', page)]
    async with serving() as consul, monitoring("consul", "--json", *mode, "-a", consul.address) as monitor:
        await monitor.until(lambda lines: any("summary" in line for line in lines))
        *bodies, last = monitor.objects()
    assert [*last["summary"]] in [[*summary] for summary in shown]
    assert len(shown) == 2
    assert all("summary" not in body for body in bodies)
