"""`sluice monitor consul` against the local Consul: what it prints, what it survives, how it ends."""

import asyncio
import os
import pty
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio

from local.broker import certificates
from local.cloud import running
from local.consul.cluster import Cluster
from local.consul.server import Server
from tests.integration.consul.server import Consul, serving
from tests.integration.monitoring import DEADLINE_S, Monitor, bare, command, killed, monitoring, untimed


@pytest_asyncio.fixture
async def consul() -> AsyncIterator[Consul]:
    async with serving() as running:
        yield running


@asynccontextmanager
async def watching(consul: Consul, *arguments: str, name: str = "", **environment: str) -> AsyncIterator[Monitor]:
    mode = ("--mode", "instance", "--service-name", name) if name else ()
    async with monitoring("consul", "-a", consul.address, *mode, *arguments, **environment) as monitor:
        yield monitor


async def test_services_are_listed_first_and_then_each_change_with_old_and_new(consul):
    await consul.register("web", Tags=["v1"])
    await consul.register("db")
    async with watching(consul) as monitor:
        lines = await monitor.until(lambda lines: any("3 services." in line for line in lines))
        assert lines[0] == f"Monitoring services in datacenter dc1 at {consul.address}"
        assert lines[1].startswith("Current state at index ")
        assert [line.split() for line in lines[2:5]] == [["consul"], ["db"], ["web", "v1"]]
        assert lines[5].startswith("3 services. Last index update to: ")

        await consul.register("cache", Tags=["a", "b"])
        assert await monitor.until_said("added") == "added cache a, b"
        await consul.register("web", Tags=["v2"])
        assert await monitor.until_said("changed") == 'changed web Tags: ["v1"] -> ["v2"]'
        await consul.deregister("db")
        assert await monitor.until_said("removed") == "removed db"
        index = consul.server.cluster.local.index
        await monitor.until(lambda lines: f"3 services. Last index update to: {index}" in lines[-1])

        assert await monitor.end() == 0
        assert monitor.errors == []


async def test_an_instance_is_its_node_and_its_id_and_health_tells_every_check(consul):
    await consul.register("web", "web-1", node="n1", status="passing", Port=80)
    await consul.register("web", "web-1", node="n2", status="critical", Port=80, Tags=["blue"], address="10.0.0.2")
    async with watching(consul, name="web") as monitor:
        lines = await monitor.until(lambda lines: "Out of" in lines[-1] if lines else False)
        assert [" ".join(line.split()) for line in lines[2:4]] == [
            "n1/web-1 10.0.0.1:80 passing",
            "n2/web-1 10.0.0.2:80 critical web-1:up: critical blue",
        ]
        assert lines[4].startswith("Out of 2 instances, 1 are healthy. Last index update to: ")

        await consul.check("web-1:up", "passing", node="n2", service_id="web-1")
        assert (
            await monitor.until_said(" health  n2")
            == "health n2/web-1 critical -> passing web-1:up: critical -> passing"
        )
        await monitor.until(lambda lines: "Out of 2 instances, 2 are healthy." in lines[-1])

        await consul.check("serfHealth", "critical", node="n1")
        said = await monitor.until_said(" health  n1")
        assert said == "health n1/web-1 passing -> critical serfHealth: none -> critical"
        await monitor.until(lambda lines: "Out of 2 instances, 1 are healthy." in lines[-1])

        await consul.register("web", "web-1", node="n1", Port=8080, Meta={"team": "a"})
        said = await monitor.until_said("changed n1/web-1")
        assert said == 'changed n1/web-1 Port: 80 -> 8080 Meta: {} -> {"team":"a"}'
        await consul.deregister("web-1", node="n2")
        assert (await monitor.until_said("removed")).startswith("removed n2/web-1 10.0.0.2:80 passing")
        await monitor.until(lambda lines: "Out of 1 instances, 0 are healthy." in lines[-1])
        await consul.register("web", "web-2", node="n2", Address="2001:db8::1")
        assert await monitor.until_said("added") == "added n2/web-2 [2001:db8::1]:80 passing"


