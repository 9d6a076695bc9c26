"""Accuracies: their intervals, the seeds that `train --seeds` takes, and the optimism of the best of many."""

from collections.abc import Iterator

import numpy as np

from benchmarks.trust.checks import Check
from benchmarks.trust.made_values import SPLIT_SD, trained, true_values
from cifar_tune.insight.training_runs import seeds_of
from cifar_tune.statistics.shares import wilson

_SHARES = ((0.993, 299), (0.999, 299), (0.9, 300), (0.8, 5000), (0.94, 10_000))


def intervals(studies: int) -> Iterator[Check]:
    """How often the interval of an accuracy holds the true one."""
    draw = np.random.default_rng(0)
    for share, images in _SHARES:
        right, often = np.unique(draw.binomial(images, share, 10 * studies), return_counts=True)
        ends = [wilson(each / images, images) for each in right]
        held = np.array([low <= share <= high for low, high in ends])
        textbook = 1.96 * np.sqrt(right / images * (1 - right / images) / images)
        theirs = often[np.abs(right / images - share) <= textbook].sum() / often.sum()
        yield Check(
            f"interval of an accuracy of {share:.1%} on {images:,} images holds it, %",
            100 * often[held].sum() / often.sum(),
            low=93,
            note=f"p +- 1.96 sqrt(p (1 - p) / n): {100 * theirs:.0f}",
        )
    yield Check("lower end where all of 299 images are right, %", 100 * wilson(1.0, 299)[0], high=99)


def seeds(studies: int) -> Iterator[Check]:
    """What the mean over the seeds of `train best.yaml --seeds N` is above the truth of the chosen configuration."""
    draw = np.random.default_rng(1)
    truth = true_values(draw, studies)
    on_split = truth + draw.normal(0, SPLIT_SD, truth.shape)
    rows = np.arange(studies)
    for count in (3, 5):
        values = trained(draw, on_split, 1 + count)  # of seeds 0 to `count`; seed 0 is that of the study
        best = values[..., 0].argmax(axis=1)
        fresh = values[rows, best][:, list(seeds_of(0, count))].mean(axis=1) - on_split[rows, best]
        with_chosen = values[rows, best][:, :count].mean(axis=1) - on_split[rows, best]
        yield Check(
            f"mean of train best.yaml --seeds {count} above its truth, points", fresh.mean(), -0.02, 0.02,
            note=f"with the chosen seed among them: {with_chosen.mean():+.2f}",
        )  # fmt: skip
    chosen = values[..., 0].max(axis=1)
    yield Check(
        "best of 100 trials above its truth, points", (chosen - truth[rows, best]).mean(), low=0.3,
        note="the optimism that reports speak of",
    )  # fmt: skip
