r"""What each sampler finds on made spaces, with conditions and without, through the functions that a study asks by.

    python -m benchmarks.samplers

Every space has a truth that is drawn again for each study: each knob costs points with the squared distance from its
best value, and each choice costs points of its own. What counts is the true value of the best trial, as it looked with
the noise of a training, after 20, 50 and 100 trials, in points below the best there is. The standard error is that over
studies; all samplers meet the same truths.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import optuna

from benchmarks.measuring import table
from benchmarks.question import write_section
from benchmarks.trust.made_values import SEED_SD
from cifar_tune.cli.whole_process import quieten_optuna
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.part import Value
from cifar_tune.samplers.build import Samplers
from cifar_tune.study.asking import ask
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document

_TRIALS = (20, 50, 100)
_RANGES: Mapping[str, Any] = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "label_smoothing": {"low": 0.0, "high": 0.2},
}
SPACES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "four ranges": ({"model": "cnn3"}, _RANGES),
    "ranges and choices": (
        {"model": "cnn3"},
        {
            **_RANGES,
            "optimizer": {"choices": ["sgd", "adamw"]},
            "activation": {"choices": ["relu", "leaky_relu", "elu", "silu"]},
            "batch_size": {"choices": [64, 128, 256]},
            "width": {"choices": [8, 16, 24]},
        },
    ),
    "conditions": (
        {"model": "cnn3"},
        {
            **_RANGES,
            "optimizer": {"choices": ["sgd", "adamw", "rmsprop"]},
            "momentum": {"low": 0.5, "high": 0.99, "when": {"optimizer": "sgd"}},
            "beta1": {"low": 0.5, "high": 0.99, "when": {"optimizer": "adamw"}},
            "beta2": {"low": 0.9, "high": 0.9999, "when": {"optimizer": "adamw"}},
            "activation": {"choices": ["relu", "leaky_relu"]},
            "negative_slope": {"low": 0.0, "high": 0.5, "when": {"activation": "leaky_relu"}},
        },
    ),
}
"""Sections `train` and `search_space`."""

SAMPLERS: Mapping[str, Mapping[str, Any]] = {
    "random": {"name": "random"},
    "qmc": {"name": "qmc"},
    "tpe": {"name": "tpe"},
    "tpe, group": {"name": "tpe", "group": True},
    "tpe, not multivariate": {"name": "tpe", "multivariate": False},
    "tpe, n_startup_trials: 20": {"name": "tpe", "n_startup_trials": 20},
    "gp": {"name": "gp"},
}
_COST_OF_RANGE = 12.0
"""Points at the far end of a range from its best value, at most."""

_COST_OF_CHOICE = 2.0


class Truth:
    """What configurations of a space are worth, in points below the best there is.

    The best `lr` and `weight_decay` are others for each choice of the optimizer.
    """

    def __init__(self, spec: StudySpec, seed: int) -> None:
        self._spec = spec
        self._draw = np.random.default_rng(seed)
        self._places: dict[tuple[str, object], float] = {}
        self._costs: dict[tuple[str, object], float] = {}
        for name, dimension in spec.search_space.items():
            if isinstance(dimension, Choices):
                costs = self._draw.uniform(0, _COST_OF_CHOICE, len(dimension.choices))
                costs[self._draw.integers(len(costs))] = 0
                self._costs.update(
                    {(name, each): float(cost) for each, cost in zip(dimension.choices, costs, strict=True)}
                )
        optimizers = spec.search_space.get("optimizer")
        kinds: Sequence[object] = optimizers.choices if isinstance(optimizers, Choices) else (None,)
        for name in spec.search_space:
            shared = float(self._draw.uniform(0.15, 0.85))
            for kind in kinds:
                own = float(self._draw.uniform(0.15, 0.85))
                self._places[name, kind] = own if name in ("lr", "weight_decay") else shared

    def value(self, config: Configuration) -> float:
        """Of one configuration: 0 or less."""
        kind = config["optimizer"] if "optimizer" in self._spec.search_space else None
        cost = 0.0
        for name, dimension in self._spec.search_space.items():
            if not self._applies(dimension, config):
                continue
            if isinstance(dimension, Choices):
                cost += self._costs[name, config[name]]
            else:
                cost += _COST_OF_RANGE * (_place(dimension, config[name]) - self._places[name, kind]) ** 2
        return -cost

    @staticmethod
    def _applies(dimension: Dimension, config: Configuration) -> bool:
        return all(config[name] in wanted for name, wanted in (dimension.when or {}).items())


def _place(dimension: Dimension, value: Value) -> float:
    """Where a number lies in its range, from 0 to 1."""
    if isinstance(dimension, Choices) or not isinstance(value, int | float):
        raise TypeError(f"no number of a range: {value!r}")
    if dimension.log:
        return math.log(value / dimension.low) / math.log(dimension.high / dimension.low)
    return (value - dimension.low) / (dimension.high - dimension.low)


def searched(spec: StudySpec, seed: int, trials: Sequence[int]) -> list[float]:
    """The true value of what looks best after so many trials each, in points."""
    truth, noise = Truth(spec, seed), np.random.default_rng(10_000 + seed)
    study = optuna.create_study(direction="maximize")
    samplers = Samplers(spec.sampler, spec.priors)
    truths: list[float] = []
    seen: list[float] = []
    for _ in range(max(trials)):
        trial, config = ask(study, spec, samplers, None)
        truths.append(truth.value(config))
        seen.append(truths[-1] + float(noise.normal(0, SEED_SD)))
        study.tell(trial, seen[-1])
    return [truths[int(np.argmax(seen[:count]))] for count in trials]


def study_of(space: str, sampler: Mapping[str, Any], seed: int) -> StudySpec:
    """A study of one of the spaces, with a sampler section."""
    train, search_space = SPACES[space]
    plain = {
        "name": "made",
        "data": {"name": "digits"},
        "train": train,
        "search_space": search_space,
        "sampler": {**sampler, "seed": seed},
    }
    return read_study(Document(plain), None).spec


def measure(space: str, seeds: Sequence[int], samplers: Sequence[str]) -> str:
    """The table of one space."""
    rows = []
    for name in samplers:
        found = np.array([searched(study_of(space, SAMPLERS[name], seed), seed, _TRIALS) for seed in seeds])
        cells = [f"{-mean(each):.2f} ± {stdev(each) / math.sqrt(len(seeds)):.2f}" for each in found.T.tolist()]
        rows.append((name, *cells))
        print(space, *rows[-1], flush=True)
    return table(("sampler", *(f"points lost after {count} trials" for count in _TRIALS)), rows)


def main() -> None:
    """Print a table per space."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.samplers", description=__doc__)
    parser.add_argument("--studies", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="seed of the first study")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    parser.add_argument("--spaces", nargs="+", choices=SPACES, default=list(SPACES))
    parser.add_argument("--write", type=Path, help="document to put the tables into, such as docs/performance.md")
    given = parser.parse_args()
    quieten_optuna()
    seeds = range(given.first, given.first + given.studies)
    parts = [f"### {space}\n\n{measure(space, seeds, given.samplers)}" for space in given.spaces]
    text = "## What each sampler finds\n\n" + "\n\n".join(parts)
    print(text)
    if given.write is not None:
        write_section(given.write, "samplers", text)


if __name__ == "__main__":
    main()
