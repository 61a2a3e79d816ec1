from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared import schedule

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_a_quiet_stream_is_looked_at_half_as_often_each_time_down_to_its_limit():
    interval, seen = 0.0, []
    for _ in range(6):
        interval = schedule.quieter(interval, 5, 60)
        seen.append(interval)
    assert seen == [5, 10, 20, 40, 60, 60]


@given(st.floats(0.1, 1e5), st.floats(-1e6, 1e6))
def test_a_turn_comes_within_one_interval_and_on_the_anchor_s_beat(interval, passed):
    now = NOW + timedelta(seconds=passed)
    turn = schedule.due(NOW, interval, now)
    assert turn >= now - timedelta(milliseconds=1)
    assert turn <= max(now, NOW) + timedelta(seconds=interval, milliseconds=1)


def test_a_back_off_doubles_to_its_limit_and_jitter_takes_at_most_half():
    assert [schedule.backoff(n, 1, 8, 0) for n in range(1, 6)] == [1, 2, 4, 8, 8]
    assert schedule.backoff(3, 1, 8, 1) == 2
