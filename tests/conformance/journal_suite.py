"""What every kind of journal store promises."""

import asyncio
import os
import uuid
from contextlib import suppress
from dataclasses import replace

import pytest

from shared import naming
from shared.errors import ConfigError, StaleError, TransientError
from shared.events import Journal, Part, Position, Saved, Stream
from shared.memo import MAX_PARTS
from tests.conformance.store_suite import Account

WEB = naming.stream("consul1", "dc1", "service", "web")
LARGE = (60_000,) * 8


def journal(stream: Stream = WEB, last: str = "2", *, sizes: tuple[int, ...] = (40, 80)) -> Journal:
    outbox, *memo = (Part(os.urandom(size)) for size in sizes)
    return Journal(
        stream, Position("1"), Position(last), head='{"epoch":1,"name":"é"}', outbox=outbox, memo=tuple(memo)
    )


def content(journal: Journal) -> object:
    """Return what a journal says, wherever its parts are kept."""
    return replace(
        journal, outbox=Part(journal.outbox.data), memo=tuple(Part(p.data) for p in journal.memo), dropped=()
    )


def blobs_of(journal: Journal) -> set[str]:
    """Return the names of the blobs that a journal refers to."""
    return {part.blob for part in (journal.outbox, *journal.memo) if part.blob}


