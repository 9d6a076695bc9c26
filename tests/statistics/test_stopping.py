from itertools import combinations
from statistics import fmean

import pytest

from cifar_tune.statistics.stopping import mean_loss, pooled_scatter


@pytest.mark.parametrize("without", [1, 2, 3])
def test_the_loss_is_that_of_all_choices(without: int) -> None:
    values = [0.3, 0.9, 0.5, 0.8, 0.1, 0.85]
    left = combinations(values, len(values) - without)
    assert mean_loss(values, without) == pytest.approx(0.9 - fmean(max(each) for each in left))


def test_equal_values_lose_nothing() -> None:
    assert mean_loss([0.7] * 30, 15) == 0.0


def test_the_scatter_of_repeated_configurations() -> None:
    assert pooled_scatter([[1.0, 3.0], [10.0, 12.0]]) is None, "two degrees of freedom say little"
    assert pooled_scatter([[1.0, 3.0], [10.0, 12.0], [0.0, 0.0, 0.0]]) == pytest.approx((4 / 4) ** 0.5)
