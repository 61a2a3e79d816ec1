"""NCRONTAB against croniter, an independent implementation."""

from datetime import UTC, datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from local.host.ncrontab import Schedule

FIELDS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


@st.composite
def field(draw, low: int, high: int) -> str:
    def part() -> str:
        kind = draw(st.sampled_from(("star", "one", "range", "star step", "range step", "from step")))
        # croniter takes `a-a` for `*`
        first = draw(st.integers(low, high - 1))
        last = draw(st.integers(first + 1, high))
        step = draw(st.integers(1, high))
        match kind:
            case "star":
                return "*"
            case "one":
                return str(first)
            case "range":
                return f"{first}-{last}"
            case "star step":
                return f"*/{step}"
            case "range step":
                return f"{first}-{last}/{step}"
            case _:
                return f"{first}/{step}"

    return ",".join(part() for _ in range(draw(st.integers(1, 3))))


expressions = st.tuples(*(field(low, high) for low, high in FIELDS)).map(" ".join)
moments = st.datetimes(datetime(2020, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=300)
@given(expressions, moments)
def test_next_occurrences_are_those_of_croniter_with_both_days_required(expression, moment):
    ours = Schedule.parse(expression)
    theirs = croniter(expression, moment.replace(microsecond=0), second_at_beginning=True, day_or=False)
    at = moment
    for _ in range(3):
        found = ours.after(at)
        assert found == theirs.get_next(datetime)
        at = found


@given(expressions, moments)
def test_an_occurrence_is_strictly_later_and_nothing_lies_between(expression, moment):
    schedule = Schedule.parse(expression)
    found = schedule.after(moment)
    assert found is not None
    assert found > moment
    assert schedule.after(found - timedelta(seconds=1)) == found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/5 * * * *", "2026-11-21T10:35:00"),
        ("15 * * * * *", "2026-11-21T10:31:15"),
        ("*/15 * * * * *", "2026-11-21T10:30:45"),
        ("0 0 9-17 * * Mon-Fri", "2026-11-23T09:00:00"),
        ("0 0 0 * * sun", "2026-11-22T00:00:00"),
        ("0 0 0 * * su,we", "2026-11-22T00:00:00"),
        ("0 0 0 1 january *", "2027-01-01T00:00:00"),
        ("0 0 0 1 Ja,Jul *", "2027-01-01T00:00:00"),
        ("0 0 0 13 * Friday", "2027-08-13T00:00:00"),
        ("0 0 17-9 * * *", "2026-11-21T11:00:00"),
        ("0 0 20/2 * * *", "2026-11-21T20:00:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 0 29 2 mon", "2044-02-29T00:00:00"),
        ("0 30 10 * * *", "2026-11-22T10:30:00"),
    ],
)
def test_a_schedule_means_what_azure_means(expression, expected):
    at = datetime(2026, 11, 21, 10, 30, 30, 999_999, tzinfo=UTC)  # a Saturday
    assert Schedule.parse(expression).after(at) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("expression", ["0 0 0 30 2 *", "0 0 0 31 4,6,9,11 *"])
def test_a_date_that_does_not_exist_never_occurs(expression):
    assert Schedule.parse(expression).after(datetime(2026, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("", "five or six"),
        ("* * * *", "five or six"),
        ("* * * * * * *", "five or six"),
        ("60 * * * * *", "second"),
        ("* * 24 * * *", "hour"),
        ("* * * 0 * *", "day"),
        ("* * * * * 7", "day of week"),
        ("* * * * Foo *", "month"),
        ("*/0 * * * * *", "step"),
        ("*/x * * * * *", "step"),
        ("1,,2 * * * * *", "second"),
        ("1- * * * * *", "second"),
        ("00:00:05", "five or six"),
        ("٣ * * * * *", "second"),
    ],
)
def test_what_is_no_schedule_is_refused_with_the_field(expression, named):
    with pytest.raises(ValueError, match=named):
        Schedule.parse(expression)


@pytest.mark.parametrize(
    ("expression", "is_sub_minute"),
    [
        ("*/5 * * * * *", True),
        ("0,30 * * * * *", True),
        ("0 * * * * *", False),
        ("*/5 0 * * * *", False),
        ("* * * * *", False),
        ("*/5 */1 * * * *", True),
    ],
)
def test_only_a_schedule_of_every_minute_and_more_is_sub_minute(expression, is_sub_minute):
    assert Schedule.parse(expression).sub_minute is is_sub_minute
