"""An app with a queue trigger that notes what it was given, and an HTTP function beside it."""

import asyncio
import json
import os
import time
from pathlib import Path

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
trace = Path(os.environ.get("TRACE", os.devnull))
binary = func.DataType.BINARY if os.environ.get("BINARY") else func.DataType.UNDEFINED


def note(**fact: object) -> None:
    with trace.open("a") as file:
        file.write(json.dumps({"at": time.time(), "pid": os.getpid(), **fact}, default=str) + "\n")


@app.service_bus_queue_trigger(
    arg_name="msg",
    queue_name="%QUEUE%",
    connection="Bus",
    is_sessions_enabled=True,
    cardinality=func.Cardinality.ONE,
    data_type=binary,
)
async def work(msg: func.ServiceBusMessage) -> None:
    body = msg.get_body()
    note(
        body=body.decode("latin-1"),
        id=msg.message_id,
        session=msg.session_id,
        delivery_count=msg.delivery_count,
        sequence_number=msg.sequence_number,
        subject=msg.subject,
        correlation_id=msg.correlation_id,
        content_type=msg.content_type,
        partition_key=msg.partition_key,
        reply_to=msg.reply_to,
        properties=msg.application_properties,
        enqueued=msg.enqueued_time_utc,
        expires=msg.expires_at_utc,
        lock_token=msg.lock_token,
    )
    await asyncio.sleep(float(os.environ.get("WORK_S", "0")))
    if body.startswith(b"fail"):
        raise ValueError(body)
    note(done=body.decode("latin-1"))


@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    return str(os.getpid())


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
def tick(timer: func.TimerRequest) -> None:
    note(tick=True)
