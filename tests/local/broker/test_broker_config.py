"""Microsoft's Config.json is understood, and nothing in it is ignored silently."""

import json
import subprocess
import sys
from typing import Any

import pytest

from local.broker.config import create, duration_ms, load
from local.broker.namespace import Namespace
from local.broker.queues import Queue
from local.broker.topics import Topic

EMULATORS_OWN = """
{
  "UserConfig": {
    "Namespaces": [ // one namespace, as the emulator has it
      {
        "Name": "sbemulatorns",
        "Queues": [
          {
            "Name": "queue.1",
            "Properties": {
              "DeadLetteringOnMessageExpiration": false,
              "DefaultMessageTimeToLive": "PT1H",
              "DuplicateDetectionHistoryTimeWindow": "PT20S",
              "ForwardDeadLetteredMessagesTo": "",
              "ForwardTo": "",
              "LockDuration": "PT1M",
              "MaxDeliveryCount": 3,
              "RequiresDuplicateDetection": false,
              "RequiresSession": true
            }
          }
        ],
        "Topics": [
          {
            "Name": "topic.1",
            "Properties": {
              "DefaultMessageTimeToLive": "PT1H",
              "DuplicateDetectionHistoryTimeWindow": "PT20S",
              "RequiresDuplicateDetection": true
            },
            "Subscriptions": [
              {
                "Name": "subscription.1", /* the default rule, spelled out */
                "Properties": {
                  "DeadLetteringOnMessageExpiration": true,
                  "DefaultMessageTimeToLive": "P10675199DT2H48M5.4775807S",
                  "LockDuration": "PT30S"
                },
                "Rules": [
                  {"Name": "$Default", "Properties": {"FilterType": "Sql", "SqlFilter": {"SqlExpression": "1=1"}}}
                ]
              }
            ]
          }
        ]
      }
    ],
    "Logging": {"Type": "File"}
  }
}
"""


def test_the_emulators_file_creates_the_same_entities():
    namespace = Namespace()
    load(EMULATORS_OWN, namespace)

    queue, topic = namespace.find("QUEUE.1"), namespace.find("sb://127.0.0.1:5672/topic.1")
    subscription = namespace.find("topic.1/subscriptions/subscription.1")
    assert isinstance(queue, Queue)
    assert (queue.settings.requires_session, queue.settings.max_delivery_count) == (True, 3)
    assert (queue.settings.lock_ms, queue.settings.ttl_ms) == (60_000, 3_600_000)
    assert queue.settings.duplicate_window_ms is None
    assert isinstance(topic, Topic)
    assert topic.settings.duplicate_window_ms == 20_000
    assert (subscription.settings.lock_ms, subscription.settings.ttl_ms) == (30_000, 3_600_000)
    assert subscription.settings.dead_letter_expired
    assert namespace.find("topic.1/Subscriptions/subscription.1/$DeadLetterQueue").path.endswith("/$DeadLetterQueue")


def queue_with(**properties: Any) -> dict[str, Any]:
    return {"Queues": [{"Name": "q", "Properties": properties}]}


def subscription_with(**entries: Any) -> dict[str, Any]:
    return {"Topics": [{"Name": "t", "Subscriptions": [{"Name": "s", **entries}]}]}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (queue_with(Colour="red"), "the property 'Colour' is not known"),
        (queue_with(ForwardTo="elsewhere"), "ForwardTo: 'elsewhere' is not supported"),
        (queue_with(EnablePartitioning=True), "EnablePartitioning: True is not supported"),
        (queue_with(LockDuration="PT6M"), "LockDuration: a lock lasts up to PT5M"),
        (queue_with(LockDuration="a minute"), "'a minute' is not an ISO 8601 duration"),
        (queue_with(RequiresSession="yes"), "RequiresSession: 'yes' is neither true nor false"),
        (queue_with(Status="Sleepy"), "'Sleepy' is none of Active"),
        ({"Queues": [], "Relays": []}, "entries the local broker does not know: Relays"),
        ({"UserConfig": {"NamespaceConfig": []}}, "does not know: NamespaceConfig"),
        ({"Topics": [{"Name": "t", "Properties": {"RequiresSession": True}}]}, "'RequiresSession' is not known"),
        (
            subscription_with(Rules=[{"Name": "red", "Properties": {"FilterType": "Correlation"}}]),
            "the rule 'red': the local broker knows no filter but the true filter",
        ),
        (
            subscription_with(
                Rules=[{"Name": "r", "Properties": {"FilterType": "Sql", "SqlFilter": {"SqlExpression": "a=1"}}}]
            ),
            "knows no filter but the true filter",
        ),
    ],
)
def test_what_would_be_ignored_is_refused(document, said):
    with pytest.raises(ValueError, match=said):
        create(document, Namespace())


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("PT0.5S", 500), ("PT1M30S", 90_000), ("P1DT1H", 90_000_000), ("P7D", 604_800_000), ("P10675199D", None)],
)
def test_durations_are_read(text, milliseconds):
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "P", "PT", "1M", "P1Y", "PT1X"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="ISO 8601"):
        duration_ms(text)


def test_creating_again_is_harmless_and_with_other_properties_an_error():
    namespace = Namespace()
    create(queue_with(), namespace)
    create(queue_with(), namespace)

    with pytest.raises(ValueError, match="exists already, with other properties"):
        create(queue_with(RequiresSession=True), namespace)
    with pytest.raises(ValueError, match="exists already"):
        create({"Topics": [{"Name": "q"}]}, namespace)


def test_the_command_serves_the_entities_of_the_file(tmp_path):
    file = tmp_path / "Config.json"
    file.write_text(EMULATORS_OWN, encoding="utf-8")
    command = [sys.executable, "-m", "local.broker", "--with-parent", "--config", str(file), "--key", "my-key"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        process.terminate()

    assert process.returncode == 0
    assert "SharedAccessKey=my-key;UseDevelopmentEmulator=true" in ready["settings"]["ServiceBus"]


def test_the_command_refuses_a_file_it_cannot_serve(tmp_path):
    file = tmp_path / "Config.json"
    file.write_text(json.dumps(queue_with(ForwardTo="elsewhere")), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "local.broker", "--config", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr.strip().endswith(f"{file}: q: ForwardTo: 'elsewhere' is not supported by the local broker")
    assert done.stdout == ""
