import json

import pytest

from cifar_tune.study_spec.difference import differences, flat
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import Document

from .reading import read

TEXT = """objective: {metric: val_accuracy}
budget: {trials: 10, timeout: 1h}
sampler: {name: tpe, seed: 0, n_startup_trials: 5}
pruner: {name: patient, patience: 2, wrapped_pruner: {name: median, n_warmup_steps: 1}}
data: {name: cifar10, root: here, val_size: 500, download: true}
train: {model: cnn3, augment: [random_crop]}
search_space:
  optimizer: {choices: [sgd, adam]}
  lr: {low: 0.1, high: 1, log: true}
  momentum: {low: 0.1, high: 0.9, when: {optimizer: sgd}}
  epochs: {low: 1, high: 9}
start_from: [{lr: 0.5}, {optimizer: sgd, momentum: 0.5}]
"""


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("trials: 10", "trials: 20", []),
        (", timeout: 1h", "", []),
        ("root: here", "root: there", []),
        ("root: here, ", "", []),
        ("download: true", "download: false", []),
        ("[sgd, adam]", "['sgd', \"adam\"]", []),
        ("when: {optimizer: sgd}", "when: {optimizer: [sgd]}", []),
        ("{low: 1, high: 9}", "{high: 9.0, low: 1, step: 1}", []),
        ("augment: [random_crop]", "augment: random_crop", []),
        ("metric: val_accuracy", "metric: val_loss",
         ["objective.metric: 'val_accuracy' -> 'val_loss'", "objective.direction: 'maximize' -> 'minimize'"]),
        ("seed: 0", "seed: 1", ["sampler.seed: 0 -> 1"]),
        ("n_startup_trials: 5", "n_startup_trials: 6", ["sampler.n_startup_trials: 5 -> 6"]),
        (", n_startup_trials: 5", "", ["sampler.n_startup_trials: removed (was 5)"]),
        ("patience: 2", "patience: 3", ["pruner.patience: 2 -> 3"]),
        ("n_warmup_steps: 1", "n_warmup_steps: 2", ["pruner.wrapped_pruner.n_warmup_steps: 1 -> 2"]),
        ("val_size: 500", "val_size: 600", ["data.val_size: 500 -> 600"]),
        ("model: cnn3", "model: cnn2", ["train.model: 'cnn3' -> 'cnn2'"]),
        ("model: cnn3", "model: cnn3, seed: 1", ["train.seed: added 1"]),
        ("[random_crop]", "[random_crop, horizontal_flip]",
         ["train.augment: ['random_crop'] -> ['random_crop', 'horizontal_flip']"]),
        ("[sgd, adam]", "[adam, sgd]", ["search_space.optimizer.choices: ['sgd', 'adam'] -> ['adam', 'sgd']"]),
        ("low: 0.1, high: 1, log", "low: 0.2, high: 1, log", ["search_space.lr.low: 0.1 -> 0.2"]),
        (", log: true", ", log: true, per: batch_size", ["search_space.lr.per.batch_size: added 128"]),
        ("{lr: 0.5}", "{lr: 0.6}", ["start_from[0].lr: 0.5 -> 0.6"]),
        ("momentum: 0.5}", "momentum: 0.5, epochs: 2}", ["start_from[1].epochs: added 2"]),
        (", {optimizer: sgd, momentum: 0.5}]", "]",
         ["start_from[1].optimizer: removed (was 'sgd')", "start_from[1].momentum: removed (was 0.5)"]),
        (", log: true", "", ["search_space.lr.log: removed (was True)"]),
        (", when: {optimizer: sgd}", ", step: 0.4, when: {optimizer: sgd}", ["search_space.momentum.step: added 0.4"]),
        ("  epochs: {low: 1, high: 9}\n", "",
         ["search_space.epochs.low: removed (was 1)", "search_space.epochs.high: removed (was 9)",
          "search_space.epochs.step: removed (was 1)"]),
        ("{low: 1, high: 9}", "{choices: [1, 9]}",
         ["search_space.epochs.low: removed (was 1)", "search_space.epochs.high: removed (was 9)",
          "search_space.epochs.step: removed (was 1)", "search_space.epochs.choices: added [1, 9]"]),
    ],
)  # fmt: skip
def test_differences_list_what_changed_and_nothing_else(old: str, new: str, lines: list[str]) -> None:
    assert TEXT.count(old) == 1
    stored, given = read(TEXT).spec, read(TEXT.replace(old, new)).spec
    assert [str(difference) for difference in differences(stored, given)] == lines
    from_database = read_study(Document(json.loads(json.dumps(stored.plain()))), "stored").spec
    assert [str(difference) for difference in differences(from_database, given)] == lines


def test_the_name_and_the_order_of_knobs_may_change() -> None:
    lines = TEXT.splitlines()
    moved = "\n".join(["name: other", *lines[:-3], lines[-2], lines[-3], lines[-1]])
    assert differences(read(TEXT).spec, read(moved).spec) == []


def test_a_difference_between_none_and_something_is_said() -> None:
    given = read(TEXT.replace("val_size: 500", "val_size: 600")).spec
    [difference] = differences(read(TEXT.replace("val_size: 500, ", "")).spec, given)
    assert str(difference) == "data.val_size: added 600"


def test_flat() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": 3, "f": {}}) == {"a.b.c": 1, "a.d": [2], "e": 3}
