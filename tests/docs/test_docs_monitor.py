"""What the README shows of `sluice monitor` is what a terminal shows, times and the port aside."""

import re
import shlex

from tests.docs.markdown import ROOT, blocks
from tests.integration.consul.server import serving
from tests.integration.monitoring import monitoring

TIME = re.compile(r"^\d\d:\d\d:\d\d\.\d{3}", re.MULTILINE)
ADDRESS = "http://localhost:8500"


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
