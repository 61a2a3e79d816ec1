"""What every kind of source promises; each kind brings a `Database` and passes all of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from itertools import pairwise
from typing import Any, Protocol

import pytest

from shared.errors import ConfigError, PositionLostError
from shared.events import Batch, ChangeEvent, Position, Stream
from shared.ports import Source
from shared.sources.scripted import Change, delete, insert, update

NOWHERE = Position("")
type Told = tuple[str, dict[str, Any] | None, dict[str, Any] | None]


class Database(Protocol):
    """One kind of source under test: three streams of rows `{"ID": int, "Name": str}`, empty in the beginning.

    `keeps_history`: the source itself does, so that a quiet stream moves on in it and a restore takes it back; else it
    is observed.
    """

    @property
    def keeps_history(self) -> bool: ...

    @property
    def source(self) -> Source: ...

    @property
    def streams(self) -> tuple[Stream, Stream, Stream]: ...

    async def commit(self, changes: Mapping[Stream, Sequence[Change]]) -> None:
        """Commit one transaction, and wait until the source can read it."""
        ...

    async def clean_up(self, stream: Stream) -> None:
        """Make the source forget what was committed to `stream` so far."""
        ...

    async def go_back(self, stream: Stream) -> Position:
        """Return a position from a history of `stream` that the source no longer has, beyond all it holds."""
        ...


class Case(Protocol):
    """A module of `cases/`, named like its kind."""

    def database(self, running: ExitStack) -> AbstractAsyncContextManager[Database]:
        """Open a database of this kind for one test; a server it needs is started once, and stopped by `running`."""
        ...


def row(number: int, name: str = "Zoë") -> dict[str, Any]:
    return {"ID": number, "Name": name}


def told(event: ChangeEvent) -> Told:
    return event.op, event.before, event.after


async def pages(source: Source, stream: Stream, limit: int, after: Position = NOWHERE) -> AsyncIterator[Batch]:
    """Yield the batches that hold events, until there are none."""
    while (batch := await source.read(stream, after, limit)).events:
        assert batch.position == batch.events[-1].position
        yield batch
        after = batch.position


async def everything(
    source: Source, stream: Stream, after: Position = NOWHERE, *, limit: int = 1000
) -> list[ChangeEvent]:
    return [event async for batch in pages(source, stream, limit, after) for event in batch.events]


async def workload(database: Database) -> list[Told]:
    """Commit twelve changes to the first stream, with others between them; return what its events must tell."""
    first, second, _ = database.streams
    await database.commit({first: [insert(row(1)), insert(row(2)), insert(row(3))]})
    await database.commit({second: [insert(row(1))]})
    await database.commit({first: [update(row(1), row(1, "Ann")), delete(row(2))], second: [delete(row(1))]})
    await database.commit({first: [update(row(3), row(3, "Bob")), update(row(1, "Ann"), row(1, "Eve"))]})
    await database.commit({first: [delete(row(1, "Eve")), insert(row(1)), update(row(1), row(1, "Ida"))]})
    await database.commit({first: [insert(row(7)), delete(row(3, "Bob"))]})
    return [
        ("c", None, row(1)),
        ("c", None, row(2)),
        ("c", None, row(3)),
        ("u", row(1), row(1, "Ann")),
        ("d", row(2), None),
        ("u", row(3), row(3, "Bob")),
        ("u", row(1, "Ann"), row(1, "Eve")),
        ("d", row(1, "Eve"), None),
        ("c", None, row(1)),
        ("u", row(1), row(1, "Ida")),
        ("c", None, row(7)),
        ("d", row(3, "Bob"), None),
    ]


class SourceSuite:
    async def test_discovery_finds_every_stream_and_no_problem(self, database: Database) -> None:
        found, problems = await database.source.discover()

        assert {entry.stream for entry in found} == set(database.streams)
        assert problems == ()
        for entry in found:
            assert 0 < entry.poll_interval_s <= entry.max_poll_interval_s
            assert entry.retention_s > 0

    async def test_reading_from_the_first_position_yields_everything_in_commit_order(self, database: Database) -> None:
        found, _ = await database.source.discover()
        first = {entry.stream: entry.first for entry in found}

        expected = await workload(database)

        stream = database.streams[0]
        assert [told(event) for event in await everything(database.source, stream, first[stream])] == expected
        assert [told(event) for event in await everything(database.source, stream)] == expected

    async def test_an_event_says_what_it_is_about(self, database: Database) -> None:
        await workload(database)

        events = await everything(database.source, database.streams[0])

        assert {event.stream for event in events} == {database.streams[0]}
        assert {event.key for event in events} == {("ID",)}
        assert {event.changed for event in events if event.op == "u"} == {("Name",)}
        assert all(event.changed is None for event in events if event.op != "u")
        assert all(event.commit_time.endswith("Z") and len(event.commit_time) == 28 for event in events)
        assert all(one.commit_time <= other.commit_time for one, other in pairwise(events))

    @pytest.mark.parametrize("limit", range(1, 14))
    async def test_pages_of_any_size_join_without_a_gap_or_a_repeat(self, database: Database, limit: int) -> None:
        expected = await workload(database)

        batches = [batch async for batch in pages(database.source, database.streams[0], limit)]

        events = [event for batch in batches for event in batch.events]
        assert [told(event) for event in events] == expected
        assert all(one.position < other.position for one, other in pairwise(events))
        assert all(batch.more for batch in batches[:-1])

    async def test_reading_goes_on_after_every_event(self, database: Database) -> None:
        await workload(database)
        stream = database.streams[0]
        events = await everything(database.source, stream)

        for number, event in enumerate(events, start=1):
            assert await everything(database.source, stream, event.position, limit=2) == events[number:]

    async def test_reading_again_yields_the_same(self, database: Database) -> None:
        await workload(database)
        stream = database.streams[0]

        assert await everything(database.source, stream) == await everything(database.source, stream, limit=1)

    async def test_an_empty_stream_has_no_events_and_a_position(self, database: Database) -> None:
        await workload(database)
        quiet = database.streams[2]

        batch = await database.source.read(quiet, NOWHERE, 10)

        assert (list(batch.events), batch.more) == ([], False)
        assert batch.position > NOWHERE or not database.keeps_history

    async def test_the_position_of_a_quiet_stream_moves_on_and_misses_nothing(self, database: Database) -> None:
        stream, other, _ = database.streams
        await database.commit({stream: [insert(row(1))]})
        one = (await database.source.read(stream, NOWHERE, 10)).position
        await database.commit({other: [insert(row(1))]})

        quiet = await database.source.read(stream, one, 10)
        await database.commit({stream: [insert(row(2))]})

        assert list(quiet.events) == []
        assert quiet.position > one or (quiet.position == one and not database.keeps_history)
        assert [event.after for event in await everything(database.source, stream, quiet.position)] == [row(2)]

    async def test_a_transaction_larger_than_a_page_is_read_in_parts(self, database: Database) -> None:
        stream = database.streams[0]
        await database.commit({stream: [insert(row(number)) for number in range(300)]})

        batches = [batch async for batch in pages(database.source, stream, 50)]

        assert [event.after for batch in batches for event in batch.events] == [row(number) for number in range(300)]
        assert len(batches) == 6

    async def test_a_page_holds_about_as_many_events_as_were_asked_for(self, database: Database) -> None:
        stream = database.streams[0]
        await database.commit({stream: [insert(row(number)) for number in range(40)]})

        batch = await database.source.read(stream, NOWHERE, 10)

        assert len(batch.events) == 10

    async def test_streams_are_read_side_by_side(self, database: Database) -> None:
        for number in range(5):
            await database.commit({stream: [insert(row(number, stream))] for stream in database.streams})

        read = await asyncio.gather(*(everything(database.source, stream, limit=2) for stream in database.streams))

        assert [[event.after for event in events] for events in read] == [
            [row(number, stream) for number in range(5)] for stream in database.streams
        ]

    async def test_a_probe_of_nothing_finds_nothing(self, database: Database) -> None:
        assert await database.source.probe({}) == frozenset()

    async def test_a_probe_leaves_no_stream_with_events_out(self, database: Database) -> None:
        await workload(database)
        first, second, quiet = database.streams
        for stream in (first, second):
            events = await everything(database.source, stream)
            for event in events[:-1]:
                assert stream in await database.source.probe({stream: event.position, quiet: NOWHERE})

        assert {first, second} <= await database.source.probe(dict.fromkeys(database.streams, NOWHERE))

    async def test_a_probe_sees_what_is_committed_after_an_earlier_one(self, database: Database) -> None:
        after = dict.fromkeys(database.streams, NOWHERE)
        for stream in database.streams * 2:
            await database.commit({stream: [insert(row(1))]})
            assert stream in await database.source.probe(after)
            after[stream] = (await database.source.read(stream, after[stream], 10)).position
            await database.commit({stream: [delete(row(1))]})
            assert stream in await database.source.probe(after)
            after[stream] = (await database.source.read(stream, after[stream], 10)).position

    async def test_a_probe_from_an_earlier_position_finds_the_events_again(self, database: Database) -> None:
        stream = database.streams[0]
        await database.commit({stream: [insert(row(1))]})
        end = (await database.source.read(stream, NOWHERE, 10)).position
        await database.source.probe({stream: end})

        assert stream in await database.source.probe({stream: NOWHERE})

    async def test_a_position_older_than_the_clean_up_is_lost(self, database: Database) -> None:
        stream = database.streams[0]
        await database.commit({stream: [insert(row(1))]})
        early = (await database.source.read(stream, NOWHERE, 10)).position
        await database.commit({stream: [insert(row(2))]})
        await database.clean_up(stream)
        await database.commit({stream: [insert(row(3))]})

        with pytest.raises(PositionLostError, match="sluice resume") as lost:
            await database.source.read(stream, early, 10)

        assert lost.value.stream == stream
        assert stream in await database.source.probe({stream: early})
        assert [event.after for event in await everything(database.source, stream)][-1:] == [row(3)]

    async def test_a_position_that_has_everything_before_the_clean_up_goes_on(self, database: Database) -> None:
        stream, other, _ = database.streams
        await database.commit({stream: [insert(row(1))]})
        await database.commit({other: [insert(row(1))]})
        quiet = (await database.source.read(stream, NOWHERE, 10)).position
        quiet = (await database.source.read(stream, quiet, 10)).position
        await database.clean_up(stream)
        await database.commit({stream: [insert(row(2))]})

        assert [event.after for event in await everything(database.source, stream, quiet)] == [row(2)]

    async def test_a_position_beyond_what_the_source_holds_is_lost(self, database: Database) -> None:
        if not database.keeps_history:
            pytest.skip("a kind that is observed has no history to go back in: positions only rise")
        stream = database.streams[0]
        await database.commit({stream: [insert(row(1))]})
        beyond = await database.go_back(stream)

        assert stream in await database.source.probe({stream: beyond})
        with pytest.raises(PositionLostError, match="restored"):
            await database.source.read(stream, beyond, 10)

    async def test_a_stream_that_is_not_there_is_a_setting_to_fix(self, database: Database) -> None:
        source = database.streams[0].partition("/")[0]
        with pytest.raises(ConfigError, match="Nowhere"):
            await database.source.read(Stream(f"{source}/TestDB/dbo/Nowhere"), NOWHERE, 10)
