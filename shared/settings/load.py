"""Finding and loading the configuration file, in whichever of its shapes."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from shared.errors import ConfigError, InvalidConfigError
from shared.settings import dstream, hcl, native
from shared.settings.model import Settings
from shared.settings.problems import Problems
from shared.settings.reading import Reader

FILE_SETTING = "SLUICE_CONFIG"
FILES = ("sluice.hcl", "dstream.hcl")
_APP = Path(__file__).parents[2]


def load(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return what the configuration file and the app settings beside it say.

    The file is `file`, else the one `SLUICE_CONFIG` names, else `sluice.hcl` or `dstream.hcl` in the working
    directory, else beside `function_app.py`. A `dstream.hcl` of 2024, which names no bus and no storage, may leave
    those of the result empty.

    Raises:
        InvalidConfigError: with every problem; none of them shows a secret.
    """
    path = file or find(environ)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = f"create it, or name another one in {FILE_SETTING}"
        raise InvalidConfigError((ConfigError("there is no such file", where=str(path), hint=hint),)) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or "cannot be read"
        raise InvalidConfigError(
            (ConfigError(reason, where=str(path), hint="it must be a readable text file"),)
        ) from None
    problems = Problems(str(path))
    root = hcl.parse(text, environ, problems)
    settings = _read(root, environ, problems)
    problems.check()
    return replace(settings, file=str(path))


def _read(root: hcl.Block, environ: Mapping[str, str], problems: Problems) -> Settings:
    kinds = {block.kind for block in root.blocks}
    reader = Reader(root, problems)
    if kinds & {"ingester", "router", "publisher"}:
        return dstream.read_2025(reader, environ, problems)
    if "tables" in kinds or root.values.keys() & {"db_type", "db_connection_string"}:
        return dstream.read_2024(reader, environ, problems)
    return native.read(reader, environ, problems)


def find(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the configuration file that is there, else the one that is expected."""
    named = environ.get(FILE_SETTING)
    if named:
        return Path(named) if Path(named).exists() else _APP / named
    places = [folder / name for folder in (Path(), _APP) for name in FILES]
    return next((place for place in places if place.exists()), places[0])
