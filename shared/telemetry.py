"""Logging: constant texts with fields, as text or JSON lines; levels and format from the environment."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

LEVEL_SETTING = "SLUICE_LOG_LEVEL"
FORMAT_SETTING = "SLUICE_LOG_FORMAT"
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields(record: logging.LogRecord) -> dict[str, object]:
    """Return what was passed as `extra`, in the order in which it was passed."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class TextFormatter(logging.Formatter):
    """`2026-11-21T07:28:06.123Z INFO captured stream=sql1/TestDB/dbo/Persons count=2`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; values with spaces are quoted, an exception follows on lines of its own."""
        line = f"{_time(record)} {record.levelname} {_told(record)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time`, `level`, `message`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {"time": _time(record), "level": record.levelname, "message": record.getMessage()}
        entry |= fields(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


FORMATTERS: Mapping[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


def configure(environ: Mapping[str, str] = os.environ) -> None:
    """Set the level and form of the product's log.

    Lines go to standard error, or, inside a Functions worker, through the handlers that the host put on the root
    logger: those pass on the text alone, so the fields are put into it.
    """
    logging.getLogger("azure").setLevel(logging.WARNING)  # the SDKs log every request
    logger = logging.getLogger("sluice")
    level, form = environ.get(LEVEL_SETTING, "info").lower(), environ.get(FORMAT_SETTING, "text").lower()
    logger.setLevel(LEVELS.get(level, logging.INFO))
    if logger.handlers:
        return
    handler: logging.Handler = _ToHost() if logging.getLogger().handlers else logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS.get(form, TextFormatter)())
    logger.addHandler(handler)
    logger.propagate = False
    for setting, value, known in ((LEVEL_SETTING, level, LEVELS), (FORMAT_SETTING, form, FORMATTERS)):
        if value not in known:
            logger.warning("unknown setting", extra={"setting": setting, "value": value, "known": ",".join(known)})


class _ToHost(logging.Handler):
    """Passes records on to the handlers of the root logger, which show time and level themselves."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record) if isinstance(self.formatter, JsonFormatter) else _told(record)
        standard = {name: value for name, value in vars(record).items() if name in _STANDARD}
        logging.getLogger().handle(logging.makeLogRecord(standard | {"msg": text, "args": None}))


def _told(record: logging.LogRecord) -> str:
    shown = " ".join(f"{name}={_plain(value)}" for name, value in fields(record).items())
    return f"{record.getMessage()}{' ' if shown else ''}{shown}"


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=\n') else text
