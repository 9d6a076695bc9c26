"""`finalize` on real images: what it says of its winner and of the naive best, beside many fresh trainings of both.

Each study searches on few images with `cifar-tune run`, and `cifar-tune finalize` races its best trials. The truth is
then looked up: the best trial of the study and the winner of the race are trained again with fresh seeds, on the
training images of the study, and measured on thousands of images that the study, the race and the test have not used to
choose anything.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.images import Images
from benchmarks.trust.checks import Check
from benchmarks.trust.made_values import Floats
from cifar_tune import load_study
from cifar_tune.data.folds import count_folds, fold_of
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.loop import Training

_URL = "sqlite:///real.db"
_TRAIN, _VAL, _MEASURED = 5000, 1000, 10_000
_FIRST_SEED = 100_000
"""Of the fresh trainings: no study and no race comes as far."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained.

    Attributes:
        studies: independent ones, each with other images and other draws.
        trials: of each.
        race: trainings of each race.
        fresh: trainings of the best trial and of the winner, by which the truth is known.
    """

    studies: int = 2
    trials: int = 40
    race: int = 20
    fresh: int = 40


FEW = Size(studies=1, trials=4, race=10, fresh=2)
"""A smoke test, whose figures say nothing."""


@dataclass(frozen=True)
class _Finalized:
    """A study that was finalized, and the truth.

    Attributes:
        race: what `finalize --json` says of it.
        test: its opening of the test set.
        winner, best: what fresh trainings of the race's winner and of the study's best trial gave, [trainings]. Both
            have the same seeds.
    """

    race: Mapping[str, Any]
    test: Mapping[str, Any]
    winner: Floats
    best: Floats

    @property
    def naive(self) -> Mapping[str, Any]:
        """The study's best trial among the raced ones."""
        found: Mapping[str, Any] = self.race["candidates"][0]
        return found

    @property
    def best_at_most_worse(self) -> float:
        """By how much the best trial is worse than the best one that was raced, as the race says."""
        worse = self.naive["at_most_worse"]
        return float("inf") if worse is None else float(worse)


def real(images: Images, scratch: Path, size: Size) -> Iterator[Check]:
    """Figures of some studies on real images, beside the truth.

    Args:
        images: that are searched on.
        scratch: a folder for storage and models.
        size: how much is trained.
    """
    found = [_finalized(images, scratch, number, size) for number in range(size.studies)]
    count = size.studies
    claimed = [100 * (each.naive["studied"] - each.best.mean()) for each in found]
    measured = [100 * each.race["optimism"] for each in found]
    raced = [100 * (each.race["mean"] - each.winner.mean()) for each in found]
    gains = [100 * float((each.winner - each.best).mean()) for each in found]
    yield Check(
        "the best trial of a study looks better than it is by, points", float(np.mean(claimed)), note=_each(claimed)
    )
    yield Check("the optimism that finalize has measured, points", float(np.mean(measured)), note=_each(measured))
    yield Check("the winner of the race looks better than it is by, points", float(np.mean(raced)), note=_each(raced))
    held = sum(_holds(each.race["interval"], each.winner.mean()) for each in found)
    yield Check(
        f"intervals of the winner that hold what {size.fresh} fresh trainings give, of {count}", held, count - 1,
        note=", ".join(_interval(each.race["interval"], each.winner.mean()) for each in found),
    )  # fmt: skip
    errors = [100 * float((each.winner - each.best).std(ddof=1)) / np.sqrt(size.fresh) for each in found]
    yield Check(
        "the winner is better than the best trial by, points", float(np.mean(gains)),
        note=f"{_each(gains)}; standard errors {_each(errors)}",
    )  # fmt: skip
    told = sum(gain / 100 <= each.best_at_most_worse for gain, each in zip(gains, found, strict=True))
    yield Check(f'the best trial is worse by no more than "at most so much worse" says, of {count}', told, count - 1)
    yield Check(
        f"test intervals for new images that hold the same, of {count}",
        sum(_holds(each.test["new_images"], each.winner.mean()) for each in found),
        note=", ".join(_interval(each.test["new_images"], each.winner.mean()) for each in found)
        + "; the tested networks have learned the validation images too",
    )