async def test_a_service_that_is_not_there_yet_is_waited_for(consul):
    async with watching(consul, name="web[1]") as monitor:
        await monitor.until_said("Out of 0 instances, 0 are healthy.")
        await consul.register("web[1]", "w")
        assert await monitor.until_said("added") == "added n1/w 10.0.0.1:80 passing"


async def test_only_instances_with_the_tags_and_the_filter_are_shown(consul):
    await consul.register("web", "a", Tags=["v1", "blue"], Meta={"team": "x"})
    await consul.register("web", "b", Tags=["v1"], Meta={"team": "x"})
    await consul.register("web", "c", Tags=["v1", "blue"], Meta={"team": "y"})
    options = ("--tag", "v1", "--tag", "blue", "--filter", 'Service.Meta.team == "x"')
    async with watching(consul, *options, name="web") as monitor:
        await monitor.until_said("Out of 1 instances, 1 are healthy.")
        assert [line.split()[0] for line in monitor.lines[2:-1]] == ["n1/a"]


async def test_what_changed_before_the_start_index_is_left_out_of_the_current_state(consul):
    await consul.register("web", "old")
    index = consul.server.cluster.local.index
    await consul.register("web", "new", node="n2", address="10.0.0.2")
    async with watching(consul, "--start-index", str(index), name="web") as monitor:
        await monitor.until_said("Out of 2 instances, 2 are healthy.")
        assert f", changed after index {index}:" in monitor.lines[1]
        assert [line.split()[0] for line in monitor.lines[2:-1]] == ["n2/new"]


async def test_json_is_one_object_per_line_the_bodies_of_the_topics_and_a_summary(consul):
    await consul.register("web", status="passing")
    async with watching(consul, "--json", name="web") as monitor:
        await monitor.until(lambda lines: len(lines) == 2)
        await consul.check("web:up", "warning", service_id="web")
        await monitor.until(lambda lines: len(lines) == 4)
        assert await monitor.end() == 0
        seen, first, health, second = monitor.objects()
    assert seen["metadata"]["Event"] == "instance_seen"
    assert first["summary"].items() >= {"Datacenter": "dc1", "Service": "web", "Instances": 1, "Healthy": 1}.items()
    assert health["metadata"]["Event"] == "health_changed"
    assert health["metadata"]["Checks"] == {"web:up": ["passing", "warning"]}
    assert (health["before"]["Status"], health["data"]["Status"]) == ("passing", "warning")
    assert second["summary"]["Healthy"] == 0
    assert second["summary"]["Index"] == health["metadata"]["Index"] > first["summary"]["Index"]


async def test_an_index_that_falls_tells_only_what_really_changed(consul):
    for name in ("a", "b"):
        await consul.register("web", name)
    async with watching(consul, "-p", "0.5", name="web") as monitor:
        await monitor.until_said("Out of 2 instances, 2 are healthy.")
        before = len(monitor.lines)
        await consul.switch(reset={"index": 1, "new_cluster": True})
        await consul.deregister("b")
        await monitor.until_said("Out of 1 instances, 1 are healthy.")
        said, change, _ = [untimed(line) for line in monitor.lines[before:]]
    assert said.startswith("The index went from ")
    assert said.endswith(": compared with what was known")
    assert change == "removed n1/b 10.0.0.1:80 passing"


async def test_an_unreachable_server_is_said_once_and_what_happened_meanwhile_when_it_is_back():
    server = Server(Cluster())
    async with aiohttp.ClientSession() as session:
        async with server.serving(0):
            consul = Consul(server, session, f"http://127.0.0.1:{server.port}")
            await consul.register("old")
        async with watching(consul, "-p", "0.5") as monitor:
            said = await monitor.until_told("cannot serve now, trying again until it can")
            assert f"reachable at {consul.address} from here?" in said
            async with server.serving(server.port):
                await monitor.until_told("Consul is back after ")
                await monitor.until_said("2 services.")
            monitor.errors.clear()
            await monitor.until_told("cannot serve now")
            async with server.serving(server.port):
                await consul.deregister("old")
                assert await monitor.until_said("removed") == "removed old"
            assert await monitor.end() == 0
        assert len([line for line in monitor.lines if "Current state" in line]) == 1


