"""The timers: one per shard, each an instance group of its own."""

import azure.functions as func

from shared.wiring import Wiring


def blueprint(wiring: Wiring) -> func.Blueprint:
    """Register one timer per shard: `capture`, `capture_1`, …; the schedule is the setting CAPTURE_SCHEDULE."""
    made = func.Blueprint()
    for shard in range(wiring.settings.capture.shards):
        _register(made, wiring, shard)
    return made


def _register(made: func.Blueprint, wiring: Wiring, shard: int) -> None:
    @made.function_name("capture" if shard == 0 else f"capture_{shard}")
    @made.timer_trigger(arg_name="timer", schedule="%CAPTURE_SCHEDULE%", use_monitor=False)
    async def capture(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the binding fills it
        await (await wiring.capture(shard)).tick()
