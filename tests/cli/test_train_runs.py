"""Trainings with one seed after the other, and what ends them."""

import shlex
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError, UserError
from cifar_tune.insight import training_runs
from cifar_tune.insight.training_runs import result_lines, train_seeds
from cifar_tune.knobs.part import Value
from cifar_tune.model_files.reading import read_description
from cifar_tune.study_spec.run_config import RunConfig
from cifar_tune.training.loop import Training
from tests.digits import small_of


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))


def run(**chosen: Value) -> RunConfig:
    return RunConfig(DataSpec(name="digits", train_size=64, val_size=64), small_of(epochs=1, **chosen))


def test_one_model_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[weakref.ref[Any]] = []

    class Watched(Training):
        def __init__(self, *given: Any, **named: Any) -> None:
            assert not any(each() for each in built), "the model of another seed is still there"
            super().__init__(*given, **named)
            built.append(weakref.ref(self.learner.model))

    monkeypatch.setattr(training_runs, "Training", Watched)
    results = train_seeds(run(seed=3), 3, "cpu", lambda _: None)
    assert [each["seed"] for each in results["runs"]] == [4, 5, 6], "the seed that was chosen is not among them"
    assert len(built) == 3


def test_the_models_of_several_seeds_are_kept_apart(tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "kept here"
    told = replace(run(seed=3), metrics=("val_macro_f1", "best_val_ece"))
    results = train_seeds(told, 2, "cpu", said.append, save=folder)
    runs = results["runs"]
    first = next(line for line in result_lines(results) if line.startswith("seed=4 "))
    assert shlex.split(first)[-1] == f"model={folder}/seed-4"
    assert f"model={folder}/seed-4" in result_lines(results | {"runs": runs[:1]})
    assert [each["model"] for each in runs] == [str(folder / "seed-4"), str(folder / "seed-5")]
    for each in runs:
        description = read_description(each["model"])
        figures = {name: metric.value for name, metric in description.metrics.items()}
        assert figures == {name: each[name] for name in ("val_macro_f1", "val_accuracy", "val_loss")}
        assert description.confusion is not None
        right = sum(row[place] for place, row in enumerate(description.confusion))
        assert (right / 64, sum(map(sum, description.confusion))) == (each["val_accuracy"], 64)
        assert f"model folder: {each['model']}" in said
    with pytest.raises(UserError, match="holds other files"):
        train_seeds(run(), 1, "cpu", lambda _: None, save=folder)


def test_memory_that_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def epochs(_self: Training) -> Iterator[None]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(Training, "epochs", epochs)
    with pytest.raises(CheckError, match="the memory of cpu does not suffice: try a smaller batch_size or width"):
        train_seeds(run(), 1, "cpu", lambda _: None)


def test_the_metrics_of_the_configuration_are_told() -> None:
    told = replace(run(), metrics=("val_macro_f1", "best_val_ece", "val_loss", "flops"))
    (figures,) = train_seeds(told, 1, "cpu", lambda _: None)["runs"]
    assert 0 < figures["val_macro_f1"] < 1
    assert 0 < figures["best_val_ece"] < 1
    assert "val_ece" not in figures
    with pytest.raises(UserError, match="metrics = 'val_auroc': needs 2 classes, and the data have 10"):
        train_seeds(replace(told, metrics=("val_auroc",)), 1, "cpu", lambda _: None)