async def test_a_server_that_was_killed_and_began_anew_is_followed_at_once(tmp_path):
    async with (
        running(("consul",), tmp_path, options={"consul": ["--stand-in"]}) as cloud,
        aiohttp.ClientSession() as session,
    ):
        part = cloud.part("consul")
        consul = Consul(Server(Cluster()), session, cloud.settings["Consul"])
        for name in ("web", "db"):
            await consul.register(name)
        async with watching(consul) as monitor:
            await monitor.until_said("3 services.")
            await part.kill()
            await monitor.until_told("cannot serve now")
            await part.restart()
            await consul.register("db")
            await monitor.until_told("is back after")
            await monitor.until_said("The index went from ")
            assert await monitor.until_said("removed") in {"removed web", "removed db"}
            await monitor.until(lambda lines: lines[-1].startswith("2 services."))
            assert await monitor.end() == 0


async def test_losing_the_leader_is_survived(consul):
    await consul.register("web")
    async with watching(consul, "-p", "0.5") as monitor:
        await monitor.until_said("2 services.")
        await consul.switch(leader="lost")
        await monitor.until_told("cannot serve now")
        await consul.switch(leader="back")
        await monitor.until_told("is back after")
        await consul.register("db")
        assert await monitor.until_said("added") == "added db"
        assert [line for line in monitor.lines if "removed" in line] == []


async def test_the_token_of_the_environment_is_used_and_never_shown(consul):
    secret = "5f3a-only-mine"
    consul.server.cluster.acl.load({"default_policy": "deny", "tokens": []})
    await consul.switch(
        token={"secret": secret, "rules": {"service_prefix": {"": "read"}, "node_prefix": {"": "read"}}}
    )
    async with watching(consul, CONSUL_HTTP_TOKEN=secret) as monitor:
        await monitor.until_said("services. Last index")
        assert await monitor.end() == 0
        assert secret not in "".join(monitor.lines + monitor.errors)
        assert all(secret not in line for line in consul.asked())
    async with watching(consul, CONSUL_HTTP_TOKEN="another") as monitor:
        assert await monitor.ended() == 2
        assert monitor.lines == []
        assert "ACL not found" in monitor.errors[0]
        assert "(Consul does not know the token: give the token a policy with: " in monitor.errors[0]
        assert "another" not in "".join(monitor.errors)


async def test_a_token_that_sees_a_part_is_said_to_unless_that_is_accepted(consul):
    await consul.register("web")
    consul.server.cluster.acl.load({"tokens": [{"secret": "t", "rules": {"service_prefix": {"db": "read"}}}]})
    async with watching(consul, CONSUL_HTTP_TOKEN="t") as monitor:
        said = await monitor.until_told("the token may not see everything")
        assert 'service_prefix "" { policy = "read" }' in said
        assert said.endswith("; or add --accept-filtered)")
        await monitor.until_said("0 services.")
    async with watching(consul, "--accept-filtered", CONSUL_HTTP_TOKEN="t") as monitor:
        await monitor.until_said("0 services.")
        assert await monitor.end() == 0
        assert monitor.errors == []


