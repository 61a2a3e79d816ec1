"""The AMQP 1.0 type system: bytes to Python values, and values to bytes.

Encoders return finished bytes and are composed by nesting: `list_of(uint(1), symbol("x"))`. What has to be repeated to
a client with its exact AMQP type is never decoded: `skip` finds its end, and the slice is sent back as it came.

Source:
    https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-types-v1.0-os.html
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from uuid import UUID

NULL = b"\x40"
TRUE = b"\x41"
FALSE = b"\x42"
EMPTY_LIST = b"\x45"


class CodecError(ValueError):
    """The bytes are not AMQP 1.0."""


class Symbol(str):
    """An AMQP symbol: ASCII text from a fixed vocabulary."""

    __slots__ = ()


class Described(NamedTuple):
    """A value with a descriptor that says what it is."""

    descriptor: Any
    value: Any


type _Reader = Callable[[bytes, int], tuple[Any, int]]


def decode(data: bytes, start: int = 0) -> tuple[Any, int]:
    """Return the value that begins at `start`, and where it ends.

    Symbols come as `Symbol`, described values as `Described`, timestamps as UTC milliseconds, arrays as lists, decimals
    as their raw bytes.

    Raises:
        CodecError: the bytes are cut short or not AMQP.
    """
    try:
        return _READERS[data[start]](data, start + 1)
    except (IndexError, struct.error, UnicodeDecodeError, RecursionError, TypeError) as why:
        message = f"not an AMQP value at byte {start}: {why}"
        raise CodecError(message) from why


def skip(data: bytes, start: int) -> int:
    """Return where the value that begins at `start` ends, without decoding it."""
    try:
        code = data[start]
        if code == 0:
            return skip(data, skip(data, start + 1))
        width = _WIDTHS[code >> 4]
        if code >= 0xA0:
            end = start + 1 + width + int.from_bytes(data[start + 1 : start + 1 + width])
        else:
            end = start + 1 + width
    except (IndexError, KeyError, RecursionError) as why:
        message = f"not an AMQP value at byte {start}"
        raise CodecError(message) from why
    if end > len(data):
        message = f"the AMQP value at byte {start} is cut short"
        raise CodecError(message)
    return end


def raw_items(data: bytes, start: int = 0) -> list[bytes]:
    """Return the encoded items of the (described) list or map that begins at `start`, as they stand.

    Raises:
        CodecError: there is neither.
    """
    if data[start : start + 1] == b"\x00":
        start = skip(data, start + 1)
    try:
        code = data[start]
        if code == 0x45:
            return []
        width = _COMPOUND_WIDTHS[code]
        position = start + 1 + 2 * width
        count = int.from_bytes(data[position - width : position])
    except (IndexError, KeyError) as why:
        message = f"a list or a map was expected at byte {start}"
        raise CodecError(message) from why
    items = []
    for _ in range(count):
        end = skip(data, position)
        items.append(data[position:end])
        position = end
    return items


def raw_pairs(data: bytes, start: int = 0) -> dict[bytes, bytes]:
    """Return the encoded keys and values of the (described) map that begins at `start`; none for a null."""
    if not data or data[start] == 0x40:
        return {}
    items = raw_items(data, start)
    return dict(zip(items[::2], items[1::2], strict=False))


# Width in bytes: of the value for the fixed classes 4x to 9x, of the size field for the variable ones Ax to Fx.
_WIDTHS = {4: 0, 5: 1, 6: 2, 7: 4, 8: 8, 9: 16, 10: 1, 11: 4, 12: 1, 13: 4, 14: 1, 15: 4}

_COMPOUND_WIDTHS = {0xC0: 1, 0xC1: 1, 0xD0: 4, 0xD1: 4}


def _fixed(layout: str) -> _Reader:
    unpack, width = struct.Struct(layout).unpack_from, struct.calcsize(layout)

    def read(data: bytes, at: int) -> tuple[Any, int]:
        return unpack(data, at)[0], at + width

    return read


def _constant(value: Any) -> _Reader:
    return lambda _, at: (value, at)


def _sliced(data: bytes, start: int, size: int) -> bytes:
    piece = data[start : start + size]
    if len(piece) != size:
        message = f"{size} bytes were announced at byte {start}, {len(piece)} are there"
        raise CodecError(message)
    return piece


def _raw(width: int, convert: Callable[[bytes], Any]) -> _Reader:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        return convert(_sliced(data, at, width)), at + width

    return read


def _short(convert: Callable[[bytes], Any]) -> _Reader:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        size = data[at]
        return convert(_sliced(data, at + 1, size)), at + 1 + size

    return read


def _long(convert: Callable[[bytes], Any]) -> _Reader:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        size = int.from_bytes(_sliced(data, at, 4))
        return convert(_sliced(data, at + 4, size)), at + 4 + size

    return read


def _items(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(count):
        item, at = _READERS[data[at]](data, at + 1)
        items.append(item)
    return items, at


def _list8(data: bytes, at: int) -> tuple[Any, int]:
    return _items(data, at + 2, data[at + 1])


def _list32(data: bytes, at: int) -> tuple[Any, int]:
    return _items(data, at + 8, int.from_bytes(_sliced(data, at + 4, 4)))


def _pairs(items: list[Any], end: int) -> tuple[dict[Any, Any], int]:
    return dict(zip(items[::2], items[1::2], strict=False)), end


def _map8(data: bytes, at: int) -> tuple[Any, int]:
    return _pairs(*_list8(data, at))


def _map32(data: bytes, at: int) -> tuple[Any, int]:
    return _pairs(*_list32(data, at))


def _elements(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    descriptor = None
    code, at = data[at], at + 1
    described = code == 0
    if described:
        descriptor, at = decode(data, at)
        code, at = data[at], at + 1
    read, items = _READERS[code], []
    if count > len(
        data
    ):  # elements of no bytes at all are legal, and would let a few bytes ask for any amount of memory
        message = f"an array of {count} elements in {len(data)} bytes"
        raise CodecError(message)
    for _ in range(count):
        item, at = read(data, at)
        items.append(Described(descriptor, item) if described else item)
    return items, at


def _array8(data: bytes, at: int) -> tuple[Any, int]:
    return _elements(data, at + 2, data[at + 1])


def _array32(data: bytes, at: int) -> tuple[Any, int]:
    return _elements(data, at + 8, int.from_bytes(_sliced(data, at + 4, 4)))


def _described(data: bytes, at: int) -> tuple[Any, int]:
    descriptor, at = _READERS[data[at]](data, at + 1)
    value, at = _READERS[data[at]](data, at + 1)
    return Described(descriptor, value), at


def _unknown(_: bytes, at: int) -> tuple[Any, int]:
    message = f"an unknown constructor at byte {at - 1}"
    raise CodecError(message)


def _text(piece: bytes) -> str:
    return piece.decode("utf-8")


def _symbol(piece: bytes) -> Symbol:
    return Symbol(piece.decode("ascii"))


def _uuid(piece: bytes) -> UUID:
    return UUID(bytes=piece)


_KNOWN: dict[int, _Reader] = {
    0x00: _described,
    0x40: _constant(None),
    0x41: _constant(True),  # noqa: FBT003 - the value of the type, not a switch
    0x42: _constant(False),  # noqa: FBT003 - the value of the type, not a switch
    0x43: _constant(0),
    0x44: _constant(0),
    0x45: lambda _, at: ([], at),
    0x50: _fixed(">B"),
    0x51: _fixed(">b"),
    0x52: _fixed(">B"),
    0x53: _fixed(">B"),
    0x54: _fixed(">b"),
    0x55: _fixed(">b"),
    0x56: _fixed(">?"),
    0x60: _fixed(">H"),
    0x61: _fixed(">h"),
    0x70: _fixed(">I"),
    0x71: _fixed(">i"),
    0x72: _fixed(">f"),
    0x73: _raw(4, lambda piece: piece.decode("utf-32-be")),
    0x74: _raw(4, bytes),
    0x80: _fixed(">Q"),
    0x81: _fixed(">q"),
    0x82: _fixed(">d"),
    0x83: _fixed(">q"),
    0x84: _raw(8, bytes),
    0x94: _raw(16, bytes),
    0x98: _raw(16, _uuid),
    0xA0: _short(bytes),
    0xA1: _short(_text),
    0xA3: _short(_symbol),
    0xB0: _long(bytes),
    0xB1: _long(_text),
    0xB3: _long(_symbol),
    0xC0: _list8,
    0xC1: _map8,
    0xD0: _list32,
    0xD1: _map32,
    0xE0: _array8,
    0xF0: _array32,
}
_READERS: list[_Reader] = [_KNOWN.get(code, _unknown) for code in range(256)]


def boolean(value: bool) -> bytes:  # noqa: FBT001 - the value that is encoded
    """Encode a boolean."""
    return TRUE if value else FALSE


def ubyte(value: int) -> bytes:
    """Encode an unsigned byte."""
    return bytes((0x50, value))


def uint(value: int) -> bytes:
    """Encode an unsigned 32-bit integer, in its short form where there is one."""
    if value == 0:
        return b"\x43"
    return bytes((0x52, value)) if value < 256 else struct.pack(">BI", 0x70, value)


def ulong(value: int) -> bytes:
    """Encode an unsigned 64-bit integer, in its short form where there is one."""
    if value == 0:
        return b"\x44"
    return bytes((0x53, value)) if value < 256 else struct.pack(">BQ", 0x80, value)


def int32(value: int) -> bytes:
    """Encode a signed 32-bit integer."""
    return struct.pack(">Bi", 0x71, value)


def int64(value: int) -> bytes:
    """Encode a signed 64-bit integer."""
    return struct.pack(">Bq", 0x81, value)


def timestamp(milliseconds: int) -> bytes:
    """Encode a point in time, given in UTC milliseconds since 1970."""
    return struct.pack(">Bq", 0x83, milliseconds)


def _variable(short: int, data: bytes) -> bytes:
    size = len(data)
    return bytes((short, size)) + data if size < 256 else struct.pack(">BI", short + 0x10, size) + data


def binary(value: bytes) -> bytes:
    """Encode bytes."""
    return _variable(0xA0, value)


def string(value: str) -> bytes:
    """Encode text."""
    return _variable(0xA1, value.encode())


def symbol(value: str) -> bytes:
    """Encode a symbol; ASCII only."""
    return _variable(0xA3, value.encode("ascii"))


def list_of(*items: bytes) -> bytes:
    """Encode a list of items that are encoded already."""
    if not items:
        return EMPTY_LIST
    return _compound(0xC0, len(items), b"".join(items))


def map_of(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encode a map of keys and values that are encoded already."""
    parts = [part for pair in pairs for part in pair]
    return _compound(0xC1, len(parts), b"".join(parts))


def _compound(short: int, count: int, body: bytes) -> bytes:
    size = len(body)
    if size < 255 and count < 256:
        return bytes((short, size + 1, count)) + body
    return struct.pack(">BII", short + 0x10, size + 4, count) + body


def array_of(items: list[bytes]) -> bytes:
    """Encode an array of items of one fixed-width or short variable type; an empty one is an empty list."""
    if not items:
        return EMPTY_LIST
    code = items[0][:1]
    assert all(item[:1] == code for item in items), "the items of an array are of one encoding"
    body = code + b"".join(item[1:] for item in items)
    return struct.pack(">BII", 0xF0, len(body) + 4, len(items)) + body


def described(code: int, value: bytes) -> bytes:
    """Put a numeric descriptor before a value."""
    return b"\x00" + ulong(code) + value
