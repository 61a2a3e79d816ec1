import json

import pytest
from aiohttp import ClientSession

KEY = "the master key"


@pytest.fixture(scope="module")
def host(start_once):
    return start_once("basic", "--functions", "order,latest,secret,inner,broken,log", "--key", KEY)


async def test_a_request_reaches_its_function_and_the_answer_comes_back(host):
    status, body = await host.get("/api/orders/5?x=1&empty=", "POST", data=b"hello", headers={"X-Given": "here"})
    assert status == 201
    assert json.loads(body) == {"method": "POST", "id": "5", "query": {"x": "1"}, "header": "here", "body": "hello"}


async def test_headers_and_cookies_of_the_answer_are_those_of_the_function(host):
    async with ClientSession() as session, session.get(host.url + "/api/orders/5") as answer:
        assert answer.headers["x-answer"] == "yes"
        assert answer.content_type == "application/json"
        assert answer.cookies["a"].value == "1"
        assert answer.cookies["a"]["samesite"] == "Strict"
        assert answer.cookies["a"]["httponly"]


async def test_a_literal_beats_a_parameter_and_names_do_not_depend_on_case(host):
    assert await host.get("/API/Orders/Latest") == (200, "the latest")


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/api/orders/5"), ("GET", "/api/orders/five"), ("GET", "/api/nothing"), ("GET", "/orders/5")],
)
async def test_a_wrong_method_or_route_is_not_found(host, method, path):
    assert (await host.get(path, method))[0] == 404


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/secret", None, 401),
        ("/api/secret", "wrong", 401),
        ("/api/secret", "function", 200),
        ("/api/secret", "master", 200),
        ("/api/inner", "function", 401),
        ("/api/inner", "master", 200),
        ("/admin/host/status", None, 401),
        ("/admin/host/status", "function", 401),
        ("/admin/host/status", "master", 200),
    ],
)
async def test_keys_open_what_their_level_allows(host, path, key, status):
    keys = (await host.state())["keys"]
    assert keys["master"] == KEY
    given = keys.get(key, key)
    assert (await host.get(path, headers={"x-functions-key": given} if given else {}))[0] == status
    assert (await host.get(path, params={"code": given} if given else {}))[0] == status


async def test_keys_are_made_up_when_none_is_given(start):
    host = start("basic", "--functions", "secret")
    keys = (await host.state())["keys"]
    assert len(keys["master"]) >= 32
    assert keys["master"] != keys["function"]
    assert (await host.get("/api/secret", params={"code": keys["function"]}))[0] == 200


async def test_a_function_that_raises_is_a_500_without_the_reason_and_the_log_has_it(host):
    assert await host.get("/api/broken") == (500, "")
    assert "ValueError: on purpose" in host.log
    assert "Executed 'Functions.broken' (Failed, Id=" in host.log
    assert (await host.state())["functions"]["broken"] == {"succeeded": 0, "failed": 1}


async def test_log_lines_carry_the_invocation_also_from_threads(host):
    _, invocation = await host.get("/api/log")
    assert f"app ({invocation}) a line of the app" in host.log
    assert "Executing 'Functions.log' (Reason='This function was programmatically called" in host.log
    assert f"Executed 'Functions.log' (Succeeded, Id={invocation}, Duration=" in host.log


async def test_categories_of_the_log_are_turned_down_by_host_json(start):
    host = start("basic", "--functions", "log", AzureFunctionsJobHost__logging__logLevel__Function="Warning")
    _, invocation = await host.get("/api/log")
    assert f"app ({invocation}) a line of the app" in host.log
    assert "Executing" not in host.log


async def test_the_home_page_says_that_the_app_runs(host):
    assert (await host.get("/"))[0] == 200


async def test_the_prefix_of_the_routes_is_that_of_host_json(start):
    host = start("basic", "--functions", "latest", AzureFunctionsJobHost__extensions__http__routePrefix="")
    assert await host.get("/orders/latest") == (200, "the latest")
    assert (await host.get("/api/orders/latest"))[0] == 404


async def test_without_an_http_function_no_port_is_opened(start):
    host = start("basic", "--functions", "tick", TICK_SCHEDULE="0 0 0 1 1 *")
    assert host.settings == {}
