"""Tokens: what they may see and do, and how an answer says that it is not all there is."""

import json

import pytest
import pytest_asyncio

from local.cloud import running

pytestmark = pytest.mark.asyncio(loop_scope="module")

READ_ALL = {"service_prefix": {"": "read"}, "node_prefix": {"": "read"}}
TOKENS = {
    "default_policy": "deny",
    "tokens": [
        {"secret": "operator", "rules": {"service_prefix": {"": "write"}, "node_prefix": {"": "write"}}},
        {"secret": "all", "rules": {**READ_ALL, "agent_prefix": {"": "read"}, "operator": "read"}},
        {"secret": "web", "rules": {"service": {"web": "read"}, "node_prefix": {"": "read"}}},
        {"secret": "nodeless", "rules": {"service_prefix": {"": "read"}}},
        {
            "secret": "mixed",
            "rules": {**READ_ALL, "service_prefix": {"": "read", "db": "deny"}, "service": {"db": "read"}},
        },
    ],
}
FILTERED = "X-Consul-Results-Filtered-By-ACLs"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand_in(tmp_path_factory):
    folder = tmp_path_factory.mktemp("consul")
    (folder / "acl.json").write_text(json.dumps(TOKENS))
    options = {"consul": ["--stand-in", "--acl", str(folder / "acl.json")]}
    async with running(("consul",), folder, options=options) as cloud:
        yield cloud.part("consul")


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def catalog(api):
    """Three services on two nodes."""
    writer = api.bearing("operator")
    for node in ("n1", "n2"):
        await writer.put("/catalog/register", {"Node": node, "Address": "192.0.2.1"})
        for name in ("web", "db", "db-backup"):
            await writer.register(node, name, status="passing")


@pytest.mark.parametrize(
    ("token", "services", "filtered"),
    [
        ("all", {"consul", "web", "db", "db-backup"}, False),
        ("web", {"web"}, True),
        ("nodeless", {"consul", "web", "db", "db-backup"}, False),
        ("mixed", {"consul", "web", "db"}, True),
        ("", set(), False),
    ],
)
async def test_services_that_a_token_may_not_read_are_left_out_in_silence(api, token, services, filtered):
    answer = await api.bearing(token).get("/catalog/services")

    assert answer.value.keys() == services
    assert (FILTERED in answer.headers) == filtered
    assert answer.headers["X-Consul-Default-ACL-Policy"] == "deny"


async def test_an_instance_needs_its_node_too(api):
    nodeless = await api.bearing("nodeless").get("/health/service/web")
    assert (nodeless.value, nodeless.headers[FILTERED], nodeless.index > 0) == ([], "true", True)

    allowed = await api.bearing("web").get("/health/service/web")
    assert (len(allowed.value), FILTERED in allowed.headers) == (2, False)
    checks = await api.bearing("web").get("/health/state/any")
    assert {check["ServiceName"] for check in checks.value} == {"", "web"}
    assert checks.headers[FILTERED] == "true"


async def test_a_bearer_is_as_good_as_the_header(api):
    answer = await api.ask("GET", "/catalog/services", Authorization="Bearer all")
    assert "db" in answer.value


async def test_an_unknown_token_is_refused(api):
    for method, path in (("GET", "/catalog/services"), ("PUT", "/agent/check/pass/x")):
        answer = await api.bearing("nobody").ask(method, path)
        assert (answer.status, answer.text) == (403, "ACL not found")


async def test_what_a_token_may_not_do_is_refused(api):
    reader = api.bearing("all")
    for method, path, body in (
        ("PUT", "/catalog/register", {"Node": "n1", "Address": "192.0.2.2"}),
        (
            "PUT",
            "/catalog/register",
            {"Node": "n1", "SkipNodeUpdate": True, "Address": "-", "Service": {"Service": "x"}},
        ),
        ("PUT", "/catalog/deregister", {"Node": "n1", "ServiceID": "web"}),
        ("PUT", "/agent/service/register", {"Name": "x"}),
    ):
        answer = await reader.ask(method, path, body)
        assert answer.status == 403
        assert "Permission denied" in answer.text
    assert (await reader.get("/agent/self")).value["Config"]["Server"] is True
    assert (await api.bearing("web").ask("GET", "/agent/self")).status == 403
    assert len((await reader.get("/health/service/web")).value) == 2


async def test_permissions_change_while_the_server_runs(api, part):
    reader = api.bearing("all")
    await part.fault({"token": {"secret": "all", "rules": {"service": {"web": "read"}}}})
    less = await reader.get("/catalog/services")
    assert (less.value.keys(), less.headers[FILTERED]) == ({"web"}, "true")

    await part.fault({"token": {"secret": "all", "rules": None}})
    assert (await reader.ask("GET", "/catalog/services")).status == 403

    await part.fault({"token": TOKENS["tokens"][1]})
    assert "db" in (await reader.get("/catalog/services")).value


@pytest.mark.parametrize(
    "token", [{"secret": "x", "rules": {"colour": {}}}, {"secret": "x", "rules": {"service": {"a": "maybe"}}}]
)
async def test_rules_that_make_no_sense_are_refused(part, token):
    with pytest.raises(ValueError, match="rules: "):
        await part.fault({"token": token})
