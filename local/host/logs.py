"""The log of a host, on standard error: each record with the invocation it belongs to."""

import logging
import time
from collections.abc import Mapping

import azure_functions_runtime as library

from shared.telemetry import fields

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}


def configure() -> None:
    """Log at INFO, as the worker does; the Azure libraries, which describe every frame, at WARNING."""
    handler = logging.StreamHandler()
    formatter = logging.Formatter(
        "[%(asctime)s.%(msecs)03dZ] %(levelname)s %(name)s%(invocation)s %(message)s%(fields)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    handler.addFilter(_complete)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("azure").setLevel(logging.WARNING)


def set_levels(levels: Mapping[str, str]) -> None:
    """Apply `logging.logLevel` of `host.json`: `default`, `Host`, `Function`, `Function.<name>`.

    Raises:
        ValueError: a level is not one of Azure's.
    """
    for category, level in levels.items():
        if level.lower() not in _LEVELS:
            message = f"'{level}' is not a log level: {', '.join(_LEVELS)}"
            raise ValueError(message)
        logging.getLogger("" if category == "default" else category).setLevel(_LEVELS[level.lower()])


def _complete(record: logging.LogRecord) -> bool:
    record.fields = "".join(f" {name}={value}" for name, value in fields(record).items())
    invocation = library.invocation_id_cv.get()
    record.invocation = f" ({invocation})" if invocation else ""
    return True
