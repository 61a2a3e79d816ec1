"""Reading the keys of one block, each by its type; whatever is wrong becomes a problem and the default stands in."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shared.settings import units
from shared.settings.hcl import Block, Value
from shared.settings.problems import Problems, did_you_mean


@dataclass(frozen=True, slots=True)
class Item:
    """A text of a list, and where it stands."""

    text: str
    line: int


class Reader:
    """The keys and blocks of one block; those that were never asked for are unknown, as `close` says."""

    def __init__(self, block: Block, problems: Problems) -> None:
        self.problems = problems
        self.labels = block.labels
        self.line = block.line
        self._block = block
        self._keys: set[str] = set()
        self._kinds: set[str] = set()

    def problem(
        self, message: str, *, key: str = "", line: int | None = None, value: object = "", hint: str = ""
    ) -> None:
        """Note a problem of `key`, or of the block itself."""
        found = self._block.values.get(key)
        self.problems.add(
            message,
            where=": ".join(part for part in (self._block.where, key) if part),
            line=line or (found.line if found else self.line),
            value="" if found and found.secret else value,
            hint=hint,
        )

    def given(self, key: str) -> bool:
        """Return whether the file says anything about `key`, be it wrong."""
        found = self._block.values.get(key)
        return found is not None and (found.data is not None or found.failed)

    def text(self, key: str, default: str = "", *, required: bool = False) -> str:
        """Return a text that is not empty; "" stands for a required one that is missing."""
        value = self._value(key)
        if value is None:
            if required and not self.given(key):
                self.problem(f"{key} is missing", hint=f'write {key} = "…"')
            return default
        if not isinstance(value.data, str) or not value.data:
            hint = "the app setting that it names is set to nothing" if value.secret else f'write {key} = "…"'
            self.problem("is empty" if value.data == "" else "is not a text", key=key, value=value.data, hint=hint)
            return default
        return value.data

    def secret(self, key: str, *, required: bool = False) -> str:
        """Return a text that no problem ever shows."""
        value = self._block.values.get(key)
        if value is not None:
            self._block.values[key] = Value(value.data, value.line, secret=True, failed=value.failed)
        return self.text(key, required=required)

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        """Return one of `known`."""
        word = self.text(key, default)
        if word in known:
            return word
        self.problem("is not known", key=key, value=word, hint=did_you_mean(word, known))
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        """Return whether a switch is on."""
        value = self._value(key)
        if value is None:
            return default
        if not isinstance(value.data, bool):
            self.problem("is neither true nor false", key=key, value=value.data, hint=f"write {key} = true")
            return default
        return value.data

    def seconds(self, key: str, default: float, *, low: float = 0.0, high: float = float("inf")) -> float:
        """Return a duration in seconds, within `low` and `high`, both inclusive."""
        return self._measured(key, units.seconds, default, (low, high), "s")

    def size(self, key: str, default: int, *, low: int = 1, high: float = float("inf")) -> int:
        """Return a size in bytes, within `low` and `high`, both inclusive."""
        return self._measured(key, units.size, default, (low, high), " bytes")

    def count(self, key: str, default: int, *, low: int = 1, high: float = float("inf")) -> int:
        """Return a whole number within `low` and `high`, both inclusive."""
        value = self._value(key)
        if value is None:
            return default
        if not isinstance(value.data, int) or isinstance(value.data, bool):
            self.problem("is not a whole number", key=key, value=value.data, hint=f"write {key} = {default}")
            return default
        return self._within(key, value.data, default, (low, high), "")

    def share(self, key: str, default: float) -> float:
        """Return a share of a whole, 0 to 1."""
        return self._measured(key, units.share, default, (0.0, 1.0), "")

    def items(self, key: str) -> list[Item]:
        """Return the texts of a list, without those that are none."""
        value = self._value(key)
        if value is None:
            return []
        if not isinstance(value.data, tuple):
            self.problem("must be a list", key=key, hint=f'write {key} = ["…", "…"]')
            return []
        texts: list[Item] = []
        for each in value.data:
            if each.failed:
                continue
            if isinstance(each.data, str) and each.data:
                texts.append(Item(each.data, each.line))
            else:
                hint = f'write {key} = ["…", "…"]'
                self.problem("holds something that is not a text", key=key, line=each.line, value=each.data, hint=hint)
        return texts

    def blocks(self, kind: str) -> Iterator["Reader"]:
        """Return a reader of each block of a kind; the caller closes it."""
        self._kinds.add(kind)
        return (Reader(block, self.problems) for block in self._block.blocks if block.kind == kind)

    def block(self, kind: str) -> "Reader":
        """Return a reader of the one block of a kind, an empty one when there is none; the caller closes it."""
        found = list(self.blocks(kind))
        for other in found[1:]:
            other.problem(f"a second {kind} block", hint="there is one at most")
        return found[0] if found else Reader(Block(kind, (), self.line, kind), self.problems)

    def close(self, labels: int = 0) -> None:
        """Note every key and block that was not asked for, and labels beyond the given number."""
        if len(self.labels) > labels:
            said = f"takes {labels or 'no'} label{'s' if labels > 1 else ''}"
            self.problem(said, hint=f"write {' '.join([self._block.kind, *['"…"'] * labels])} {{ … }}")
        for key, value in self._block.values.items():
            if key in self._kinds:
                self.problem(f"{key} is a block", key=key, hint=f"write {key} {{ … }}")
            elif key not in self._keys:
                self.problem("unknown key", key=key, line=value.line, hint=did_you_mean(key, self._keys))
        for block in self._block.blocks:
            where, line = block.where, block.line
            if block.kind in self._keys:
                self.problems.add(f"{block.kind} is a key", where=where, line=line, hint=f"write {block.kind} = …")
            elif block.kind not in self._kinds:
                hint = did_you_mean(block.kind, self._kinds)
                self.problems.add("unknown block", where=where, line=line, hint=hint)

    def _value(self, key: str) -> Value | None:
        """Return what the file says about a key, None when that is nothing or was already found to be wrong."""
        self._keys.add(key)
        value = self._block.values.get(key)
        return None if value is None or value.failed or value.data is None else value

    def _measured[N: (int, float)](
        self, key: str, parse: Callable[[str], N], default: N, bounds: tuple[float, float], unit: str
    ) -> N:
        value = self._value(key)
        if value is None:
            return default
        try:
            number = parse(str(value.data))
        except ValueError as error:
            self.problem("has no such form", key=key, value=value.data, hint=str(error))
            return default
        return self._within(key, number, default, bounds, unit)

    def _within[N: (int, float)](self, key: str, number: N, default: N, bounds: tuple[float, float], unit: str) -> N:
        low, high = bounds
        if low <= number <= high:
            return number
        allowed = f"at least {low:g}{unit}" if high == float("inf") else f"{low:g} to {high:g}{unit}"
        self.problem("is out of bounds", key=key, value=f"{number:g}{unit}", hint=allowed)
        return default
