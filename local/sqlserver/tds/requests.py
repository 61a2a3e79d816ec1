"""Requests: batches, remote procedure calls with their parameters, transaction requests.

https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/619c43b6-9495-4a58-9e49-a4950db245b3
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local.sqlserver.errors import DisconnectError
from local.sqlserver.sqltypes import BIT, DATE, GUID, MAX, SqlType, declared
from local.sqlserver.tds.packets import Reader
from local.sqlserver.tds.values import unpack_variant, unpacker

PROCEDURES = {
    10: "sp_executesql",
    11: "sp_prepare",
    12: "sp_execute",
    13: "sp_prepexec",
    14: "sp_prepexecrpc",
    15: "sp_unprepare",
}
BEGIN, COMMIT, ROLLBACK = 5, 7, 8
_SEPARATOR = 0xFF


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as it arrived: `value` in the form SQLite holds it, None for NULL."""

    name: str
    output: bool
    kind: SqlType
    value: Any


@dataclass(frozen=True, slots=True)
class Call:
    """One remote procedure call."""

    name: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """Begin, commit or roll back; `again` asks for a new transaction right after."""

    action: int
    again: bool


def _after_headers(body: bytes) -> Reader:
    return Reader(body, int.from_bytes(body[:4], "little"))


def read_batch(body: bytes) -> str:
    """Return the SQL text of a batch."""
    reader = _after_headers(body)
    return body[reader.at :].decode("utf-16-le")


def read_transaction(body: bytes) -> TransactionRequest:
    """Return a transaction manager request."""
    reader = _after_headers(body)
    action = reader.number(2)
    if action == BEGIN:
        return TransactionRequest(action, again=False)
    reader.take(reader.number(1))
    return TransactionRequest(action, again=bool(reader.number(1) & 1))


def read_calls(body: bytes) -> Iterator[Call]:
    """Yield the procedure calls of an RPC message."""
    reader = _after_headers(body)
    while not reader.at_end():
        length = reader.number(2)
        if length == 0xFFFF:
            number = reader.number(2)
            name = PROCEDURES.get(number, f"procedure {number}")
        else:
            name = reader.take(length * 2).decode("utf-16-le")
        reader.take(2)
        parameters = []
        while not reader.at_end() and reader.data[reader.at] != _SEPARATOR:
            parameters.append(_parameter(reader))
        if not reader.at_end():
            reader.take(1)
        yield Call(name, tuple(parameters))


def _parameter(reader: Reader) -> Parameter:
    name = reader.short_text()
    output = bool(reader.number(1) & 1)
    kind, value = _typed_value(reader)
    return Parameter(name, output, kind, value)


def _typed_value(reader: Reader) -> tuple[SqlType, Any]:
    token = reader.number(1)
    if token in _BY_SIZE:
        kind = declared(_BY_SIZE[token][reader.number(1)])
        return kind, _short(reader, kind)
    if token in _SCALED:
        name, size = _SCALED[token]
        reader.take(size)
        kind = declared(name, tuple(reader.number(1) for _ in range(2 if size else 1)))
        return kind, _short(reader, kind)
    if token in _SIMPLE:
        kind, size = _SIMPLE[token]
        reader.take(size)
        return kind, _short(reader, kind)
    if token in _SIZED:
        return _sized(reader, token)
    if token in _LARGE:
        return _large(reader, token)
    return _other(reader, token)


def _other(reader: Reader, token: int) -> tuple[SqlType, Any]:
    if token == 0x1F:
        return declared("int"), None
    if token == 0x62:
        reader.take(4)
        size = reader.number(4)
        data = reader.take(size)
        return unpack_variant(data) if size else (declared("sql_variant"), None)
    if token == 0xF1:
        if reader.number(1):
            reader.short_text(), reader.short_text(), reader.text()
        data_or_null = reader.chunks()
        kind = declared("xml")
        return kind, None if data_or_null is None else unpacker(kind)(data_or_null).removeprefix("\ufeff")
    raise DisconnectError


def _short(reader: Reader, kind: SqlType) -> Any:
    size = reader.number(1)
    return unpacker(kind)(reader.take(size)) if size else None


def _sized(reader: Reader, token: int) -> tuple[SqlType, Any]:
    name, wide, collated = _SIZED[token]
    size = reader.number(2)
    if collated:
        reader.take(5)
    kind = SqlType(name, MAX if size == 0xFFFF else max(1, size // 2 if wide else size))
    if size == 0xFFFF:
        data = reader.chunks()
    else:
        length = reader.number(2)
        data = None if length == 0xFFFF else reader.take(length)
    return kind, None if data is None else unpacker(kind)(data)


def _large(reader: Reader, token: int) -> tuple[SqlType, Any]:
    kind = declared(_LARGE[token])
    reader.take(4)
    if token != 0x22:
        reader.take(5)
    size = reader.number(4)
    return kind, None if size == 0xFFFFFFFF else unpacker(kind)(reader.take(size))


_BY_SIZE = {
    0x26: {1: "tinyint", 2: "smallint", 4: "int", 8: "bigint"},
    0x6D: {4: "real", 8: "float"},
    0x6E: {4: "smallmoney", 8: "money"},
    0x6F: {4: "smalldatetime", 8: "datetime"},
}
# With the bytes of maximum length that come before precision and scale, or before the value.
_SCALED = {
    0x6A: ("decimal", 1),
    0x6C: ("numeric", 1),
    0x29: ("time", 0),
    0x2A: ("datetime2", 0),
    0x2B: ("datetimeoffset", 0),
}
_SIMPLE = {0x68: (BIT, 1), 0x24: (GUID, 1), 0x28: (DATE, 0)}
_SIZED = {
    0xA5: ("varbinary", False, False),
    0xAD: ("binary", False, False),
    0xA7: ("varchar", False, True),
    0xAF: ("char", False, True),
    0xE7: ("nvarchar", True, True),
    0xEF: ("nchar", True, True),
}
_LARGE = {0x22: "image", 0x23: "text", 0x63: "ntext"}
