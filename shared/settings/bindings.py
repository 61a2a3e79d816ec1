"""The app settings that the triggers' bindings read by themselves, before any of our code runs."""

from collections.abc import Mapping

from shared.errors import ConfigError, InvalidConfigError
from shared.settings.model import Settings
from shared.settings.names import CAPTURE_SCHEDULE, INGEST_QUEUE


def check_bindings(settings: Settings, environ: Mapping[str, str]) -> None:
    """See that every setting a binding names is there; `load` has seen that they agree with the file.

    Raises:
        InvalidConfigError: with each one that is missing.
    """
    wanted = {INGEST_QUEUE: settings.ingest_queue, CAPTURE_SCHEDULE: settings.capture.schedule}
    missing = tuple(
        ConfigError("is not set, and the trigger reads it", where=f"app setting {name}", hint=f"set it to {value!r}")
        for name, value in wanted.items()
        if not environ.get(name)
    )
    if missing:
        raise InvalidConfigError(missing)
