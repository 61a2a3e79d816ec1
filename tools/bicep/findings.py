"""What a check has to say."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong, in `path` at `line` (from 1), by the rule of that name."""

    path: Path
    line: int
    rule: str
    message: str

    def show(self, root: Path) -> str:
        """Return `file:line: rule: message`, the file as seen from `root`."""
        path = self.path.relative_to(root) if self.path.is_relative_to(root) else self.path
        return f"{path}:{self.line}: {self.rule}: {self.message}"
