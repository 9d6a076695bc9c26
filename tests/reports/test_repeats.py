"""Reports of studies with `repeats` show configurations by their means, and compare levels on the same seeds."""

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

import pytest

from cifar_tune.reports.best_config import best_yaml
from cifar_tune.reports.comparison import compare
from cifar_tune.reports.comparison_files import as_csv, markdown
from cifar_tune.reports.export import export
from cifar_tune.reports.importances import importances
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_json import summary_json
from cifar_tune.reports.summary_markdown import summary_markdown
from cifar_tune.reports.trials_csv import trials_csv
from cifar_tune.storage import attributes
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study.choosing import Choice, trial_of
from cifar_tune.study_spec.run_config import read_run_config

from .factory import MadeTrial, make_record, make_spec

VALUES = {"relu": (0.80, 0.82, 0.84), "elu": (0.83, 0.85, 0.86), "silu": (0.90, 0.70, 0.75), "tanh": (0.30,)}
"""The best training is that of another configuration than the best mean, and one configuration fell behind."""


def made(repeats: object = 3, values: Mapping[str, Sequence[float]] | None = None) -> StudyRecord:
    spec = make_spec(
        {"activation": {"choices": list(VALUES)}}, sampler={"name": "grid"}, repeats=repeats, data={"name": "digits"}
    )
    trials = [
        MadeTrial({"activation": activation}, value, attrs={attributes.REPEAT: index + 1})
        for activation, each in (values or VALUES).items()
        for index, value in enumerate(each)
    ]
    return make_record(spec, trials)


def test_tables_rank_configurations_by_their_means(tmp_path: Path) -> None:
    record = made()
    report = Report(record)
    assert [trial.params["activation"] for trial in report.ranked] == ["elu", "relu", "silu"]
    text = summary_markdown(report, tmp_path, {})
    assert (
        "**84.7 %** validation accuracy of the last epoch, in the mean of 3 seeds (standard error 0.88 points)" in text
    )
    assert "chosen as the best of 3 configurations, so it is optimistic" in text
    assert "| 1 | 5 | 84.7 % | 0.88 points |" in text
    assert "`train.seed` 0 to 2." in text
    assert "Others fell behind and were trained less often: 1 configuration." in text
    best = json.loads(summary_json(report))["best"]
    assert best["value"] == pytest.approx(0.846667, abs=1e-5)
    assert best["standard_error"] == pytest.approx(0.0088192, abs=1e-5)
    assert best["repeated"]["trials"] == [3, 4, 5]
    assert [each["val_accuracy"] for each in best["repeated"]["values"]] == [0.83, 0.85, 0.86]
    assert best["intervals"] == {}


def test_trials_csv_has_every_training_and_the_mean_beside_it() -> None:
    rows = list(csv.DictReader(StringIO(trials_csv(Report(made())))))
    assert len(rows) == 10
    assert [rows[4][key] for key in ("repeat", "configuration_trainings", "fell_behind")] == ["2", "3", "false"]
    assert float(rows[4]["configuration_mean"]) == pytest.approx(0.846667, abs=1e-5)
    assert float(rows[4]["configuration_standard_error"]) == pytest.approx(0.0088192, abs=1e-5)
    names = ("configuration_mean", "configuration_standard_error", "configuration_trainings", "fell_behind")
    assert [rows[9][key] for key in names] == ["0.3", "", "1", "true"]


def test_best_yaml_is_the_last_training_of_the_best_configuration(tmp_path: Path) -> None:
    record = made({"folds": 3})
    assert record.best is not None
    file = tmp_path / "best.yaml"
    file.write_text(best_yaml(record, record.best, file))
    run = read_run_config(file)
    assert (run.train["activation"], run.train["seed"]) == ("elu", 2)
    assert (run.data.folds, run.data.fold) == (3, 3)
    assert "# val_accuracy: 0.83 in trial 3, 0.85 in trial 4, 0.86 in trial 5; this file is trial 5" in file.read_text()


def test_finalize_takes_a_configuration_with_its_mean() -> None:
    record = made()
    assert trial_of(record, Choice()).value == pytest.approx(0.846667, abs=1e-5)
    assert trial_of(record, Choice(trial=5)).value == pytest.approx(0.846667, abs=1e-5)
    assert trial_of(record, Choice(trial=4)).value == 0.85, "which is one training of several"


