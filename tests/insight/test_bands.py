import math

import numpy as np
import pytest

from cifar_tune.insight.landscape_report import band, thinned


def test_a_band_lies_between_the_smallest_and_the_largest() -> None:
    found = band([[3.0, 1.0, 2.0], [1.0, math.nan], [2.0, 4.0]])
    assert found.low.tolist() == [1.0, 1.0, 2.0]
    assert found.high.tolist() == [3.0, 4.0, 2.0]


def test_a_step_that_no_series_has_is_a_gap() -> None:
    found = band([[math.nan, 1.0], [math.nan, 2.0]])
    assert math.isnan(found.low[0])
    assert math.isnan(found.high[0])


def test_means_of_so_many_steps() -> None:
    values = np.array([1.0, 100.0, math.nan, 4.0, 7.0])
    assert thinned(values, 2, log=False).tolist() == [50.5, 4.0, 7.0]
    assert thinned(values, 2, log=True).tolist() == pytest.approx([10.0, 4.0, 7.0])
    assert np.isnan(thinned(np.array([0.0, math.nan]), 2, log=True)).all()
