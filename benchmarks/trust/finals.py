"""`finalize`: whether halving finds good configurations, and whether what is said of the winner holds.

Each made study has a common effect of its split, which moves all configurations alike. Fresh blocks lie on other
splits and have other seeds. Configurations are spread as random draws are around the top of a smooth hill in three
knobs: few are nearly the best, and 20 within 0.3 points of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.trust.checks import Check
from benchmarks.trust.made_values import CLOSE, CLOSE_RANGE, SEED_SD, SPLIT_SD, Floats
from cifar_tune.statistics.halving import (
    Rung,
    compare,
    mean_of_folds,
    plan_rungs,
    progress,
    usual_trainings,
)
from cifar_tune.statistics.network_accuracy import network_accuracy
from cifar_tune.statistics.shares import wilson

_TRAININGS = 40
_COMMON_SPLIT_SD = 0.25
_SHARED_SEED_SD = 0.6
_KNOBS = 3


@dataclass(frozen=True)
class _Study:
    """Candidates of a study, best first by what the study saw.

    Attributes:
        truth: of each, [candidates].
        studied: what the study saw, [candidates].
        scatter: standard deviation of the trainings of each, [candidates].
    """

    truth: Floats
    studied: Floats
    scatter: Floats


Maker = Callable[[np.random.Generator], _Study]


def _base(draw: np.random.Generator, trials: int = 100, seed_sd: float = SEED_SD, *, varies: bool = False) -> _Study:
    truth = -CLOSE_RANGE * (draw.uniform(0, 1, trials) * trials / CLOSE) ** (2 / _KNOBS)
    truth[0] = 0.0
    scatter = draw.uniform(0.1, 0.6, trials) if varies else np.full(trials, seed_sd)
    noise = draw.normal(0, SPLIT_SD, trials) + scatter * draw.normal(0, 1, trials)
    return _ranked(truth, truth + noise + draw.normal(0, _COMMON_SPLIT_SD), scatter)


def _pruned(draw: np.random.Generator) -> _Study:
    """The worse half by a noisy early value is not there."""
    whole = _base(draw)
    early = whole.studied + draw.normal(0, 2 * SEED_SD, len(whole.truth))
    kept = np.flatnonzero(early >= np.median(early))
    return _Study(whole.truth[kept], whole.studied[kept], whole.scatter[kept])


def _equal(draw: np.random.Generator) -> _Study:
    scatter = np.full(100, SEED_SD)
    return _ranked(np.zeros(100), draw.normal(0, SEED_SD, 100), scatter)


def _ranked(truth: Floats, studied: Floats, scatter: Floats) -> _Study:
    order = np.argsort(-studied)
    return _Study(truth[order], studied[order], scatter[order])


SPACES: dict[str, Maker] = {
    "100 trials": _base,
    "seeds scatter by 0.4 points": partial(_base, seed_sd=0.4),
    "scatter varies": partial(_base, varies=True),
    "without the half that a pruner ends": _pruned,
    "1,000 trials": partial(_base, trials=1000),
}


@dataclass(frozen=True)
class _Raced:
    """A halving that is over: its values [candidates, blocks], its rungs, and the candidates that are left."""

    fresh: Floats
    rungs: tuple[Rung, ...]
    ranked: tuple[int, ...]

    @property
    def last(self) -> Floats:
        """The winner's values of the last rung."""
        return self.fresh[self.ranked[0], -self.rungs[-1].blocks :]


def _race(study: _Study, draw: np.random.Generator, trainings: int = _TRAININGS) -> _Raced:
    """Train made values until the halving of the product is over."""
    rungs = plan_rungs(trainings, len(study.truth))
    blocks = sum(rung.blocks for rung in rungs)
    first = rungs[0].candidates
    values = (
        draw.normal(0, SPLIT_SD, (first, blocks)) + draw.normal(0, 1, (first, blocks)) * study.scatter[:first, None]
    )
    values += study.truth[:first, None] + draw.normal(0, _COMMON_SPLIT_SD, blocks)  # of the fold, for all alike
    return _halved(study.studied[:first], values, rungs)


def _halved(studied: Floats, values: Floats, rungs: tuple[Rung, ...]) -> _Raced:
    fresh = np.full_like(values, np.nan)
    while (found := progress(studied, fresh, rungs)).ranked is None:
        entered = len(found.entered)
        begin = sum(rung.blocks for rung in rungs[: entered - 1])
        end = begin + rungs[entered - 1].blocks
        running = list(found.entered[-1])
        fresh[running, begin:end] = values[running, begin:end]
    return _Raced(fresh, rungs, found.ranked)


def finals(studies: int) -> Iterator[Check]:
    """What the winner loses against the best configuration, and how often its interval holds."""
    yield from _choices(studies)
    for name, make in SPACES.items():
        draw = np.random.default_rng(11)
        held, off, width = [], [], []
        for _ in range(studies):
            study = make(draw)
            raced = _race(study, draw)
            found = mean_of_folds(raced.last.tolist(), range(raced.last.size))
            truth = study.truth[raced.ranked[0]]
            held.append(found.low <= truth <= found.high)
            off.append(found.mean - truth)
            width.append((found.high - found.low) / 2)
        yield Check(
            f"interval of the winner's accuracy holds it, {name}, %", 100 * float(np.mean(held)), 93, 97,
            note=f"half its width: {np.mean(width):.2f} points",
        )  # fmt: skip
        yield Check(f"the winner's accuracy above the truth, {name}, points", float(np.mean(off)), -0.12, 0.12)


