import asyncio
import signal

import aiohttp
import pytest

EVERY_SECOND = "* * * * * *"
NEVER_SOON = "0 0 0 1 1 *"


async def test_a_timer_fires_at_its_times_and_never_overlaps(start, trace, tmp_path, until):
    start("basic", "--functions", "tick", TICK_SCHEDULE=EVERY_SECOND, TICK_S="1.2", TRACE=str(tmp_path / "trace"))
    facts = await until(lambda: len(trace()) >= 4 and trace())
    assert [fact["tick"] for fact in facts[:4]] == ["start", "end"] * 2
    assert facts[0]["at"] % 1 < 0.3
    assert facts[2]["at"] - facts[1]["at"] < 0.3  # the occurrence missed meanwhile is made up for at once
    assert not any(fact.get("past_due") for fact in facts)
    assert all(fact["status"] == {} for fact in facts if fact["tick"] == "start")  # less than a minute: not monitored


async def test_a_timer_can_run_when_the_host_starts(start, make_app, until):
    app = make_app(f"""
import logging
app = func.FunctionApp()

@app.timer_trigger(arg_name="timer", schedule="{NEVER_SOON}", run_on_startup=True)
def tick(timer: func.TimerRequest) -> None:
    logging.info("past due: %s", timer.past_due)
""")
    host = start(app)
    await until(lambda: "past due: False" in host.log)


async def test_a_timer_that_fails_fires_again(start, make_app, until):
    app = make_app(f"""
app = func.FunctionApp()

@app.timer_trigger(arg_name="timer", schedule="{EVERY_SECOND}")
def tick(timer: func.TimerRequest) -> None:
    raise ValueError("on purpose")
""")
    host = start(app)
    await until(lambda: host.log.count("Executed 'Functions.tick' (Failed") >= 2)


async def test_an_operator_can_run_a_timer_by_hand(start, tmp_path, trace, until):
    host = start("basic", TICK_SCHEDULE=NEVER_SOON, TRACE=str(tmp_path / "trace"))
    assert (await host.get("/admin/functions/tick", "POST"))[0] == 401
    master = (await host.state())["keys"]["master"]
    assert (await host.get("/admin/functions/tick", "POST", params={"code": master}))[0] == 202
    await until(lambda: len(trace()) == 2)
    assert (await host.get("/admin/functions/nothing", "POST", params={"code": master}))[0] == 404
    assert (await host.get("/admin/functions/slow", "POST", params={"code": master}))[0] == 400


async def test_a_stop_lets_the_invocation_end_and_fires_no_more(start, tmp_path, trace, until):
    host = start("basic", "--functions", "tick", TICK_SCHEDULE=EVERY_SECOND, TICK_S="1", TRACE=str(tmp_path / "trace"))
    await until(trace)
    assert await host.stop() == 0
    assert [fact["tick"] for fact in trace()] == ["start", "end"]


async def test_a_stop_lets_requests_end_and_refuses_new_ones(start, tmp_path, trace, until):
    host = start("basic", "--functions", "slow", TRACE=str(tmp_path / "trace"))
    under_way = asyncio.create_task(host.get("/api/slow?s=1"))
    await until(trace)
    host.process.send_signal(signal.SIGTERM)
    assert await under_way == (200, "done")
    assert await host.ended() == 0


async def test_a_second_signal_ends_the_process_at_once(start, tmp_path, trace, until):
    host = start("basic", "--functions", "tick", TICK_SCHEDULE=EVERY_SECOND, TICK_S="30", TRACE=str(tmp_path / "trace"))
    await until(trace)
    host.process.send_signal(signal.SIGTERM)
    await until(lambda: "draining" in host.log)
    host.process.send_signal(signal.SIGTERM)
    assert await host.ended() == 1
    assert [fact["tick"] for fact in trace()] == ["start"]


async def test_a_function_that_takes_too_long_ends_the_process_as_azure_ends_its_worker(start, make_app, tmp_path):
    app = make_app(
        """
import time
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="stuck")
def stuck(req: func.HttpRequest) -> str:
    time.sleep(30)
    return "late"
""",
        functionTimeout="00:00:01",
    )
    host = start(app)
    with pytest.raises(aiohttp.ClientError):
        await host.get("/api/stuck")
    assert await host.ended() == 124
    assert "Timeout value of 0:00:01 exceeded by function 'Functions.stuck'" in host.log
