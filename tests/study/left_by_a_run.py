"""A study named `made`, as a run on the digits would have left it, and what `finalize` does with it."""

from typing import Any

from optuna.storages import RDBStorage

from cifar_tune.data.prepared import prepare
from cifar_tune.storage import attributes
from cifar_tune.storage.openings import Opening
from cifar_tune.storage.records import load_record
from cifar_tune.study.choosing import Choice
from cifar_tune.study.finalizing import finalize
from tests.reports.factory import MadeTrial, make_record, make_spec

DIGITS = {"name": "digits", "image_size": 8, "val_size": 300}
TRAIN = {"model": "cnn2", "width": 4, "epochs": 2, "batch_size": 64, "precision": "fp32"}
SPACE = {"lr": {"low": 1e-3, "high": 0.1, "log": True}}
LR = {"lr": 0.05}


def store(
    storage: RDBStorage,
    trials: list[MadeTrial],
    data: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    space: dict[str, Any] | None = None,
    budget: int = 2,
    **sections: Any,
) -> None:
    """A study named `made`, as a run on these data would have left it."""
    knobs = {**TRAIN, **(train or {})}
    spec = make_spec(space or SPACE, data=data or DIGITS, train=knobs, budget={"trials": budget}, **sections)
    record = make_record(spec, trials, storage)
    prepared = prepare(spec.data)
    record.study.set_user_attr(
        attributes.DATA,
        {
            "fingerprint": prepared.fingerprint,
            "classes": list(prepared.classes),
            "train_images": len(prepared.train_indices),
            "val_images": len(prepared.val_indices),
        },
    )


def run(storage: RDBStorage, again: bool = False, choice: Choice | None = None) -> tuple[list[Opening], list[str]]:
    said: list[str] = []
    record = finalize(storage, "made", "cpu", said.append, again, choice)
    return list(record.openings), said


def openings(storage: RDBStorage) -> list[Opening]:
    return list(load_record(storage, "made").openings)
