import pytest

from bench.spread import Spread, percentile, ratios


def test_a_spread_is_the_median_with_the_lowest_and_the_highest() -> None:
    assert Spread.of([3, 1, 10]) == Spread(3, 1, 10)


def test_ratios_are_of_two_figures_of_the_same_round() -> None:
    assert ratios([10, 30, 20], [10, 10, 40]) == Spread(1, 0.5, 3)


@pytest.mark.parametrize(
    ("percent", "figure"),
    [
        pytest.param(50, 2, id="p50"),
        pytest.param(75, 3, id="p75"),
        pytest.param(99, 4, id="p99"),
        pytest.param(0, 1, id="p0"),
        pytest.param(100, 4, id="p100"),
    ],
)
def test_a_percentile_is_the_figure_that_so_many_are_not_above(percent: int, figure: int) -> None:
    assert percentile([1, 2, 3, 4], percent) == figure
