"""Route templates of HTTP triggers, in the manner of ASP.NET: `orders/{id:int}`, `{name?}`, `{*rest}`.

Source: https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-constraints
"""

import re
from dataclasses import dataclass
from typing import Self

_PARAMETER = re.compile(
    r"\{(?P<star>\*{0,2})(?P<name>\w+)(?P<constraints>(?::(?:[^{}]|\{\d+(?:,\d*)?\})+?)*)(?P<optional>\??)\}"
)
_SIMPLE = {
    "int": r"[-+]?\d{1,10}",
    "long": r"[-+]?\d{1,19}",
    "bool": r"(?i:true|false)",
    "alpha": r"[A-Za-z]+",
    "decimal": r"[-+]?\d+(?:\.\d+)?",
    "double": r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?",
    "guid": r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}
_WITH_ARGUMENT = {
    "minlength": r".{{{},}}",
    "maxlength": r".{{0,{}}}",
    "length": r".{{{}}}",
}


@dataclass(frozen=True, slots=True)
class Route:
    """A template; of several that match, the one with the lowest `rank` wins: literals before parameters."""

    template: str
    rank: tuple[int, ...]
    _pattern: re.Pattern[str]
    _checks: tuple[tuple[str, re.Pattern[str]], ...]

    @classmethod
    def parse(cls, template: str) -> Self:
        """Parse a template.

        Raises:
            ValueError: it uses what is not supported.
        """
        segments = [segment for segment in template.strip("/").split("/") if segment]
        patterns: list[str] = []
        ranks: list[int] = []
        checks: list[tuple[str, re.Pattern[str]]] = []
        for number, segment in enumerate(segments):
            match = _PARAMETER.fullmatch(segment)
            if match is None:
                if "{" in segment or "}" in segment:
                    message = f"route '{template}': '{segment}' is not supported by the local host"
                    raise ValueError(message)
                patterns.append(("/" if number else "") + re.escape(segment))
                ranks.append(0)
                continue
            last = number == len(segments) - 1
            if (match["star"] or match["optional"]) and not last:
                message = f"route '{template}': '{segment}' must be the last segment"
                raise ValueError(message)
            constraints = [text for text in _split(match["constraints"]) if text]
            checks.extend((match["name"], _constraint(template, text)) for text in constraints)
            part = ("/" if number else "") + f"(?P<{match['name']}>{'.*' if match['star'] else '[^/]+'})"
            patterns.append(f"(?:{part})?" if match["star"] or match["optional"] else part)
            ranks.append(3 if match["star"] else 1 if constraints else 2)
        return cls(template, tuple(ranks), re.compile("".join(patterns), re.IGNORECASE), tuple(checks))

    def match(self, path: str) -> dict[str, str] | None:
        """Return the route parameters of a path without slashes around it, None if it does not match."""
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        parameters = {name: value for name, value in found.groupdict().items() if value is not None}
        if all(name not in parameters or check.fullmatch(parameters[name]) for name, check in self._checks):
            return parameters
        return None


def _split(constraints: str) -> list[str]:
    return re.split(r":(?![^()]*\))", constraints)


def _constraint(template: str, text: str) -> re.Pattern[str]:
    if text in _SIMPLE:
        return re.compile(_SIMPLE[text])
    call = re.fullmatch(r"(\w+)\((.*)\)", text)
    if call and call[1] == "regex":
        return re.compile(f".*(?:{call[2]}).*")
    if call and call[1] in _WITH_ARGUMENT and re.fullmatch(r"\d+(,\d+)?", call[2]):
        return re.compile(_WITH_ARGUMENT[call[1]].format(call[2]))
    message = f"route '{template}': the constraint '{text}' is not supported by the local host"
    raise ValueError(message)
