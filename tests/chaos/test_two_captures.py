"""Two captures of one shard at once: the lease saves double work, the etags keep the promise."""

import pytest

from local.process import PartProcess
from tests.chaos import steps
from tests.pipeline import SHORT_LEASE, Pipeline, pipeline

TABLES = ("Persons", "Cars")
THEFTS = 5


async def start_capture(line: Pipeline, name: str) -> PartProcess:
    """Start a capture as an app of its own, whose timer fires beside that of others."""
    return await line.start("capture", AzureFunctionsWebHost__hostid=name, SLUICE_LOG_LEVEL="debug")


def times(process: PartProcess, text: str) -> int:
    return process.log.read_text().count(text)


async def until_logged(process: PartProcess, text: str, count: int = 1) -> None:
    await process.until(lambda _: times(process, text) >= count)


async def positions(line: Pipeline) -> list[str]:
    return [(await line.state(table)).state.value.position for table in line.tables]


@pytest.mark.timeout(100)
async def test_of_two_captures_one_advances_and_the_other_steps_aside(tmp_path):
    async with pipeline(tmp_path, tables=TABLES, settings=SHORT_LEASE) as line:
        await line.start("deliver")
        first = await start_capture(line, "first")
        await steps.commit_to_each(line, 2)
        await line.arrive()
        second = await start_capture(line, "second")
        async with line.commits():
            await second.until(lambda state: state["functions"]["capture"]["succeeded"] >= 3)
        await line.arrive()
        ticks = (await second.state())["functions"]["capture"]["succeeded"]
        assert times(second, "stepped aside") >= ticks, "every tick"
        assert (times(first, "stepped aside"), times(second, "captured")) == (0, 0)
        await steps.check_each_once(line)


@pytest.mark.timeout(100)
async def steal_until_both_have_captured(line, captures):
    """Take the leases away while one of them works; once more if it had just ended a tick, and took its lease again."""
    before = [times(capture, "captured") for capture in captures]

    def have_captured(_):
        return all(times(capture, "captured") > count for capture, count in zip(captures, before, strict=True))

    for attempts_left in reversed(range(4)):
        await steps.take_leases_away(line)
        try:
            await captures[0].until(have_captured, within_s=8)
        except TimeoutError:
            if not attempts_left:
                raise
        else:
            return


async def test_two_captures_whose_lease_is_taken_away_again_and_again_lose_and_reorder_nothing(tmp_path):
    async with pipeline(tmp_path, tables=TABLES, settings=SHORT_LEASE, max_poll_interval="200ms") as line:
        await line.start("deliver")
        first = await start_capture(line, "first")
        await steps.commit_to_each(line, 2)
        await line.arrive()
        second = await start_capture(line, "second")
        save = steps.checkpoint("Persons")
        await save.hold(line, "before")
        await line.commit(2, table="Persons")
        await save.held(line)
        await steps.take_leases_away(line)
        await until_logged(second, "captured")
        await save.release(line, drop=False)
        await until_logged(first, "stream read again")
        async with line.commits():
            for _ in range(THEFTS):
                before = await positions(line)
                await steal_until_both_have_captured(line, (first, second))
                assert all(earlier <= later for earlier, later in zip(before, await positions(line), strict=True))
        await line.arrive()
        await steps.check_each_once(line)
