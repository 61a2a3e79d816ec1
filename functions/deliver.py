"""The ingest queue's trigger: one pack of one stream at a time, each settled alone."""

import azure.functions as func

from shared.deliver import Incoming
from shared.wiring import Wiring


def blueprint(wiring: Wiring) -> func.Blueprint:
    """Register `deliver` on the queue that the setting INGEST_QUEUE names.

    Cardinality one: the only mode in which many sessions run side by side and each message is settled alone. The body
    is declared binary, since text is decoded with losses before it gets here.
    """
    made = func.Blueprint()

    @made.function_name("deliver")
    @made.service_bus_queue_trigger(
        arg_name="message",
        queue_name="%INGEST_QUEUE%",
        connection="ServiceBus",
        is_sessions_enabled=True,
        cardinality=func.Cardinality.ONE,
        data_type=func.DataType.BINARY,
    )
    async def deliver(message: func.ServiceBusMessage) -> None:
        incoming = Incoming(
            body=message.get_body(),
            content_type=message.content_type or "",
            id=message.message_id or "",
            session=message.session_id or "",
            subject=message.label or "",
            correlation_id=message.correlation_id,
            properties=message.application_properties or {},
        )
        await (await wiring.deliver()).deliver(incoming)

    return made
