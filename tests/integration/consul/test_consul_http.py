"""What goes over the wire: the token, compression, certificates, and what refusals say."""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from local.consul.cluster import Cluster
from local.consul.server import Server
from shared.errors import ConfigError, SluiceError, TransientError
from shared.settings.model import ConsulSettings
from shared.sources.consul.http import Http, Wait
from tests.certificates import certificate, store
from tests.integration.consul.server import consuming

TOKEN = "b1f4c7e0-secret"
SERVICES = dict[str, list[str]]


@asynccontextmanager
async def answering(answer: Callable[[], web.StreamResponse]):
    """Serve one answer to everything; yield the address and the requests."""
    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        return answer()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", requests
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(settings: ConsulSettings):
    http = Http(settings)
    try:
        yield http
    finally:
        await http.close()


def settings(address: str, **changes: object) -> ConsulSettings:
    return ConsulSettings(name="registry", address=address, **changes)  # type: ignore[arg-type]


async def test_an_answer_may_come_as_late_as_the_jitter_of_the_server_allows(consul):
    await consul.switch(pause={"match": "index=", "when": "before"})
    async with client(consul.settings(request_timeout_s=0.1)) as http:
        began = time.monotonic()
        with pytest.raises(TransientError, match="did not answer in time"):
            await http.get("/v1/catalog/services", SERVICES, wait=Wait(1, 1.6))
    assert time.monotonic() - began >= 1.6 + 1.6 / 16 + 0.1


