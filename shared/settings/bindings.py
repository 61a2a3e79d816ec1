"""The app settings that the triggers' bindings read by themselves, before any of our code runs."""

from collections.abc import Mapping

from shared.settings import connections
from shared.settings.model import Settings
from shared.settings.names import CAPTURE_SCHEDULE, INGEST_QUEUE
from shared.settings.problems import Problems


def check_bindings(settings: Settings, environ: Mapping[str, str]) -> None:
    """See that every setting a binding names is there; `load` has seen that they agree with the file.

    Raises:
        InvalidConfigError: with each one that is missing.
    """
    problems = Problems(settings.file)
    wanted = {INGEST_QUEUE: settings.ingest_queue, CAPTURE_SCHEDULE: settings.capture.schedule}
    for name, value in wanted.items():
        if not environ.get(name):
            problems.add_setting(name, "is not set, and the trigger reads it", hint=f"set it to {value!r}")
    bus = connections.SERVICE_BUS
    if not environ.get(bus) and not environ.get(f"{bus}__fullyQualifiedNamespace"):
        hint = f"set it to the file's connection string of the ingest queue, or set {bus}__fullyQualifiedNamespace"
        problems.add_setting(bus, "is not set, and the trigger reads it", hint=hint)
    problems.check()
