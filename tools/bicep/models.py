"""The shape of a resource: which properties it has, and of which type, as Microsoft's Python packages describe it.

Two generations of packages are read: those whose classes have a field for each property, and the older ones with a map
of dotted paths.
"""

import datetime as dt
import importlib
import sys
import types
import typing
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Any

STRING, INTEGER, BOOLEAN, OBJECT, ARRAY, ANY = "string", "int", "bool", "object", "array", "any"
_OLD = {"str": STRING, "int": INTEGER, "float": INTEGER, "long": INTEGER, "bool": BOOLEAN, "iso-8601": STRING}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A `string`, `int` or `bool`, or `any`; `values` are all that it may be, unless empty; or it is a duration."""

    kind: str
    values: frozenset[str] = frozenset()
    duration: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array."""

    item: "Shape"


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with keys of one's own."""

    value: "Shape"


@dataclass(frozen=True, slots=True)
class Model:
    """An object with known properties, those of a class of the package or of `own`."""

    described: type | None = None
    own: dict[str, "Field"] = field(default_factory=dict, hash=False)

    @property
    def fields(self) -> "dict[str, Field]":
        """The properties by the name that a template writes."""
        return self.own if self.described is None else _fields(self.described)


type Shape = Scalar | ListOf | MapOf | Model


@dataclass(frozen=True, slots=True)
class Field:
    """A property."""

    shape: Shape
    read_only: bool = False
    required: bool = False


_SCALARS: dict[Any, Scalar] = {
    bool: Scalar(BOOLEAN),
    int: Scalar(INTEGER),
    float: Scalar(INTEGER),
    str: Scalar(STRING),
    dt.datetime: Scalar(STRING),
    dt.timedelta: Scalar(STRING, duration=True),
}


def model(spec: str) -> Model:
    """Return the shape that `module:Class` describes."""
    module, _, name = spec.partition(":")
    return Model(getattr(importlib.import_module(module), name))


@cache
def _fields(described: type) -> dict[str, Field]:
    if hasattr(described, "_attribute_map"):
        return _old_fields(described)
    typing.cast("Any", described).__new__(described)  # the class learns its fields when it is first made
    package = sys.modules[described.__module__.rpartition(".")[0]]
    hints = typing.get_type_hints(described, localns={"_models": package, "JSON": dict})
    found = {}
    for name, each in typing.cast("Any", described)._attr_to_rest_field.items():  # noqa: SLF001 - the only place that says it
        visibility = each._visibility  # noqa: SLF001
        hint = hints.get(name, Any)
        required = type(None) not in typing.get_args(hint) and hint is not Any
        found[each._rest_name] = Field(_shape(hint), visibility == ["read"], required)  # noqa: SLF001
    return found


def _shape(hint: Any) -> Shape:
    options = [each for each in typing.get_args(hint) if each is not type(None)]
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        named = [each for each in options if isinstance(each, type) and issubclass(each, Enum)]
        if named:
            return Scalar(STRING, frozenset(str(value.value) for value in named[0]))
        return _shape(options[0]) if len(options) == 1 else Scalar(ANY)
    if origin in {list, dict}:
        inner = _shape(options[-1])
        return ListOf(inner) if origin is list else MapOf(inner)
    known = isinstance(hint, type) and hint.__module__.endswith("._models")
    return Model(hint) if known else _SCALARS.get(hint, Scalar(ANY))


def _old_fields(described: Any) -> dict[str, Field]:
    package = sys.modules[described.__module__.rpartition(".")[0]]
    root = Model()
    for name, entry in described._attribute_map.items():  # noqa: SLF001 - the only place that says it
        rules = described._validation.get(name, {})  # noqa: SLF001
        *groups, last = entry["key"].replace("\\.", "\0").split(".")
        place = root
        for group in groups:
            inner = place.own.setdefault(group, Field(Model())).shape
            place = inner if isinstance(inner, Model) else Model()
        shape = _old_shape(entry["type"], package)
        own = Field(shape, bool(rules.get("readonly")), bool(rules.get("required")))
        place.own[last.replace("\0", ".")] = own
    return root.own


def _old_shape(text: str, package: Any) -> Shape:
    if text.startswith("["):
        return ListOf(_old_shape(text[1:-1], package))
    if text.startswith("{"):
        return MapOf(_old_shape(text[1:-1], package))
    if text == "duration":
        return Scalar(STRING, duration=True)
    if text in _OLD:
        return Scalar(_OLD[text])
    described = getattr(package, text, None)
    return Scalar(ANY) if described is None else Model(described)
