"""The part as a process: its options, certificates, its limit of connections, and the real agent it may run."""

import argparse
import asyncio
import json
import os
import ssl
import stat
import sys

import aiohttp
import pytest

from local.cloud import PORTS, running
from local.consul import real
from local.consul.__main__ import describe
from local.process import PartError
from tests.certificates import certificate, store

CONSUL = """#!{python}
import json, os, pathlib, sys
file = sys.argv[-1].partition("=")[2]
configuration = json.loads(pathlib.Path(file).read_text())
with open({log!r}, "a") as log:
    print(json.dumps([sys.argv[1:-1], configuration]), file=log)
port = str(configuration["ports"]["http"])
os.execv({python!r}, [{python!r}, "-m", "local.consul", "--stand-in", "--with-parent", "--port", port])
"""


async def test_certificates_of_server_and_client_are_asked_for(tmp_path):
    authority = certificate("authority")
    for name, pair in (
        ("ca", authority),
        ("server", certificate("server", authority)),
        ("client", certificate("client", authority)),
    ):
        store(tmp_path, name, pair)
    given = {"--tls-cert": "server.pem", "--tls-key": "server.key", "--tls-client-ca": "ca.pem"}
    options = ["--stand-in", *(f"{option}={tmp_path / file}" for option, file in given.items())]

    async with running(("consul",), tmp_path, options={"consul": options}) as cloud, aiohttp.ClientSession() as session:
        address = cloud.settings["Consul"]
        assert address.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with pytest.raises(aiohttp.ClientError):
            async with session.get(f"{address}/v1/catalog/services", ssl=trusting):
                pass
        trusting.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        async with session.get(f"{address}/v1/catalog/services", ssl=trusting) as answer:
            assert await answer.json() == {"consul": []}


async def test_one_client_has_so_many_connections_and_no_more(tmp_path):
    options = {"consul": ["--stand-in", "--max-connections=3"]}
    async with running(("consul",), tmp_path, options=options) as cloud:
        assert cloud.settings["ConsulToken"] == "anonymous"
        part, url = cloud.part("consul"), f"{cloud.settings['Consul']}/v1/catalog/services"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            async with session.get(url) as answer:
                index = answer.headers["X-Consul-Index"]

            async def ask() -> int:
                async with session.get(f"{url}?index={index}&wait=60s") as answer:
                    return answer.status

            queries = [asyncio.create_task(ask()) for _ in range(3)]
            await part.until(lambda state: state["waiting"] == 3)
            assert (await part.state())["connections"] == 3
            async with session.get(url) as refused:
                assert refused.status == 429
                assert "too many concurrent connections" in await refused.text()
            await part.fault({"bump": {"indexes": ["services"]}})
            assert await asyncio.gather(*queries) == [200] * 3
        await part.until(lambda state: not state["connections"])
        await part.fault({"reset_counts": True})
        async with aiohttp.ClientSession(auto_decompress=False) as session, session.get(url) as answer:
            assert answer.status == 200
            state = await part.state()
            assert state["body_bytes"] == len(await answer.read())
            assert state["most_connections"] == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tls-key=x"], "need --tls-cert"),
        (["--acl=missing.json"], "missing.json"),
        (["--no-such-option"], "unrecognized arguments"),
    ],
)
async def test_options_that_cannot_work_are_refused(tmp_path, options, complaint):
    with pytest.raises(PartError, match=complaint):
        async with running(("consul",), tmp_path, options={"consul": ["--stand-in", *options]}):
            pass


@pytest.fixture
def path_with_consul(tmp_path):
    """A PATH with a `consul` that notes how it is called and serves as the stand-in does."""
    folder, log = tmp_path / "bin", tmp_path / "called"
    folder.mkdir()
    script = folder / "consul"
    script.write_text(CONSUL.format(python=sys.executable, log=str(log)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}, log


async def test_a_consul_on_the_path_is_run_in_development_mode(tmp_path, path_with_consul):
    environment, log = path_with_consul
    options = {"consul": ["--node=n7", "--datacenter=east", "--max-connections=77"]}
    async with running(("consul",), tmp_path / "cloud", options=options, environment=environment) as cloud:
        part, address = cloud.part("consul"), cloud.settings["Consul"]
        assert cloud.settings["ConsulToken"] == "anonymous"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{address}/v1/catalog/services") as answer:
                assert await answer.json() == {"consul": []}
            first = (await part.state())["consul"]
            with pytest.raises(ValueError, match="--stand-in"):
                await part.fault({"leader": "lost"})

            await part.fault({"reset": {"wipe": True, "new_cluster": True}})

            assert (await part.state())["consul"] != first
            async with session.get(f"{address}/v1/catalog/services") as answer:
                assert answer.status == 200
    [arguments, configuration], again = [json.loads(line) for line in log.read_text().splitlines()]
    assert arguments == ["agent", "-dev"]
    assert (configuration["node_name"], configuration["datacenter"]) == ("n7", "east")
    assert configuration["limits"] == {"http_max_conns_per_client": 77}
    assert f":{configuration['ports']['http']}" in address
    assert again == [arguments, configuration]


async def test_what_only_the_stand_in_has_is_not_asked_of_a_real_agent(tmp_path, path_with_consul):
    environment, _ = path_with_consul
    options = {"consul": ["--datacenter=a", "--datacenter=b"]}
    with pytest.raises(PartError, match="there is no second --datacenter: add --stand-in"):
        async with running(("consul",), tmp_path / "cloud", options=options, environment=environment):
            pass


async def test_the_part_ends_when_the_agent_does(tmp_path, path_with_consul):
    environment, _ = path_with_consul
    async with running(("consul",), tmp_path / "cloud", environment=environment) as cloud:
        part = cloud.part("consul")
        os.kill((await part.state())["consul"], 9)
        async with asyncio.timeout(20):
            await part.died.wait()
        assert "consul died" in part.log.read_text()


def test_its_usual_port_is_that_of_consul(monkeypatch):
    parser = argparse.ArgumentParser()
    describe(parser)
    assert parser.get_default("port") == 0
    assert PORTS["consul"] == {"port": 8500}
    monkeypatch.setenv("PATH", "")
    assert real.executable() is None