async def test_the_token_is_in_its_header_and_nowhere_else(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sluice"), "propagate", True)
    caplog.set_level(logging.DEBUG)
    async with (
        answering(lambda: web.Response(status=403, text="Permission denied")) as (address, requests),
        consuming(settings(address, token=TOKEN)) as consumer,
    ):
        with pytest.raises(ConfigError) as refused:
            await consumer.discover()
        assert {request.headers["X-Consul-Token"] for request in requests} == {TOKEN}
        assert not [request for request in requests if TOKEN in str(request.rel_url)]
        assert 'service_prefix "" { policy = "read" }' in str(refused.value)
        told = [str(refused.value), repr(refused.value), repr(consumer.observer._settings), caplog.text]
        assert not [text for text in told if TOKEN in text]


async def test_a_token_that_no_header_can_hold_is_refused_and_not_shown():
    for token in (f"{TOKEN}\n", f"{TOKEN}\u2713"):
        async with client(settings("http://127.0.0.1:1", token=token)) as http:
            with pytest.raises(ConfigError, match="correct token") as refused:
                await http.get("/v1/catalog/services", SERVICES)
            assert TOKEN not in str(refused.value)


async def test_no_token_is_sent_where_none_is_configured():
    async with (
        answering(lambda: web.json_response({})) as (address, requests),
        client(settings(address)) as http,
    ):
        await http.get("/v1/catalog/services", SERVICES)
        assert "X-Consul-Token" not in requests[0].headers


async def test_a_redirect_is_not_followed():
    def away() -> web.Response:
        return web.Response(status=301, headers={"Location": "http://127.0.0.1:1/elsewhere"})

    async with answering(away) as (address, _), client(settings(address, token=TOKEN)) as http:
        with pytest.raises(ConfigError, match=r"redirected to http://127\.0\.0\.1:1/elsewhere"):
            await http.get("/v1/catalog/services", SERVICES)


async def test_answers_come_compressed(consul):
    consul.server.cluster.load(500, 1, 1)
    async with client(settings(consul.address)) as http:
        assert len((await http.get("/v1/catalog/services", SERVICES)).data) == 501
    async with answering(lambda: web.json_response({})) as (address, requests), client(settings(address)) as http:
        await http.get("/v1/catalog/services", SERVICES)
        assert requests[0].headers["Accept-Encoding"] == "gzip"


async def test_an_answer_from_the_view_of_an_agent_counts_as_fresh_though_that_knows_no_leader(consul):
    await consul.switch(streaming=True)
    async with client(settings(consul.address)) as http:
        answer = await http.get("/v1/health/service/web", list[object], wait=Wait(1, 0.01))
    assert answer.known_leader


async def test_a_connection_is_used_again(consul):
    async with client(settings(consul.address)) as http:
        for _ in range(20):
            await http.get("/v1/catalog/services", SERVICES)
        assert consul.server.state()["connections"] == 1


async def test_a_query_that_nobody_waits_for_any_more_gives_its_connection_up(consul):
    async with client(settings(consul.address)) as http:
        query = asyncio.create_task(http.get("/v1/catalog/services", SERVICES, wait=Wait(1_000, 60.0)))
        await consul.until(lambda: consul.server.requests.waiting == 1)
        query.cancel()
        await consul.until(lambda: consul.server.requests.waiting == 0)
        assert (await http.get("/v1/catalog/services", SERVICES, wait=Wait(1, 0.01))).index >= 1


async def test_closing_ends_what_is_open_and_what_is_in_line(consul):
    async with client(settings(consul.address, connections=200)) as http:
        wait = Wait(1_000, 60.0)
        queries = [asyncio.create_task(http.get("/v1/catalog/services", SERVICES, wait=wait)) for _ in range(5)]
        await consul.until(lambda: consul.server.requests.waiting == 3)
        async with asyncio.timeout(5):
            await http.close()
            outcomes = await asyncio.gather(*queries, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {TransientError}
        assert all("the source is closed" in str(outcome) for outcome in outcomes)
        with pytest.raises(TransientError, match="the source is closed"):
            await http.get("/v1/catalog/services", SERVICES)


@pytest.mark.parametrize("body", ["<html>hello</html>", "[1, 2]", '{"web": [1]}', "null", "", "\xff"])
async def test_an_answer_that_is_none_of_consuls_is_said_to_be_none(body):
    async with (
        answering(lambda: web.Response(body=body.encode("latin-1"))) as (address, _),
        client(settings(address)) as http,
    ):
        with pytest.raises(TransientError, match="is not one of Consul's") as refused:
            await http.get("/v1/catalog/services", SERVICES)
        assert refused.value.lasting


async def test_a_server_that_is_away_is_said_to_be_away(consul):
    async with client(settings("http://127.0.0.1:1")) as http:
        with pytest.raises(TransientError, match=r"Connection refused.*is Consul running"):
            await http.get("/v1/catalog/services", SERVICES)


async def test_a_server_that_does_not_answer_is_given_up(consul):
    await consul.switch(delay_s=20, match="/catalog/services")
    async with client(settings(consul.address, request_timeout_s=0.2)) as http:
        with pytest.raises(TransientError, match="did not answer in time"):
            await http.get("/v1/catalog/services", SERVICES)


@pytest.mark.parametrize(
    ("path", "fault", "kind", "hint"),
    [
        ("/v1/catalog/services?dc=dc9", None, TransientError, "is there a datacenter dc9"),
        ("/v1/nothing", None, ConfigError, "HTTP port"),
        (
            "/v1/catalog/services",
            {"status": 403, "text": "ACL not found"},
            ConfigError,
            "does not know the source's token",
        ),
        ("/v1/catalog/services", {"status": 429}, TransientError, "lower requests_per_second"),
        ("/v1/catalog/services", {"status": 503}, TransientError, "lower requests_per_second"),
        ("/v1/catalog/services", {"status": 500}, TransientError, "see the log of Consul"),
        ("/v1/catalog/services", {"status": 500, "text": "No cluster leader"}, TransientError, "without a leader"),
        ("/v1/catalog/services", {"status": 418, "text": "teapot"}, TransientError, "HTTP port"),
    ],
)
async def test_a_refusal_says_what_to_do(consul, path, fault, kind, hint):
    if fault:
        await consul.switch(refuse=fault)
    path, _, datacenter = path.partition("?dc=")
    async with client(settings(consul.address)) as http:
        with pytest.raises(SluiceError) as refused:
            await http.get(path, SERVICES, datacenter=datacenter)
    assert isinstance(refused.value, kind)
    assert hint in refused.value.hint


async def test_a_filter_that_is_wrong_is_a_problem_of_the_settings(consul):
    async with consuming(consul.settings("web", filter="Service.Nothing ==")) as consumer:
        await consumer.discover()
        [stream] = [stream for stream in await consumer.probe() if "/service/" in stream]
        with pytest.raises(ConfigError, match="correct filter"):
            await consumer.observe(stream)


async def test_certificates_are_checked_and_shown(tmp_path):
    authority = certificate("authority")
    store(tmp_path, "ca", authority)
    for name in ("server", "client"):
        store(tmp_path, name, certificate(name, authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = Server(Cluster())
    async with server.serving(0, context):
        address = f"https://127.0.0.1:{server.port}"
        shown = {"client_cert": str(tmp_path / "client.pem"), "client_key": str(tmp_path / "client.key")}
        async with client(settings(address, ca_file=str(tmp_path / "ca.pem"), **shown)) as http:
            assert (await http.get("/v1/catalog/services", SERVICES)).data == {"consul": []}
        async with client(settings(address, **shown)) as http:
            with pytest.raises(ConfigError, match="name the authority in ca_file"):
                await http.get("/v1/catalog/services", SERVICES)
        async with client(settings(address, ca_file=str(tmp_path / "ca.pem"))) as http:
            with pytest.raises(SluiceError, match=address):
                await http.get("/v1/catalog/services", SERVICES)
    async with client(settings(address, ca_file=str(tmp_path / "missing.pem"))) as http:
        with pytest.raises(ConfigError, match="check address, ca_file"):
            await http.get("/v1/catalog/services", SERVICES)
