"""CLR types as their binary form: hierarchyid (ORDPATH) and points of geometry and geography.

https://learn.microsoft.com/openspecs/sql_server_protocols/ms-ssclrt/
"""

import re
import struct

from local.sqlserver.errors import SqlError

# Prefix, bits of the number ('x' takes the next one), smallest value it stands for; from MS-SSCLRT 2.1.
_LABELS = (
    ("00111xxx", -8, 8),
    ("01xx", 0, 4),
    ("100xx", 4, 4),
    ("101xxx", 8, 8),
    ("110xx0x1xxx", 16, 64),
    ("1110xxx0xxx0x1xxx", 80, 1024),
    ("11110xxxxx0xxx0x1xxx", 1104, 4096),
)
_POINT = re.compile(r"\s*POINT\s*\(\s*(\S+)\s+(\S+?)\s*\)\s*", re.IGNORECASE)


def hierarchy_bytes(path: str) -> bytes:
    """Return the ORDPATH of a path such as `/1/2/`.

    Raises:
        SqlError: 6522 for a text that is no path, or a number outside -8 to 5199.
    """
    if not re.fullmatch(r"/(?:-?\d+(?:\.-?\d+)*/)*", path):
        raise _clr(
            kind="hierarchyid",
            message=f"24001: SqlHierarchyId.Parse failed because the input string '{path}' is not valid.",
        )
    bits = ""
    for node in path.split("/")[1:-1]:
        *upper, last = node.split(".")
        bits += "".join(_label(int(number) + 1, "0") for number in upper) + _label(int(last), "1")
    bits += "0" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8)


def _label(value: int, end: str) -> str:
    for pattern, low, count in _LABELS:
        if low <= value < low + count:
            number = iter(f"{value - low:0{pattern.count('x')}b}")
            return "".join(next(number) if bit == "x" else bit for bit in pattern) + end
    raise _clr(kind="hierarchyid", message=f"24001: the number {value} is beyond this server's hierarchyid.")


def hierarchy_text(stored: bytes) -> str:
    """Return the path of an ORDPATH."""
    bits = "".join(f"{byte:08b}" for byte in stored)
    text, at = "/", 0
    while "1" in bits[at:]:
        pattern, low = next(
            ((p, low) for p, low, _ in _LABELS if _fits(p, bits[at : at + len(p)])),
            ("", 0),
        )
        if not pattern:
            raise _clr(kind="hierarchyid", message="24002: the binary input is not a valid hierarchyid.")
        number = "".join(bit for bit, mark in zip(bits[at:], pattern, strict=False) if mark == "x")
        at += len(pattern) + 1
        last = bits[at - 1] == "1"
        text += f"{low + int(number, 2) - (0 if last else 1)}" + ("/" if last else ".")
    return text


def _fits(pattern: str, bits: str) -> bool:
    return len(bits) == len(pattern) and all(mark in {"x", bit} for mark, bit in zip(pattern, bits, strict=True))


def point_bytes(kind: str, x: float, y: float, srid: int) -> bytes:
    """Return the binary form of a point: SRID, version 1, flags (valid, single point), two doubles."""
    first, second = (y, x) if kind == "geography" else (x, y)
    return struct.pack("<iBBdd", srid, 1, 0x0C, first, second)


def parse_point(kind: str, text: str) -> bytes:
    """Return the binary form of `POINT (x y)` in the type's default reference system.

    Raises:
        SqlError: 6522 for any other shape: this server knows points only.
    """
    found = _POINT.fullmatch(text)
    if found is None:
        raise _clr(kind, f"24114: this server reads POINT (x y) only, not '{text[:40]}'.")
    return point_bytes(kind, float(found[1]), float(found[2]), 4326 if kind == "geography" else 0)


def point_text(kind: str, stored: bytes) -> str:
    """Return `POINT (x y)`."""
    if len(stored) != 22 or stored[5] != 0x0C:
        raise _clr(kind, "24114: this server shows points only.")
    first, second = struct.unpack("<dd", stored[6:])
    x, y = (second, first) if kind == "geography" else (first, second)
    return f"POINT ({x:g} {y:g})"


def _clr(kind: str, message: str) -> SqlError:
    text = f'A .NET Framework error occurred during execution of user-defined routine or aggregate "{kind}": {message}'
    return SqlError(6522, text)
