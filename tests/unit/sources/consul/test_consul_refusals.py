import pytest

from shared.errors import ConfigError, TransientError
from shared.sources.consul.refusals import refused


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), (None, None), ("Sat, 21 Nov 2026 07:28:00 GMT", None), ("inf", None)],
)
def test_the_time_after_which_to_come_back_is_taken_from_the_answer(header, seconds):
    why = refused(429, "slow down", {"Retry-After": header} if header else {}, "/v1/catalog/services", "dc1")
    assert isinstance(why, TransientError)
    assert why.retry_after == seconds


def test_what_consul_said_is_cut_short_and_in_one_line():
    why = refused(500, "rpc error:\n  " + "x" * 1_000, {}, "/v1/catalog/services", "")
    assert why.message.startswith("/v1/catalog/services: rpc error: xxx")
    assert len(why.message) < 350


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_what_waiting_does_not_mend_is_a_problem_of_the_settings_with_a_remedy(status):
    why = refused(status, "", {}, "/v1/catalog/services", "dc1")
    assert isinstance(why, ConfigError)
    assert why.hint
