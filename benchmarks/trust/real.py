"""`finalize` on real images: what it says of its winner and of the naive best, beside many fresh trainings of both.

A study searches on few images with `cifar-tune run`, and `cifar-tune finalize` races its best trials. The truth is
then looked up: the best trial of the study and the winner of the race are trained again with fresh seeds, on the
training images of the study, and measured on thousands of images that the study, the race and the test have not used to
choose anything.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
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
_TRAIN, _VAL, _MEASURED = 5000, 1000, 5000
_FIRST_SEED = 100_000
"""Of the fresh trainings: no study and no race comes as far."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained.

    Attributes:
        trials: of the study.
        race: trainings of the race.
        fresh: trainings of the best trial and of the winner, by which the truth is known.
    """

    trials: int = 40
    race: int = 20
    fresh: int = 40


FEW = Size(trials=4, race=10, fresh=2)
"""A smoke test, whose figures say nothing."""


def real(images: Images, scratch: Path, size: Size) -> Iterator[Check]:
    """Figures of a study on real images, beside the truth.

    Args:
        images: that are searched on.
        scratch: a folder for storage and models. What it has of an earlier call is not trained again.
        size: how much is trained.
    """
    folder = scratch / "study"
    folder.mkdir(parents=True, exist_ok=True)
    spec = images.sized(_TRAIN, _VAL)
    said = _finalized(folder, spec, size)
    race, test = said["race"], said["test_openings"][-1]
    naive = race["candidates"][0]
    best, winner = _truths(folder, spec, (naive["trial"], race["winner"]), size.fresh)
    truth = float(winner.mean())
    gains = 100 * (winner - best)
    error = float(gains.std(ddof=1)) / math.sqrt(size.fresh)
    yield Check(
        "the best trial of the study looks better than it is by, points", 100 * (naive["studied"] - float(best.mean())),
        note=f"trial {naive['trial']}: {_shown(naive['studied'])} in the study, {_shown(best.mean())} in {size.fresh} "
        f"fresh trainings",
    )  # fmt: skip
    yield Check("the optimism of the study that finalize has measured, points", 100 * race["optimism"])
    yield Check(
        "the winner of the race looks better than it is by, points", 100 * (race["mean"] - truth),
        note=f"trial {race['winner']}: {_shown(race['mean'])} in the race, {_shown(truth)} in {size.fresh} fresh ones",
    )  # fmt: skip
    yield Check(
        "the race's interval of the winner holds that (1: yes)", float(_holds(race["interval"], truth)),
        note=_interval(race["interval"]),
    )  # fmt: skip
    yield Check(
        "the winner is better than the best trial by, points", float(gains.mean()), note=f"standard error {error:.2f}"
    )
    worse = naive["at_most_worse"]
    yield Check(
        'the best trial is worse by no more than "at most so much worse" says (1: yes)',
        float(worse is None or gains.mean() <= 100 * worse),
        note="" if worse is None else f"at most {100 * worse:.2f} points",
    )
    yield Check(
        "the interval of the test for new images holds the winner's accuracy (1: yes)",
        float(_holds(test["new_images"], truth)),
        note=f"{_interval(test['new_images'])}; the networks of the test have learned the validation images too",
    )


def _holds(interval: Sequence[float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def _shown(accuracy: float) -> str:
    return f"{100 * accuracy:.2f} %"


def _interval(interval: Sequence[float]) -> str:
    return f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f} %"


def _finalized(folder: Path, spec: DataSpec, size: Size) -> dict[str, Any]:
    """What `finalize --json` says of the study, which is run and finalized in this folder as far as it is not yet."""
    (folder / "real.yaml").write_text(yaml.safe_dump(_study(spec, size)))
    _called(folder, "run", "real.yaml", "--workers", "1")
    wanted = ("--trainings", str(size.race), "--study-images", "--workers", "1", "--json")
    said: dict[str, Any] = json.loads(_called(folder, "finalize", "real", *wanted))
    return said


def _truths(folder: Path, spec: DataSpec, trials: Sequence[int], count: int) -> list[Floats]:
    """Accuracies of fresh trainings of trials of the study, [trainings] each, all with the same seeds."""
    record = load_study("real", f"sqlite:///{folder / 'real.db'}").record
    configs = {trial.number: trial.configuration(record.spec.vocabulary) for trial in record.ranked}
    data = _unused(spec)
    return [_fresh(configs[trial], data, count, folder / f"fresh-{trial}.txt") for trial in trials]


def _study(spec: DataSpec, size: Size) -> dict[str, Any]:
    data = {key: value for key, value in spec.model_dump(mode="json").items() if value is not None}
    return {
        "name": "real",
        "budget": {"trials": size.trials},
        "sampler": {"name": "tpe", "seed": 0},
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


def _fresh(config: Configuration, data: PreparedData, count: int, file: Path) -> Floats:
    """Accuracies of fresh trainings, [trainings]; those that are in the file are not trained again."""
    device = torch.device("cpu")
    resident = ResidentData(data, device)
    done = len(file.read_text().split()) if file.exists() else 0
    with file.open("a") as written:
        for seed in range(_FIRST_SEED + done, _FIRST_SEED + count):
            *_, last = Training(config.replaced(seed=seed), resident, device).epochs()
            print(repr(last.val_accuracy), file=written, flush=True)
    return np.array(file.read_text().split()[:count], dtype=np.float64)
