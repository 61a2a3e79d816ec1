"""Services and checks that an agent is told of; they reach the catalog a little later."""

import pytest
import pytest_asyncio

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def service(consul, name):
    """A service of the agent, with a check that has to be told how it goes."""
    await consul.put(
        "/agent/service/register",
        {"Name": name, "ID": f"{name}-1", "Port": 81, "Tags": ["x"], "Check": {"TTL": "30m", "Status": "passing"}},
    )
    yield f"{name}-1"
    await consul.ask("PUT", f"/agent/service/deregister/{name}-1")


def status(entries) -> str:
    return "".join(check["Status"] for entry in entries for check in entry["Checks"] if check["ServiceID"])


async def test_a_service_of_the_agent_is_in_the_catalog_until_it_is_deregistered(consul, service, name):
    [entry] = (await consul.until(f"/health/service/{name}", lambda entries: status(entries) == "passing")).value
    assert (entry["Service"]["ID"], entry["Service"]["Port"], entry["Service"]["Tags"]) == (service, 81, ["x"])
    assert entry["Node"]["Node"] == (await consul.get("/agent/self")).value["Config"]["NodeName"]
    assert {"serfHealth", f"service:{service}"} <= {check["CheckID"] for check in entry["Checks"]}
    assert (await consul.get("/agent/services")).value[service]["Service"] == name

    await consul.put(f"/agent/service/deregister/{service}")

    await consul.until(f"/health/service/{name}", lambda entries: not entries)
    assert service not in (await consul.get("/agent/services")).value


async def test_a_check_is_as_it_was_last_told(consul, service, name):
    check = f"service:{service}"
    for verb, expected in (("fail", "critical"), ("warn", "warning"), ("pass", "passing")):
        await consul.put(f"/agent/check/{verb}/{check}?note=because")
        await consul.until(f"/health/service/{name}", lambda entries, word=expected: status(entries) == word)

    await consul.put(f"/agent/check/update/{check}", {"Status": "critical", "Output": "disk full"})

    entries = (await consul.until(f"/health/service/{name}", lambda entries: status(entries) == "critical")).value
    [output] = [one["Output"] for one in entries[0]["Checks"] if one["CheckID"] == check]
    assert output == "disk full"


async def test_a_check_that_is_not_told_in_time_fails(consul, name):
    await consul.put("/agent/service/register", {"Name": name, "Check": {"TTL": "200ms", "Status": "passing"}})

    await consul.until(f"/health/service/{name}", lambda entries: status(entries) == "critical")

    await consul.put(f"/agent/service/deregister/{name}")


async def test_a_check_that_is_given_more_time_keeps_its_status(consul, service, name):
    check = {"ID": f"{name}-c", "Name": "more", "Status": "passing", "ServiceID": service}
    await consul.put("/agent/check/register", {**check, "TTL": "200ms"})
    await consul.put("/agent/check/register", {**check, "TTL": "30m"})
    path = f"/health/service/{name}"
    answer = await consul.until(path, lambda entries: status(entries) == "passingpassing")

    later = await consul.get(f"{path}?index={answer.index}&wait=500ms")

    assert (later.index, later.value) == (answer.index, answer.value)


async def test_checks_come_and_go_on_their_own(consul, service, name):
    await consul.put("/agent/check/register", {"ID": f"{name}-c", "Name": "more", "TTL": "30m", "ServiceID": service})
    await consul.until(f"/health/service/{name}", lambda entries: "critical" in status(entries))

    await consul.put(f"/agent/check/deregister/{name}-c")

    await consul.until(f"/health/service/{name}", lambda entries: status(entries) == "passing")


async def test_what_the_agent_does_not_know_is_an_error(consul, name):
    for path in (f"/agent/check/pass/{name}", f"/agent/service/deregister/{name}", f"/agent/check/deregister/{name}"):
        answer = await consul.ask("PUT", path)
        assert answer.status >= 400
        assert name in answer.text


async def test_a_status_that_does_not_exist_is_refused(consul, service):
    answer = await consul.ask("PUT", f"/agent/check/update/service:{service}", {"Status": "well"})
    assert answer.status == 400
