"""Knobs whose default is not what trainings did before they were knobs: what is older keeps its meaning."""

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cifar_tune.errors import UserError
from cifar_tune.knobs.configuration import as_it_ran, complete
from cifar_tune.knobs.table import BEFORE_THEY_WERE_KNOBS, KNOBS
from cifar_tune.knobs.vocabulary import BUILT_IN, vocabulary_with
from cifar_tune.reports.best_config import best_yaml
from cifar_tune.storage.stored_studies import read_stored_spec
from cifar_tune.study.opening import about_defaults
from cifar_tune.study_spec.difference import Misfit, differences, suggested_for
from cifar_tune.study_spec.run_config import read_run_config
from cifar_tune.study_spec.specification import DEFAULTS, StudySpec
from tests.reports.factory import MadeTrial, make_record

from .reading import read

NEWER = sorted(BEFORE_THEY_WERE_KNOBS)
STUDY = "name: s\ntrain: {model: resnet20}\nsearch_space: {lr: {low: 0.1, high: 1}}\n"
FALSE = STUDY.replace("resnet20", "resnet20, zero_init_residual: false")
TRUE = STUDY.replace("resnet20", "resnet20, zero_init_residual: true")


def older(spec: StudySpec) -> StudySpec:
    """What is read of the study, had an earlier version stored it."""
    plain: dict[str, Any] = json.loads(json.dumps(spec.stored()))
    del plain[DEFAULTS]
    return read_stored_spec(spec.name, plain)


def drawn(spec: StudySpec) -> object:
    return spec.space.configuration(lambda *_: 0.5)["zero_init_residual"]


def test_the_default_is_not_what_they_did() -> None:
    assert all(KNOBS[name].default != before for name, before in BEFORE_THEY_WERE_KNOBS.items())


def test_a_new_study_keeps_the_new_default() -> None:
    spec = read(STUDY).spec
    again = read_stored_spec("s", json.loads(json.dumps(spec.stored())))
    assert again == spec
    assert drawn(again) is drawn(spec) is True


def test_an_older_study_keeps_the_old_one_each_time_it_is_written() -> None:
    once = older(read(STUDY).spec)
    twice = read_stored_spec("s", json.loads(json.dumps(once.stored())))
    assert once == twice != read(STUDY).spec
    assert drawn(once) is drawn(twice) is False
    assert once.plain() == read(STUDY).spec.plain()


def test_what_an_older_study_names_counts() -> None:
    assert drawn(older(read(TRUE).spec)) is True


def test_a_file_that_leaves_them_out_does_not_differ_from_an_older_study() -> None:
    assert not differences(older(read(STUDY).spec), read(STUDY).spec)
    found = differences(older(read(STUDY).spec), read(TRUE).spec)
    assert [str(each) for each in found] == ["train.zero_init_residual: added True"]


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        (STUDY, True),
        (FALSE, False),
        (STUDY.replace("resnet20", "cnn3"), False),
        ("name: s\nsearch_space: {model: {choices: [cnn3, resnet20]}}\n", True),
        ("name: s\ntrain: {model: resnet20}\nsearch_space: {zero_init_residual: {choices: [true, false]}}\n", False),
    ],
)
def test_it_is_said_where_trials_train_with_an_older_default(text: str, is_named: bool) -> None:
    given = read(text).spec
    [words] = about_defaults(given, older(given))
    assert ("zero_init_residual: false" in words) is is_named
    assert "goes on as it began, with cuda_graphs: false, repeatable: false" in words
    assert not list(about_defaults(given, given))


def test_a_default_that_has_changed_leaves_older_trials_and_checkpoints_as_they_are() -> None:
    """They hold the value that was the default."""
    spec = older(read(STUDY.replace("resnet20", "cnn3")).spec)
    ran = {**complete({"model": "cnn3", "lr": 0.5}).stored(), "cuda_graphs": False, "repeatable": False}
    assert spec.space.configuration(lambda *_: 0.5).stored() == ran
    assert suggested_for(spec.space, ran) == {"lr": 0.5}
    lacking = {name: value for name, value in ran.items() if name != "repeatable"}
    assert as_it_ran(lacking, BUILT_IN) == ran, "executors do not know when the study began"


@pytest.mark.parametrize("broken", [3, [], "true", None])
def test_damaged_defaults(broken: object) -> None:
    with pytest.raises(UserError, match="was not made by cifar-tune"):
        read_stored_spec("s", {**read(STUDY).spec.stored(), DEFAULTS: broken})


def test_vocabularies_with_older_defaults() -> None:
    old = vocabulary_with((), BEFORE_THEY_WERE_KNOBS.keys())
    assert old != BUILT_IN
    assert pickle.loads(pickle.dumps(old)) == copy.deepcopy(old) == old  # noqa: S301
    assert complete({"model": "resnet20"}, old)["zero_init_residual"] is False
    assert "zero_init_residual" not in complete({"model": "cnn3"}, old)


