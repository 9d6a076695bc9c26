"""The section `repeats`: what it says, what it goes with, and how many trainings it makes."""

from typing import Any

import pytest

from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.study_spec.difference import differences, why_not_evolvable
from cifar_tune.study_spec.overrides import parse_overrides
from cifar_tune.study_spec.reader import ReadStudy, read_study
from cifar_tune.study_spec.repeats import RepeatsSpec
from cifar_tune.study_spec.yaml_reader import Document

GRID: dict[str, Any] = {
    "name": "grid",
    "sampler": {"name": "grid"},
    "search_space": {"activation": {"choices": ["relu", "elu"]}, "lr": {"choices": [0.1, 0.2]}},
}


def read(**sections: Any) -> ReadStudy:
    return read_study(Document(GRID | sections), "grid.yaml")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (3, RepeatsSpec(3)),
        ({"seeds": 4}, RepeatsSpec(4)),
        ({"seeds": 4, "stop_early": False}, RepeatsSpec(4, stop_early=False)),
        ({"folds": 5}, RepeatsSpec(5, on_folds=True)),
    ],
)
def test_the_forms(given: object, wanted: RepeatsSpec) -> None:
    spec = read(repeats=given).spec
    assert spec.repeats == wanted
    assert spec.pruner.name == "none", "its default beside repeats"
    again = read_study(Document(spec.plain()), "stored", is_stored=True).spec
    assert again == spec


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"repeats": 1}, "repeats = 1: must be a whole number >= 2"),
        ({"repeats": "three"}, "must be a mapping such as 3, {seeds: 3} or {folds: 5}"),
        ({"repeats": {"seeds": 3, "folds": 3}}, "over seeds or over folds"),
        ({"repeats": {"seed": 3}}, "seeds"),
        ({"repeats": {"seeds": 3, "stop_early": "yes"}}, "stop_early = 'yes': must be true or false"),
        ({"repeats": 3, "pruner": {"name": "median"}}, "pruner.name = 'median': must be none together with `repeats`"),
        ({"repeats": 3, "stop": {"after_trials_without_gain": 5}}, "stop: cannot be combined with `repeats`"),
        (
            {"repeats": 3, "search_space": {"seed": {"choices": [0, 1]}}},
            "search_space.seed: cannot be combined with `repeats`",
        ),
        ({"repeats": 3, "train": {"seed": 2**31 - 2}}, "it must be at most 2147483645"),
        ({"repeats": {"folds": 3}, "data": {"val_size": 5000}}, "data.val_size: is decided by `repeats.folds`"),
    ],
)
def test_what_is_refused(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as raised:
        read(**sections)
    assert words in str(raised.value)


def test_a_search_is_told_why_not() -> None:
    space = {"lr": {"low": 0.1, "high": 0.2}}
    (why,) = read(repeats=3, sampler={"name": "tpe"}, search_space=space, budget={"trials": 30}).notes
    assert ".46" in why
    assert "finalize" in why
    known = [{"lr": 0.1}, {"lr": 0.2}]
    assert not read(
        sampler={"name": "tpe"}, search_space=space, budget={"trials": 6}, start_from=known, repeats=3
    ).notes
    assert not read(repeats=3).notes


def test_folds_give_each_training_its_images() -> None:
    spec = read(repeats={"folds": 3}).spec
    assert (spec.data.folds, spec.data.fold) == (3, 1)
    assert spec.data_of(3) == DataSpec(folds=3, fold=3)
    assert spec.plain()["data"]["folds"] is None, "as in the study file"


def test_what_may_change_and_what_can_be_carried_over() -> None:
    three = read(repeats=3).spec
    assert not differences(three, read(repeats={"seeds": 3, "stop_early": False}).spec)
    assert [each.key for each in differences(three, read(repeats=4).spec)] == ["repeats.seeds"]
    (reason,) = why_not_evolvable(differences(three, read(repeats={"folds": 3}).spec))
    assert "other folds" in reason


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"folds": 3, "fold": 4}, "must be 1 to 3"),
        ({"fold": 1}, "folds says how many there are"),
        ({"folds": 3, "val_size": 10}, "leave one of them out"),
    ],
)
def test_a_fold_of_its_own_under_data(values: dict[str, int], words: str) -> None:
    with pytest.raises(UserError) as raised:
        read(data=values)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("repeats", "setting", "wanted"),
    [
        (3, "repeats.seeds=5", RepeatsSpec(5)),
        (3, "repeats.stop_early=false", RepeatsSpec(3, stop_early=False)),
        (3, "repeats.folds=4", RepeatsSpec(4, on_folds=True)),
        ({"folds": 4}, "repeats.seeds=5", RepeatsSpec(5)),
        (None, "repeats.seeds=5", RepeatsSpec(5)),
    ],
)
def test_a_setting_goes_into_the_short_form_too(repeats: object, setting: str, wanted: RepeatsSpec) -> None:
    raw: dict[str, Any] = {"name": "made", "sampler": {"name": "grid"}, "search_space": {"width": {"choices": [8, 16]}}}
    raw |= {} if repeats is None else {"repeats": repeats}
    found = read_study(Document(raw), "made.yaml", parse_overrides([setting]))
    assert found.spec.repeats == wanted


def test_what_cannot_be_combined_is_told_beside_other_mistakes() -> None:
    space = {"seed": {"choices": [0, 1]}, "activation": {"choices": ["relu", "elu"], "prior": {"value": "gelu"}}}
    sections = {
        "pruner": "median",
        "stop": {"after_trials_without_gain": 5},
        "search_space": space,
        "train": {"lrr": 1},
    }
    for repeats in (3, 1, {"seed": 3}):
        with pytest.raises(UserError) as raised:
            read(repeats=repeats, **sections)
        for words in (
            "pruner.name = 'median': must be none together with `repeats`",
            "stop: cannot be combined with `repeats`",
            "search_space.seed: cannot be combined with `repeats`",
            "search_space.activation.prior.value = 'gelu'",
            "train.lrr: unknown key",
        ):
            assert words in str(raised.value)
