"""Halving against the figures of an independent statement of the same method."""

import math

import numpy as np
import pytest

from cifar_tune.statistics.halving import (
    Comparison,
    Rung,
    compare,
    critical_lead,
    leads,
    mean_of_folds,
    plan_rungs,
    progress,
    residual_variance,
    usual_trainings,
)

NAN = math.nan
STUDIED = np.array([1.0, 0.9, 0.85, 0.8, 0.75])
VALUES = np.array(
    [
        [0.06, -0.21, 0.15, 0.19, -0.39, -0.26],
        [0.13, 0.04, 0.1, -0.07, 0.28, 0.26],
        [-0.09, 0.13, -0.01, -0.27, -0.03, -0.29],
        [0.23, 0.04, 0.01, -0.09, 0.29, 0.02],
        [-0.39, -0.37, -0.19, -0.23, -0.22, -0.21],
    ]
)
RUNGS = (Rung(5, 1), Rung(3, 5))
RACED = np.where(np.array([[1], [1], [0], [1], [0]]), VALUES, NAN)
RACED[:, 0] = VALUES[:, 0]


@pytest.mark.parametrize(
    ("trainings", "candidates", "wanted"),
    [
        (10, 20, [(4, 1), (2, 3)]),
        (20, 30, [(5, 1), (3, 5)]),
        (40, 100, [(10, 1), (5, 2), (3, 6)]),
        (60, 300, [(15, 1), (8, 2), (3, 9)]),
        (10, 1, []),
        (10, 2, [(2, 1), (2, 4)]),
        (10, 3, [(3, 1), (2, 3)]),
        (40, 5, [(5, 1), (3, 11)]),
        (16, 4, [(4, 1), (2, 6)]),
    ],
)
def test_rungs(trainings: int, candidates: int, wanted: list[tuple[int, int]]) -> None:
    assert plan_rungs(trainings, candidates) == tuple(Rung(*each) for each in wanted)


def test_a_budget_is_never_exceeded_and_every_last_rung_can_have_an_interval() -> None:
    for trainings in range(10, 130):
        for candidates in range(2, 60):
            rungs = plan_rungs(trainings, candidates)
            assert sum(rung.trainings for rung in rungs) <= trainings
            assert rungs[-1].blocks >= 2
            assert [rung.candidates for rung in rungs] == sorted((rung.candidates for rung in rungs), reverse=True)
    assert [usual_trainings(count) for count in (1, 30, 60, 100)] == [10, 15, 30, 40]


@pytest.mark.parametrize(
    ("rungs", "wanted"),
    [
        ([(4, 1), (2, 3)], 4.646),
        ([(5, 1), (3, 5)], 2.681),
        ([(10, 1), (5, 2), (3, 6)], 2.786),
        ([(2, 1), (2, 4)], 2.325),
    ],
)
def test_a_lead_by_chance(rungs: list[tuple[int, int]], wanted: float) -> None:
    found = critical_lead(tuple(Rung(*each) for each in rungs))
    assert found == pytest.approx(wanted, abs=0.002)


def test_who_goes_on() -> None:
    fresh = np.full_like(VALUES, NAN)
    assert progress(STUDIED, fresh, RUNGS).entered == ((0, 1, 2, 3, 4),)
    fresh[:, 0] = VALUES[:, 0]
    assert progress(STUDIED, fresh, RUNGS).entered[1] == (0, 1, 3)
    assert progress(STUDIED, fresh, RUNGS).ranked is None
    found = progress(STUDIED, RACED, RUNGS)
    assert (found.entered, found.ranked) == (((0, 1, 2, 3, 4), (0, 1, 3)), (1, 3, 0))