def test_levels_are_compared_on_the_same_seeds() -> None:
    comparison = compare(made(), "activation")
    text = markdown(comparison)
    assert comparison.paired is not None
    assert comparison.paired.blocks == 3
    assert "| tanh | 1 completed | - | 30.00 % | - | fell behind |" in text
    assert "over the same 3 seeds" in text
    assert "`repeats.stop_early`): tanh." in text
    rows = {row["level"]: row for row in csv.DictReader(StringIO(as_csv(comparison)))}
    assert float(rows["relu"]["difference"]) == pytest.approx(-0.026667, abs=1e-5)
    assert float(rows["elu"]["standard_error"]) == pytest.approx(0.0088192, abs=1e-5)
    assert float(rows["silu"]["best"]) == pytest.approx(0.783333, abs=1e-5), "the mean, not the best training"
    assert rows["tanh"]["difference"] == ""


def crossed(values: Mapping[tuple[str, str], Sequence[float]]) -> StudyRecord:
    spec = make_spec(
        {"norm": {"choices": ["batch", "none"]}, "activation": {"choices": ["relu", "elu"]}},
        sampler={"name": "grid"}, repeats=3,
    )  # fmt: skip
    trials = [
        MadeTrial({"norm": norm, "activation": activation}, value, attrs={attributes.REPEAT: index + 1})
        for (norm, activation), each in values.items()
        for index, value in enumerate(each)
    ]
    return make_record(spec, trials)


def test_levels_with_one_configuration_each_are_paired_by_seed() -> None:
    rates = {"sgd": 0.1, "adam": 0.01}
    values = {"sgd": (0.50, 0.60, 0.70), "adam": (0.52, 0.61, 0.73)}
    spec = make_spec(
        {"optimizer": {"choices": list(rates)}, "lr": {"choices": list(rates.values())}},
        start_from=[{"optimizer": name, "lr": rate} for name, rate in rates.items()],
        sampler={"name": "random"}, repeats=3, budget={"trials": 6},
    )  # fmt: skip
    trials = [
        MadeTrial({"optimizer": name, "lr": rates[name]}, value, attrs={attributes.REPEAT: index + 1})
        for name, each in values.items()
        for index, value in enumerate(each)
    ]
    comparison = compare(make_record(spec, trials), "optimizer")
    sgd, _ = comparison.levels
    assert comparison.difference(sgd) == pytest.approx((-0.02, 0.024841), abs=1e-5)  # Student, with 2 degrees
    assert comparison.conditions.startswith(
        "Each level has one configuration, with other knobs of its own: sgd with lr 0.1; adam with lr 0.01. "
        "Differences are paired: each level against adam, the best mean, over the same 3 seeds;"
    )
    other = MadeTrial({"optimizer": "adam", "lr": 0.1}, 0.4, attrs={attributes.REPEAT: 1})
    mixed = compare(make_record(spec, [*trials, other]), "optimizer")
    assert "Not under equal conditions: lr varied at the same time" in mixed.conditions
    assert mixed.paired is None


def test_a_configuration_that_lacks_trainings_is_the_reason_that_is_given() -> None:
    record = crossed(
        {("batch", "relu"): (0.3,), ("batch", "elu"): (0.7, 0.8, 0.9),
         ("none", "relu"): (0.12, 0.13, 0.14), ("none", "elu"): (0.4, 0.5, 0.6)}
    )  # fmt: skip
    conditions = compare(record, "norm").conditions
    assert conditions.startswith(
        "Not under equal conditions: every level that was tried had the same values of activation, but not every "
        "configuration has all its 3 trainings."
    )
    assert "varied at the same time" not in conditions
    comparison = compare(record, "activation")
    relu, elu = comparison.levels
    assert relu.mean == pytest.approx(0.1725)
    assert comparison.best(relu) is None
    assert comparison.best(elu) == pytest.approx(0.8)
    assert "No best configuration is shown for relu: one that lacks trainings is better so far" in comparison.conditions


def test_one_level_alone_is_not_called_unequal() -> None:
    record = crossed({("none", "relu"): (0.1, 0.2, 0.3), ("none", "elu"): (0.4, 0.5, 0.6)})
    conditions = compare(record, "norm").conditions
    assert conditions.startswith("Only none was tried, so there is nothing to compare.")
    assert "Never tried: batch." in conditions


