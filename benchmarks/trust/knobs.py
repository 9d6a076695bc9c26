"""Importances: how often a knob without effect is called above chance, and how often one with an effect is found."""

from collections.abc import Iterator
from statistics import mean

import numpy as np
import optuna

from benchmarks.trust.checks import Check
from cifar_tune.cli.whole_process import silence_warnings
from cifar_tune.reports.importance_chance import chance_of
from cifar_tune.reports.importances import Importances, ped_anova, quick
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import Document

_TRIALS = 80
_CHOICES, _RANGES = 2, 4
_SPEC = read_study(Document({"name": "made", "search_space": {"lr": {"low": 0.1, "high": 1.0}}}), None).spec
"""Importances take nothing from it but its objective."""


def importances(studies: int) -> Iterator[Check]:
    """Six knobs, none or one of which matters, searched at random or by TPE; 80 trials each."""
    silence_warnings()
    for name in ("random", "tpe"):
        found = [_study(name, seed, effect=0.0) for seed in range(studies // 40)]
        wrong = 100 * mean(bool(_passed(each)) for each in found)
        largest = 100 * mean(max(_shares(each).values()) for each in found)
        yield Check(
            f"some knob is called above chance where none matters, {name}, {len(found)} studies, %", wrong, high=12,
            note=f"mean of the largest share: {largest:.0f} %",
        )  # fmt: skip
        found = [_study(name, seed, effect=20.0) for seed in range(studies // 40)]
        passed = [_passed(each) for each in found]
        is_random = name == "random"
        yield Check(
            f"a knob that matters is found, {name}, %", 100 * mean("x0" in each for each in passed),
            low=90 if is_random else 0,
            note="" if is_random else "nearly all trials are near the optimum, so the best hardly differ from all",
        )  # fmt: skip
        others = 100 * mean(bool(set(each) - {"x0"}) for each in passed)
        yield Check(f"some other knob is called above chance beside it, {name}, %", others, high=12)


def _study(sampler: str, seed: int, effect: float) -> list[optuna.trial.FrozenTrial]:
    samplers = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
    study = optuna.create_study(direction="maximize", sampler=samplers[sampler](seed=seed))
    draw = np.random.default_rng(seed)
    for _ in range(_TRIALS):
        trial = study.ask()
        for index in range(_CHOICES):
            trial.suggest_categorical(f"c{index}", ["a", "b", "c"])
        positions = [trial.suggest_float(f"x{index}", -1, 1) for index in range(_RANGES)]
        study.tell(trial, float(-effect * positions[0] ** 2 + draw.normal()))
    return study.trials


def _shares(trials: list[optuna.trial.FrozenTrial]) -> dict[str, float]:
    return ped_anova(_SPEC, quick(trials))


def _passed(trials: list[optuna.trial.FrozenTrial]) -> list[str]:
    shares = _shares(trials)
    return chance_of(_SPEC, quick(trials), shares).passed(Importances(shares, len(trials), 8))
