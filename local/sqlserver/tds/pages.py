"""Encoded results kept for benchmarks, so that a client that reads a page again measures itself and not this server."""

import re
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

_VOLATILE = re.compile(r"\b(moment|new_id|sysvar|randomblob|next_\w+|ident_current)\(")


@dataclass(frozen=True, slots=True)
class Page:
    """A result as it goes over the wire, and how many rows it has; `owner` keeps what the key names alive."""

    data: bytes
    rows: int
    owner: Any


class Pages:
    """Keeps results up to a number of bytes, the least used leave first; off at 0 bytes."""

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self._used = 0
        self._lock = threading.Lock()
        self._pages: OrderedDict[Hashable, Page] = OrderedDict()

    def keeps(self, sql: str) -> bool:
        """Whether the result of a statement is worth keeping, and the same each time."""
        return self.size > 0 and _VOLATILE.search(sql) is None

    def get(self, key: Hashable) -> Page | None:
        """Return a kept result."""
        with self._lock:
            page = self._pages.get(key)
            if page is not None:
                self._pages.move_to_end(key)
            return page

    def put(self, key: Hashable, page: Page) -> None:
        """Keep a result."""
        with self._lock:
            self._pages[key] = page
            self._used += len(page.data)
            while self._used > self.size:
                _, gone = self._pages.popitem(last=False)
                self._used -= len(gone.data)
