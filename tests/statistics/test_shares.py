import numpy as np
import pytest

from cifar_tune.statistics.shares import standard_error, wilson


@pytest.mark.parametrize(
    ("right", "count", "ends"),
    [
        (299, 299, (0.98731, 1.0)),  # as of binomtest(299, 299).proportion_ci(method="wilson") of scipy
        (0, 10, (0.0, 0.27754)),
        (4000, 5000, (0.78868, 0.81086)),
    ],
)
def test_wilson(right: int, count: int, ends: tuple[float, float]) -> None:
    assert wilson(right / count, count) == pytest.approx(ends, abs=1e-5)


@pytest.mark.parametrize(("share", "count"), [(0.993, 299), (0.999, 299), (0.8, 5000), (0.02, 200)])
def test_it_holds_the_true_share_as_often_as_it_says(share: float, count: int) -> None:
    """Over 20,000 draws; p +- 1.96 sqrt(p (1 - p) / n) holds 0.999 in 26 % of them."""
    right, often = np.unique(np.random.default_rng(0).binomial(count, share, 20_000), return_counts=True)
    held = [low <= share <= high for low, high in (wilson(each / count, count) for each in right)]
    assert often[held].sum() / often.sum() >= 0.93


def test_a_standard_error_is_never_zero() -> None:
    assert standard_error(0.8, 5000) == pytest.approx((0.8 * 0.2 / 5000) ** 0.5)
    assert 0.001 < standard_error(1.0, 299) < 0.003
    assert standard_error(0.0, 299) == pytest.approx(standard_error(1.0, 299))
    below, above = standard_error(0.9679, 299), standard_error(0.9665, 299)
    assert below == pytest.approx(above, rel=0.1), "no jump where the formulas change"