def test_a_withdrawn_candidate_leaves_and_another_one_goes_on() -> None:
    fresh = RACED.copy()
    fresh[0] = fresh[2:4, 1:] = NAN
    assert progress(STUDIED, fresh, RUNGS).ranked is None
    found = progress(STUDIED, fresh, RUNGS, {0})
    assert found.entered[1] == (1, 3, 2)  # without candidate 0 the third best has a place
    fresh[[1, 3, 2]] = VALUES[[1, 3, 2]]
    assert progress(STUDIED, fresh, RUNGS, {0}).ranked == (1, 3, 2)
    fresh[1, 3:] = NAN  # withdrawn in the last rung
    assert progress(STUDIED, fresh, RUNGS, {0, 1}).ranked == (3, 2)
    assert progress(STUDIED, np.full_like(VALUES, NAN), RUNGS, {0, 1, 2, 3, 4}).ranked == ()


def test_of_equal_ones_the_better_one_in_the_study_goes_on() -> None:
    level = np.ones((5, 6))
    assert progress(np.ones(5), level, RUNGS).entered[1] == (0, 1, 2)
    assert progress(np.ones(5), level, RUNGS).ranked == (0, 1, 2)


def test_what_fresh_values_say() -> None:
    variance, freedom = residual_variance(RACED, RUNGS)
    assert (variance, freedom) == pytest.approx((0.05067, 8))
    lead, blocks = leads(RACED)
    assert lead == pytest.approx([0.2, -0.04, 0.32, 0.04, 0.62])
    assert blocks.tolist() == [6, 6, 1, 6, 1]
    found = compare(RACED, RUNGS, winner=1)
    assert found.tied.all()
    assert found.at_most_worse == pytest.approx([0.54839, 0.30839, 1.17338, 0.38839, 1.47338], abs=1e-3)
    assert found.scatter == pytest.approx(math.sqrt(0.05067))


def test_one_that_is_far_behind_is_not_tied_and_luck_that_all_share_changes_nothing() -> None:
    far = RACED.copy()
    far[4, 0] = -5.0
    found = compare(far, RUNGS, 1)
    assert found.tied.tolist() == [True, True, True, True, False]
    luck = np.array([0.6, -0.9, 0.1, 1.2, -0.4, 0.3])
    same = compare(far + luck, RUNGS, 1)
    assert same.tied.tolist() == found.tied.tolist()
    assert same.at_most_worse == pytest.approx(found.at_most_worse)
    assert progress(STUDIED, far + luck, RUNGS) == progress(STUDIED, far, RUNGS)


def test_without_a_scatter_nothing_is_told_apart() -> None:
    alone = RACED.copy()
    alone[[0, 3], 3:] = NAN  # two of three finalists were withdrawn
    found: Comparison = compare(alone[:, :6], (Rung(5, 1), Rung(3, 5)), winner=1)
    assert (found.freedom, bool(found.tied.all())) == (0, True)
    assert np.isinf(found.at_most_worse).all()


def test_values_that_do_not_scatter_tell_nothing_apart() -> None:
    coarse = RACED.copy()
    coarse[:, 1:] = np.where(np.isnan(coarse[:, 1:]), NAN, 0.1)
    coarse[1, 0] += 0.05  # ahead in the first rung alone
    found = compare(coarse, RUNGS, winner=1)
    assert (found.freedom, bool(found.tied.all())) == (0, True)
    assert np.isinf(found.at_most_worse).all()
    assert mean_of_folds([0.1, 0.1, 0.1], [1, 2, 3]).is_point
    assert not mean_of_folds([0.1, 0.1, 0.2], [1, 2, 3]).is_point


def test_the_mean_of_folds() -> None:
    last = VALUES[1, 1:].tolist()
    apart = mean_of_folds(last, [2, 3, 4, 5, 1])
    assert (apart.mean, apart.low, apart.high) == pytest.approx((0.122, -0.062252, 0.306252), abs=1e-6)
    again = mean_of_folds(last, [2, 3, 2, 3, 1])
    assert (again.mean, again.low, again.high) == pytest.approx((0.145, -0.210023, 0.500023), abs=1e-6)
    assert mean_of_folds(last, [0] * 5) == apart  # the study's split alone: the trainings are the sample
