"""Reports of several objectives and constraints: the front in text, tables, files and pictures."""

import csv
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifar_tune.cli.whole_process import silence_warnings
from cifar_tune.knobs.table import KNOBS
from cifar_tune.reports.comparison import compare
from cifar_tune.reports.comparison_files import markdown, write
from cifar_tune.reports.export import export
from cifar_tune.reports.importances import Importances, importances_of_each
from cifar_tune.reports.report import Report
from cifar_tune.reports.trials_csv import MORE_COLUMNS
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study_spec.metrics import METRICS
from cifar_tune.study_spec.run_config import read_run_config
from tests.exhaustive import few_of

from .factory import MadeTrial, make_record, make_spec, random_trials

TWO = [{"metric": "val_accuracy"}, {"metric": "parameters"}]
THREE = [*TWO, {"metric": "seconds_per_epoch"}]
SPACE = {"lr": {"low": 0.1, "high": 1.0}, "width": {"choices": [8, 16, 32]}}


def made(objective: Any = TWO, constraints: tuple[str, ...] = ("parameters <= 50000", "val_accuracy >= 0.5")) -> Any:
    return make_spec({**SPACE}, train={"model": "cnn3", "epochs": 4}, objective=objective, constraints=[*constraints])


def few(constraints: tuple[str, ...] = ("parameters <= 50000", "val_accuracy >= 0.5")) -> StudyRecord:
    """0: dominated by 2; 1: too large; 2 and 3: the front; 4: not trained; 5: diverged; 6: not accurate enough."""
    spec = made(constraints=constraints)

    def trial(value: float | None, parameters: int, **more: Any) -> MadeTrial:
        return MadeTrial({"lr": 0.5, "width": 8}, value, epochs=4, figures={"parameters": parameters}, **more)

    return make_record(spec, [
        trial(0.7, 40_000), trial(0.95, 60_000), trial(0.8, 30_000), trial(0.6, 10_000),
        MadeTrial({"lr": 0.5, "width": 32}, None, "PRUNED", 0, "infeasible", figures={"parameters": 90_000}),
        trial(0.55, 20_000, state="PRUNED", reason="diverged"), trial(0.3, 5_000),
    ])  # fmt: skip


def test_the_record_knows_the_front() -> None:
    record = few()
    assert [trial.number for trial in record.front] == [2, 3]
    assert record.best is record.front[0]
    assert [trial.number for trial in record.ranked] == [2, 0, 3]
    assert [trial.feasible for trial in record.trials] == [True, False, True, True, False, True, False]
    assert record.trials[5].values == (0.55, 20_000)


def test_a_trial_has_the_course_of_its_first_objective() -> None:
    made_record = make_record(made(constraints=()), [
        MadeTrial({"lr": 0.5, "width": 8}, 0.7, epochs=3, history={"val_accuracy": [0.3, 0.5, 0.7]},
                  figures={"parameters": 1.0}),
        MadeTrial({"lr": 0.5, "width": 8}, 0.6, epochs=3, history={}, figures={"parameters": 1.0}),
    ])  # fmt: skip
    assert [trial.intermediate for trial in made_record.trials] == [{1: 0.3, 2: 0.5, 3: 0.7}, {3: 0.6}]


def test_each_objective_has_importances_of_its_own() -> None:
    """The accuracy depends on the learning rate alone, the parameters on the width alone."""
    trials = [
        MadeTrial({"lr": 0.1 + 0.9 * step / 60, "width": width}, 0.5 + step / 200, epochs=4,
                  figures={"parameters": 1000.0 * width})
        for step, width in ((step, (8, 16, 32)[step * 7 % 3]) for step in range(60))
    ]  # fmt: skip
    accuracy, parameters = importances_of_each(make_record(made(constraints=()), trials))
    assert next(iter(accuracy)) == "lr"
    assert accuracy["lr"] > 0.9
    assert next(iter(parameters)) == "width"
    assert parameters["width"] > 0.9
    assert importances_of_each(few()) == [{}, {}]


