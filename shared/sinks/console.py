"""Changes as lines to read, on standard output or any other stream."""

import asyncio
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import msgspec

from shared.errors import TransientError
from shared.events import Message
from shared.settings.model import OutputSettings, Settings

_OPS = {"c": ("insert", "32"), "u": ("update", "33"), "d": ("delete", "31"), "r": ("read", "36")}
_DIM, _BOLD, _PLAIN = "2", "1", ""
_NO_TIME = "--:--:--.---"


class _Body(msgspec.Struct):
    """What a line shows of a message body in the dstream format."""

    data: dict[str, Any] | None
    metadata: dict[str, Any]
    before: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode


def open_sink(output: OutputSettings, settings: Settings) -> "ConsoleSink":  # noqa: ARG001 - every kind is opened alike
    """Return the sink of one output: standard output."""
    return ConsoleSink()


class ConsoleSink:
    """Writes one line per message, whatever its destination, and flushes after each send.

    Lines are for people (`line`), cut to the width of the terminal if `out` is one; with `json_lines` they are the
    bodies themselves. `colour` None means: at a terminal, unless NO_COLOR is set (https://no-color.org).
    """

    def __init__(self, out: BinaryIO | None = None, *, colour: bool | None = None, json_lines: bool = False) -> None:
        self._out = sys.stdout.buffer if out is None else out
        self._terminal = self._out.isatty()
        self._colour = self._terminal and not os.environ.get("NO_COLOR") if colour is None else colour
        self._json_lines = json_lines
        self._writer = ThreadPoolExecutor(1, "console")  # a slow reader holds up this thread alone

    async def send(self, to: str, messages: Sequence[Message]) -> None:
        """Write and flush the messages' lines; `to` is what the body says anyway.

        Raises:
            TransientError: the stream is closed, or its device is full.
        """
        width = shutil.get_terminal_size().columns if self._terminal else None
        lines = [_json(message) if self._json_lines else line(message, width, self._colour) for message in messages]
        content = "".join(f"{each}\n" for each in lines).encode(errors="backslashreplace")
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._write, content)
        except (OSError, ValueError) as why:  # ValueError: the stream was closed on our side
            reason = f"the console cannot take {to}: {why}"
            raise TransientError(reason, hint="whoever reads this output is gone: start again with a reader") from why

    async def close(self) -> None:
        """Let the last line out; the stream stays open; idempotent."""
        self._writer.shutdown(wait=True)

    def _write(self, content: bytes) -> None:
        self._out.write(content)
        self._out.flush()


def line(message: Message, width: int | None, colour: bool) -> str:  # noqa: FBT001 - three words say it all
    """Return one line: time of the commit (UTC), operation, topic, key, and what the row holds or what changed in it.

    `07:28:06.123 update sql1.testdb.persons.events ID=180 LastName="Smith" -> "Williams"`, cut to `width` columns of a
    terminal. A body of another form shows as its session and its text.
    """
    try:
        spans = list(_spans(message, _decode(message.body)))
    except msgspec.DecodeError:
        text = message.body.decode(errors="backslashreplace")
        spans = [(_NO_TIME, _DIM), (f"{message.subject or '?':6}", _PLAIN), (message.session, _BOLD), (text, _PLAIN)]
    return joined(spans, width, colour=colour)


def _spans(message: Message, body: _Body) -> Iterator[tuple[str, str]]:
    """Yield the parts of a line, each with its colour."""
    word, shade = _OPS.get(message.subject, (message.subject, _PLAIN))
    said = body.metadata
    yield str(said.get("CommitTime", ""))[11:23] or _NO_TIME, _DIM
    yield f"{word:6}", shade
    yield str(said.get("Destination", message.session)), _BOLD
    row = body.data
    if row is None:
        claim = said.get("ClaimCheck")
        yield f"stored aside: {claim['bytes']:,} bytes" if isinstance(claim, Mapping) else "no row", _DIM
        return
    key = [name for name in said.get("Key", ()) if name in row]
    for name in key:
        yield f"{name}={_value(row[name])}", _PLAIN
    before = body.before
    if before is None:
        rest = [name for name in row if name not in key] if message.subject != "d" else []
        for name in rest:
            yield f"{name}={_value(row[name])}", shade
        return
    for name in said.get("Changed") or [name for name in row if row[name] != before.get(name)]:
        yield f"{name}={_shown(before, name)} -> {_shown(row, name)}", shade


def _shown(row: Mapping[str, Any], name: str) -> str:
    return _value(row[name]) if name in row else "?"  # not recorded: an unchanged large value


def _value(value: Any) -> str:
    return _encode(value).decode()


def joined(spans: Sequence[tuple[str, str]], width: int | None, *, colour: bool) -> str:
    """Join the parts with spaces, within `width` columns; colours take no room."""
    parts: list[str] = []
    left = width
    for text, shade in spans:
        seen = text if left is None else text[: left + 1]  # a large value needs no second look
        shown = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in seen)
        if left is not None:
            gap = 1 if parts else 0
            shown, used = _cut(shown, left - gap)
            if not shown:
                break
            left -= used + gap
        parts.append(f"\x1b[{shade}m{shown}\x1b[0m" if colour and shade else shown)
    return " ".join(parts)


def _cut(text: str, width: int) -> tuple[str, int]:
    """Return what of `text` fits, ending in `…` where it does not, and the columns it takes."""
    taken = [_columns(each) for each in text]
    if sum(taken) <= width:
        return text, sum(taken)
    end, used = 0, 1
    while end < len(text) and used + taken[end] <= width:
        used += taken[end]
        end += 1
    return (f"{text[:end]}…", used) if width > 0 else ("", 0)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _json(message: Message) -> str:
    """Return the body as JSON in one line; a body that is not JSON as a string."""
    try:
        return msgspec.json.format(message.body, indent=-1).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _value(message.body.decode(errors="backslashreplace"))
