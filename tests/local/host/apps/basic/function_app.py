"""An app with timers and HTTP functions that tests look at from outside."""

import asyncio
import json
import logging
import os
import time
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
trace = Path(os.environ.get("TRACE", os.devnull))


def note(**fact: object) -> None:
    with trace.open("a") as file:
        file.write(json.dumps({"at": time.time(), "pid": os.getpid(), **fact}) + "\n")


@app.timer_trigger(arg_name="timer", schedule="%TICK_SCHEDULE%")
async def tick(timer: func.TimerRequest, context: func.Context) -> None:
    note(tick="start", past_due=timer.past_due, status=timer.schedule_status)  # type: ignore[attr-defined]
    logging.getLogger("app").info("ticking")
    await asyncio.sleep(float(os.environ.get("TICK_S", "0")))
    note(tick="end")


@app.route(route="orders/{id:int}", methods=["GET", "POST"])
def order(req: func.HttpRequest) -> func.HttpResponse:
    answer = func.HttpResponse(
        json.dumps(
            {
                "method": req.method,
                "id": req.route_params["id"],
                "query": dict(req.params),
                "header": req.headers.get("x-given"),
                "body": req.get_body().decode(),
            }
        ),
        status_code=201,
        mimetype="application/json",
        headers={"x-answer": "yes"},
    )
    answer.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly; SameSite=Strict")
    return answer


@app.route(route="orders/latest")
def latest(req: func.HttpRequest) -> str:
    return "the latest"


@app.route(route="secret", auth_level=func.AuthLevel.FUNCTION)
def secret(req: func.HttpRequest) -> str:
    return "open"


@app.route(route="inner", auth_level=func.AuthLevel.ADMIN)
def inner(req: func.HttpRequest) -> str:
    return "open"


@app.route(route="slow")
async def slow(req: func.HttpRequest, context: func.Context) -> str:
    note(slow="start", invocation=context.invocation_id)
    await asyncio.sleep(float(req.params.get("s", "1")))
    note(slow="end")
    return "done"


@app.route(route="broken")
def broken(req: func.HttpRequest) -> str:
    message = "on purpose"
    raise ValueError(message)


@app.route(route="log")
def log(req: func.HttpRequest, context: func.Context) -> str:
    logging.getLogger("app").info("a line of the app")
    return context.invocation_id