class JournalSuite:
    @pytest.mark.parametrize("sizes", [(0,), (40, 80), (0, 10), (30_000, 30_000, 100), (300_000, 20_000, 20_000)])
    async def test_a_journal_comes_back_as_it_was_saved(self, account: Account, sizes: tuple[int, ...]) -> None:
        value = journal(sizes=sizes)
        saved = await account.process().journals.save(Saved(value))

        found = await account.process().journals.find(WEB)

        assert found is not None
        assert content(found.value) == content(saved.value) == content(value)
        assert found.etag == saved.etag

    async def test_a_journal_that_was_never_stored_is_absent(self, account: Account) -> None:
        assert await account.process().journals.find(WEB) is None
        assert list(await account.process().journals.load("consul1")) == []

    async def test_a_source_has_its_own_journals_alone(self, account: Account) -> None:
        journals = account.process().journals
        mine = [naming.stream("consul1", "dc1", "service", f"s{n}") for n in range(20)]
        for stream in (*mine, naming.stream("consul10", "dc1", "catalog"), naming.stream("consul", "consul1", "x")):
            await journals.save(Saved(journal(stream)))

        assert {saved.value.stream for saved in await journals.load("consul1")} == set(mine)

    async def test_journals_and_states_leave_each_other_alone(self, account: Account) -> None:
        process = account.process()
        await process.journals.save(Saved(journal()))

        assert (await process.states.find(WEB)).state is None
        assert list(await process.states.load(naming.bucket(WEB))) == []

    async def test_a_journal_is_written_under_its_etag_alone(self, account: Account) -> None:
        journals = account.process().journals
        first = await journals.save(Saved(journal()))
        second = await journals.save(Saved(replace(first.value, last=Position("3")), first.etag))
        for etag in (first.etag, None):
            with pytest.raises(StaleError):
                await journals.save(Saved(journal(last="9"), etag))

        found = await journals.find(WEB)
        assert found is not None
        assert (found.value.last, found.etag) == ("3", second.etag)

    async def test_one_of_many_concurrent_writers_of_a_large_journal_wins(self, account: Account) -> None:
        first = await account.process().journals.save(Saved(journal(sizes=(60_000, 60_000))))
        wanted = [journal(last=f"{n}", sizes=(60_000, 60_000)) for n in range(5)]

        saves = (account.process().journals.save(Saved(value, first.etag)) for value in wanted)
        outcomes = await asyncio.gather(*saves, return_exceptions=True)

        [won] = [each for each in outcomes if isinstance(each, Saved)]
        found = await account.process().journals.find(WEB)
        assert found is not None
        assert content(found.value) == content(won.value)

    @pytest.mark.parametrize("size", [100, 100_000])
    async def test_a_save_whose_answer_was_lost_is_known_again(self, account: Account, size: int) -> None:
        if not account.faults:
            pytest.skip("needs a store that can be made to lose an answer")
        journals = account.process().journals
        first = await journals.save(Saved(journal(sizes=(size,))))
        wanted = Saved(replace(first.value, last=Position("3")), first.etag)
        await account.lose_answer(journals.save(wanted))

        again = await journals.save(wanted)

        found = await journals.find(WEB)
        assert found is not None
        assert (found.value.last, found.etag) == ("3", again.etag)

    async def test_a_journal_that_grows_and_shrinks_holds_what_was_last_written(self, account: Account) -> None:
        journals = account.process().journals
        saved = await journals.save(Saved(journal(sizes=(10, 10))))
        for sizes in ((200_000, 30_000, 30_000), (10, 30_000, 30_000), (10, 20)):
            fresh = journal(last=str(len(sizes)), sizes=sizes)
            saved = await journals.save(Saved(replace(fresh, dropped=tuple(blobs_of(saved.value))), saved.etag))
            found = await account.process().journals.find(WEB)
            assert found is not None
            assert content(found.value) == content(fresh)

    async def test_the_largest_journal_may_be_written_whole_by_one_process_after_another(
        self, account: Account
    ) -> None:
        etag: str | None = None
        dropped: tuple[str, ...] = ()
        for last in range(2):
            fresh = journal(last=f"{last}", sizes=(30_000, 30_000))
            gone = tuple(f"{uuid.uuid4().hex}/{uuid.uuid4().hex}" for _ in range(1 + MAX_PARTS))
            await account.process().journals.save(Saved(replace(fresh, dropped=(*dropped, *gone)), etag))
            found = await account.process().journals.find(WEB)
            assert found is not None
            assert content(found.value) == content(fresh)
            etag, dropped = found.etag, found.value.dropped

    async def test_who_has_the_newest_journal_gets_it_back(self, account: Account) -> None:
        one, other = account.process().journals, account.process().journals
        saved = await one.save(Saved(journal()))
        assert await one.find(WEB, saved) is saved
        newer = await other.save(Saved(journal(last="3"), saved.etag))
        found = await one.find(WEB, saved)
        assert found is not None
        assert (found.etag, found.value.last) == (newer.etag, "3")

    async def test_a_journal_can_be_read_while_it_is_written(self, account: Account) -> None:
        writer, reader = account.process().journals, account.process().journals
        saved = await writer.save(Saved(journal(sizes=(40, *LARGE))))

        async def read() -> None:
            while True:
                assert await reader.find(WEB) is not None
                assert len(await reader.load("consul1")) == 1

        reading = asyncio.create_task(read())
        for _ in range(12):
            fresh = journal(sizes=(40, *LARGE))
            dropped = tuple(part.blob for part in saved.value.memo if part.blob)
            saved = await writer.save(Saved(replace(fresh, dropped=dropped), saved.etag))
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading

    async def test_a_journal_of_a_newer_release_is_held_and_holds_up_no_other(self, account: Account) -> None:
        journals = account.process().journals
        await journals.save(Saved(journal()))
        other = naming.stream("consul1", "dc1", "catalog")
        await journals.save(Saved(journal(other)))
        await account.write_newer(WEB)

        assert [saved.value.stream for saved in await journals.load("consul1")] == [other]
        with pytest.raises(ConfigError, match="newer release"):
            await journals.find(WEB)

    async def test_journals_of_a_store_that_is_away_are_said_to_be_away(self, account: Account) -> None:
        if not account.faults:
            pytest.skip("needs a store that can be sent away")
        journals = account.process().journals
        await account.go_away()
        for call in (journals.load("consul1"), journals.find(WEB), journals.save(Saved(journal()))):
            with pytest.raises(TransientError):
                await call
        await account.come_back()
