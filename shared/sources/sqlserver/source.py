"""The SQL Server source: what was committed, read from the change tables in commit order."""

import shlex
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from shared.errors import ConfigError, PositionLostError, TransientError
from shared.events import Batch, FoundStream, Position, Stream
from shared.settings.model import SqlServerSettings
from shared.sources.sqlserver import position, queries, tables
from shared.sources.sqlserver.changes import Row, whole_groups
from shared.sources.sqlserver.driver import find_driver
from shared.sources.sqlserver.instances import Instance, Span, is_start, next_span
from shared.sources.sqlserver.odbc import GoneError, Odbc, Session
from shared.sources.sqlserver.position import Place
from shared.sources.sqlserver.tables import Catalog, Layout, Table

DEFAULT_RETENTION_S = 259_200.0
"""Three days: what the clean-up job keeps unless it was told otherwise."""

PAGE_BYTES = 16 * 1024 * 1024
"""About where a page of a table with large values ends, so that its rows fit into the smallest instance."""

_FEWEST_ROWS = 3
"""Rows of a page, whatever its limit: an update has two, and the third shows that they are all of it."""
_GREATEST_INT = 0x7FFF_FFFF
_NOWHERE = position.before(position.NO_LSN)
_UNSHOWN = (ValueError, TypeError, LookupError, ArithmeticError, struct.error)
"""What conversions of values raise, the driver's included."""


