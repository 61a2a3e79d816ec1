"""The Service Bus trigger, against the broker."""

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from azure.servicebus import ServiceBusMessage


@pytest.fixture
def serve(start, broker, tmp_path):
    """Return what starts the queue app on a queue."""

    def begin(queue: str, *arguments: str, **environment: str):
        settings = {"QUEUE": queue, "AzureWebJobsBus": broker.connection, "TRACE": str(tmp_path / "trace")}
        return start("queue", *(arguments or ("--functions", "work")), **settings | environment)

    return begin


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def given(trace) -> list[dict[str, Any]]:
    return [fact for fact in trace() if "body" in fact]


def done(trace) -> list[str]:
    return [fact["done"] for fact in trace() if "done" in fact]


async def test_a_function_is_told_all_that_azure_tells_it_of_a_message(serve, broker, trace, until):
    queue = broker.queue()
    sent = ServiceBusMessage(
        b"hello",
        session_id="s1",
        message_id="m1",
        subject="c",
        correlation_id="k1",
        content_type="application/json",
        reply_to="there",
        time_to_live=timedelta(days=1),
        application_properties={"text": "a", "number": 7, "flag": True},
    )
    await broker.send(queue, sent)
    host = serve(queue)
    [fact] = await until(lambda: done(trace) and given(trace))
    lock_token, enqueued, expires = (fact.pop(name) for name in ("lock_token", "enqueued", "expires"))
    assert {name: value for name, value in fact.items() if name not in {"at", "pid"}} == {
        "body": "hello",
        "id": "m1",
        "session": "s1",
        "delivery_count": 1,
        "sequence_number": 1,
        "subject": "c",
        "correlation_id": "k1",
        "content_type": "application/json",
        "partition_key": None,
        "reply_to": "there",
        "properties": {"text": "a", "number": 7, "flag": True},
    }
    assert len(lock_token) == 36
    assert abs(datetime.fromisoformat(enqueued).replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    assert datetime.fromisoformat(expires) - datetime.fromisoformat(enqueued) == timedelta(days=1)
    assert "Executed 'Functions.work' (Succeeded" in host.log
    await until(lambda: broker.state(queue)["locked"] == broker.state(queue)["active"] == 0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"BINARY": "yes"}, b"\xff\x00text"), ({}, "\ufffd\x00text".encode())],
    ids=["binary", "text"],
)
async def test_a_body_is_text_with_replacements_unless_the_trigger_says_binary(
    serve, broker, trace, until, settings, expected
):
    queue = broker.queue()
    await broker.send(queue, ServiceBusMessage(b"\xff\x00text", session_id="s"))
    serve(queue, **settings)
    [fact] = await until(lambda: given(trace))
    assert fact["body"].encode("latin-1") == expected


async def test_a_failed_message_comes_again_counted_and_is_dead_lettered_in_the_end(serve, broker, trace, until):
    queue = broker.queue(MaxDeliveryCount=3)
    await broker.send(queue, *(ServiceBusMessage(body, session_id="s") for body in ("fail", "good")))
    host = serve(queue)
    await until(lambda: done(trace) == ["good"])
    assert [(fact["body"], fact["delivery_count"]) for fact in given(trace)] == [
        ("fail", 1),
        ("fail", 2),
        ("fail", 3),
        ("good", 1),
    ]
    assert broker.state(queue)["in_dead_letter_queue"] == 1
    assert "ValueError: b'fail'" in host.log


async def test_on_sigterm_the_invocation_ends_and_is_settled_and_the_rest_stays(serve, broker, trace, until):
    queue = broker.queue()
    await broker.send(queue, *(ServiceBusMessage(body, session_id="s") for body in ("first", "second")))
    host = serve(queue, WORK_S="1")
    await until(lambda: given(trace))
    assert await host.stop() == 0
    assert done(trace) == ["first"]
    assert (broker.state(queue)["active"], broker.state(queue)["locked"]) == (1, 0)


async def test_an_invocation_that_outlasts_the_drain_is_given_up_and_its_message_stays(serve, broker, trace, until):
    queue = broker.queue()
    await broker.send(queue, ServiceBusMessage("x", session_id="s"))
    host = serve(queue, "--functions", "work", "--drain", "0.5", WORK_S="30")
    await until(lambda: given(trace))
    assert await host.stop() == 1
    assert "did not end within 0.5 s" in host.log
    await until(lambda: broker.state(queue)["active"] == 1)


async def test_a_timeout_ends_the_process_without_settling(serve, broker, trace, until):
    queue = broker.queue()
    await broker.send(queue, ServiceBusMessage("x", session_id="s"))
    host = serve(queue, WORK_S="30", AzureFunctionsJobHost__functionTimeout="00:00:01")
    assert await host.ended() == 124
    assert "Timeout value of 0:00:01 exceeded by function 'Functions.work'" in host.log
    await until(lambda: broker.state(queue)["active"] == 1)


async def test_each_scale_group_is_a_process_and_one_that_dies_comes_back(serve, broker, trace, until):
    queue = broker.queue()
    host = serve(queue, "--mode", "flex")
    state = await host.state()
    assert set(state) == {"http", "work", "tick"}
    assert len({each["pid"] for each in state.values()} | {host.pid}) == 4
    status, pid = await host.get("/api/pid")
    assert (status, int(pid)) == (200, state["http"]["pid"])
    await broker.send(queue, ServiceBusMessage("one", session_id="s"))
    [fact] = await until(lambda: given(trace))
    assert fact["pid"] == state["work"]["pid"]

    for group in ("http", "work"):
        os.kill(state[group]["pid"], signal.SIGKILL)
    await broker.send(queue, ServiceBusMessage("two", session_id="s2"))
    await until(lambda: "two" in done(trace))
    async with asyncio.timeout(10):
        while (await host.state())["http"].get("functions") is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    status, again = await host.get("/api/pid")  # on the same port
    assert status == 200
    assert again != pid

    pids = [each["pid"] for each in (await host.state()).values()]
    assert await host.stop() == 0
    assert [each for each in pids if is_running(each)] == []


async def test_a_timer_of_another_process_can_be_run_by_hand(serve, broker, trace, until):
    host = serve(broker.queue(), "--mode", "flex")
    async with ClientSession() as session, session.post(f"{host.control}/admin/functions/tick") as answer:
        assert answer.status == 202
    await until(lambda: any("tick" in fact for fact in trace()))


async def test_flex_does_not_start_when_a_group_cannot(start, make_app):
    source = """
app = func.FunctionApp()

@app.route(route="ok")
def ok(req: func.HttpRequest) -> str:
    return "ok"

@app.timer_trigger(arg_name="timer", schedule="%NO_SUCH_SETTING%")
def tick(timer: func.TimerRequest) -> None: ...
"""
    with pytest.raises(ChildProcessError, match="NO_SUCH_SETTING"):
        start(make_app(source), "--mode", "flex", "--key=-begins-like-an-option")
