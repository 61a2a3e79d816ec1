"""The processes of a random schedule, and the gates at which they wait until they are let go on, or are killed."""

import asyncio
import contextvars
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.events import Message
from shared.sinks.memory import MemorySink

current: contextvars.ContextVar["Actor"] = contextvars.ContextVar("actor")


@dataclass(eq=False)
class Actor:
    """A process: its task, and the gates at which its parts wait."""

    task: asyncio.Task[object] | None = None
    message: Message | None = None
    gates: list[asyncio.Future[None]] = field(default_factory=list)
    dead: bool = False

    async def gate(self) -> None:
        if self.dead:
            await asyncio.get_running_loop().create_future()
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(mine)
        await mine

    def let_go(self, rng: random.Random) -> None:
        waiting = [gate for gate in self.gates if not gate.done()]
        if waiting:
            chosen = rng.choice(waiting)
            chosen.set_result(None)
            waiting.remove(chosen)
        self.gates = waiting


async def gate(_call: str = "") -> None:
    actor = current.get(None)
    if actor is not None:
        await actor.gate()


class GatedSink:
    """A sink that may be interrupted before, between and after its messages."""

    def __init__(self, inner: MemorySink, rng: random.Random) -> None:
        self._inner = inner
        self._rng = rng

    async def send(self, to: str, messages: Sequence[Message]) -> None:
        await gate()
        done = 0
        while done < len(messages):
            upto = min(len(messages), done + self._rng.randint(1, 3))
            await self._inner.send(to, messages[done:upto])
            done = upto
            await gate()

    async def close(self) -> None:
        await self._inner.close()
