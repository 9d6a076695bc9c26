"""Calibration: bins and their error, by hand."""

import numpy as np
import pytest

from cifar_tune.statistics.calibration import expected_calibration_error, reliability


def test_bins_hold_their_upper_ends() -> None:
    bins = reliability(np.array([0.0, 0.2, 0.21, 1.0]), np.array([False, True, True, True]), bins=5)
    assert [each.images for each in bins] == [2, 1, 0, 0, 1]
    assert bins[0].confidence == pytest.approx(0.1)
    assert bins[0].accuracy == 0.5
    assert (bins[2].confidence, bins[2].accuracy) == (None, None)
    assert [(bins[0].low, bins[-1].high)] == [(0.0, 1.0)]


def test_the_error_is_the_mean_gap_over_the_images() -> None:
    confidence, right = np.array([0.9, 0.9, 0.9, 0.55]), np.array([True, True, False, True])
    bins = reliability(confidence, right, bins=10)
    assert expected_calibration_error(bins) == pytest.approx((3 * (0.9 - 2 / 3) + (1 - 0.55)) / 4)
    assert expected_calibration_error(reliability(np.ones(3), np.ones(3, dtype=bool))) == 0.0