@pytest.mark.usefixtures("blank_pictures")
def test_numbers_for_programs(tmp_path: Path) -> None:
    export(few(), tmp_path)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["objective"] == {"metric": "val_accuracy", "direction": "maximize"}
    assert [each["metric"] for each in found["objectives"]] == ["val_accuracy", "parameters"]
    assert found["constraints"] == ["parameters <= 50000", "val_accuracy >= 0.5"]
    assert [(each["number"], each["values"]["parameters"], each["file"]) for each in found["front"]] == [
        (2, 30_000, "front/trial-2.yaml"), (3, 10_000, "front/trial-3.yaml"),
    ]  # fmt: skip
    assert found["best"]["number"] == 2
    assert found["best"]["values"] == {"val_accuracy": 0.8, "parameters": 30_000}
    assert found["best"]["standard_error"] == pytest.approx((0.8 * 0.2 / 5000) ** 0.5)
    assert found["reasons"]["infeasible"] == 1


@pytest.mark.usefixtures("blank_pictures")
def test_an_interval_belongs_to_its_objective(tmp_path: Path) -> None:
    """Also where accuracy is not the first one; the number of parameters is known exactly."""
    objectives = [{"metric": "parameters"}, {"metric": "val_accuracy"}]
    spec = make_spec({"lr": {"low": 0.1, "high": 1}}, objective=objectives)
    trial = MadeTrial({"lr": 0.5}, 30_000.0, figures={"val_accuracy": 1.0, "parameters": 30_000.0})
    export(make_record(spec, [trial]), tmp_path)
    best = json.loads((tmp_path / "summary.json").read_text())["best"]
    assert best["standard_error"] is None
    assert best["intervals"] == {"val_accuracy": pytest.approx([0.99923, 1.0], abs=1e-5)}
    for file in ("summary.md", "report.html"):
        words = "measured on 5,000 validation images, 95 % interval of val_accuracy 99.9 to 100.0 %"
        assert words in (tmp_path / file).read_text()


@pytest.mark.usefixtures("blank_pictures")
def test_every_trial_has_its_figures(tmp_path: Path) -> None:
    export(few(), tmp_path)
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["feasible"] for row in rows] == ["true", "false", "true", "true", "false", "true", "false"]
    assert [row["on_front"] for row in rows] == ["false", "false", "true", "true", "false", "false", "false"]
    assert [row["val_accuracy"] for row in rows] == ["0.7", "0.95", "0.8", "0.6", "", "0.55", "0.3"]
    assert [row["value"] for row in rows] == ["0.7", "0.95", "0.8", "0.6", "", "0.55", "0.3"]
    assert rows[4]["parameters"] == "90000"


def test_no_knob_is_called_like_a_column() -> None:
    assert not {*METRICS, *MORE_COLUMNS} & set(KNOBS)


