"""Random catalogs and outages of Consul: what is told is what happened, in order, each change once, nothing else."""

import asyncio

import pytest

from tests.chaos.outages import World

SHORT, LONG, PORTIONS = 200, 40, 8


@pytest.mark.timeout(120)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_whoever_applies_what_is_told_has_the_catalog(portion):
    for seed in range(portion, SHORT, PORTIONS):
        _run(seed, resident=False)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_whoever_applies_what_a_process_of_its_own_tells_has_the_catalog(portion, monkeypatch):
    monkeypatch.setattr("shared.sources.consul.watches.NODES_EVERY_S", 0.05)
    for seed in range(portion, LONG, PORTIONS):
        _run(seed, resident=True)


def _run(seed: int, *, resident: bool) -> None:
    world = World(seed, resident=resident)
    try:
        asyncio.run(world.run())
    except (AssertionError, TimeoutError) as why:
        pytest.fail(f"seed {seed}, {sorted(world.faults)}: {why!r}; {world.missing()}")
