"""The section `stop`: read, written, and refused in plain words."""

import pytest

from cifar_tune.errors import UserError
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.stop import StopSpec
from cifar_tune.study_spec.yaml_reader import Document, read_yaml


def read(stop: str, more: str = "") -> StudySpec:
    return read_study(read_yaml(f"name: made\nstop: {stop}\n{more}"), "study.yaml").spec


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{when: noise}", StopSpec(factor=0.1)),
        ("{when: noise, factor: 0.05}", StopSpec(factor=0.05)),
        ("{after_trials_without_gain: 40}", StopSpec(after_trials_without_gain=40)),
        ("null", None),
    ],
)
def test_read_and_written(text: str, wanted: StopSpec | None) -> None:
    spec = read(text)
    assert spec.stop == wanted
    assert read_study(Document(spec.plain()), None).spec == spec
    assert differences(read("{after_trials_without_gain: 3}"), spec) == [], "the rule may change at any time"


@pytest.mark.parametrize(
    ("stop", "more", "words"),
    [
        ("7", "", "study.yaml:2: stop = 7: must be a mapping such as {when: noise, factor: 0.1}"),
        ("{}", "", "study.yaml:2: stop: must hold one rule"),
        ("{when: noise, after_trials_without_gain: 3}", "", "stop: must hold one rule"),
        ("{when: bored}", "", "stop.when = 'bored': must be noise"),
        ("{wen: noise}", "", "stop.wen: unknown key (did you mean 'when'?)"),
        ("{when: noise, factor: 0}", "", "stop.factor = 0: must be a number > 0 and <= 1"),
        ("{after_trials_without_gain: 0}", "", "must be a whole number >= 1"),
        ("{after_trials_without_gain: 5, factor: 0.1}", "", "stop.factor = 0.1: belongs to {when: noise}"),
        ("{when: noise}", "objective: {metric: val_loss}", "noise is known of val_accuracy and best_val_accuracy"),
        (
            "{after_trials_without_gain: 5}",
            "objective: [{metric: val_accuracy}, {metric: parameters}]",
            "stop: works only with one objective",
        ),
    ],
)
def test_refused(stop: str, more: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        read(stop, more)
    assert words in str(refused.value)


def test_noise_of_another_metric_is_known_where_configurations_repeat() -> None:
    spec = read("{when: noise}", "objective: {metric: val_loss}\nsearch_space: {seed: {choices: [0, 1]}}")
    assert spec.stop == StopSpec(factor=0.1)
