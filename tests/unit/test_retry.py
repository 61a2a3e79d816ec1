import pytest

from shared.clock import ManualClock
from shared.errors import RejectedError, TransientError
from shared.retry import hold


def failing(times, error):
    left = [error] * times

    async def action():
        if left:
            raise left.pop()
        return "done"

    return action


async def test_a_transient_fault_is_held_through():
    assert await hold(failing(5, TransientError("away")), budget_s=60, clock=ManualClock()) == "done"


async def test_the_budget_ends_with_the_fault_itself():
    clock = ManualClock()
    with pytest.raises(TransientError, match="away"):
        await hold(failing(1_000, TransientError("away")), budget_s=30, clock=clock)
    assert 10 < clock.monotonic() <= 30


async def test_a_lasting_fault_is_tried_once_more_only():
    attempts = failing(2, TransientError("missing", lasting=True))
    with pytest.raises(TransientError):
        await hold(attempts, budget_s=60, clock=ManualClock())
    assert await attempts() == "done"


async def test_a_stubborn_hold_waits_even_a_lasting_fault_out():
    lasting = TransientError("missing", lasting=True)
    assert await hold(failing(5, lasting), budget_s=60, clock=ManualClock(), stubborn=True) == "done"


async def test_the_peer_s_own_wait_is_kept():
    clock = ManualClock()
    await hold(failing(1, TransientError("busy", retry_after=7)), budget_s=60, clock=clock)
    assert clock.monotonic() == 7


async def test_another_error_is_not_held():
    with pytest.raises(RejectedError):
        await hold(failing(1, RejectedError("bad")), budget_s=60, clock=ManualClock())
