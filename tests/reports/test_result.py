"""What a study has come to: the winner of the race where there was one, and the best trial beside it, as such."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cifar_tune.cli.opening_lines import caution_lines, result_lines
from cifar_tune.cli.study_status import opening_lines
from cifar_tune.cli.summary_lines import outcome_lines
from cifar_tune.optuna_internals import storage_of
from cifar_tune.reports.export import export
from cifar_tune.reports.guessing import no_better_than_guessing
from cifar_tune.reports.loaded import LoadedStudy
from cifar_tune.reports.report import Report
from cifar_tune.reports.tested import caution
from cifar_tune.reports.trust import trust_words
from cifar_tune.storage import attributes
from cifar_tune.storage.openings import Opening
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.study.final_model import _origin
from cifar_tune.study.run import Outcome
from cifar_tune.study_spec.run_config import read_run_config
from tests.reports.factory import DATA, RESULT, MadeTrial, analysed_opening, make_record, make_spec
from tests.reports.test_race import SPACE, VALUES, raced


def with_opening(record: StudyRecord, opening: Opening) -> StudyRecord:
    record.study.set_user_attr(f"{attributes.TEST_OPENING}1", opening.plain())
    return load_record(storage_of(record.study), record.name)


@pytest.fixture
def record() -> StudyRecord:
    return raced(VALUES)


@pytest.mark.usefixtures("blank_pictures")
def test_best_yaml_and_every_result_are_those_of_the_winner(record: StudyRecord, tmp_path: Path) -> None:
    files = {file.name: file for file in export(record, tmp_path)}
    best = files["best.yaml"]
    assert read_run_config(best).train.number("lr") == 0.05  # trial 1; the best trial has 0.1
    head = best.read_text().split("data:")[0]
    assert "# The winner of the race among the best trials of the study made: trial 1\n" in head
    assert "# in the race: val_accuracy = 0.92333" in head
    assert "# the best trial of the study by its own value, trial 0 with 0.95, is another one\n" in head
    loaded = LoadedStudy(record)
    assert loaded.best_config()["lr"] == 0.05
    assert loaded.best_value == pytest.approx(0.92333, abs=1e-5)
    summary = json.loads(files["summary.json"].read_text())
    assert (summary["result"]["chosen"], summary["result"]["number"], summary["result"]["value"]) == ("race", 1, 0.94)
    assert summary["result"]["fresh_mean"] == pytest.approx(0.92333, abs=1e-5)
    assert summary["result"]["config"]["lr"] == 0.05
    assert summary["best"]["number"] == 0
    markdown, page = files["summary.md"].read_text(), files["report.html"].read_text()
    assert (
        "**92.33 %** validation accuracy of the last epoch, the mean of the fresh trainings of the winner" in markdown
    )
    assert "<strong>92.33 %</strong> validation accuracy of the last epoch, the mean of the fresh trainings" in page
    beside = "The best trial of the study by its own value is trial 0 with 95.00 %; it lost the race."
    for text in (markdown, page):
        assert beside in text
        assert "In the study, trial 1 had 94.00 %." in text
        assert "it was chosen as the best of" not in text


@pytest.mark.usefixtures("blank_pictures")
def test_without_a_race_it_is_the_best_trial(tmp_path: Path) -> None:
    study = make_record(make_spec(SPACE), [MadeTrial({"lr": 0.1}, 0.8), MadeTrial({"lr": 0.2}, 0.7)])
    result = json.loads({file.name: file for file in export(study, tmp_path)}["summary.json"].read_text())["result"]
    assert (result["chosen"], result["number"], result["fresh_mean"]) == ("best", 0, None)


def test_the_test_is_compared_with_the_race_and_not_with_the_study(record: StudyRecord) -> None:
    raced_study = with_opening(record, replace(RESULT, trial=1, value=0.94, chosen="race", test_accuracy=0.9))
    figures = dict(line.split("=", 1) for line in result_lines(raced_study))
    assert figures["val_accuracy"] == "0.94"
    assert float(figures["race_val_accuracy"]) == pytest.approx(0.92333, abs=1e-5)
    assert float(figures["validation_minus_test"]) == pytest.approx(0.02333, abs=1e-5)
    assert "90.00 %, 2.33 points less than in the race" in trust_words(Report(raced_study))
    [line] = opening_lines([opening.shown() for opening in raced_study.openings])
    assert "last for trial 1, the winner of the race: test_accuracy 0.9" in line
    quick = with_opening(record, replace(RESULT, trial=0, value=0.95, test_accuracy=0.9))
    found = dict(line.split("=", 1) for line in result_lines(quick))
    assert "race_val_accuracy" not in found
    assert float(found["validation_minus_test"]) == pytest.approx(0.05)


def test_trials_after_the_race_are_named_and_change_nothing(record: StudyRecord) -> None:
    record.study.add_trial(make_record(make_spec(SPACE), [MadeTrial({"lr": 0.3}, 0.97)]).study.trials[0])
    later = load_record(storage_of(record.study), "made")
    report = Report(later)
    assert (report.best and report.best.number, report.chosen and report.chosen.number) == (4, 1)
    words = trust_words(report)
    assert "Since the race was planned, 1 trial more finished, and took no part in it. One of them, trial 4" in words
    assert "cifar-tune delete made/finals" in words


def test_a_run_says_who_won_the_race(record: StudyRecord) -> None:
    lines = outcome_lines(Outcome("budget", record), record.spec, ["run", "made"])
    assert "note: trial 1 has won the race of finalize, so it is what best.yaml has" in lines
    assert "best_trial=0" in lines


@pytest.mark.parametrize(("value", "is_guess"), [(0.5, True), (0.53, False), (0.4, True)])
def test_a_best_trial_no_better_than_the_largest_class_is_called_so(value: float, is_guess: bool) -> None:
    study = make_record(make_spec(SPACE), [MadeTrial({"lr": 0.1}, value)])
    assert no_better_than_guessing(study) == ""  # an older study: nobody knows the largest class
    study.study.set_user_attr(attributes.DATA, {**DATA, "val_largest_class": "cat", "val_largest_class_images": 2500})
    study = load_record(storage_of(study.study), "made")
    words = "No better than guessing: 50.00 % of the validation images are of the class cat, and whoever always names"
    assert no_better_than_guessing(study).startswith(words) is is_guess
    assert (words in trust_words(Report(study))) is is_guess
    lines = outcome_lines(Outcome("budget", study), study.spec, ["run", "made"])
    assert any(line.startswith(f"note: {words}") for line in lines) is is_guess


def test_a_loss_is_not_compared_with_guessing() -> None:
    study = make_record(make_spec(SPACE, objective={"metric": "val_loss", "direction": "minimize"}), [
        MadeTrial({"lr": 0.1}, 0.4)
    ])  # fmt: skip
    data = {**DATA, "val_largest_class": "cat", "val_largest_class_images": 2500}
    assert no_better_than_guessing(replace(study, data=data)) == ""


@pytest.mark.parametrize(("accuracy", "is_guess"), [(0.1, True), (0.2, False)])
def test_a_test_result_no_better_than_the_largest_class_is_called_so(accuracy: float, is_guess: bool) -> None:
    opening = replace(analysed_opening(10), test_accuracy=accuracy, test_images=1000)
    assert any(
        "No better than guessing" in line and "of the test images" in line for line in caution_lines(opening)
    ) is (is_guess)
    study = with_opening(make_record(make_spec(SPACE), [MadeTrial({"lr": 0.1}, 0.8)]), replace(opening, analysis=None))
    assert "guessing" not in caution(Report(study))
    shown = Report(replace(study, openings=[opening]))
    assert ("No better than guessing" in caution(shown)) is is_guess


def test_the_model_says_what_the_race_gave_and_which_networks_failed(record: StudyRecord) -> None:
    opening = replace(RESULT, trial=1, value=0.94, chosen="race", failed_networks=({"seed": 1, "reason": "diverged"},))
    origin = _origin(record, opening, 1)
    assert origin.objective_value == 0.94
    assert origin.race_value == pytest.approx(0.92333, abs=1e-5)
    told = origin.model_copy(update={"networks": 5, "mean_test_accuracy": 0.9})
    assert "Besides, 1 of 6 trainings did not come to their end, and are not in it." in told.mean_words
    assert _origin(record, RESULT, 1).race_value is None
