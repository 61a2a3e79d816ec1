"""What every shape of the file says of sources alike: their server, their tables, and how often those are read."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared import naming
from shared.events import Stream
from shared.settings.model import TableSettings
from shared.settings.reading import Item, Reader
from shared.settings.urls import Faults, SqlServer, sql_server

_NAME = re.compile(r"\[((?:[^\]]|\]\])+)\]|([^.\[\]\s](?:[^.\[\]]*[^.\[\]\s])?)")
_MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often a table is read, in seconds; `longest_s` None: 30 s, or `shortest_s` when that is longer."""

    shortest_s: float = 1.0
    longest_s: float | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A table and where the file names it."""

    table: TableSettings
    reader: Reader
    key: str
    line: int


def intervals(reader: Reader, inherited: Intervals) -> Intervals:
    """Read `poll_interval` and `max_poll_interval`; what is not given is inherited."""
    shortest = reader.seconds("poll_interval", inherited.shortest_s, low=0.001)
    longest = reader.seconds("max_poll_interval", inherited.longest_s or 0.0, low=0.001) or inherited.longest_s
    if longest is not None and longest < shortest:
        key = "max_poll_interval" if reader.given("max_poll_interval") else "poll_interval"
        hint = f"here max_poll_interval is {longest:g}s and poll_interval {shortest:g}s"
        reader.problem("max_poll_interval is below poll_interval", key=key, hint=hint)
        longest = shortest
    return Intervals(shortest, longest)


def table(text: str, pace: Intervals) -> TableSettings | None:
    """Return the table that `Name`, `schema.Name` or `[any.schema].[any ]] name]` says, dbo without a schema."""
    names: list[str] = []
    at = 0
    while found := _NAME.match(text, at):
        names.append(found[1].replace("]]", "]") if found[1] else found[2])
        at = found.end() + 1
        if text[found.end() : at] != ".":
            break
    complete = at == len(text) + 1
    if not complete or len(names) not in {1, 2} or any(len(name) > _MAX_NAME for name in names):
        return None
    schema, name = names if len(names) == 2 else ("dbo", *names)
    longest = max(30.0, pace.shortest_s) if pace.longest_s is None else pace.longest_s
    return TableSettings(schema, name, pace.shortest_s, longest)


def place(reader: Reader, key: str, item: Item, pace: Intervals) -> Iterator[Placed]:
    """Return the table that an item of `key` names, nothing and a problem when it names none."""
    found = table(item.text, pace)
    if found:
        yield Placed(found, reader, key, item.line)
    else:
        hint = "write Name or schema.Name, in [brackets] when it has a dot or bracket"
        reader.problem("is not the name of a table", key=key, line=item.line, value=item.text, hint=hint)


def distinct(placed: Sequence[Placed]) -> tuple[TableSettings, ...]:
    """Return the tables of one source; those named twice, or claiming one default topic, are problems."""
    first: dict[Stream, Placed] = {}
    for each in placed:
        stream = naming.stream("source", "database", each.table.schema, each.table.name)
        if stream in first:
            hint = f"it is named in line {first[stream].line} already"
            each.reader.problem("the table is named twice", key=each.key, line=each.line, hint=hint)
        first.setdefault(stream, each)
    for streams in naming.shared_topics(first).values():
        *_, last = claimants = [first[stream] for stream in streams]
        said = " and ".join(f"{each.table.schema}.{each.table.name}" for each in claimants)
        hint = "topics are lower case: keep one of the tables"
        last.reader.problem(f"{said} claim one default topic", key=last.key, line=last.line, hint=hint)
    return tuple(each.table for each in first.values())


def server(reader: Reader, key: str) -> SqlServer | None:
    """Return the database a connection string points to, None when that is missing or wrong."""
    text = reader.secret(key, required=True)
    if not text:
        return None
    faults: Faults = []
    found = sql_server(text, faults)
    for message, hint in faults:
        reader.problem(message, key=key, hint=hint)
    return found
