"""`compare`: intervals of means where trials are a random sample, and paired differences where levels are balanced."""

from collections.abc import Iterator
from statistics import mean

import numpy as np
import optuna

from benchmarks.trust.checks import Check
from benchmarks.trust.made_values import SEED_SD, Floats
from cifar_tune.statistics.paired import compare_paired, mean_half_width

_SHARED_SEED_SD = 0.4
_LEVELS = 4


def random_sampling(studies: int) -> Iterator[Check]:
    """How often the interval of a level's mean holds it where lr and a knob without effect are drawn at random."""
    draw = np.random.default_rng(2)
    rates = draw.uniform(-1, 1, (studies, 25))
    values = -3 * rates**2 + draw.normal(0, SEED_SD, rates.shape)
    held = [abs(mean(each) + 1) <= mean_half_width(each) for each in values.tolist()]  # -3 E[x^2] = -1
    yield Check("interval of a mean holds it, random sampling, %", 100 * mean(held), 93.5, 97)
    found = [_tpe_holds(seed) for seed in range(studies // 50)]
    yield Check(
        f"the same with TPE, {len(found)} studies, % (such intervals are not printed)", 100 * mean(found),
        note="trials near the optimum are not a random sample",
    )  # fmt: skip


def _tpe_holds(seed: int) -> bool:
    """Whether the interval of the mean of a level without effect holds what random sampling would give."""
    draw = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for _ in range(60):
        trial = study.ask()
        level = trial.suggest_categorical("level", ["a", "b"])
        rate = trial.suggest_float("rate", -1, 1)
        study.tell(trial, float(-3 * rate**2 + draw.normal(0, SEED_SD)) + 0 * len(level))
    values = [trial.value for trial in study.trials if trial.params["level"] == "a" and trial.value is not None]
    return len(values) > 2 and abs(mean(values) + 1) <= mean_half_width(values)


def paired(studies: int) -> Iterator[Check]:
    """How often all paired intervals of a balanced grid hold together, and what they separate."""
    draw = np.random.default_rng(3)
    for seeds in (3, 5):
        held = [_hold(_grid(draw, seeds), np.zeros(_LEVELS)) for _ in range(studies)]
        yield Check(
            f"all differences of {_LEVELS} levels on {seeds} seeds hold together, %", 100 * mean(held), 93.5, 97
        )
    truth = np.array([0.0, 0.0, -0.4])
    found = [_separated(_grid(draw, 12, truth, 0.3)) for _ in range(studies)]
    told, apart = (100 * mean(each) for each in zip(*found, strict=True))
    yield Check(
        "a level 0.4 points behind on 12 shared seeds is told from the best, %", told, low=60,
        note=f"where the intervals of its mean and of the best do not overlap: {apart:.0f}",
    )  # fmt: skip
    sds = np.array([0.1, 0.2, 0.3, 0.6])
    held = [_hold(_grid(draw, 5, sd=sds), np.zeros(_LEVELS)) for _ in range(studies)]
    yield Check("the same where levels scatter by 0.1 to 0.6 points, %", 100 * mean(held), low=88)


def _grid(draw: np.random.Generator, seeds: int, truth: Floats | None = None, sd: Floats | float = SEED_SD) -> Floats:
    """Values [levels, seeds]; a seed is lucky or unlucky for all levels alike, and for each of them."""
    means = np.zeros(_LEVELS) if truth is None else truth
    own = draw.normal(0, 1, (len(means), seeds)) * np.reshape(sd, (-1, 1))
    values: Floats = means[:, None] + draw.normal(0, _SHARED_SEED_SD, seeds) + own
    return values


def _hold(values: Floats, truth: Floats) -> bool:
    found = compare_paired(values)
    assert found is not None
    off = (found.means - truth)[:, None] - (found.means - truth)
    return bool((np.abs(off) <= found.half_width).all())


def _separated(values: Floats) -> tuple[bool, bool]:
    """Whether the last level is told from the best one: by paired differences, and by intervals of the two means."""
    found = compare_paired(values)
    assert found is not None
    best = values[int(found.means.argmax())]
    gap = float(found.means.max() - found.means[-1])
    widths = mean_half_width(best.tolist()) + mean_half_width(values[-1].tolist())
    return gap > found.half_width, gap > widths
