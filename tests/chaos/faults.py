"""Faults that befall packs on the ingest queue, and what the product then says of its streams."""

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from local.process import PartProcess
from shared import naming, pack
from shared.errors import RejectedError
from shared.pack import Pack
from tests.pipeline import POLL_S, Pipeline, table_stream

INGEST = "ingest-queue"


async def until[T](look: Callable[[], Awaitable[T]], *, within_s: float = 30.0) -> T:
    """Look again and again, and return the first thing that is true; TimeoutError after `within_s`."""
    async with asyncio.timeout(within_s):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(POLL_S)


async def packs(line: Pipeline, table: str) -> list[Pack | None]:
    """Return the packs of a table's stream that wait on the ingest queue, in order; None for what is no pack."""
    control = line.cloud.part("broker").control
    async with line.session.get(f"{control}/messages", params={"entity": INGEST}) as answer:
        messages = await answer.json()
    session = naming.session(table_stream(table))
    return [_pack(base64.b64decode(each["body"])) for each in messages if each["session"] == session]


def _pack(body: bytes) -> Pack | None:
    try:
        return pack.decode(body)
    except RejectedError:
        return None


async def until_waiting(line: Pipeline, count: int, *, within_s: float = 30.0) -> None:
    """Wait until `count` packs with changes wait on the ingest queue for each table."""

    async def are_there() -> bool:
        waiting = [await packs(line, table) for table in line.tables]
        return all(sum(bool(each and each.changes) for each in some) >= count for some in waiting)

    await until(are_there, within_s=within_s)


async def strike(line: Pipeline, kind: str, table: str, index: int) -> None:
    """Let `kind`, a fault of the broker, befall one of the packs that hold changes of the table."""
    filled = [number for number, each in enumerate(await packs(line, table)) if each and each.changes]
    session = naming.session(table_stream(table))
    await line.cloud.part("broker").fault({kind: {"entity": INGEST, "session": session, "index": filled[index]}})


async def status(line: Pipeline) -> tuple[dict[str, dict[str, Any]], int]:
    """Return what `sluice status` says of each table's stream, and how many packs it says are dead-lettered."""
    code, out, err = await line.command("status", "--json")
    assert code == 0, err
    told = json.loads(out)
    return {naming.parts(each["stream"])[3]: each for each in told["streams"]}, told["dead_lettered_packs"]


async def health(line: Pipeline, host: PartProcess) -> tuple[int, list[str]]:
    """Return the status of `health`, and the reasons that are told to callers with a key."""
    url, key = host.settings["HttpUrl"], (await host.state())["keys"]["function"]
    async with line.session.get(f"{url}/api/health") as answer:
        code = answer.status
        assert "reasons" not in await answer.json()
    async with line.session.get(f"{url}/api/health/reasons", headers={"x-functions-key": key}) as answer:
        return code, list((await answer.json())["reasons"])


async def until_logged(line: Pipeline, functions: str, text: str, *, times: int = 1, within_s: float = 30.0) -> str:
    """Wait until the log of `functions` holds what matches `text`; return the first line that does."""

    async def lines() -> list[str]:
        found: list[str] = re.findall(f"^.*{text}.*$", line.log(functions), re.MULTILINE)
        return found if len(found) >= times else []

    return (await until(lines, within_s=within_s))[0]


def logged(line: Pipeline, functions: str, text: str, table: str) -> int:
    """Return how often `functions` logged `text` of the table's stream."""
    return line.log(functions).count(f"{text} stream={table_stream(table)} ")
