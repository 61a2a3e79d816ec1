"""What the demo receives: every topic's subscription, shown as it arrives, compared with what was committed."""

import asyncio
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from azure.servicebus import ServiceBusReceiveMode
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver
from azure.servicebus.exceptions import ServiceBusError

from local.demo.workload import Expected
from local.entities import SUBSCRIPTION
from shared.events import Message
from shared.sinks.console import line

AT_ONCE = 500
WAIT_S = 0.5
SHOWN_PER_PIECE = 12
"""Lines that one received piece shows before it says how many more there were."""


class Taker(Protocol):
    """Whoever wants to know what a topic brought."""

    def take(self, body: dict[str, Any], now: datetime) -> bool:
        """Note one delivery; False for a repeat."""
        ...


@dataclass(slots=True)
class Arrived:
    """What one topic brought: the first delivery of each change in order, repeats, and lags in seconds."""

    table: str
    bodies: list[dict[str, Any]] = field(default_factory=list)
    repeats: int = 0
    lags: list[float] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)

    def take(self, body: dict[str, Any], now: datetime) -> bool:
        """Note one delivery; False for a repeat."""
        metadata = body["metadata"]
        if metadata["EventID"] in self._ids:
            self.repeats += 1
            return False
        self._ids.add(metadata["EventID"])
        self.bodies.append(body)
        self.lags.append((now - datetime.fromisoformat(metadata["CommitTime"])).total_seconds())
        return True

    def first_difference(self, committed: Sequence[Expected]) -> str:
        """Return how the deliveries differ from what was committed, in order and value by value; "" when equal."""
        for number, (body, expected) in enumerate(zip(self.bodies, committed, strict=False), start=1):
            kind = body["metadata"]["OperationType"]
            if (kind, body["data"], body.get("before")) != (expected.kind, expected.data, expected.before):
                return f"change {number} of {self.table} is {json.dumps(body)}, committed was {expected}"
        if len(self.bodies) != len(committed):
            return f"{len(self.bodies)} changes of {self.table} arrived, {len(committed)} were committed"
        return ""

    def lag(self, part: float) -> float:
        """Return the lag below which `part` of the deliveries stayed, in seconds."""
        ordered = sorted(self.lags)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


async def watch(connection_string: str, topic: str, arrived: Taker, *, colour: bool) -> None:
    """Receive from a topic's subscription until cancelled, through whatever interruptions."""
    while True:
        try:
            async with ServiceBusClient.from_connection_string(connection_string) as client:
                receiver = client.get_subscription_receiver(
                    topic, SUBSCRIPTION, receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE
                )
                async with receiver:
                    await _receive(receiver, arrived, colour=colour)
        except ServiceBusError:
            await asyncio.sleep(WAIT_S)


async def _receive(receiver: ServiceBusReceiver, arrived: Taker, *, colour: bool) -> None:
    while True:
        received = await receiver.receive_messages(max_message_count=AT_ONCE, max_wait_time=WAIT_S)
        now = datetime.now(UTC)
        bodies = [b"".join(message.body) for message in received]
        fresh = [body for body in bodies if arrived.take(json.loads(body), now)]
        _show(fresh, colour=colour)


def _show(bodies: Sequence[bytes], *, colour: bool) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for body in bodies[:SHOWN_PER_PIECE]:
        op = {"Insert": "c", "Update": "u", "Delete": "d", "Read": "r"}[json.loads(body)["metadata"]["OperationType"]]
        message = Message(id="", session="", subject=op, content_type="application/json", body=body)
        print(line(message, width, colour))
    if len(bodies) > SHOWN_PER_PIECE:
        print(f"  … and {len(bodies) - SHOWN_PER_PIECE:,} more")
    sys.stdout.flush()