@pytest.mark.usefixtures("blank_pictures")
def test_the_summary_for_people(tmp_path: Path) -> None:
    export(few(), tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "**2 trials on the Pareto front** of val_accuracy (maximize), parameters (minimize)" in text
    assert "| [2](front/trial-2.yaml) | 80.0 % | 30,000 | 10 s | 0.5 | 8 |" in text
    assert "`val_accuracy = 0.8` (to maximize), `parameters = 30000` (to minimize)" in text
    assert "Constraints: parameters <= 50000 and val_accuracy >= 0.5. 3 of the 5 completed trials keep them." in text
    assert "![The objectives against each other](pareto.png)" in text
    assert "### The best 3 of 3 by val_accuracy" in text


@pytest.mark.usefixtures("blank_pictures")
def test_every_trial_of_the_front_can_be_trained(tmp_path: Path) -> None:
    (tmp_path / "front").mkdir()
    (tmp_path / "front" / "trial-99.yaml").touch()
    written = export(few(), tmp_path)
    assert {file.name for file in (tmp_path / "front").iterdir()} == {"trial-2.yaml", "trial-3.yaml"}
    assert {tmp_path / "front" / "trial-2.yaml", tmp_path / "front" / "trial-3.yaml"} <= set(written)
    assert read_run_config(tmp_path / "front" / "trial-3.yaml").train["width"] == 8
    head = (tmp_path / "front" / "trial-3.yaml").read_text().splitlines()[:2]
    assert head == [
        "# On the Pareto front of the study made: trial 3",
        "# val_accuracy = 0.6 (to maximize), parameters = 10000 (to minimize), on the validation split",
    ]
    assert "trial 2" in (tmp_path / "best.yaml").read_text().splitlines()[0]


@pytest.mark.usefixtures("blank_pictures")
def test_what_one_objective_does_not_have_goes_away(tmp_path: Path) -> None:
    export(few(), tmp_path)
    spec = make_spec({**SPACE}, train={"model": "cnn3"})
    export(make_record(spec, [MadeTrial({"lr": 0.5, "width": 8}, 0.5)]), tmp_path)
    assert not (tmp_path / "pareto.png").exists()
    assert not list((tmp_path / "front").iterdir())
    assert json.loads((tmp_path / "summary.json").read_text())["front"] is None


@pytest.mark.usefixtures("blank_pictures")
def test_nothing_feasible_is_said(tmp_path: Path) -> None:
    export(few(("val_accuracy >= 0.99",)), tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "5 trials completed, but none keeps val_accuracy >= 0.99." in text
    assert not (tmp_path / "best.yaml").exists()
    assert not (tmp_path / "front").exists()
    assert json.loads((tmp_path / "summary.json").read_text())["front"] == []
    assert (tmp_path / "pareto.png").exists()


def test_compare_takes_the_best_among_those_that_keep_the_constraints(tmp_path: Path) -> None:
    comparison = compare(few(), "width")
    level = next(level for level in comparison.levels if level.trials)
    assert comparison.best(level) == 0.8
    assert level.mean == pytest.approx((0.7 + 0.95 + 0.8 + 0.6 + 0.3) / 5)
    text = markdown(comparison)
    assert "The first objective is the validation accuracy of the last epoch." in text
    assert "Completed trials that break parameters <= 50000 and val_accuracy >= 0.5: 2; means hold them" in text
    write(comparison, tmp_path)


def test_importances_set_the_front_against_all() -> None:
    spec = made(constraints=())
    found = Report(make_record(spec, random_trials(spec, 60))).importances
    assert isinstance(found, Importances)
    assert "nearest to the Pareto front" in found.basis
    assert set(found.shares) == {"lr", "width"}


@pytest.mark.parametrize(
    ("objective", "count"),
    few_of(
        [(objective, count) for objective in (TWO, THREE, TWO[::-1]) for count in (0, 1, 60)],
        [(TWO, 60), (THREE, 0), (TWO[::-1], 0)],
    ),
)
def test_every_picture_can_be_drawn(
    objective: Any, count: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = made(objective, ("val_accuracy >= 0.5",))
    trials = random_trials(spec, count, pruned=0.1)
    if objective[0]["metric"] == "parameters":
        trials = [
            MadeTrial(t.params, t.figures["parameters"], t.state, t.epochs, t.reason,
                      figures={"val_accuracy": t.value if (t.value or 9) <= 1 else 0.6} if t.value else {})
            for t in trials if t.figures
        ]  # fmt: skip
    record = make_record(spec, trials)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silence_warnings()  # as every command does
        export(record, tmp_path)
    assert capfd.readouterr() == ("", "")
    for picture in tmp_path.glob("*.png"):
        with Image.open(picture) as image:
            shown = np.asarray(image.convert("RGB"))
        assert (shown < 200).any(axis=-1).sum() > 200, f"{picture} is empty"
        assert (shown[[0, -1]] > 250).all(), f"{picture} runs over its edge"
        assert (shown[:, [0, -1]] > 250).all(), f"{picture} runs over its edge"
    assert (tmp_path / "pareto.png").exists()
