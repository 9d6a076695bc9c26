"""Learning curves of random configurations, all trained to their end: what searches are replayed on.

    python -m benchmarks.curves curves.json --images data/cifar10-jpeg

trains four small spaces with `cifar-tune run`, one process, random search and no pruner, in about half an hour, and
writes the curves into a file. A second call goes on where the first one was interrupted. `python -m benchmarks.replay
curves.json` reads the file.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from benchmarks.images import Images, find_images
from cifar_tune.cli.whole_process import quieten_optuna
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.files import replace_file
from cifar_tune.knobs.part import Scalar
from cifar_tune.study.events import Observer, StopRequests, TrialEnd
from cifar_tune.study.run import run_study
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document

_TRIALS = 100
_OPTIMIZER: Mapping[str, Any] = {
    "optimizer": {"choices": ["sgd", "adamw"]},
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "momentum": {"low": 0.5, "high": 0.99, "when": {"optimizer": "sgd"}},
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "batch_size": {"choices": [64, 128, 256]},
}
_REGULARIZATION: Mapping[str, Any] = {
    "activation": {"choices": ["relu", "leaky_relu", "elu", "silu"]},
    "dropout": {"low": 0.0, "high": 0.5},
    "label_smoothing": {"low": 0.0, "high": 0.2},
    "augment": {"choices": [[], ["horizontal_flip"], ["random_crop", "horizontal_flip"]]},
}
_SCHEDULES: Mapping[str, Any] = {"schedule": {"choices": ["constant", "cosine", "one_cycle"]}}


@dataclass(frozen=True, slots=True)
class Space:
    """What is trained of a space: images (None: the digits) of how many pixels, and the sections of its study."""

    pixels: int | None
    train: Mapping[str, Any]
    search_space: Mapping[str, Any]


SPACES: Mapping[str, Space] = {
    "digits-cnn3": Space(
        None, {"model": "cnn3", "width": 8, "epochs": 18}, {**_OPTIMIZER, **_REGULARIZATION, **_SCHEDULES}
    ),
    "cifar-cnn3": Space(
        16,
        {"model": "cnn3", "epochs": 12, "schedule": "one_cycle"},
        {**_OPTIMIZER, **_REGULARIZATION, "width": {"choices": [4, 8]}},
    ),
    "cifar-tutorial_net": Space(
        16,
        {"model": "tutorial_net", "epochs": 18, "schedule": "cosine"},
        {**_OPTIMIZER, **_REGULARIZATION, "norm": {"choices": ["none", "batch"]}},
    ),
    "cifar-three-nets": Space(
        16,
        {"epochs": 9, "width": 8},
        {**_OPTIMIZER, **_SCHEDULES, "model": {"choices": ["tutorial_net", "simple_nn", "cnn3"]}},
    ),
}


@dataclass(frozen=True)
class Curve:
    """One trial: what it tried, its validation accuracy after each epoch, and the epoch of its highest rate.

    A trial whose loss diverged has fewer epochs than the others.
    """

    params: Mapping[str, Scalar]
    accuracies: Sequence[float]
    peak: float


def study_of(name: str, space: Space, images: Images, trials: int) -> StudySpec:
    """The study whose trials become the curves of a space."""
    if space.pixels is None:
        data: Mapping[str, Any] = {"name": "digits", "train_size": 1000, "val_size": 400}
    else:
        sized = images.sized(3000, 1000).model_dump(mode="json")
        data = {key: value for key, value in {**sized, "image_size": space.pixels}.items() if value is not None}
    plain = {
        "name": name,
        "data": data,
        "train": {**space.train},
        "search_space": space.search_space,
        "budget": {"trials": trials},
        "sampler": {"name": "random"},
        "pruner": {"name": "none"},
    }
    return read_study(Document(plain), None).spec


class _Words(Observer):
    """Says how far it is, on one line per ten trials."""

    def ended(self, end: TrialEnd) -> None:
        if end.finished % 10 == 0:
            print(f"{end.finished} trials", flush=True)


def collect(file: Path, images: Images, trials: int) -> None:
    """Train every space, as far as it is not trained yet, and write `file`."""
    url = make_url(f"sqlite:///{file.absolute().with_suffix('.db')}")
    found: dict[str, Any] = {}
    for name, space in SPACES.items():
        print(name, flush=True)
        spec = study_of(name, space, images, trials)
        record = run_study(spec, url, _Words(), ExecutorOptions(workers=1), StopRequests()).record
        if record is None:
            raise SystemExit("interrupted; the same command goes on")
        curves = []
        for trial in record.trials:
            accuracies, rates = trial.history.get("val_accuracy"), trial.history.get("lr")
            if accuracies and rates:
                params = {knob: trial.config[knob] for knob in trial.params}
                curves.append({"params": params, "accuracies": accuracies, "peak": rates.index(max(rates)) + 1})
        found[name] = {"epochs": spec.largest_epochs, "curves": curves}
        replace_file(file, json.dumps(found))


def read_curves(file: Path) -> Mapping[str, Sequence[Curve]]:
    """By space."""
    plain = json.loads(file.read_text())
    return {name: [Curve(**each) for each in space["curves"]] for name, space in plain.items()}


def main() -> None:
    """Collect the curves."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("file", type=Path, help="to write, such as curves.json; a database is kept beside it")
    parser.add_argument("--images", help="a folder with train/<class>/*, or the official archive; else made-up ones")
    parser.add_argument("--trials", type=int, default=_TRIALS, help="of each space")
    given = parser.parse_args()
    quieten_optuna()
    collect(given.file, find_images(given.images, given.file.absolute().parent), given.trials)


if __name__ == "__main__":
    main()
