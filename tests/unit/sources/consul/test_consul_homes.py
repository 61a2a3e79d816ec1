"""Which service each instance is in."""

from shared.sources.consul.homes import Homes


def test_whoever_comes_to_another_service_has_left_the_first():
    homes = Homes()
    assert homes.settle("web", ["n1/a", "n2/a"], []) == set()
    assert homes.settle("web", ["n1/a"], []) == set()
    assert homes.settle("api", ["n1/a", "n3/a"], []) == {"web"}
    assert homes.settle("web", ["n1/a"], []) == {"api"}


def test_whoever_is_gone_has_left_nobody_when_it_comes_to_another():
    homes = Homes()
    homes.settle("web", ["n1/a"], [])
    homes.settle("web", [], ["n1/a"])
    assert homes.settle("api", ["n1/a"], []) == set()


def test_whoever_is_gone_from_one_service_stays_in_the_other_that_it_came_to():
    homes = Homes()
    homes.settle("web", ["n1/a"], [])
    homes.settle("api", ["n1/a"], [])
    homes.settle("web", [], ["n1/a"])
    assert homes.settle("db", ["n1/a"], []) == {"api"}
