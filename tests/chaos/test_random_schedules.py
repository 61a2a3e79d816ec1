import asyncio

import pytest

from tests.chaos.schedules import Schedule

SCHEDULES, PORTIONS = 1_000, 10


@pytest.mark.timeout(120)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_no_schedule_of_crashes_losses_and_outages_loses_or_reorders_a_change(portion):
    for seed in range(portion, SCHEDULES, PORTIONS):
        try:
            asyncio.run(Schedule(seed).run())
        except AssertionError as why:
            pytest.fail(f"seed {seed}: {why}")
