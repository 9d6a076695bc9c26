"""`sampler: auto` follows a rule, which is said in words."""

from typing import Any

import pytest

from cifar_tune.errors import UserError
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import Document

RANGES: dict[str, Any] = {"lr": {"low": 0.01, "high": 1.0}, "weight_decay": {"low": 0.0, "high": 0.1}}
CHOICES: dict[str, Any] = {"activation": {"choices": ["relu", "elu"]}, "batch_size": {"choices": [32, 64, 128]}}
CONDITIONAL: dict[str, Any] = {
    "optimizer": {"choices": ["sgd", "adamw"]},
    "momentum": {"low": 0.5, "high": 0.99, "when": {"optimizer": "sgd"}},
}


@pytest.mark.parametrize(
    ("space", "trials", "pruner", "words"),
    [
        (CHOICES, 6, "none", "{name: grid}: all 6 combinations fit into 6 trials"),
        (CHOICES, 5, "none", "{name: tpe}: it models all knobs together"),
        (RANGES, 50, "none", "{name: gp}: the space has only ranges, nothing is pruned, and 50 trials are few"),
        (RANGES, 51, "none", "{name: tpe}: it models all knobs together"),
        (RANGES, 50, "median", "{name: tpe}: it models all knobs together"),
        (RANGES | CHOICES, 49, "none", "{name: tpe}: it models all knobs together"),
        (RANGES | CHOICES, 50, "none", "{name: tpe, multivariate: false}: 2 of 4 knobs have choices"),
        (RANGES | CONDITIONAL, 30, "none", "{name: tpe}: it models all knobs together"),
        (
            {"lr": {"low": 0.01, "high": 1.0, "prior": {"value": 0.1}}},
            20,
            "none",
            "{name: tpe}: only this sampler uses the prior of a knob",
        ),
    ],
)
def test_what_auto_stands_for(space: dict[str, Any], trials: int, pruner: str, words: str) -> None:
    plain = {"name": "made", "data": {"name": "digits"}, "search_space": space, "pruner": {"name": pruner}}
    sections = {"budget": {"trials": trials}, "sampler": {"name": "auto", "seed": 7}}
    read = read_study(Document(plain | sections), None)
    (said,) = [note for note in read.notes if "sampler auto" in note]
    assert said.startswith(f"sampler auto stands for {words}")
    assert read.spec.sampler.seed == 7
    stored = read_study(Document(read.spec.plain()), None).spec
    assert stored.sampler == read.spec.sampler, "what was chosen is stored, not the word auto"


def test_the_word_alone_is_enough() -> None:
    plain = {"name": "made", "data": {"name": "digits"}, "search_space": RANGES, "sampler": "auto"}
    assert read_study(Document(plain), None).spec.sampler.name == "tpe"


def test_auto_takes_no_parameters_of_a_sampler() -> None:
    plain = {"name": "made", "data": {"name": "digits"}, "sampler": {"name": "auto", "n_startup_trials": 4}}
    with pytest.raises(UserError, match=r"sampler\.n_startup_trials: unknown key"):
        read_study(Document(plain), None)
