"""What is wrong with a configuration, collected so that everything can be said at once."""

import difflib
import re
from collections.abc import Iterable

from shared.errors import ConfigError, InvalidConfigError

_TELLING = re.compile(r"://|;|@|\{|password|pwd|secret|key", re.IGNORECASE)


class Problems:
    """The problems of one configuration, in the order of its file; no message ever shows what may be a secret."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: list[tuple[float, ConfigError]] = []

    def add(self, message: str, *, where: str = "", line: int = 1, value: object = "", hint: str = "") -> None:
        """Note a problem of the file at `where`, `block "label": key`."""
        place = f"{self._file}:{line}: {where}" if where else f"{self._file}:{line}"
        shown = "" if _TELLING.search(str(value)) else str(value)
        self._found.append((line, ConfigError(message, where=place, value=shown, hint=hint)))

    def add_setting(self, name: str, message: str, *, hint: str = "") -> None:
        """Note a problem of an app setting; its value is never shown."""
        self._found.append((float("inf"), ConfigError(message, where=f"app setting {name}", hint=hint)))

    def check(self) -> None:
        """Raise what was found.

        Raises:
            InvalidConfigError: there is at least one problem.
        """
        if self._found:
            raise self.error()

    def error(self) -> InvalidConfigError:
        """Return what was found, to raise."""
        return InvalidConfigError(tuple(problem for _, problem in sorted(self._found, key=lambda found: found[0])))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint: the known word that is like `word`, else all of them."""
    words = sorted(known)
    alike = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {alike[0]}?" if alike else f"known: {', '.join(words) or 'none'}"
