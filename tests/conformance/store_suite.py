"""What every kind of store promises; each kind brings an `Account` and passes all of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count, islice
from typing import Protocol

import pytest

from shared import naming
from shared.clock import ManualClock
from shared.errors import ConfigError, LeaseError, RejectedError, StaleError, TransientError
from shared.events import Mark, Position, Saved, Stream, StreamState
from shared.ports import ClaimStore, Control, JournalStore, Lease, MarkStore, StateStore

LEASE_S = 15.0


@dataclass(frozen=True)
class Process:
    """The stores as one process opens them."""

    states: StateStore
    marks: MarkStore
    control: Control
    claims: ClaimStore
    journals: JournalStore


class Account(Protocol):
    """One kind of store under test, empty in the beginning."""

    clock: ManualClock
    faults: bool  # whether it can be made to fail

    def process(self) -> Process: ...
    def lease(self, name: str) -> Lease: ...
    async def pass_time(self, seconds: float) -> None: ...
    async def go_away(self) -> None: ...
    async def come_back(self) -> None: ...
    async def lose_answer(self, call: Awaitable[object]) -> None: ...
    async def write_newer(self, stream: Stream) -> None: ...
    async def delete_leases(self) -> None: ...


def state(stream: str = "sql1/TestDB/dbo/Persons", position: str = "", chain: int = 1) -> StreamState:
    return StreamState(Stream(stream), Position(position), chain, Position(""))


def streams_in(bucket: int) -> list[Stream]:
    """Return 250 streams of one bucket."""
    every = (Stream(f"sql1/TestDB/dbo/T{number}") for number in count())
    return list(islice((stream for stream in every if naming.bucket(stream) == bucket), 250))


async def saved(process: Process, value: StreamState, etag: str | None = None) -> Saved[StreamState]:
    (outcome,) = await process.states.save([Saved(value, etag)])
    assert isinstance(outcome, Saved), outcome
    return outcome


async def twice[T](account: Account, call: Callable[[], Awaitable[T]]) -> T:
    """Call, lose the answer, and call again as whoever does not know how it ended would."""
    if not account.faults:
        pytest.skip("needs a storage account whose answers can be lost: unset SLUICE_TEST_STORAGE")
    await account.lose_answer(call())
    return await call()


class StoreSuite:
    async def test_a_state_comes_back_as_it_was_saved(self, account: Account) -> None:
        moment = datetime(2026, 11, 21, 7, 28, 6, 123, tzinfo=UTC)
        value = StreamState(
            stream=Stream("sql1/TestDB/dbo/Persons"),
            position=Position("0000003600000b200003-00000001-0000003600000b200002-4"),
            chain=1_795_246_086_123,
            chain_start=Position("0000003600000b200001-00000001-0000003600000b200001-2"),
            replay=2,
            incarnation=3,
            not_before=moment,
            repairs=1,
            parks=4,
            repaired=6,
            interval_s=0.5,
            anchor=moment.replace(microsecond=0),
            moved_at=moment,
            status="halted",
            reason='the source no longer holds "x" (ünïcode)\nsecond line',
            destinations=("servicebus", "console"),
        )
        process = account.process()
        written = await saved(process, value)
        assert (await process.states.find(value.stream)).state == written == Saved(value, written.etag)
        assert [record.state for record in await process.states.load(naming.bucket(value.stream))] == [written]

    async def test_what_was_never_stored_is_absent(self, account: Account) -> None:
        process = account.process()
        record = await process.states.find(Stream("sql1/TestDB/dbo/Persons"))
        assert (record.stream, record.state, dict(record.marks)) == ("sql1/TestDB/dbo/Persons", None, {})
        assert list(await process.states.load(3)) == []
        assert await process.marks.read(Stream("sql1/TestDB/dbo/Persons"), "servicebus") is None

    async def test_a_load_brings_states_and_marks_of_one_bucket_alone(self, account: Account) -> None:
        process = account.process()
        first, second, *_ = streams_in(3)
        elsewhere = streams_in(4)[0]
        await process.states.save([Saved(state(first)), Saved(state(elsewhere))])
        mark = await process.marks.write(first, "servicebus", Saved(Mark(1, Position("5"), 0)))
        lone = await process.marks.write(second, "console", Saved(Mark(2, Position("6"), 1)))
        records = {record.stream: record for record in await process.states.load(3)}
        assert records.keys() == {first, second}
        assert dict(records[first].marks) == {"servicebus": mark}
        assert records[second].state is None
        assert dict(records[second].marks) == {"console": lone}
        assert await process.states.find(first) == records[first]

    async def test_a_stale_etag_is_refused_and_nothing_written(self, account: Account) -> None:
        process = account.process()
        first = await saved(process, state(position="1"))
        second = await saved(process, state(position="2"), first.etag)
        assert second.etag != first.etag
        for etag in (first.etag, None):
            (outcome,) = await process.states.save([Saved(state(position="3"), etag)])
            assert isinstance(outcome, StaleError)
        assert (await process.states.find(second.value.stream)).state == second

    async def test_a_state_that_is_gone_cannot_be_updated(self, account: Account) -> None:
        process = account.process()
        etag = (await saved(process, state("sql1/TestDB/dbo/Cars"))).etag
        (outcome,) = await process.states.save([Saved(state(position="1"), etag)])
        assert isinstance(outcome, StaleError)

    async def test_one_stale_state_does_not_keep_others_from_being_saved(self, account: Account) -> None:
        process = account.process()
        streams = [*streams_in(3)[:3], *streams_in(4)[:3]]
        first = [await saved(process, state(stream)) for stream in streams]
        await saved(process, state(streams[1], "elsewhere"), first[1].etag)
        wanted = [Saved(state(each.value.stream, "2"), each.etag) for each in first]
        outcomes = await process.states.save(wanted)
        assert [isinstance(outcome, StaleError) for outcome in outcomes] == [False, True, False, False, False, False]
        for stream, outcome in zip(streams, outcomes, strict=True):
            found = (await process.states.find(stream)).state
            assert found == outcome or (found is not None and found.value.position == "elsewhere")

    async def test_more_streams_of_one_bucket_than_a_transaction_takes(self, account: Account) -> None:
        process = account.process()
        created = await process.states.save([Saved(state(stream)) for stream in streams_in(3)])
        updates = [Saved(state(each.value.stream, "1"), each.etag) for each in created if isinstance(each, Saved)]
        updated = await process.states.save(updates)
        assert [each.value.stream for each in updated if isinstance(each, Saved)] == streams_in(3)
        records = {record.stream: record.state for record in await process.states.load(3)}
        assert records == {each.value.stream: each for each in updated if isinstance(each, Saved)}

    async def test_one_of_many_concurrent_writers_wins(self, account: Account) -> None:
        processes = [account.process() for _ in range(8)]
        first = await saved(processes[0], state())
        outcomes = await asyncio.gather(
            *(process.states.save([Saved(state(position="1"), first.etag)]) for process in processes)
        )
        won = [outcome for (outcome,) in outcomes if isinstance(outcome, Saved)]
        assert len(won) == 1
        assert (await processes[0].states.find(first.value.stream)).state == won[0]

    async def test_one_of_many_concurrent_creators_wins(self, account: Account) -> None:
        outcomes = await asyncio.gather(*(account.process().states.save([Saved(state())]) for _ in range(8)))
        assert sum(isinstance(outcome, Saved) for (outcome,) in outcomes) == 1

    async def test_a_save_whose_answer_was_lost_is_known_again(self, account: Account) -> None:
        process = account.process()
        created = (await twice(account, lambda: process.states.save([Saved(state())])))[0]
        assert isinstance(created, Saved)
        wanted = Saved(state(position="1"), created.etag)
        updated = (await twice(account, lambda: process.states.save([wanted])))[0]
        assert isinstance(updated, Saved)
        assert (await process.states.find(wanted.value.stream)).state == updated

    async def test_a_group_whose_answer_was_lost_is_known_again(self, account: Account) -> None:
        process = account.process()
        wanted = [Saved(state(stream)) for stream in streams_in(3)[:3]]
        created = await twice(account, lambda: process.states.save(wanted))
        assert [each.value for each in created if isinstance(each, Saved)] == [each.value for each in wanted]

    async def test_the_same_write_of_somebody_else_is_not_ones_own(self, account: Account) -> None:
        first = await saved(account.process(), state())
        await saved(account.process(), state(position="1"), first.etag)
        (outcome,) = await account.process().states.save([Saved(state(position="1"), first.etag)])
        assert isinstance(outcome, StaleError)

    async def test_a_record_of_a_newer_release_is_held_and_holds_up_no_other(self, account: Account) -> None:
        process = account.process()
        newer, other, *_ = streams_in(3)
        first = await saved(process, state(newer))
        await saved(process, state(other))
        await account.write_newer(newer)
        assert [record.stream for record in await process.states.load(3)] == [other]
        with pytest.raises(ConfigError, match=f"{newer}.*newer release.*deploy that release"):
            await process.states.find(newer)
        for etag in (first.etag, None):
            outcomes = await process.states.save([Saved(state(newer, "1"), etag), Saved(state(other, "1"), etag)])
            assert isinstance(outcomes[0], StaleError)
        with pytest.raises(ConfigError):
            await process.states.find(newer)

    async def test_a_mark_of_a_newer_release_is_waited_for(self, account: Account) -> None:
        process = account.process()
        await process.marks.write(streams_in(3)[0], "servicebus", Saved(Mark(1)))
        await account.write_newer(streams_in(3)[0])
        with pytest.raises(TransientError, match="newer release") as raised:
            await process.marks.read(streams_in(3)[0], "servicebus")
        assert raised.value.lasting
        with pytest.raises(StaleError):
            await process.marks.write(streams_in(3)[0], "servicebus", Saved(Mark(2)))

    @pytest.mark.parametrize(
        "name",
        [
            "Straße/Überland/架構/表 一/😀",
            "a/b/c/'quoted' \"twice\" [x]",
            "a/b/c/back\\slash#hash?query%percent%2Fcoded",
            "a/b/c/tab\tnewline\n",
            "a/b/c/m:servicebus",
            "a/b/c/" + "x" * 300,
            "a/b/c/" + "表" * 300,
        ],
    )
    async def test_names_of_any_kind_come_back(self, account: Account, name: str) -> None:
        process = account.process()
        stream, longer = Stream(name), Stream(name + "x")
        written = await saved(process, state(name))
        await saved(process, state(longer))
        mark = await process.marks.write(stream, name, Saved(Mark(1, Position("1"))))
        record = await process.states.find(stream)
        assert (record.state, dict(record.marks)) == (written, {name: mark})
        assert record in await process.states.load(naming.bucket(stream))
        assert await process.marks.read(stream, name) == mark
        assert dict((await process.states.find(longer)).marks) == {}

    async def test_a_mark_is_written_under_its_etag_alone(self, account: Account) -> None:
        process, stream = account.process(), Stream("sql1/TestDB/dbo/Persons")
        first = await process.marks.write(stream, "servicebus", Saved(Mark(1, Position("1"), 0)))
        second = await process.marks.write(stream, "servicebus", replace(first, value=Mark(1, Position("2"), 0)))
        assert await process.marks.read(stream, "servicebus") == second == Saved(Mark(1, Position("2"), 0), second.etag)
        for etag in (first.etag, None):
            with pytest.raises(StaleError):
                await process.marks.write(stream, "servicebus", Saved(Mark(1, Position("3"), 0), etag))
        assert await process.marks.read(stream, "servicebus") == second
        assert await process.marks.read(stream, "console") is None

    async def test_a_mark_whose_answer_was_lost_is_known_again(self, account: Account) -> None:
        process, stream = account.process(), Stream("sql1/TestDB/dbo/Persons")
        first = await twice(account, lambda: process.marks.write(stream, "servicebus", Saved(Mark(1))))
        wanted = replace(first, value=Mark(2))
        second = await twice(account, lambda: process.marks.write(stream, "servicebus", wanted))
        assert await process.marks.read(stream, "servicebus") == second

    async def test_every_touch_changes_the_version_and_nothing_else_does(self, account: Account) -> None:
        one, other = account.process().control, account.process().control
        versions = [await one.version(), await one.version()]
        assert versions[0] == versions[1]
        for _ in range(3):
            await other.touch()
            versions.append(await one.version())
        assert len(set(versions)) == 4

    async def test_one_holds_a_lease_until_it_is_given_back(self, account: Account) -> None:
        one, other = account.lease("shard-0"), account.lease("shard-0")
        assert await one.hold()
        assert not await one.hold()
        with pytest.raises(LeaseError, match="shard-0"):
            await other.hold()
        assert await account.lease("shard-1").hold()
        await other.release()
        assert not await one.hold()
        await one.release()
        await one.release()
        assert await other.hold()

    async def test_a_lease_that_is_not_renewed_is_free_for_others(self, account: Account) -> None:
        one, other = account.lease("shard-0"), account.lease("shard-0")
        await one.hold()
        waited = 0.0
        while True:
            try:
                assert await other.hold()
                break
            except LeaseError:
                assert waited < 2 * LEASE_S
                await account.pass_time(1.0)
                waited += 1.0
        assert waited > LEASE_S / 2
        with pytest.raises(LeaseError):
            await one.hold()

    async def test_a_lease_renewed_too_late_was_lost(self, account: Account) -> None:
        lease = account.lease("shard-0")
        await lease.hold()
        await account.clock.advance(LEASE_S - 1)
        assert not await lease.hold()
        await account.clock.advance(LEASE_S)
        assert await lease.hold()
        assert not await lease.hold()

    async def test_a_lease_that_was_taken_away_is_taken_again_by_one(self, account: Account) -> None:
        if not account.faults:
            pytest.skip("the service takes half a minute to delete a container: unset SLUICE_TEST_STORAGE")
        one, other = account.lease("shard-0"), account.lease("shard-0")
        await one.hold()
        await account.delete_leases()
        assert await other.hold()
        with pytest.raises(LeaseError):
            await one.hold()
        await account.delete_leases()
        assert await one.hold()

    async def test_a_body_is_kept_whole_and_can_be_replaced(self, account: Account) -> None:
        claims = account.process().claims
        body = bytes(range(256)) * 20_000
        await claims.put("abc.0.1", b"earlier")
        claim = await claims.put("abc.0.1", body)
        assert (claim.blob, claim.bytes) == ("abc.0.1", len(body))
        assert await account.process().claims.get(claim) == body

    async def test_a_body_that_is_gone_or_another_is_rejected(self, account: Account) -> None:
        claims = account.process().claims
        claim = await claims.put("abc.0.1", b"one")
        await claims.put("abc.0.1", b"two")
        with pytest.raises(RejectedError, match="not the body"):
            await claims.get(claim)
        for gone in (replace(claim, blob="abc.0.2"), replace(claim, container="no-such-container")):
            with pytest.raises(RejectedError, match="gone"):
                await claims.get(gone)

    async def test_storage_that_is_away_is_said_to_be_away(self, account: Account) -> None:
        if not account.faults:
            pytest.skip("needs a storage account that can be away: unset SLUICE_TEST_STORAGE")
        process, stream, lease = account.process(), Stream("sql1/TestDB/dbo/Persons"), account.lease("shard-0")
        await lease.hold()
        claim = await process.claims.put("abc.0.1", b"one")
        await account.go_away()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: process.states.load(0),
            lambda: process.states.find(stream),
            lambda: process.states.save([Saved(state(each)) for each in streams_in(3)[:2]]),
            lambda: process.marks.read(stream, "servicebus"),
            lambda: process.marks.write(stream, "servicebus", Saved(Mark())),
            process.control.version,
            process.control.touch,
            lambda: process.claims.put("abc.0.1", b"two"),
            lambda: process.claims.get(claim),
            lease.hold,
        ]
        for call in calls:
            with pytest.raises(TransientError) as raised:
                await call()
            assert not raised.value.lasting
        await lease.release()
        await account.come_back()
        assert (await process.states.find(stream)).state is None
