from shared.clock import ManualClock
from shared.sources.consul.reads import Bucket


async def test_a_burst_passes_at_once_and_then_the_rate_holds():
    clock = ManualClock()
    bucket = Bucket(rate=10.0, burst=3, clock=clock)
    passed = []
    for _ in range(6):
        await bucket.take()
        passed.append(round(clock.monotonic(), 6))
    assert passed == [0, 0, 0, 0.1, 0.2, 0.3]


async def test_what_was_not_used_comes_back_up_to_a_burst():
    clock = ManualClock()
    bucket = Bucket(rate=10.0, burst=3, clock=clock)
    for _ in range(3):
        await bucket.take()
    await clock.advance(60)
    passed = []
    for _ in range(4):
        await bucket.take()
        passed.append(round(clock.monotonic(), 6))
    assert passed == [60, 60, 60, 60.1]
