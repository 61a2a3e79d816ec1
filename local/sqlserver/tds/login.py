"""PRELOGIN and LOGIN7: what a client says before its first request.

https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/773a62b6-ee89-4c02-9e5e-344882630aac
"""

import struct
from dataclasses import dataclass

from local.sqlserver.errors import DisconnectError
from local.sqlserver.tds.packets import DEFAULT_SIZE

# VERSION 16.0.4232, ENCRYPTION not supported, default instance, no thread id, no MARS.
PRELOGIN_ANSWER = bytes.fromhex("00001a00060100200001020021000103002200000400220001ff100010880000020000")
_RECOVERY = 0x01


@dataclass(frozen=True, slots=True)
class Login:
    """What LOGIN7 asks for."""

    user: str
    password: str
    database: str
    packet_size: int
    wants_recovery: bool


def read_login(body: bytes) -> Login:
    """Read LOGIN7; DisconnectError for a body that is none."""
    try:
        return _read(body)
    except (struct.error, IndexError, UnicodeDecodeError) as why:
        raise DisconnectError from why


def _read(body: bytes) -> Login:
    (size,) = struct.unpack_from("<I", body, 8)

    def field(at: int) -> bytes:
        offset, count = struct.unpack_from("<HH", body, at)
        return body[offset : offset + count * 2]

    # Each byte of the password was swapped by nibble and then XORed with 0xA5.
    plain = bytes((byte ^ 0xA5) >> 4 | ((byte ^ 0xA5) & 15) << 4 for byte in field(44))
    return Login(
        user=field(40).decode("utf-16-le"),
        password=plain.decode("utf-16-le"),
        database=field(68).decode("utf-16-le"),
        packet_size=min(max(size, 512), 32767) if size else DEFAULT_SIZE,
        wants_recovery=_RECOVERY in _features(body),
    )


def _features(body: bytes) -> frozenset[int]:
    if not body[27] & 0x10:
        return frozenset()
    (at,) = struct.unpack_from("<H", body, 56)
    (at,) = struct.unpack_from("<I", body, at)
    found = set()
    while body[at] != 0xFF:
        found.add(body[at])
        at += 5 + int(struct.unpack_from("<I", body, at + 1)[0])
    return frozenset(found)
