"""What was asked for."""

from datetime import date

from harvester.datacube import INTERFACES
from harvester.scope import Scope


def test_an_interface_has_the_days_of_the_range_that_it_has_data_for() -> None:
    scope = Scope({}, (INTERFACES["getarticlesummary"],), date(2014, 1, 1), date(2020, 1, 1))
    assert scope.range_of(INTERFACES["getarticlesummary"]) == (date(2014, 12, 1), date(2020, 1, 1))


def test_a_range_within_an_interfaces_days_is_left_as_it_is() -> None:
    scope = Scope({}, (INTERFACES["getarticlesummary"],), date(2019, 1, 1), date(2020, 1, 1))
    assert scope.range_of(INTERFACES["getarticlesummary"]) == (date(2019, 1, 1), date(2020, 1, 1))