@dataclass(frozen=True, slots=True)
class _Scan:
    """Up to where the log was scanned, and how far the server's local time is ahead of UTC."""

    bound: bytes
    utc_offset: timedelta


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last place of a stream when the database was scanned up to `bound`."""

    bound: bytes
    last: Place


class SqlServerSource:
    """Reads the configured tables of one database.

    Blocking work is done in the threads of `odbc`; what is remembered of the server is replaced whole, so that every
    thread sees one state or the next.
    """

    def __init__(self, settings: SqlServerSettings, odbc: Odbc) -> None:
        self._settings = settings
        self._odbc = odbc
        self._catalog: Catalog | None = None
        self._layouts: dict[int, Layout] = {}
        self._seen: dict[Stream, _Seen] = {}
        self._version: list[object] = []

    async def discover(self) -> tuple[Sequence[FoundStream], Sequence[ConfigError]]:
        """Return every configured table that can be read, and a problem for each that cannot."""
        return await self._odbc.run(self._discover)

    async def probe(self, after: Mapping[Stream, Position]) -> frozenset[Stream]:
        """Return which streams have rows after the given positions, and those whose reading will fail.

        One statement as long as the database has no new transaction.
        """
        return await self._odbc.run(partial(self._probe, after=after)) if after else frozenset()

    async def read(self, stream: Stream, after: Position, limit: int) -> Batch:
        """Return about `limit` events after `after`; a page that holds no whole group within it grows.

        A value that cannot be shown holds its stream: no other one waits for it, and it is not skipped.
        """
        try:
            return await self._odbc.run(partial(self._read, stream=stream, after=after, limit=max(limit, 1)))
        except _UNSHOWN as why:  # whose text may quote the value
            msg = f"{stream}: a change after {after or 'the start'} cannot be shown: {type(why).__name__}"
            raise ConfigError(
                msg, hint="find its column, report it, and capture the table without it until then"
            ) from why

    def _discover(self, session: Session) -> tuple[Sequence[FoundStream], Sequence[ConfigError]]:
        bound = self._scan(session).bound
        catalog = self._load(session)
        retention_s = self._settings.retention_s or _retention_s(session)
        found = [
            FoundStream(
                stream=table.stream,
                first=position.encode(self._first(table, bound)),
                poll_interval_s=table.settings.poll_interval_s,
                max_poll_interval_s=table.settings.max_poll_interval_s,
                retention_s=retention_s,
            )
            for table in catalog.tables.values()
        ]
        return found, tuple(catalog.problems.values())

    def _first(self, table: Table, bound: bytes) -> Place:
        oldest = position.before(table.instances[0].start_lsn)
        match self._settings.start:
            case "earliest":
                return oldest
            case "latest":
                return max(oldest, position.after(bound))
            case lsn:
                return position.before(bytes.fromhex(lsn))

    def _probe(self, session: Session, after: Mapping[Stream, Position]) -> frozenset[Stream]:
        bound = self._scan(session).bound
        catalog = self._catalog or self._load(session)
        changed: set[Stream] = set()
        unknown: dict[Stream, Place] = {}
        for stream, text in after.items():
            try:
                place = _place(catalog.tables[stream], text)
            except (KeyError, PositionLostError):  # reading says what is wrong
                changed.add(stream)
                continue
            seen = self._seen.get(stream)
            if bound < place.start_lsn:
                if not is_start(catalog.tables[stream].instances, place):
                    changed.add(stream)  # the server went back: reading says so
            elif seen is None or seen.bound != bound:
                unknown[stream] = place
            elif seen.last > place:
                changed.add(stream)
        for chunk in _chunks([catalog.tables[stream] for stream in sorted(unknown)]):
            changed |= self._changed(session, chunk, unknown, bound)
        return frozenset(changed)

    def _changed(
        self, session: Session, asked: Sequence[Table], after: Mapping[Stream, Place], bound: bytes
    ) -> set[Stream]:
        """Ask some tables for their last places, remember them, and return which lie beyond `after`."""
        named = [(table.stream, instance.name) for table in asked for instance in table.instances]
        try:
            rows = session.rows(queries.last_places([name for _, name in named]))
        except ConfigError:  # one of them is gone or forbidden: reading each tells which, and why
            self._forget()
            return {table.stream for table in asked}
        last = {table.stream: _NOWHERE for table in asked}
        for number, *key in rows:
            stream, _ = named[number]
            last[stream] = max(last[stream], Place(*key))
        self._seen.update((stream, _Seen(bound, place)) for stream, place in last.items())
        return {stream for stream, place in last.items() if place > after[stream]}

    def _read(self, session: Session, stream: Stream, after: Position, limit: int) -> Batch:
        try:
            return self._read_table(session, stream, after, limit)
        except GoneError:
            self._forget()
        except PositionLostError:
            if after:
                raise
            self._forget()  # "" is wherever the table begins by now
        return self._read_table(session, stream, after, limit)

    def _read_table(self, session: Session, stream: Stream, after: Position, limit: int) -> Batch:
        scan = self._scan(session)
        table = self._table(session, stream)
        place = _place(table, after)
        while True:
            span = next_span(table.instances, place, scan.bound)
            if span is None or scan.bound < place.start_lsn:
                _check(session, table, None if span is None else span.instance, place)
                if not is_start(table.instances, place):
                    msg = (
                        f"the server was scanned up to LSN {scan.bound.hex()}, the position is {after}: it was restored"
                    )
                    raise _lost(table, msg, "--restored", "begin in the new history")
                return Batch((), position.encode(place))
            layout = self._layout(session, table, span.instance)
            rows, more = _page(session, layout, span, place, limit)
            _check(session, table, span.instance, place)
            if rows:
                events = layout.changes.events(rows, scan.utc_offset)
                return Batch(events, events[-1].position, more)
            if span.then is None:
                return Batch((), position.encode(position.after(scan.bound)))
            place = position.before(span.then)

    def _scan(self, session: Session) -> _Scan:
        """Look up to where the log was scanned; forget what is known when the capture instances are other ones."""
        try:
            [(lsn, ahead_min, *version)] = session.rows(queries.SCAN)
        except GoneError:
            self._load(session)  # says that change capture is off, if that is why
            raise
        if version != self._version:
            self._forget()
            self._version = version
        return _Scan(lsn or position.NO_LSN, timedelta(minutes=ahead_min))

    def _table(self, session: Session, stream: Stream) -> Table:
        catalog = self._catalog or self._load(session)
        table = catalog.tables.get(stream)
        if table is None:
            catalog = self._load(session)
            table = catalog.tables.get(stream)
        if table is None:
            msg = f"{stream} is not configured"
            raise catalog.problems.get(stream, ConfigError(msg, hint="name its table in the source's tables"))
        return table

    def _layout(self, session: Session, table: Table, instance: Instance) -> Layout:
        layout = self._layouts.get(instance.object_id)
        if layout is None:
            layout = self._layouts[instance.object_id] = tables.layout(session, self._settings, table, instance)
        return layout

    def _load(self, session: Session) -> Catalog:
        catalog = self._catalog = tables.load(session, self._settings)
        return catalog

    def _forget(self) -> None:
        self._catalog = None
        self._layouts = {}
        self._seen = {}


@asynccontextmanager
async def open_source(settings: SqlServerSettings) -> AsyncIterator[SqlServerSource]:
    """Open the source; nothing is connected until it is used.

    Raises:
        ConfigError: there is no ODBC driver.
    """
    odbc = Odbc(settings, find_driver())
    try:
        yield SqlServerSource(settings, odbc)
    finally:
        await odbc.close()


def _chunks(asked: Sequence[Table]) -> Iterator[Sequence[Table]]:
    """Yield tables whose capture instances one statement can ask; those of one table stay together."""
    chunk: list[Table] = []
    size = 0
    for table in asked:
        if chunk and size + len(table.instances) > queries.CHANGED_AT_ONCE:
            yield chunk
            chunk, size = [], 0
        chunk.append(table)
        size += len(table.instances)
    if chunk:
        yield chunk


def _retention_s(session: Session) -> float:
    """Return how long the clean-up job keeps a change, wherever the login may look it up."""
    for statement in queries.RETENTIONS:
        try:
            rows = session.rows(statement)
        except (ConfigError, TransientError):
            if session.is_lost:
                raise
            continue
        names = [column[0] for column in session.described]
        for row in rows:
            job = dict(zip(names, row, strict=True))
            if job["job_type"] == "cleanup" and job["retention"]:
                return float(job["retention"]) * 60
    return DEFAULT_RETENTION_S


def _place(table: Table, after: Position) -> Place:
    if not after:
        return position.before(table.instances[0].start_lsn)
    try:
        return position.decode(after)
    except ValueError as why:
        raise _lost(table, str(why)) from why


def _page(session: Session, layout: Layout, span: Span, place: Place, limit: int) -> tuple[Sequence[Row], bool]:
    """Return rows that follow `place`, whole groups, and whether more follow; none when there are none."""
    count = max(limit + 1, _FEWEST_ROWS)
    most_bytes = PAGE_BYTES if layout.is_wide else None
    while True:
        rows = session.rows(
            layout.page,
            place.start_lsn,
            min(place.command_id, _GREATEST_INT),
            place.seqval,
            place.operation,
            span.last,
            count,
            most_bytes=most_bytes,
        )
        if layout.described != session.described:
            if layout.described:
                msg = f"the columns of capture instance {span.instance.name} changed"
                raise GoneError(msg)
            layout.described = session.described
        more = session.is_cut or len(rows) == count
        taken = whole_groups(rows, limit, more=more)
        if taken is not None:
            return rows[:taken], more or taken < len(rows)
        count, most_bytes = 2 * count, None


def _check(session: Session, table: Table, used: Instance | None, place: Place) -> None:
    """Make sure that what was read is all there was: clean-up or a new capture instance may have come in between.

    Raises:
        GoneError: the table has other capture instances now.
        PositionLostError: the instance no longer holds everything after `place`.
    """
    starts: dict[int, bytes] = dict(map(tuple, session.rows(queries.WATERMARKS, table.object_id)))
    if starts.keys() != table.known:
        msg = f"the capture instances of {table.stream} changed"
        raise GoneError(msg)
    oldest = min(starts[instance.object_id] for instance in table.instances)
    held = oldest if used is None else starts[used.object_id]
    if held > place.start_lsn:
        msg = f"the change table holds what follows LSN {held.hex()}, the position is at LSN {place.start_lsn.hex()}"
        raise _lost(table, msg)


def _lost(
    table: Table, message: str, option: str = "--skip", remedy: str = "go on with what is left, and a gap"
) -> PositionLostError:
    stream = shlex.quote(table.stream)
    return PositionLostError(table.stream, message, hint=f"{remedy}: sluice resume {stream} --from earliest {option}")
