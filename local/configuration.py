"""What a `sluice.hcl` says, read the way it works on this machine."""

from collections.abc import Mapping
from pathlib import Path

from shared.errors import InvalidConfigError
from shared.settings import load
from shared.settings.load import FILE_SETTING
from shared.settings.model import Settings
from shared.settings.names import CAPTURE_SCHEDULE, INGEST_QUEUE

EVERY_SECOND = "* * * * * *"
"""How often capture looks here, where neither the file nor an app setting says something else."""

_BROKER_TO_COME = "Endpoint=sb://127.0.0.1;SharedAccessKeyName=none;SharedAccessKey=none;UseDevelopmentEmulator=true"


def read(file: Path, environ: Mapping[str, str]) -> Settings:
    """Return the settings; the broker, which is started from them, need not be there yet.

    Raises:
        InvalidConfigError: with every problem.
    """
    environ = {"ServiceBus": _BROKER_TO_COME, **environ}
    try:
        return load(file, {CAPTURE_SCHEDULE: EVERY_SECOND, **environ})
    except InvalidConfigError:
        return load(file, environ)  # it has a schedule of its own, or other problems


def app_settings(settings: Settings) -> dict[str, str]:
    """Return the app settings by which the function app works with these settings: its file and its bindings."""
    return {
        FILE_SETTING: str(Path(settings.file).absolute()),
        INGEST_QUEUE: settings.ingest_queue,
        CAPTURE_SCHEDULE: settings.capture.schedule,
    }
