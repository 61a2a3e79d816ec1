import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5),
        ("1m30s", 90),
        ("100ms", 0.1),
        ("1.5h", 5400),
        ("2h45m", 9900),
        (".5s", 0.5),
        ("1.s", 1),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("10ns", 1e-8),
        ("0", 0),
    ],
)
def test_durations_are_read_as_go_reads_them(text, seconds):
    assert units.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "-5s", "5S", "5d", "1m 30s", "1e3s", ".s", "5s\n", "9" * 400 + "h"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="a duration is written"):
        units.seconds(text)


@given(st.integers(0, 10_000), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(hours, minutes, seconds, milliseconds):
    text = f"{hours}h{minutes}m{seconds}s{milliseconds}ms"
    assert units.seconds(text) == pytest.approx(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512B", 512), ("256KB", 262_144), ("256kb", 262_144), ("1KiB", 1024), ("1MB", 1_048_576), ("1.5 MB", 1_572_864)],
)
def test_sizes_count_in_1024(text, size):
    assert units.size(text) == size


@pytest.mark.parametrize("text", ["", "256", "KB", "-1KB", "1TB", "1 K B", "9" * 400 + "B"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="a size is written"):
        units.size(text)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for parse in (units.seconds, units.size):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert "is written" in str(error)  # noqa: PT017 - either outcome is right
