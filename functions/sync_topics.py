"""The timer that creates the topics of new streams, with an identity of its own."""

import azure.functions as func

from shared.wiring import Wiring


def blueprint(wiring: Wiring) -> func.Blueprint:
    """Register `sync_topics`, unless it is switched off or no output has topics."""
    made = func.Blueprint()
    topics = wiring.settings.topics
    if not topics.sync or not any(output.namespaces for output in wiring.settings.outputs):
        return made

    @made.function_name("sync_topics")
    @made.timer_trigger(arg_name="timer", schedule=topics.schedule, use_monitor=False)
    async def sync_topics(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding fills it
        await (await wiring.topics()).run()

    return made
