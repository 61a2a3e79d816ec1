"""Consul servers: the stand-in, and a real agent where there is one, each seen through plain HTTP.

A real agent is the one SLUICE_TEST_CONSUL has the address of, or else the `consul` on PATH, run with `agent -dev`.
"""

import asyncio
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from local.cloud import running
from local.consul.real import executable

LIVE = os.environ.get("SLUICE_TEST_CONSUL", "")
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Any
    text: str
    value: Any

    @property
    def index(self) -> int:
        return int(self.headers["X-Consul-Index"])


class Api:
    """A client of one server that adds nothing; names made by `name` are of one test alone."""

    def __init__(self, session: aiohttp.ClientSession, address: str, headers: dict[str, str] | None = None) -> None:
        self.session = session
        self.address = address
        self.headers = headers or {}

    def bearing(self, token: str) -> "Api":
        return Api(self.session, self.address, {"X-Consul-Token": token})

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        url = f"{self.address}/v1{path}"
        async with self.session.request(method, url, json=body, headers={**self.headers, **headers}) as answer:
            text = await answer.text()
            value = await answer.json() if answer.content_type == "application/json" else None
            return Answer(answer.status, answer.headers, text, value)

    async def get(self, path: str) -> Answer:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer.text
        return answer

    async def put(self, path: str, body: Any = None) -> Answer:
        answer = await self.ask("PUT", path, body)
        assert answer.status == 200, answer.text
        return answer

    async def register(self, node: str, name: str, **more: Any) -> None:
        """Register an instance, with a check where `status` is given."""
        status, check = more.pop("status", None), None
        service = {"Service": name, **more}
        if status:
            check = {"CheckID": f"{service.get('ID', name)}:alive", "Name": "alive", "Status": status}
            check["ServiceID"] = service.get("ID", name)
        body = {"Node": node, "Address": "192.0.2.1", "SkipNodeUpdate": True, "Service": service}
        await self.put("/catalog/register", body | ({"Check": check} if check else {}))

    async def deregister(self, node: str, **what: str) -> None:
        await self.put("/catalog/deregister", {"Node": node, **what})

    async def until(self, path: str, condition: Callable[[Any], object]) -> Answer:
        """Return the first answer that meets a condition: what an agent is told reaches the catalog a little later."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = await self.get(path)
                if condition(answer.value):
                    return answer
                await asyncio.sleep(0.02)


def pytest_collection_modifyitems(items):
    for item in items:
        if "either" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("consul"))  # one server, whose indexes are everybody's


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand_in(tmp_path_factory):
    """The stand-in as a process of its own, with its control port."""
    options = {"consul": ["--stand-in", "--datacenter=dc1", "--datacenter=dc2"]}
    async with running(("consul",), tmp_path_factory.mktemp("consul"), options=options) as cloud:
        yield cloud.part("consul")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["stand-in", "consul"])
async def either(request, tmp_path_factory):
    """The address of a server: of the stand-in, then of a real one."""
    is_real = request.param == "consul"
    if is_real and LIVE:
        yield LIVE.rstrip("/")
        return
    if is_real and not executable():
        pytest.skip("needs consul: on PATH, or its address in SLUICE_TEST_CONSUL")
    options = {"consul": [] if is_real else ["--stand-in"]}
    async with running(("consul",), tmp_path_factory.mktemp("consul"), options=options) as cloud:
        yield cloud.settings["Consul"]


@pytest_asyncio.fixture(loop_scope="module")
async def session():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        session._retry_connection = False  # or a request whose connection is cut would be sent again
        yield session


@pytest.fixture
def consul(either, session):
    """Either server; what runs with this shows what a real one does too."""
    return Api(session, either)


@pytest_asyncio.fixture(loop_scope="module")
async def part(stand_in):
    """The stand-in, without faults before and after."""
    yield stand_in
    await stand_in.fault({"clear": True, "reset_counts": True})


@pytest.fixture
def api(part, session):
    """The stand-in, for what only it can do."""
    return Api(session, part.settings["Consul"])


@pytest.fixture
def name():
    """A name that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest_asyncio.fixture(loop_scope="module")
async def node(consul, name):
    """A node of this test, in the catalog until its end."""
    await consul.put("/catalog/register", {"Node": f"{name}-node", "Address": "192.0.2.1"})
    yield f"{name}-node"
    await consul.deregister(f"{name}-node")
