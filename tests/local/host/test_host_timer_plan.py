from datetime import UTC, datetime, timedelta

from local.host.ncrontab import Schedule
from local.host.timer import Status, start_plan

HOURLY = Schedule.parse("0 0 * * * *")
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NOW = NOON + timedelta(minutes=20)


def test_a_timer_that_was_never_seen_is_first_due_at_its_next_occurrence():
    assert start_plan(None, HOURLY, NOW) == Status(None, NOON + timedelta(hours=1), NOW)


def test_a_status_that_fits_the_schedule_stands():
    assert start_plan(Status(NOON, NOON + timedelta(hours=1), NOON), HOURLY, NOW) is None


def test_a_status_whose_next_run_has_passed_stands_and_is_past_due():
    missed = Status(NOON - timedelta(hours=3), NOON - timedelta(hours=2), NOON - timedelta(hours=3))
    assert start_plan(missed, HOURLY, NOW) is None


def test_an_edited_schedule_moves_the_next_run():
    daily = Status(NOON, NOON + timedelta(days=1), NOON)
    assert start_plan(daily, HOURLY, NOW) == Status(None, NOON + timedelta(hours=1), NOON)


def test_an_edited_schedule_does_not_make_up_for_runs_it_never_owed():
    daily = Status(NOON - timedelta(hours=5), NOON + timedelta(hours=19), NOON - timedelta(hours=5))
    assert start_plan(daily, HOURLY, NOW) == Status(None, NOON + timedelta(hours=1), NOW)
