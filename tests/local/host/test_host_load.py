"""What shows "0 functions found" in Azure fails here, with the reason; what this host does not do is refused."""

import pytest

TIMER = """
app = func.FunctionApp()

@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
def tick(timer: func.TimerRequest) -> None: ...
"""


def why_not_ready(start, app, *arguments, **environment) -> str:
    with pytest.raises(ChildProcessError) as caught:
        start(app, *arguments, **environment)
    assert caught.value.errno == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (None, "0 functions found"),
        ("x = 1", "Could not find top level function app instances"),
        ("app = func.FunctionApp()", "0 functions found"),
        ("import not_there\n", "No module named 'not_there'"),
        (TIMER + "other = func.FunctionApp()", "More than one FunctionApp"),
        (
            TIMER.replace("timer: func.TimerRequest", "wrong: func.TimerRequest"),
            "FunctionLoadError",
        ),
        (
            TIMER.replace("timer: func.TimerRequest", "timer: func.TimerRequest, ctx: func.Context"),
            "FunctionLoadError",
        ),
        (TIMER.replace("timer: func.TimerRequest", "timer: int"), "FunctionLoadError"),
    ],
)
async def test_an_app_without_functions_in_azure_does_not_start(start, make_app, source, reason):
    log = why_not_ready(start, make_app(source))
    assert "0 functions found" in log
    assert reason in log


async def test_a_binding_that_this_host_does_not_do_is_refused_by_name(start, make_app):
    source = """
app = func.FunctionApp()

@app.queue_trigger(arg_name="msg", queue_name="q", connection="AzureWebJobsStorage")
def f(msg: func.QueueMessage) -> None: ...
"""
    reason = why_not_ready(start, make_app(source))
    assert "error: function 'f': queueTrigger is not supported by the local host" in reason


async def test_without_host_json_nothing_starts(start, tmp_path):
    (tmp_path / "function_app.py").write_text("")
    assert "host.json" in why_not_ready(start, tmp_path)


async def test_an_unknown_function_is_refused_with_those_there_are(start, make_app):
    assert "no function 'tock' in the app; it has tick" in why_not_ready(start, make_app(TIMER), "--functions", "tock")


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ("%NO_SUCH_SETTING%", "the 'tick' function is in error: '%NO_SUCH_SETTING%' does not resolve to a value."),
        ("0 0 0 30 2 *", "never occurs"),
        ("every day", "NCRONTAB"),
    ],
)
async def test_an_app_whose_only_function_is_in_error_does_not_start(start, make_app, schedule, reason):
    assert reason in why_not_ready(start, make_app(TIMER.replace("0 0 * * * *", schedule)))


async def test_a_function_in_error_leaves_the_others_running(start, make_app):
    source = (
        TIMER.replace("0 0 * * * *", "%NO_SUCH_SETTING%")
        + """
@app.route(route="health", auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> str:
    return "ok"
"""
    )
    host = start(make_app(source), "--key", "master")
    assert await host.get("/api/health") == (200, "ok")
    said = "'%NO_SUCH_SETTING%' does not resolve to a value."
    assert (await host.state())["errors"] == {"tick": said}
    _, status = await host.get("/admin/host/status", headers={"x-functions-key": "master"})
    assert f"The 'tick' function is in error: {said}" in status


async def test_a_missing_connection_is_named_in_the_words_of_azure(start, make_app):
    source = """
app = func.FunctionApp()

@app.service_bus_queue_trigger(arg_name="msg", queue_name="q", connection="Bus", is_sessions_enabled=True)
def f(msg: func.ServiceBusMessage) -> None: ...
"""
    log = why_not_ready(start, make_app(source))
    assert "Microsoft Azure WebJobs SDK ServiceBus connection string 'Bus' is missing or empty." in log


async def test_a_disabled_function_does_not_run(start):
    host = start("basic", **{"AzureWebJobs.tick.Disabled": "true"})
    state = await host.state()
    assert "tick" not in state["functions"]
    assert state["timers"] == {}


async def test_settings_come_from_the_file_and_the_environment_wins(start, make_app, tmp_path):
    source = """
import os
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="where")
def where(req: func.HttpRequest) -> str:
    return f"{os.environ['A']} {os.environ['B']} {os.getcwd()}"
"""
    path = tmp_path / "local.settings.json"
    path.write_text('{"Values": {"A": "file", "B": "file"}}')
    app = make_app(source)
    host = start(app, "--settings", str(path), B="environment")
    assert await host.get("/api/where") == (200, f"file environment {app}")