async def test_certificates_of_both_sides_are_checked(tmp_path):
    certificate, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    certificates.write(certificate, key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    server = Server(Cluster())
    async with server.serving(0, context):
        address = ("consul", "-a", f"https://127.0.0.1:{server.port}")
        async with monitoring(*address) as monitor:
            assert await monitor.ended() == 2
            assert "name the authority in --ca-file; --client-cert and --client-key if" in monitor.errors[0]
        shown = ("--client-cert", str(certificate), "--client-key", str(key))
        async with monitoring(*address, "--ca-file", str(certificate), *shown, "-p", "0.5") as monitor:
            await monitor.until_said("1 services.")


async def test_a_port_without_tls_is_thought_of_where_https_fails(consul):
    async with monitoring("consul", "-a", consul.address.replace("http", "https")) as monitor:
        assert await monitor.ended() == 2
    assert "or does the port speak http:// only?" in monitor.errors[0]


async def test_what_a_log_line_advises_is_an_option_too(consul):
    await consul.register("web")
    async with watching(consul, "-p", "0.5", CONSUL_HTTP_TOKEN="t") as monitor:
        await monitor.until_said("2 services.")
        consul.server.cluster.acl.load({"default_policy": "deny", "tokens": [{"secret": "t", "rules": {}}]})
        said = await monitor.until_told("removals held")
        assert "add --accept-filtered" in said


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_well_and_quietly(consul, signum):
    async with watching(consul) as monitor:
        await monitor.until_said("services.")
        assert await monitor.end(signum) == 0
        assert monitor.errors == []


@pytest.mark.parametrize("gap_s", [0.0, 0.0005, 0.002, 0.01])
async def test_a_second_ctrl_c_changes_nothing_wherever_the_first_one_has_got_to(consul, gap_s):
    async with watching(consul) as monitor:
        await monitor.until_said("services.")
        monitor.process.send_signal(signal.SIGINT)
        await asyncio.sleep(gap_s)
        assert await monitor.end() == 0
        assert monitor.errors == []


async def test_ctrl_c_while_it_is_loaded_ends_it_without_a_word(consul):
    async with watching(consul, PYTHONPROFILEIMPORTTIME="1") as monitor:
        await monitor.until_told(" click.core")
        assert await monitor.end() == -signal.SIGINT
    assert monitor.lines == []
    assert [line for line in monitor.errors if not line.startswith("import time:")] == []


async def test_it_can_be_ended_while_the_server_is_away(consul):
    async with monitoring("consul", "-a", "http://127.0.0.1:1") as monitor:
        await monitor.until_told("cannot serve now")
        assert await monitor.end() == 0


async def test_a_reader_that_goes_away_ends_it_well_also_when_nothing_changes(consul):
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *command(["consul", "-a", consul.address]), stdout=write, stderr=asyncio.subprocess.PIPE, env=bare({})
    )
    os.close(write)
    try:
        shown = b""
        while b"Last index update" not in shown:
            shown += await asyncio.to_thread(os.read, read, 1000)
        os.close(read)
        async with asyncio.timeout(DEADLINE_S):
            _, errors = await process.communicate()
    finally:
        await killed(process)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "environment", "coloured"),
    [
        ([], {}, True),
        ([], {"NO_COLOR": "1"}, False),
        (["--no-color"], {}, False),
        (["--color"], {"NO_COLOR": "1"}, True),
    ],
)
async def test_a_terminal_has_colours_unless_they_are_not_wanted(consul, arguments, environment, coloured):
    terminal, end = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *command(["consul", "-a", consul.address, *arguments]), stdout=end, stderr=end, env=bare(environment)
    )
    os.close(end)
    try:
        shown = b""
        async with asyncio.timeout(DEADLINE_S):
            while b"services." not in shown:
                shown += await asyncio.to_thread(os.read, terminal, 1000)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    finally:
        await killed(process)
        os.close(terminal)
    assert (b"\x1b[" in shown) is coloured


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mode", "instance"], "--mode instance needs --service-name"),
        (["--mode", "instance", "--service-name", ""], "--mode instance needs --service-name"),
        (["--service-name", "web"], "add --mode instance"),
        (["--tag", "v1"], "add --mode instance"),
        (["--mode", "node"], "is not one of 'service', 'instance'"),
        (["-a", "localhost:8500"], "is not an http:// or https:// URL"),
        (["-a", "http://localhost:8500?token=hunter2"], "carries a secret"),
        (["-p", "0"], "is not in the range"),
        (["-p", "-1"], "is not in the range"),
        (["--start-index", "-1"], "is not in the range"),
        (["-a", "https://localhost:8501", "--client-cert", __file__], "--client-cert and --client-key go together"),
        (["--ca-file", __file__], "are for https://"),
        (["-a", "https://localhost:8501", "--ca-file", "/missing.pem"], "does not exist"),
    ],
)
async def test_a_wrong_command_line_is_refused_before_anything_is_asked(arguments, said):
    async with monitoring("consul", *arguments) as monitor:
        assert await monitor.ended() == 2
    assert monitor.lines == []
    assert said in " ".join("\n".join(monitor.errors).split())
    assert "hunter2" not in "".join(monitor.errors)
