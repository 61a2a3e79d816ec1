"""Log sequence numbers: 10 bytes, virtual log file (4), block (4), slot (2), as SQL Server shows them."""

import struct
from dataclasses import dataclass

_LSN = struct.Struct(">IIH")
SIZE = 10
ZERO = bytes(SIZE)
_BLOCKS_PER_TRANSACTION = 0x100
_SLOTS = 0xFFF0
_LAST_BLOCK = 0x0FFFFF00
_COMMIT_SLOT = 3


@dataclass(frozen=True, slots=True)
class LogRange:
    """The part of the log one transaction writes: rows get the blocks before its commit."""

    vlf: int
    block: int

    @property
    def commit(self) -> bytes:
        """The LSN of the commit: `__$start_lsn` of every row of the transaction."""
        return _LSN.pack(self.vlf, self.block + _BLOCKS_PER_TRANSACTION - 1, _COMMIT_SLOT)

    @property
    def begin(self) -> bytes:
        """The LSN of the beginning."""
        return _LSN.pack(self.vlf, self.block, 1)

    def row(self, number: int) -> bytes:
        """The LSN of a row, counted from 0: `__$seqval`."""
        return _LSN.pack(self.vlf, self.block + number // _SLOTS, 2 + number % _SLOTS)

    def after(self) -> "LogRange":
        """Return the range of the next transaction."""
        if self.block >= _LAST_BLOCK:
            return LogRange(self.vlf + 1, 0x10)
        return LogRange(self.vlf, self.block + _BLOCKS_PER_TRANSACTION)


def stepped(lsn: bytes, by: int) -> bytes:
    """Return the LSN so many steps away, the whole taken as one number."""
    return (int.from_bytes(lsn) + by).to_bytes(SIZE)
