"""What a report says and shows of the race of `finalize`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from optuna.storages import BaseStorage, InMemoryStorage

from cifar_tune.optuna_internals import storage_of
from cifar_tune.reports.export import export
from cifar_tune.reports.race import draw, in_order, race_lines, race_sentences
from cifar_tune.reports.report import Report
from cifar_tune.storage import attributes
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.study.race import plan_race
from tests.reports.factory import MadeTrial, make_record, make_spec

SPACE = {"lr": {"low": 1e-3, "high": 1.0, "log": True}}


def raced(
    values: dict[tuple[int, int], float | None], storage: BaseStorage | None = None, name: str = "made"
) -> StudyRecord:
    """A study with four candidates, whose race has these values by candidate and block."""
    storage = storage or InMemoryStorage()
    spec = make_spec(SPACE, name=name)
    flops = {attributes.FLOPS: 1000}
    trials = [MadeTrial({"lr": 0.1 / 2**index}, 0.95 - 0.01 * index, attrs=flops) for index in range(4)]
    trials[1].attrs = {attributes.FLOPS: 10}
    race = plan_race(make_record(spec, trials, storage), 10, folds=6)
    trainings = [
        MadeTrial(
            {"lr": 0.1}, value, "COMPLETE" if value is not None else "FAIL", 5 if value is not None else 0,
            "completed" if value is not None else "error",
            attrs={attributes.TASK: {"candidate": candidate, "block": block, "seed": block, "fold": 1 + block}},
        )
        for (candidate, block), value in values.items()
    ]  # fmt: skip
    finals = make_record(replace(spec, name=f"{name}/finals"), trainings, storage, stored_as=name)
    finals.study.set_user_attr(attributes.LINKED, race.plain())
    return load_record(storage, name)


VALUES: dict[tuple[int, int], float | None] = {
    (0, 0): 0.90, (1, 0): 0.93, (2, 0): 0.80, (3, 0): None,
    (0, 1): 0.91, (1, 1): 0.93, (0, 2): 0.90, (1, 2): 0.90, (0, 3): 0.92, (1, 3): 0.94,
}  # fmt: skip


@pytest.mark.usefixtures("blank_pictures")
def test_a_race_stands_in_every_report(tmp_path: Path) -> None:
    record = raced(VALUES)
    files = {file.name: file for file in export(record, tmp_path)}
    markdown, page = files["summary.md"].read_text(), files["report.html"].read_text()
    winner = "Winner of the race: trial 1, 92.33 % (95 % interval 87.16 % to 97.50 %), the mean of 3 trainings"
    optimism = "its best trial, 0, had 95.00 %, which is 4.25 points better than the 90.75 % of 4 fresh trainings"
    for text in (markdown, page):
        assert winner in text
        assert optimism in text
    assert "\n| 1 | 94.00 % | 92.50 % | 4 | 2 of 2 | winner | - |\n| 0 | 95.00 % | 90.75 % | 4 | 2 of 2 |" in markdown
    assert "| 3 | 92.00 % | - | 0 | 1 of 2 | withdrawn | - |" in markdown
    assert '<a href="#race">Race</a>' in page
    found = json.loads(files["summary.json"].read_text())["race"]
    assert (found["winner"], found["cheapest"], found["trainings"]) == (1, 1, 9)
    assert found["optimism"] == pytest.approx(0.0425)
    assert [each["verdict"] for each in found["candidates"]][3] == "withdrawn"
    assert "race.png" in files


def test_the_picture_has_a_row_for_each_candidate() -> None:
    report = Report(raced(VALUES))
    assert report.race is not None
    assert [each.trial for each in in_order(report.race)] == [1, 0, 2, 3]
    figure = draw(report)
    assert isinstance(figure, Figure)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[::-1][0] == "trial 1"
    assert labels[0] == "trial 3, withdrawn"
    lines = race_lines(report.record, report.race)
    assert "  withdrawn, since a training failed: trial 3 (trial 3 of the race)" in lines


@pytest.mark.usefixtures("blank_pictures")
def test_trainings_that_all_give_the_same_have_no_interval_and_tell_nothing_apart(tmp_path: Path) -> None:
    same = {(candidate, block): 0.5 for candidate in (0, 1) for block in range(1, 4)}
    record = raced({(0, 0): 0.6, (1, 0): 0.5, (2, 0): 0.3, (3, 0): 0.3, **same})
    result = Report(record).race
    assert result is not None
    text = "\n".join(race_lines(record, result))
    assert "50.00 % in each of 3 trainings with fresh seeds" in text
    assert "too coarse for an interval" in text
    assert "interval 50.00" not in text
    assert "at most" not in text
    assert "tied, not told from the winner: trial 1\n" in text
    assert "no candidate is told from another" in text
    assert result.plain(record.trials)["interval"] is None
    figure = draw(Report(record))
    assert isinstance(figure, Figure)
    assert not any("interval" in entry.get_text() for entry in figure.legends[0].get_texts())
    assert (
        "too coarse for an interval" in {file.name: file for file in export(record, tmp_path)}["summary.md"].read_text()
    )


def test_a_bound_as_wide_as_all_accuracies_is_not_stated(tmp_path: Path) -> None:
    wild = {(0, 1): 0.9, (1, 1): 0.1, (0, 2): 0.1, (1, 2): 0.9, (0, 3): 0.8, (1, 3): 0.2}
    record = raced({(0, 0): 0.9, (1, 0): 0.8, (2, 0): 0.1, (3, 0): 0.2, **wild})
    result = Report(record).race
    assert result is not None
    assert max(result.comparison.at_most_worse) > 1
    bounds = [each.at_most_worse for each in result.candidates]
    assert None in bounds
    assert all(bound is None or bound < 1 for bound in bounds)
    assert "at most 1" not in "\n".join(race_lines(record, result))


@pytest.mark.usefixtures("blank_pictures")
def test_a_race_that_is_not_over_is_left_out(tmp_path: Path) -> None:
    record = raced({key: value for key, value in VALUES.items() if key != (1, 3)})
    files = {file.name for file in export(record, tmp_path)}
    assert "race.png" not in files
    assert race_sentences(Report(record)) == []
    assert json.loads((tmp_path / "summary.json").read_text())["race"] is None


def test_a_race_of_an_earlier_study_of_the_name_is_left_out() -> None:
    record = raced(VALUES)
    record.study.set_user_attr(attributes.IDENTITY, "0" * 32)
    again = load_record(storage_of(record.study), "made")
    assert Report(again).race is None
