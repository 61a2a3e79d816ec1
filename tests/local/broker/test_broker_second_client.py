"""The JavaScript library, over an AMQP stack of its own, agrees with the broker."""

import subprocess
from pathlib import Path


def test_the_javascript_library_finds_the_broker_as_it_finds_the_service(broker):
    for name in ("js-plain", "js-settle"):
        broker.queue(name)
    broker.queue("js-sessions", RequiresSession=True)
    broker.topic("js-topic", "sub1")
    script = Path(__file__).with_name("second_client.mjs")

    done = subprocess.run(["node", script, broker.connection], capture_output=True, text=True, timeout=50, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok - ") == 5
