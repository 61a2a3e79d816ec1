"""Capture over a registry that is observed through its journals."""

from shared.journal import JournaledSource
from shared.stores.memory import MemoryJournalStore, MemoryStateStore
from tests.unit.registry import API, WEB, Registry, RegistryObserver
from tests.unit.twins import World


class Place:
    def __init__(self) -> None:
        self.world, self.registry = World(WEB, jumps=True), Registry(WEB)

    def source(self, start: str = "earliest") -> JournaledSource:
        journals, states = MemoryJournalStore(self.world.account), MemoryStateStore(self.world.account)
        return JournaledSource("reg1", RegistryObserver(self.registry), journals=journals, states=states, start=start)

    def capture(self, start: str = "earliest", **of):
        return self.world.capture(sources={"reg1": self.source(start)}, **of)

    def sent(self):
        packs = [pack for stream in (WEB, API) for pack in self.world.packs(stream)]
        return [(pack.header.stream, change.op) for pack in packs for change in pack.changes]


async def test_a_service_that_appears_is_found_and_captured_in_the_same_tick():
    place = Place()
    capture = place.capture(linger_s=1.0)
    await capture.tick()
    place.registry.put("a", API)
    await place.world.clock.advance(1.0)

    await capture.tick()

    assert place.sent() == [(API, "r")]
    assert {WEB, API} == capture.held.keys()


async def test_a_quiet_tick_writes_nothing_and_reads_only_lease_and_control():
    place = Place()
    place.registry.put("a")
    capture = place.capture()
    await capture.tick()
    await place.world.deliver_queue(place.world.deliver())
    for _ in range(3):
        await place.world.clock.advance(5.0)
        await capture.tick()
    place.world.account.calls.clear()
    await place.world.clock.advance(5.0)

    await capture.tick()

    assert dict(place.world.account.calls) == {"hold": 1, "version": 1}


async def test_a_change_is_two_writes_of_the_store_and_one_pack():
    place = Place()
    place.registry.put("a")
    capture = place.capture()
    await capture.tick()
    await place.world.deliver_queue(place.world.deliver())
    await place.world.clock.advance(5.0)
    await capture.tick()
    place.world.account.calls.clear()
    place.registry.put("b")
    await place.world.clock.advance(5.0)
    packs = len(place.world.packs(WEB))

    await capture.tick()

    assert len(place.world.packs(WEB)) == packs + 1
    assert place.world.account.calls["save journal"] == 1
    assert place.world.account.calls["save"] == 1


async def test_events_that_were_written_down_and_never_sent_are_sent_by_the_next_process():
    place = Place()
    capture = place.capture()
    await capture.tick()
    place.registry.put("a")
    source = place.source()
    await source.read(WEB, place.world.state(WEB).position, 10)  # and then it died
    await place.world.clock.advance(60.0)

    await place.capture().tick()

    assert place.sent() == [(WEB, "c")]


async def test_what_a_process_told_after_it_had_lost_its_lease_is_taken_back_by_the_one_that_took_over():
    place = Place()
    late, fresh = place.capture(lease_s=30.0), place.capture(lease_s=30.0)
    await late.tick()
    place.registry.put("a")
    await place.world.clock.advance(2.0)
    stood_still = False

    async def step(call):
        nonlocal stood_still
        if call == "save journal" and not stood_still:  # it has looked
            stood_still = True
            place.registry.remove("a")
            place.world.account.leases.clear()
            await fresh.tick()
            await place.world.clock.advance(11.0)

    place.world.account.step = step
    await late.tick()
    assert place.sent() == [(WEB, "c")]
    await place.world.deliver_queue(place.world.deliver())
    await place.world.clock.advance(15.0)
    await fresh.tick()

    assert place.sent() == [(WEB, "d")]


async def test_what_comes_after_a_start_at_the_latest_place_is_delivered_as_any_other():
    place = Place()
    place.registry.put("a")
    capture, deliver = place.capture(start="latest"), place.world.deliver()
    await capture.tick()
    assert place.sent() == []
    place.registry.put("b")
    await place.world.clock.advance(2.0)
    await capture.tick()

    assert place.sent() == [(WEB, "c")]
    await place.world.deliver_queue(deliver)
    await place.world.clock.advance(2.0)
    await capture.tick()
    assert capture.held[WEB].confirmed
    assert len(place.world.arrived(stream=WEB)) == 1
    assert place.world.state(WEB).repaired == 0
