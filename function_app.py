"""The function app. It always loads: where settings or machine cannot work, only health is there, and says why."""

import os

import azure.functions as func

from functions import capture, deliver, health, sync_topics
from shared import telemetry
from shared.errors import ConfigError, InvalidConfigError
from shared.settings import load
from shared.settings.bindings import check_bindings
from shared.wiring import Wiring

telemetry.configure()
app = func.FunctionApp()
try:
    settings = load()
    check_bindings(settings, os.environ)
    wiring = Wiring(settings)
    wiring.check_machine()
except (ConfigError, InvalidConfigError) as why:
    problems = [str(problem) for problem in (why.problems if isinstance(why, InvalidConfigError) else (why,))]

    async def reasons() -> list[str]:
        """Return what is wrong with the settings or the machine."""
        return problems

    app.register_functions(health.blueprint(reasons))
else:
    app.register_functions(health.blueprint(wiring.reasons))
    app.register_functions(capture.blueprint(wiring))
    app.register_functions(deliver.blueprint(wiring))
    app.register_functions(sync_topics.blueprint(wiring))