def test_seeds_themselves_can_be_compared() -> None:
    values = {"relu": (0.80, 0.82, 0.84), "elu": (0.83, 0.85, 0.86), "silu": (0.82, 0.83, 0.85)}
    comparison = compare(made(values=values), "seed")
    assert [level.label for level in comparison.levels] == ["0", "1", "2"]
    assert comparison.paired is not None
    assert "over the same 3 combinations of activation;" in markdown(comparison)
    assert [comparison.best(level) for level in comparison.levels] == [0.83, 0.85, 0.86]


def test_a_level_that_only_lacks_trainings_has_not_fallen_behind() -> None:
    comparison = compare(made(values={"relu": (0.80, 0.81, 0.82), "elu": (0.81,)}), "activation")
    assert "fell behind" not in markdown(comparison)
    assert comparison.paired is None


def test_a_failed_training_of_one_level_does_not_end_the_comparison_of_others() -> None:
    values = {"relu": (0.80, 0.82, 0.84), "elu": (0.83, 0.85, 0.86), "silu": (0.82, 0.83)}
    comparison = compare(made(values=values), "activation")
    assert comparison.paired is not None
    assert comparison.paired.blocks == 3
    assert "Left out too, since a training of theirs is missing or did not complete: silu." in markdown(comparison)
    assert comparison.difference(comparison.levels[[level.label for level in comparison.levels].index("silu")]) is None


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_the_interval_of_a_mean_is_over_seeds_whose_luck_all_trainings_share(sampler: str) -> None:
    spec = make_spec({"activation": {"choices": ["relu", "elu"]}, "width": {"choices": [8, 16, 32, 64]}},
                     sampler={"name": sampler}, repeats=3)  # fmt: skip
    trials = [
        MadeTrial({"activation": activation, "width": width}, value, attrs={attributes.REPEAT: index + 1})
        for activation in ("relu", "elu")
        for width in (8, 16, 32, 64)
        for index, value in enumerate((0.80, 0.85, 0.90))
    ]
    comparison = compare(make_record(spec, trials), "activation")
    found = [comparison.interval(level) for level in comparison.levels]
    if sampler == "grid":  # Student's quantile of two degrees of freedom: 4.303 * 0.05 / sqrt(3)
        assert found == [pytest.approx((0.85 - 0.12421, 0.85 + 0.12421), abs=1e-4)] * 2
        assert "85.00 % ± 12.42 %" in markdown(comparison)
        assert "is the standard error times Student's factor, so a paper gives one of the two" in markdown(comparison)
    else:
        assert found == [None, None]


@pytest.mark.parametrize(("value", "falls"), [(0.8998, False), (0.80, True)])
def test_trainings_that_gave_the_same_figure_are_no_certainty(value: float, falls: bool) -> None:
    record = made(values={"relu": (0.9, 0.9, 0.9), "elu": (0.9, 0.9), "silu": (value,)})
    assert bool(record.fallen) == falls


def test_importances_rest_on_configurations() -> None:
    values = {name: (0.8 + index / 50, 0.8, 0.8) for index, name in enumerate(["relu", "elu", "silu"])}
    found = importances(made(values=values))
    assert isinstance(found, str)
    assert "there are 3" in found, "nine trainings are three configurations"


@pytest.mark.usefixtures("blank_pictures")
def test_why_there_are_no_importances_is_said_once(tmp_path: Path) -> None:
    export(made(), tmp_path)
    assert (tmp_path / "summary.md").read_text().count("Importances need at least") == 1


def test_everything_can_be_exported(tmp_path: Path) -> None:
    files = {path.name for path in export(made(), tmp_path)}
    assert {"report.html", "best.yaml", "summary.json", "history.png"} <= files
    assert "in the mean of 3 seeds" in (tmp_path / "summary.md").read_text()
    assert "Each configuration is trained on 3 seeds" in (tmp_path / "report.html").read_text()


def test_a_study_whose_configurations_lack_trainings_has_no_best(tmp_path: Path) -> None:
    record = made(values={"relu": (0.8, 0.9)})
    assert record.best is None
    assert record.without_best_words == "the study 'made' has no configuration with all its 3 trainings"
    assert "No configuration has completed all its 3 trainings." in summary_markdown(Report(record), tmp_path, {})