def test_trials_that_ran_before() -> None:
    old = {name: value for name, value in complete({"model": "resnet20"}).stored().items() if name not in NEWER}
    assert as_it_ran(old, BUILT_IN)["zero_init_residual"] is False
    assert as_it_ran({**old, "zero_init_residual": True}, BUILT_IN)["zero_init_residual"] is True
    small = complete({"model": "cnn3"}).stored()
    assert as_it_ran(small, BUILT_IN) == small
    for broken in ({}, {"model": 3}, {"model": "gone"}):
        assert as_it_ran(broken, BUILT_IN) == broken


@pytest.mark.parametrize(
    "chosen",
    [
        {"model": "resnet20", "augment": ("mixup", "random_crop"), "lookahead": "constant"},
        {"model": "cnn3", "optimizer": "adamw", "schedule": "one_cycle"},  # where lr has another default
    ],
)
def test_any_other_newer_knob_has_its_default(chosen: dict[str, Any]) -> None:
    ran = complete(chosen).stored()
    for name in ran.keys() - chosen.keys() - set(NEWER):
        assert as_it_ran({knob: value for knob, value in ran.items() if knob != name}, BUILT_IN) == ran, name


def test_an_older_trial_fits_only_where_it_would_train_alike() -> None:
    spec = read(STUDY).spec
    ran = complete({"model": "resnet20", "lr": 0.5}).stored()
    old = {name: value for name, value in ran.items() if name != "zero_init_residual"}
    assert suggested_for(older(spec).space, {**old, "cuda_graphs": False, "repeatable": False}) == {"lr": 0.5}
    assert suggested_for(read(FALSE).spec.space, old) == {"lr": 0.5}
    assert suggested_for(spec.space, old) == Misfit("zero_init_residual is True now")


def test_a_trial_fits_where_a_newer_knob_changes_nothing() -> None:
    ran = complete({"model": "cnn3", "lr": 0.5}).stored()
    old = {name: value for name, value in ran.items() if name not in ("sampling", "class_weights")}
    study = STUDY.replace("resnet20", "cnn3")
    assert suggested_for(read(study).spec.space, old) == {"lr": 0.5}
    balanced = read(study.replace("cnn3", "cnn3, sampling: balanced")).spec.space
    assert suggested_for(balanced, old) == Misfit("sampling is balanced now")
    assert suggested_for(balanced, {**old, "sampling": "uniform"}) == Misfit("sampling is balanced now")
    searched = study.replace("{lr:", "{sampling: {choices: [balanced, uniform]}, lr:")
    assert suggested_for(read(searched).spec.space, old) == {"sampling": "uniform", "lr": 0.5}


def test_an_older_trial_has_all_knobs_to_be_trained_again() -> None:
    spec = read(STUDY.replace("resnet20", "cnn3")).spec
    made = make_record(spec, [MadeTrial({"lr": 0.5}, value=0.5)]).trials[0]
    old = {name: value for name, value in made.config.items() if name not in ("sampling", "class_weights")}
    assert replace(made, config=old).configuration(spec.vocabulary) == made.configuration(spec.vocabulary)


@pytest.mark.parametrize("model", ["resnet50", "resnet20", "cnn3"])
def test_an_older_export_means_what_its_training_did(tmp_path: Path, model: str) -> None:
    spec = older(read(STUDY.replace("resnet20", model)).spec)
    record = make_record(spec, [MadeTrial({"lr": 0.5}, value=0.5)])
    file = tmp_path / "best.yaml"
    assert record.best is not None
    text = best_yaml(record, record.best, file)
    expected = record.best.configuration(spec.vocabulary)
    plain = yaml.safe_load(text)
    plain["train"].pop("zero_init_residual", None)  # no export lacks the others, which change nothing on a CPU
    for content in (text, yaml.safe_dump(plain)):
        file.write_text(content)
        assert read_run_config(file).train == expected
    assert expected.get("zero_init_residual") is (None if model == "cnn3" else False)


def test_an_older_export_in_start_from(tmp_path: Path) -> None:
    old = {name: value for name, value in complete({"model": "resnet20"}).stored().items() if name not in NEWER}
    file = tmp_path / "best.yaml"
    file.write_text(yaml.safe_dump({"train": {**old, "augment": []}}))
    searched = "{lr: {low: 1e-4, high: 1}, zero_init_residual: {choices: [true, false]}}"
    found = read(f"name: s\ntrain: {{model: resnet20}}\nsearch_space: {searched}\nstart_from: [{file}]\n").spec
    assert found.start_from == ({"lr": old["lr"], "zero_init_residual": False},)


def test_a_configuration_written_by_hand_has_the_default(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("train: {model: resnet50, width: 8, residual: true}")
    assert read_run_config(file).train["zero_init_residual"] is True


def test_a_study_with_another_name_begins_with_its_own_defaults() -> None:
    spec = read(STUDY).spec
    assert older(replace(spec, name="other")).vocabulary.earlier == set(NEWER)
    assert spec.vocabulary.earlier == set()
