"""Tokens of an answer: environment changes, messages, column descriptions, return values, ends.

https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/67b6113c-d722-42d1-902c-3f6e8de09173
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from local.sqlserver.errors import SqlError
from local.sqlserver.sqltypes import MAX, WIDE, Family, SqlType
from local.sqlserver.tds.values import COLLATION, decimal_width

SERVER = "sluice-local"
DONE, DONE_PROC, DONE_IN_PROC = 0xFD, 0xFE, 0xFF
MORE, FAILED, COUNTED, STOPPED = 0x01, 0x02, 0x10, 0x20
SELECT, INSERT, DELETE, UPDATE, EXECUTE = 0xC1, 0xC3, 0xC4, 0xC5, 0xE0
_NULLABLE = 0x0009
_TIMESTAMP_USER_TYPE = 0x50


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a result: its name, empty for an expression, and its type."""

    name: str
    kind: SqlType


def short_text(value: str) -> bytes:
    """Return a B_VARCHAR."""
    data = value[:255].encode("utf-16-le")
    return bytes([len(data) // 2]) + data


def text(value: str) -> bytes:
    """Return a US_VARCHAR."""
    data = value.encode("utf-16-le")
    return struct.pack("<H", len(data) // 2) + data


def changed(kind: int, new: str, old: str = "") -> bytes:
    """Return ENVCHANGE with texts (1 database, 2 language, 4 packet size)."""
    return _counted(0xE3, bytes([kind]) + short_text(new) + short_text(old))


def changed_bytes(kind: int, new: bytes, old: bytes = b"") -> bytes:
    """Return ENVCHANGE with bytes (7 collation, 8 begin, 9 commit, 10 roll back, 18 reset)."""
    return _counted(0xE3, bytes([kind, len(new)]) + new + bytes([len(old)]) + old)


def _counted(token: int, body: bytes) -> bytes:
    return struct.pack("<BH", token, len(body)) + body


def error(fault: SqlError) -> bytes:
    """Return ERROR."""
    return _message(0xAA, fault.number, fault.state, fault.severity, fault.message)


def info(number: int, message: str, state: int = 1, severity: int = 0) -> bytes:
    """Return INFO: something to know, not an error."""
    return _message(0xAB, number, state, severity, message)


def _message(token: int, number: int, state: int, severity: int, message: str) -> bytes:
    body = struct.pack("<iBB", number, state, severity) + text(message[:8000]) + short_text(SERVER) + short_text("")
    return _counted(token, body + struct.pack("<i", 1))


def acknowledged() -> bytes:
    """Return LOGINACK for TDS 7.4."""
    body = b"\x01" + struct.pack(">I", 0x74000004) + short_text("Microsoft SQL Server") + bytes.fromhex("10001088")
    return _counted(0xAD, body)


RECOVERY_ACKNOWLEDGED = bytes.fromhex("ae0100000000ff")


def done(token: int, status: int, command: int = 0, rows: int = 0) -> bytes:
    """Return DONE, DONEPROC or DONEINPROC."""
    return struct.pack("<BHHQ", token, status, command, rows)


def return_status(value: int) -> bytes:
    """Return RETURNSTATUS of a procedure."""
    return struct.pack("<Bi", 0x79, value)


def return_value(ordinal: int, name: str, kind: SqlType, value: bytes) -> bytes:
    """Return RETURNVALUE: an output parameter with its encoded value (length included)."""
    head = struct.pack("<BH", 0xAC, ordinal) + short_text(name) + b"\x01" + struct.pack("<IH", 0, 0)
    return head + type_info(kind) + value


def columns(described: Sequence[Column]) -> bytes:
    """Return COLMETADATA."""
    parts = [struct.pack("<BH", 0x81, len(described))]
    for column in described:
        user_type = _TIMESTAMP_USER_TYPE if column.kind.name == "timestamp" else 0
        parts.append(struct.pack("<IH", user_type, _NULLABLE) + type_info(column.kind))
        if column.kind.name in {"text", "ntext", "image"}:
            parts.append(b"\x01" + text("t"))
        parts.append(short_text(column.name))
    return b"".join(parts)


def type_info(kind: SqlType) -> bytes:
    """Return TYPE_INFO."""
    if kind.name in _FIXED:
        return _FIXED[kind.name]
    if kind.family is Family.DECIMAL:
        token = 0x6C if kind.name == "numeric" else 0x6A
        return bytes([token, decimal_width(kind.precision) + 1, kind.precision, kind.scale])
    if kind.name in {"time", "datetime2", "datetimeoffset"}:
        return bytes([{"time": 0x29, "datetime2": 0x2A, "datetimeoffset": 0x2B}[kind.name], kind.scale])
    if kind.family is Family.CLR:
        names = short_text("") + short_text("sys") + short_text(kind.name)
        assembly = f"Microsoft.SqlServer.Types.Sql{kind.name.capitalize()}, Microsoft.SqlServer.Types"
        return b"\xf0" + struct.pack("<H", 892 if kind.name == "hierarchyid" else 0xFFFF) + names + text(assembly)
    if kind.name in _LARGE:
        token, size = _LARGE[kind.name]
        return bytes([token]) + struct.pack("<I", size) + (b"" if kind.name == "image" else COLLATION)
    size = 0xFFFF if kind.length == MAX else kind.length * (2 if kind.name in WIDE else 1)
    collation = COLLATION if kind.family is Family.TEXT else b""
    return bytes([_SIZED[kind.name]]) + struct.pack("<H", size) + collation


_FIXED = {
    "tinyint": b"\x26\x01", "smallint": b"\x26\x02", "int": b"\x26\x04", "bigint": b"\x26\x08", "bit": b"\x68\x01",
    "float": b"\x6d\x08", "real": b"\x6d\x04", "money": b"\x6e\x08", "smallmoney": b"\x6e\x04", "date": b"\x28",
    "datetime": b"\x6f\x08", "smalldatetime": b"\x6f\x04", "uniqueidentifier": b"\x24\x10", "xml": b"\xf1\x00",
    "sql_variant": b"\x62" + struct.pack("<I", 8009), "timestamp": b"\xad\x08\x00",
}  # fmt: skip
_LARGE = {"text": (0x23, 2**31 - 1), "ntext": (0x63, 2**31 - 2), "image": (0x22, 2**31 - 1)}
_SIZED = {"varbinary": 0xA5, "binary": 0xAD, "varchar": 0xA7, "char": 0xAF, "nvarchar": 0xE7, "nchar": 0xEF}
