"""`sluice topics sync` and the timer `sync_topics` against storage, database and namespaces on this machine."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from local.cloud import running
from local.entities import config
from local.process import PartProcess
from shared import naming
from shared.errors import TransientError
from shared.events import Message
from shared.stores.azure.placements import AzurePlacements
from shared.topics import label_of
from tests.pipeline import Pipeline, table_stream

POLL_S = 0.05
TWO = ("ServiceBus", "ServiceBus2")


def topic(table: str) -> str:
    return naming.topic(table_stream(table))


@dataclass
class Topics(Pipeline):
    """A database with captured tables and one or two namespaces without topics."""

    namespaces: tuple[PartProcess, ...] = ()

    def named(self, tables: Sequence[str], settings: str = "") -> None:
        """Write a configuration that names these tables, and spreads their topics over all namespaces."""
        self.tables = tables
        listed = ", ".join(f'"{name}"' for name in TWO[: len(self.namespaces)])
        self.configure(settings)
        file = Path(self.environment["SLUICE_CONFIG"])
        file.write_text(file.read_text().replace('type = "servicebus"', f"connections = [{listed}]"))

    async def sync(self, *options: str) -> tuple[int, dict[str, Any], str]:
        """Run the command; return exit code, what it told and standard error."""
        code, out, err = await self.command("topics", "sync", "--json", *options)
        return code, json.loads(out) if out else {}, err

    async def there(self) -> list[dict[str, Any]]:
        """Return the topics of each namespace by name."""
        states = [(await each.state())["entities"] for each in self.namespaces]
        return [{name: told for name, told in state.items() if "subscriptions" in told} for state in states]

    async def writes(self) -> int:
        states = [await each.state() for each in self.namespaces]
        return sum(state["traffic"]["administration_writes"] for state in states)

    async def send(self, to: str) -> None:
        """Send one message, as deliver does."""
        async with self.wiring() as wiring:
            await wiring.bus.send(to, [Message("1", "s", "c", "application/json", b"{}")])

    async def placed(self) -> dict[str, str]:
        async with self.wiring() as wiring:
            _, placements = await AzurePlacements(wiring.account, wiring.settings.state_table).load()
            return {each.topic: each.namespace for each in placements}


@asynccontextmanager
async def cloud(directory: Path, tables: Sequence[str], namespaces: int = 1) -> AsyncIterator[Topics]:
    parts = ("azurite", "broker", "sqlserver")
    async with AsyncExitStack() as stack:
        local = await stack.enter_async_context(running(parts, directory / "cloud", entities=config()))
        session = await stack.enter_async_context(ClientSession())
        environ = {
            **local.settings,
            "SLUICE_CONFIG": str(directory / "sluice.hcl"),
            "INGEST_QUEUE": "ingest-queue",
            "CAPTURE_SCHEDULE": "* * * * * *",
            "TOPICS_SCHEDULE": "* * * * * *",
        }
        brokers = [local.part("broker")]
        if namespaces > 1:
            second = PartProcess("broker", [], {}, directory / "second.log", session)
            await second.start()
            stack.push_async_callback(second.stop)
            environ["ServiceBus2"] = second.settings["ServiceBus"]
            environ["ServiceBus2Administration"] = second.settings["ServiceBusAdministration"]
            environ["SLUICE_CA_FILE"] = joined(
                directory / "authorities.pem", environ["SLUICE_CA_FILE"], second.settings["SLUICE_CA_FILE"]
            )
            brokers.append(second)
        made = Topics(local, directory, tables, environ, session, namespaces=tuple(brokers))
        stack.push_async_callback(made.close)
        await asyncio.to_thread(made.create_tables)
        made.named(tables)
        yield made


def joined(file: Path, *parts: str) -> str:
    file.write_text("".join(Path(part).read_text() for part in parts))
    return str(file)


async def until(condition: Callable[[], Awaitable[object]], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while True:
            if await condition():
                return
            await asyncio.sleep(POLL_S)


async def killed_while_paused(line: Topics, entity: str) -> None:
    """Run the command, and kill it when it asks for `entity`, before that is done."""
    broker = line.namespaces[0]
    await broker.fault({"pause": {"on": "administer", "entity": entity}})
    process = await line.begin("topics", "sync")
    await broker.until(lambda state: state["paused"])
    process.kill()
    await process.communicate()
    await broker.fault({"resume": "all", "drop": True})


async def test_a_plan_changes_nothing_and_what_it_says_is_done_once(tmp_path):
    async with cloud(tmp_path, ["Persons", "Cars"]) as line:
        code, plan, _ = await line.sync("--dry-run")
        assert (code, [each["action"] for each in plan["actions"]]) == (0, ["create", "create"])
        code, out, err = await line.command("topics", "sync", "--dry-run")
        assert (code, out.splitlines(), err) == (
            0,
            [
                f"create: {topic('Cars')} in ServiceBus",
                f"create: {topic('Persons')} in ServiceBus",
                "2 to do, 0 as they should be; nothing was changed",
            ],
            "",
        )
        assert (await line.there(), await line.writes(), await line.placed()) == ([{}], 0, {})

        code, told, err = await line.sync()
        assert (code, told["done"], err) == (0, {"create": 2}, "")
        assert {name: found["subscriptions"] for name, found in (await line.there())[0].items()} == {
            topic("Persons"): ["sub1"],
            topic("Cars"): ["sub1"],
        }
        writes = await line.writes()

        code, told, err = await line.sync()
        assert (code, told["actions"], told["unchanged"], err) == (0, [], 2, "")
        assert await line.command("topics", "sync") == (0, "2 as they should be\n", "")
        assert await line.writes() == writes
        async with line.wiring() as wiring:
            found = await (await wiring.topics()).administrations["ServiceBus"].topics()
        assert {(each.ordered, each.partitioned, each.window_s, each.max_bytes) for each in found} == {
            (True, False, 3600.0, 5 * 1024**3)
        }


async def test_topics_of_many_tables_are_spread_evenly_and_stay_where_they_are(tmp_path):
    tables = [f"T{number:03}" for number in range(300)]
    async with cloud(tmp_path, tables, namespaces=2) as line:
        line.named(tables[:100])
        code, told, _ = await line.sync()
        assert (code, told["done"], [len(each) for each in await line.there()]) == (0, {"create": 100}, [50, 50])
        placed = await line.placed()

        line.named(tables)
        code, told, err = await line.sync()
        assert (code, told["done"], [len(each) for each in await line.there()]) == (0, {"create": 200}, [150, 150]), err
        assert (await line.placed()).items() >= placed.items()
        writes = await line.writes()

        code, told, _ = await line.sync()
        assert (code, told["unchanged"], await line.writes()) == (0, 300, writes)


async def test_changes_reach_topics_in_both_namespaces_once_these_are_there(tmp_path):
    async with cloud(tmp_path, ["Persons", "Cars"], namespaces=2) as line:
        await line.start("capture")
        await line.start("deliver")
        await line.commit(3, table="Persons")
        await line.commit(3, table="Cars")
        await until(lambda: asyncio.to_thread(lambda: "sluice topics sync" in line.log("deliver")))

        await line.start("sync_topics")
        await until(lambda: arrived(line), within_s=55)
        assert sorted((await line.placed()).values()) == ["ServiceBus", "ServiceBus2"]


async def arrived(line: Topics) -> bool:
    """Return whether each namespace has one topic and its three messages; wake parked streams."""
    found = await line.there()
    if not all(found):
        return False
    await line.command("resume", "*")
    states = [await each.state() for each in line.namespaces]
    counts = [
        [told["active"] for path, told in state["entities"].items() if path.endswith("/Subscriptions/sub1")]
        for state in states
    ]
    return counts == [[3], [3]]


@pytest.mark.parametrize("stopped_at", ["{topic}", "{topic}/subscriptions/sub1"])
async def test_a_topic_that_was_begun_is_completed_where_it_was_placed(tmp_path, stopped_at):
    async with cloud(tmp_path, ["Persons"]) as line:
        await killed_while_paused(line, stopped_at.format(topic=topic("Persons")))

        assert await line.placed() == {topic("Persons"): "ServiceBus"}
        [there] = await line.there()
        assert [found["subscriptions"] for found in there.values()] in ([], [[]])
        begun = "complete" if there else "create"
        with pytest.raises(TransientError) as refused:  # rather than to be discarded
            await line.send(topic("Persons"))
        assert refused.value.lasting

        code, told, _ = await line.sync()
        assert (code, told["done"]) == (0, {begun: 1})
        await line.send(topic("Persons"))
        assert (await line.there())[0][topic("Persons")]["subscriptions"] == ["sub1"]
        assert (await line.sync())[1]["unchanged"] == 1


async def test_two_at_once_do_the_same_once(tmp_path):
    tables = [f"T{number}" for number in range(12)]
    async with cloud(tmp_path, tables) as line:
        outcomes = await asyncio.gather(line.sync(), line.sync(), line.sync())
        assert [(code, err) for code, _, err in outcomes] == [(0, "")] * 3
        assert [found["subscriptions"] for found in (await line.there())[0].values()] == [["sub1"]] * 12
        assert (await line.sync())[1]["unchanged"] == 12


async def test_topics_of_another_deployment_are_left_alone_until_they_are_taken_over(tmp_path):
    async with cloud(tmp_path, ["Persons"]) as line:
        assert (await line.sync())[0] == 0
        writes = await line.writes()
        line.named(["Persons"], 'state { table = "other" }')

        code, told, err = await line.sync()
        assert (code, [each["finding"] for each in told["findings"]]) == (1, ["taken"])
        assert "1 unusable topics" in err
        code, told, _ = await line.sync("--prune", "--yes")
        assert (code, told["actions"], await line.writes()) == (1, [], writes)

        code, out, _ = await line.command("topics", "sync", "--adopt")
        assert (code, out.splitlines()[-1]) == (0, "1 taken over, 0 as they should be")
        assert (await line.sync())[0] == 0


async def test_pruning_deletes_what_was_made_here_and_is_not_needed_and_asks_before(tmp_path):
    async with cloud(tmp_path, ["Persons", "Cars", "Gone"]) as line:
        foreign = {"Topics": [{"Name": "foreign", "Subscriptions": [{"Name": "theirs"}]}]}
        control = line.namespaces[0].control
        async with line.session.post(f"{control}/entities", json=foreign) as answer:
            assert answer.status == 201
        assert (await line.sync())[1]["done"] == {"create": 3}
        line.named(["Persons", "Cars"])

        code, told, _ = await line.sync()
        assert (code, [each["finding"] for each in told["findings"]]) == (0, ["unused"])
        code, _, err = await line.sync("--prune")
        assert (code, "add --yes" in err, len((await line.there())[0])) == (2, True, 4)
        assert (await line.sync("--prune", "--dry-run"))[0] == 0

        code, told, _ = await line.sync("--prune", "--yes")
        assert (code, told["done"]) == (0, {"delete": 1})
        assert (await line.there())[0].keys() == {"foreign", topic("Persons"), topic("Cars")}


async def test_topics_of_a_source_that_is_away_are_neither_created_nor_deleted(tmp_path):
    async with cloud(tmp_path, ["Persons", "Gone"]) as line:
        assert (await line.sync())[1]["done"] == {"create": 2}
        line.named(["Persons", "New"])
        line.environment["SqlServer"] = "sqlserver://sa:x@127.0.0.1:1?database=TestDB&encrypt=disable"

        code, told, err = await line.sync("--prune", "--yes")
        assert (code, told["actions"], [each["finding"] for each in told["findings"]]) == (1, [], ["unused"])
        assert "sluice: 1 problems of sources (" in err
        assert told["troubles"][0].startswith("source sql1: ")
        assert (await line.there())[0].keys() == {topic("Persons"), topic("Gone")}


async def test_a_namespace_that_is_busy_is_waited_for_and_one_that_is_full_is_named(tmp_path):
    async with cloud(tmp_path, ["Persons", "Cars"]) as line:
        await line.namespaces[0].fault({"throttle": {"entity": topic("Cars"), "count": 2}})
        await line.namespaces[0].fault({"entity_limit": 3})
        code, told, err = await line.sync()
        assert (code, told["done"], told["left"]) == (1, {"create": 1}, 1)
        assert "the namespace is at its quota" in told["failures"][0]
        assert "sluice: 1 actions left (" in err

        await line.namespaces[0].fault({"entity_limit": 4})
        assert (await line.sync())[1]["done"] == {"create": 1}


async def test_an_unknown_authority_and_a_wrong_key_are_told_from_one_another(tmp_path):
    async with cloud(tmp_path, ["Persons"]) as line:
        usual = line.environment
        line.environment = {**usual, "SLUICE_CA_FILE": ""}
        code, _, err = await line.sync()
        assert (code, "--ca-file" in err) == (1, True)
        code, told, _ = await line.sync("--ca-file", usual["SLUICE_CA_FILE"], "--dry-run")
        assert (code, len(told["actions"])) == (0, 1)

        line.environment = {**usual, "ServiceBus": usual["ServiceBus"].replace("SAS_KEY_VALUE", "c2VjcmV0")}
        code, _, err = await line.sync()
        assert (code, "Azure Service Bus Data Owner" in err, "c2VjcmV0" in err) == (1, True, False)


@asynccontextmanager
async def identities() -> AsyncIterator[tuple[str, list[str]]]:
    """Serve tokens as Azure does inside an app; yield the address and the ids of the identities that were asked for."""
    asked: list[str] = []

    async def token(request: web.Request) -> web.Response:
        asked.append(request.query.get("client_id", ""))
        return web.json_response({"access_token": "t", "expires_on": "4102444800", "resource": "r", "token_type": "B"})

    application = web.Application()
    application.router.add_get("/token", token)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/token", asked
    finally:
        await runner.cleanup()


async def test_topics_are_made_by_an_identity_of_their_own_or_else_by_that_of_the_namespace(tmp_path):
    async with cloud(tmp_path, ["Persons"]) as line, identities() as (address, asked):
        line.environment |= {
            "ServiceBus": "",
            "ServiceBus__fullyQualifiedNamespace": "bus.servicebus.windows.net",
            "ServiceBus__clientId": "of-the-app",
            "IDENTITY_ENDPOINT": address,
            "IDENTITY_HEADER": "header",
        }
        code, _, err = await line.sync()  # the local broker takes no tokens
        assert (code, "Azure Service Bus Data Owner" in err) == (1, True)
        line.environment["TopicAdmin__clientId"] = "of-topics"
        assert (await line.sync())[0] == 1
        assert asked == ["of-the-app", "of-topics"]


async def test_the_label_of_a_topic_says_whose_it_is(tmp_path):
    async with cloud(tmp_path, ["Persons"]) as line:
        await line.sync()
        async with line.wiring() as wiring:
            topics = await wiring.topics()
            owner, _ = await topics.placements.load()
            [found] = await topics.administrations["ServiceBus"].topics()
        assert found.label is not None
        assert (found.label.owner, found.label.source, found.label.ready) == (owner, "sql1", True)
        assert label_of(found.label.text()) == found.label
