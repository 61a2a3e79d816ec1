"""What this host does not do, it says by name."""

import json
from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from local.host.errors import HostError
from local.host.host_json import ServiceBusOptions
from local.host.servicebus import ServiceBusTrigger
from local.host.settings import Settings
from local.host.worker import Function, Worker, read_function

TIMER = {"type": "timerTrigger", "name": "timer", "schedule": "0 * * * * *", "direction": "IN"}
HTTP = {"type": "httpTrigger", "name": "req", "direction": "IN"}
QUEUE = {"type": "serviceBusTrigger", "name": "msg", "connection": "Bus", "queueName": "q", "isSessionsEnabled": True}


def metadata(*bindings: Mapping[str, object], retry: object = None) -> SimpleNamespace:
    return SimpleNamespace(
        name="f", function_id="1", raw_bindings=[json.dumps(each) for each in bindings], retry_options=retry
    )


def test_a_trigger_is_read_with_its_scale_group():
    assert read_function(metadata(TIMER)) == Function("f", "1", TIMER)
    assert read_function(metadata(TIMER)).scale_group == "f"
    assert read_function(metadata(HTTP, {"type": "http", "name": "$return"})).scale_group == "http"


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        (metadata(TIMER | {"type": "eventHubTrigger"}), "function 'f': eventHubTrigger is not supported"),
        (metadata(TIMER, {"type": "blob", "name": "b"}), "function 'f': blob is not supported"),
        (metadata(HTTP, {"type": "queue", "name": "out"}, {"type": "http", "name": "$return"}), "queue is not"),
        (metadata(TIMER, HTTP), "has 2 triggers"),
        (metadata({"type": "http", "name": "x"}), "has 0 triggers"),
        (metadata(TIMER, retry=SimpleNamespace()), "retry policies are not supported"),
        (metadata(QUEUE | {"properties": {"SupportsDeferredBinding": True}}), "SDK types are not supported"),
    ],
)
def test_a_function_that_cannot_be_run_is_refused(described, reason):
    with pytest.raises(HostError, match=reason):
        read_function(described)


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        (QUEUE | {"isSessionsEnabled": False}, ".* without sessions"),
        (QUEUE | {"cardinality": "MANY"}, "cardinality MANY"),
        (QUEUE | {"autoCompleteMessages": False}, "autoCompleteMessages"),
        ({"type": "serviceBusTrigger", "name": "msg", "topicName": "t", "subscriptionName": "s"}, "a topic trigger"),
    ],
)
def test_a_service_bus_trigger_of_another_kind_is_refused(trigger, reason):
    with pytest.raises(HostError, match=f"function 'f': {reason}"):
        ServiceBusTrigger(Worker((), None), Function("f", "1", trigger), Settings({}), ServiceBusOptions())
