"""Rows on the wire: one encoder per list of column types, written out as Python so that a row costs one expression.

A benchmark reads a hundred thousand rows a second through the real driver; one call per value would make this server
the bottleneck.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from local.sqlserver import temporal
from local.sqlserver.errors import overflow
from local.sqlserver.sqltypes import MAX, Family, SqlType
from local.sqlserver.tds.values import INTEGER_FORMATS, packer, time_width

type RowEncoder = Callable[[Iterable[Sequence[Any]]], bytes]
_LENGTHS = [size.to_bytes(2, "little") for size in range(16_002)]
_BYTE_LENGTHS = [bytes([size]) for size in range(256)]
_BITS = (b"\1\0", b"\1\1")
_POINTER = b"\x10" + b"\0" * 24  # text pointer and time stamp of text, ntext and image


def encode_rows(kinds: tuple[SqlType, ...], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return ROW tokens; SqlError 8115 when a value does not fit its column's type."""
    try:
        return _encoder(kinds)(rows)
    except (struct.error, OverflowError) as why:
        raise overflow(target="int") from why


@cache
def _encoder(kinds: tuple[SqlType, ...]) -> RowEncoder:
    names: dict[str, Any] = {"L": _LENGTHS, "B": _BYTE_LENGTHS, "BITS": _BITS, "D": temporal.DAY, "chunked": chunked}
    names |= {"TEXT_HEAD": _POINTER, "U4": struct.Struct("<I").pack}
    parts = []
    for at, kind in enumerate(kinds):
        null = _null(kind)
        parts.append(f"{null!r} if a{at} is None else {_expression(kind, at, names)}")
    row = ",".join(f"a{at}" for at in range(len(kinds)))
    source = f"def encode(rows):\n    return b''.join([b''.join((b'\\xd1', {', '.join(parts)},)) for {row}, in rows])\n"
    exec(source, names)  # noqa: S102 - the text comes from this module alone
    encode: RowEncoder = names["encode"]
    return encode


def _null(kind: SqlType) -> bytes:
    if _is_chunked(kind):
        return b"\xff" * 8
    if kind.family is Family.VARIANT:
        return b"\0\0\0\0"
    if kind.name in {"text", "ntext", "image"}:
        return b"\0"
    return b"\xff\xff" if kind.family in {Family.TEXT, Family.BINARY} else b"\0"


def _is_chunked(kind: SqlType) -> bool:
    return kind.length == MAX or kind.family is Family.CLR


def _expression(kind: SqlType, at: int, names: dict[str, Any]) -> str:
    value = f"a{at}"
    if kind.name == "bit":
        return f"BITS[{value}]"
    if kind.family is Family.INTEGER:
        names[f"p{at}"] = struct.Struct("<B" + INTEGER_FORMATS[kind.name]).pack
        return f"p{at}({struct.calcsize('<' + INTEGER_FORMATS[kind.name])}, {value})"
    if kind.family is Family.VARIANT:
        return f"U4(len({value})) + {value}"
    if kind.name == "datetime2":
        unit = temporal.UNITS[kind.scale]
        width = time_width(kind.scale)
        clock = f"({value} % D{f' // {unit}' if unit > 1 else ''}).to_bytes({width}, 'little')"
        return f"{bytes([width + 3])!r} + {clock} + ({value} // D).to_bytes(3, 'little')"
    if kind.family in {Family.TEXT, Family.BINARY, Family.CLR}:
        return _sized(kind, at, names)
    names[f"p{at}"] = packer(kind)
    return f"B[len(e := p{at}({value}))] + e"


def _sized(kind: SqlType, at: int, names: dict[str, Any]) -> str:
    data = f"a{at}"
    if kind.family is Family.TEXT:
        names[f"p{at}"] = packer(kind)
        data = f"p{at}(a{at})"
    if _is_chunked(kind):
        return f"chunked({data})"
    if kind.name in {"text", "ntext", "image"}:
        return f"TEXT_HEAD + U4(len(e := {data})) + e"
    return f"L[len(e := {data})] + e"


def chunked(data: bytes) -> bytes:
    """Return a value in the partially length-prefixed form, as one chunk."""
    if not data:
        return b"\0" * 12
    return struct.pack("<QI", len(data), len(data)) + data + b"\0\0\0\0"