def _each(values: list[float]) -> str:
    return ", ".join(f"{value:+.2f}" for value in values)


def _holds(interval: list[float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def _interval(interval: list[float], truth: float) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} ({100 * truth:.2f})"


def _finalized(images: Images, scratch: Path, number: int, size: Size) -> _Finalized:
    folder = scratch / f"study{number}"
    folder.mkdir(parents=True)
    spec = images.sized(_TRAIN, _VAL).model_copy(update={"split_seed": number})
    (folder / "real.yaml").write_text(yaml.safe_dump(_study(spec, number, size)))
    _called(folder, "run", "real.yaml", "--workers", "1")
    wanted = ("--trainings", str(size.race), "--study-images", "--workers", "1", "--json")
    said = json.loads(_called(folder, "finalize", "real", *wanted))
    study = load_study("real", f"sqlite:///{folder / 'real.db'}")
    configs = {trial.number: trial.configuration(study.record.spec.vocabulary) for trial in study.record.ranked}
    race = said["race"]
    data = _unused(spec)
    best = _fresh(configs[race["candidates"][0]["trial"]], data, size.fresh)
    is_same = race["winner"] == race["candidates"][0]["trial"]
    winner = best if is_same else _fresh(configs[race["winner"]], data, size.fresh)
    print(
        f"study {number}: best trial {race['candidates'][0]['trial']}, winner {race['winner']}; "
        f"fresh {best.mean():.4f} and {winner.mean():.4f}", file=sys.stderr, flush=True,
    )  # fmt: skip
    return _Finalized(race, said["test_openings"][-1], winner, best)


def _study(spec: DataSpec, number: int, size: Size) -> dict[str, Any]:
    data = {key: value for key, value in spec.model_dump(mode="json").items() if value is not None}
    return {
        "name": "real",
        "budget": {"trials": size.trials},
        "sampler": {"name": "tpe", "seed": number},
        "pruner": {"name": "none"},
        "data": data,
        "train": {"model": "cnn3", "width": 8, "epochs": 2, "schedule": "one_cycle", "precision": "fp32"},
        "search_space": {
            "lr": {"low": 0.003, "high": 0.3, "log": True},
            "momentum": {"low": 0.5, "high": 0.98},
            "weight_decay": {"low": 1.0e-6, "high": 1.0e-2, "log": True},
            "label_smoothing": {"low": 0.0, "high": 0.2},
            "activation": {"choices": ["relu", "leaky_relu", "elu", "silu"]},
            "batch_size": {"choices": [32, 64, 128]},
        },
    }


def _called(folder: Path, *arguments: str) -> str:
    """What a command of ours prints."""
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "cifar_tune", *arguments, "--storage", _URL]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def _unused(spec: DataSpec) -> PreparedData:
    """The training images of the study, validated on images that have chosen nothing."""
    prepared = prepare(spec)
    # the race has used the folds, one each for a block: those behind them are free
    folds = range(count_folds(prepared), 0, -1)
    free = np.concatenate([fold_of(prepared, spec, fold).val_indices for fold in folds[: _MEASURED // _VAL]])
    return replace(prepared, val_indices=np.setdiff1d(free, prepared.train_indices))


def _fresh(config: Configuration, data: PreparedData, count: int) -> Floats:
    """Accuracies of fresh trainings, [trainings]."""
    device = torch.device("cpu")
    resident = ResidentData(data, device)
    found = []
    for seed in range(_FIRST_SEED, _FIRST_SEED + count):
        results = list(Training(config.replaced(seed=seed), resident, device).epochs())
        found.append(results[-1].val_accuracy)
    return np.array(found)
