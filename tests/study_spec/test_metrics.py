"""Metrics as objective, as constraint, and only listed."""

import json

import pytest

from cifar_tune.errors import UserError
from cifar_tune.knobs.metrics import MEASURES
from cifar_tune.storage.stored_studies import read_stored_spec
from cifar_tune.study_spec.data_fit import require_fit
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.metrics import METRICS, Measured, Metrics
from cifar_tune.training.results import EpochResult

from .reading import only_problem, read, refused

STUDY = (
    "name: s\nobjective: {metric: best_val_macro_f1}\nconstraints: [val_ece <= 0.1, val_top3_accuracy >= 0.9]\n"
    "metrics: [val_loss, val_balanced_accuracy]\n"
)


def test_one_study_uses_them_in_every_place() -> None:
    spec = read(STUDY).spec
    assert (spec.objective.metric, spec.objective.direction) == ("best_val_macro_f1", "maximize")
    assert spec.judged == ("best_val_macro_f1", "val_ece", "val_top3_accuracy")
    assert spec.metrics == (*spec.judged, "val_loss", "val_balanced_accuracy")
    assert spec.measures == ("val_macro_f1", "val_ece", "val_top3_accuracy", "val_balanced_accuracy")
    assert read_stored_spec("s", json.loads(json.dumps(spec.stored()))) == spec
    assert read("name: s\n").spec.measures == ()


def test_what_is_only_listed_may_change_and_what_decides_may_not() -> None:
    listed = read(STUDY.replace("val_loss, ", "val_auroc, ")).spec
    assert not differences(read(STUDY).spec, listed)
    assert differences(read(STUDY).spec, read(STUDY.replace("top3", "top4")).spec)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("name", MEASURES)
def test_every_metric_has_its_direction(name: str, direction: str) -> None:
    metric = f"val_{name.replace('K', '7')}"
    text = f"name: s\nobjective: {{metric: {metric}, direction: {direction}}}\n"
    if direction == MEASURES[name].direction:
        assert read(text).spec.objective.metric == metric
    else:
        assert f"{metric} is there to" in only_problem(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objective: {metric: val_top1_accuracy}", "did you mean 'val_accuracy'?"),
        ("objective: {metric: val_log_loss}", "did you mean 'val_loss'?"),
        ("objective: {metric: f1_macro}", "did you mean 'val_macro_f1'?"),
        ("objective: {metric: test_macro_f1}", "did you mean 'val_macro_f1'?"),
        ("constraints: [val_top0_accuracy >= 0.5]", "val_top0_accuracy is no metric"),
        ("constraints: [val_macro_f1 >= 60]", "val_macro_f1 is a fraction from 0 to 1 (did you mean"),
        ("metrics: val_macro_f1", "metrics = 'val_macro_f1': must be a list of metrics, such as"),
        ("metrics: [val_macro_f1, val_macro_f1]", "metrics[1] = 'val_macro_f1': is listed twice"),
        ("metrics: [macro_f1]", "did you mean 'val_macro_f1'?"),
        ("metrics: [3]", "metrics[0] = 3: must be"),
    ],
)
def test_what_is_no_metric(text: str, message: str) -> None:
    assert message in "\n".join(map(str, refused(f"name: s\n{text}\n")))


def test_the_best_epoch_is_known_only_where_every_epoch_was_measured() -> None:
    def epochs(*values: float | None) -> Measured:
        results = [
            EpochResult(index, 1, 0.5, 1, 0.5, 0.1, 1, {} if value is None else {"val_ece": value})
            for index, value in enumerate(values, start=1)
        ]
        return Measured(results, 1, 1)

    last, best = Metrics()["val_ece"], Metrics()["best_val_ece"]
    assert (last.value(epochs(0.1, 0.3)), best.value(epochs(0.1, 0.3))) == (0.3, 0.1)
    assert (last.value(epochs(None, 0.3)), best.value(epochs(None, 0.3))) == (0.3, None)
    assert (last.value(epochs(0.1, None)), best.value(epochs(0.1, None))) == (None, None)


def test_all_metrics_are_listed_and_every_number_is_known() -> None:
    metrics = Metrics()
    assert len(metrics) == len(list(metrics)) == len(METRICS) + 2 * len(MEASURES)
    assert all(name in metrics for name in metrics)
    assert "val_top123_accuracy" in metrics
    for unknown in ("macro_f1", "val_val_macro_f1", "best_macro_f1", "val_", "best_val_", "val_topK_accuracy"):
        assert unknown not in metrics


def test_metrics_that_the_data_do_not_allow() -> None:
    spec = read("name: s\nobjective: {metric: val_auroc}\nmetrics: [val_top3_accuracy]\n").spec
    with pytest.raises(UserError) as raised:
        require_fit(spec, "abc")
    assert str(raised.value).splitlines() == [
        "metrics = 'val_top3_accuracy': needs at least 4 classes, and the data have 3",
        "objective = 'val_auroc': needs 2 classes, and the data have 3",
    ]
    require_fit(read("name: s\nmetrics: [val_top3_accuracy]\n").spec, "abcd")
    require_fit(read("name: s\nmetrics: [best_val_auroc]\n").spec, "ab", [1, 1])
    require_fit(read("name: s\nmetrics: [val_macro_f1]\n").spec, "ab", [1, 0])
    with pytest.raises(UserError, match="needs validation images of every class, and there are none of b"):
        require_fit(read("name: s\nmetrics: [best_val_auroc]\n").spec, "ab", [1, 0])


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("metrics: [val_top2_acuracy]", "(did you mean 'val_top2_accuracy'?)"),
        ("metrics: [val_top12_acuracy]", "(did you mean 'val_top12_accuracy'?)"),
        ("data: {test_size: 30}", "data.test_size: unknown key: the test images are those that come apart"),
    ],
)
def test_the_nearest_right_thing_is_named(section: str, words: str) -> None:
    with pytest.raises(UserError) as raised:
        read(f"name: s\n{section}\n")
    assert words in str(raised.value)
    assert "resize" not in str(raised.value)