def _choices(studies: int) -> Iterator[Check]:
    draw = np.random.default_rng(10)
    lost, naive = np.zeros(studies), np.zeros(studies)
    for index in range(studies):
        study = _base(draw)
        naive[index] = study.truth.max() - study.truth[0]
        lost[index] = study.truth.max() - study.truth[_race(study, draw).ranked[0]]
    yield Check(
        "the winner of 40 trainings is worse than the best configuration by, points", lost.mean(), high=0.075,
        note=f"the best of 100 trials: {naive.mean():.3f}",
    )  # fmt: skip
    yield Check("the same over that of the best of 100 trials", lost.mean() / naive.mean(), high=0.5)
    yield Check(
        "the winner is within 0.1 points of the best configuration, %", 100 * (lost <= 0.1).mean(), low=68,
        note=f"the best of 100 trials: {100 * (naive <= 0.1).mean():.0f}",
    )  # fmt: skip


def ties(studies: int) -> Iterator[Check]:
    """How often equal candidates are called tied, and how often all statements "at most so much worse" hold."""
    draw = np.random.default_rng(12)
    tied: list[npt.NDArray[np.bool_]] = []
    for _ in range(studies):
        raced = _race(_equal(draw), draw)
        tied.append(compare(raced.fresh, raced.rungs, raced.ranked[0]).tied)
    yield Check("where all are equal, a candidate is tied, %", 100 * float(np.mean(tied)), 93.5, 97)
    held, left = [], []
    for _ in range(studies):
        study = _base(draw)
        raced = _race(study, draw)
        found = compare(raced.fresh, raced.rungs, raced.ranked[0])
        truth = study.truth[: len(raced.fresh)]
        held.append(bool((truth.max() - truth <= found.at_most_worse).all()))
        left.append(found.tied.sum())
    yield Check(
        'no candidate is worse than its "at most so much worse" says, %', 100 * float(np.mean(held)), low=93.5,
        note=f"tied in the mean: {np.mean(left):.1f} of {_race(_base(draw), draw).rungs[0].candidates}",
    )  # fmt: skip
    changed = [_differs_with_shared_luck(_base(draw), draw) for _ in range(studies // 10)]
    yield Check(
        f"a luck of the seeds that all share (sd {_SHARED_SEED_SD}) changes winner or tied set, studies",
        float(sum(changed)), high=0,
    )  # fmt: skip
    plans = [(trainings, count) for trainings in range(10, 200, 3) for count in range(2, 120, 3)]
    plans += [(usual_trainings(count), count) for count in range(2, 400)]
    most = max(sum(rung.trainings for rung in plan_rungs(*each)) - each[0] for each in plans)
    yield Check("trainings beyond the budget, at most", float(most), high=0)


def _differs_with_shared_luck(study: _Study, draw: np.random.Generator) -> bool:
    rungs = plan_rungs(_TRAININGS, len(study.truth))
    first, blocks = rungs[0].candidates, sum(rung.blocks for rung in rungs)
    values = study.truth[:first, None] + draw.normal(0, SEED_SD, (first, blocks))
    plain = _halved(study.studied[:first], values, rungs)
    lucky = _halved(study.studied[:first], values + draw.normal(0, _SHARED_SEED_SD, blocks), rungs)
    before, after = (compare(each.fresh, rungs, each.ranked[0]).tied for each in (plain, lucky))
    return plain.ranked != lucky.ranked or not np.array_equal(before, after)


_TESTS = ((0.94, 10_000, 5), (0.94, 10_000, 3), (0.8, 2000, 5), (0.993, 299, 5))
_MATRICES = 4
"""For each study so many test sets are made: rates of misses need many."""


def test_sets(studies: int) -> Iterator[Check]:
    """How often the interval of R networks on a test set holds what new images and new seeds would give."""
    draw = np.random.default_rng(13)
    for share, images, networks in _TESTS:
        held, seeds_only = [], []
        for _ in range(min(studies * _MATRICES, 20_000_000 // images)):
            right, truth = _made_test(draw, share, images, networks)
            found = network_accuracy(right)
            held.append(found.new_images[0] <= truth <= found.new_images[1])
            if found.same_images is not None:
                seeds_only.append(found.same_images[0] <= truth <= found.same_images[1])
        low, high = (93.0, 100.0) if images < 1000 else (93.0, 97.0)
        yield Check(
            f"interval of {networks} networks on {images:,} test images at {share:.1%} holds it, {len(held):,} sets, %",
            100 * float(np.mean(held)), low, high,
            note=f"the interval for these images alone: {100 * np.mean(seeds_only):.0f}",
        )  # fmt: skip
    perfect = network_accuracy(np.ones((5, 299), dtype=bool))
    yield Check("lower end where 5 networks have all of 299 images right, %", 100 * perfect.new_images[0], 98, 99.9,
                note=f"one network: {100 * wilson(1.0, 299)[0]:.1f}")  # fmt: skip


def _made_test(
    draw: np.random.Generator, share: float, images: int, networks: int
) -> tuple[npt.NDArray[np.bool_], float]:
    """Right or wrong, [networks, images], and the accuracy over all images and seeds.

    An image is hard, easy or in between: its chance to be right is drawn from a U-shaped beta distribution. A network
    is good or bad for all images by a little.
    """
    hardness = draw.beta(share * 0.35, (1 - share) * 0.35, images)
    luck = draw.normal(0, 0.15 * np.sqrt(share * (1 - share)) / 10, networks)
    chances = np.clip(hardness + luck[:, None] * 4 * hardness * (1 - hardness), 0, 1)
    return draw.random((networks, images)) < chances, share
