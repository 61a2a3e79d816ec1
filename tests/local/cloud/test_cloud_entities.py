"""The queues and topics of a configuration, on the real broker."""

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from local.cloud import running
from local.entities import config, entities
from shared.settings.model import AzureSettings, Settings, SqlServerSettings, TableSettings

BUS = AzureSettings(connection_string="Endpoint=sb://127.0.0.1")


def table(schema: str, name: str) -> TableSettings:
    return TableSettings(schema, name, 1.0, 30.0)


def database(name: str, *tables: TableSettings) -> SqlServerSettings:
    return SqlServerSettings(name=name, odbc="", database="TestDB", server="127.0.0.1", tables=tables)


def test_there_is_a_topic_per_table_and_both_queues():
    settings = Settings(
        sources=(
            database("sql1", table("dbo", "Persons"), table("sales", "Orders")),
            database("sql2", table("dbo", "A")),
        ),
        outputs=(),
        bus=BUS,
        state=BUS,
        ingest_queue="in",
        rejected_queue="out",
    )

    (namespace,) = entities(settings)["UserConfig"]["Namespaces"]

    assert [topic["Name"] for topic in namespace["Topics"]] == [
        "sql1.testdb.persons.events",
        "sql1.testdb.sales.orders.events",
        "sql2.testdb.a.events",
    ]
    ingest, rejected = namespace["Queues"]
    assert (ingest["Name"], rejected["Name"]) == ("in", "out")
    assert ingest["Properties"] == {
        "DeadLetteringOnMessageExpiration": False,
        "LockDuration": "PT1M",
        "MaxDeliveryCount": 100,
        "RequiresDuplicateDetection": False,
        "RequiresSession": True,
    }


async def test_the_broker_has_sessions_on_the_ingest_queue_and_drops_duplicates_on_topics(tmp_path):
    async with (
        running(("broker",), tmp_path, entities=config(["sql1.testdb.cars.events"])) as cloud,
        ServiceBusClient.from_connection_string(cloud.settings["ServiceBus"]) as bus,
        bus.get_queue_sender("ingest-queue") as ingest,
        bus.get_topic_sender("sql1.testdb.cars.events") as topic,
    ):
        twice = [ServiceBusMessage("x", session_id="s", message_id="same")] * 2
        await ingest.send_messages(twice)
        await topic.send_messages(twice)

        async with bus.get_queue_receiver("ingest-queue", session_id="s") as session:
            assert len(await session.receive_messages(2, max_wait_time=5)) == 2
        async with bus.get_subscription_receiver("sql1.testdb.cars.events", "sub1") as subscription:
            assert len(await subscription.receive_messages(1, max_wait_time=5)) == 1
            assert not await subscription.receive_messages(1, max_wait_time=0.2)


async def test_a_broker_that_was_killed_is_reached_with_the_same_settings(tmp_path):
    async with running(("broker",), tmp_path) as cloud:
        connection = cloud.settings["ServiceBus"]

        await cloud.part("broker").kill()
        await cloud.part("broker").restart()

        assert cloud.settings["ServiceBus"] == connection
        async with (
            ServiceBusClient.from_connection_string(connection) as bus,
            bus.get_queue_sender("rejected") as sender,
        ):
            await sender.send_messages(ServiceBusMessage("x"))
