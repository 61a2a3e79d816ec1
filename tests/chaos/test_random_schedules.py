import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from schedules import Schedule  # a module of this folder, which is no package

SCHEDULES, PORTIONS = 1_000, 10


@pytest.mark.timeout(120)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_no_schedule_of_crashes_losses_and_outages_loses_or_reorders_a_change(portion):
    for seed in range(portion, SCHEDULES, PORTIONS):
        try:
            asyncio.run(Schedule(seed).run())
        except AssertionError as why:
            pytest.fail(f"seed {seed}: {why}")
