"""A knob that is searched per another: values are those that training used, and axes say whose numbers they show."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from cifar_tune.reports.comparison import compare
from cifar_tune.reports.comparison_files import markdown
from cifar_tune.reports.export import export
from cifar_tune.reports.parallel_coordinates import draw as draw_lines
from cifar_tune.reports.report import Report
from cifar_tune.reports.slices import draw as draw_slices
from cifar_tune.storage.records import StudyRecord

from .factory import MadeTrial, make_record, make_spec

SPACE = {
    "lr": {"low": 0.01, "high": 1.0, "log": True, "per": "batch_size"},
    "batch_size": {"choices": [64, 512]},
}
RATES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8]


@pytest.fixture(scope="module")
def record() -> StudyRecord:
    trials = [
        MadeTrial({"lr": rate, "batch_size": 512 if index % 2 else 64}, 0.5 + index / 20)
        for index, rate in enumerate(RATES)
    ]
    trials[0].attrs = {"start_from": 0}
    return make_record(make_spec(SPACE), trials)


@pytest.fixture(scope="module")
def folder(record: StudyRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaled")
    export(record, folder)
    return folder


def test_tables_hold_what_training_used(folder: Path) -> None:
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in rows] == [rate * (4 if index % 2 else 0.5) for index, rate in enumerate(RATES)]
    assert [row["source"] for row in rows] == ["start_from"] + ["sampler"] * 6
    assert yaml.safe_load((folder / "best.yaml").read_text())["train"]["lr"] == 0.4
    best = json.loads((folder / "summary.json").read_text())["best"]
    assert (best["params"], best["source"]) == ({"lr": 0.4, "batch_size": 64}, "sampler")


def test_the_summary_says_what_is_in_proportion(folder: Path) -> None:
    text = (folder / "summary.md").read_text()
    assert "| `lr` | **0.4** | searched: 0.8 per 128 of batch_size |" in text
    assert "| `lr` | 0.01 to 1, log scale, per 128 of batch_size |" in text
    assert "| `lr per 128 of batch_size` | " in text
    assert "1 of the trials did not come from the sampler: `start_from`." in text


def test_axes_show_what_was_suggested_and_say_so(record: StudyRecord) -> None:
    lr = Report(record).knobs[0]
    assert [lr.position(trial) for trial in record.trials] == RATES
    slices = draw_slices(Report(record))
    lines = draw_lines(Report(record))
    assert not isinstance(slices, str)
    assert not isinstance(lines, str)
    assert [axes.get_xlabel() for axes in slices.axes] == [
        "n = 7, log scale, per 128 of batch_size", "n: completed trials",
    ]  # fmt: skip
    assert [label.get_text() for label in lines.axes[0].get_xticklabels()] == [
        "lr\n(log, per 128\nof batch_size)",
        "batch_size\n\n",
    ]


def test_levels_are_of_what_was_suggested(record: StudyRecord) -> None:
    comparison = compare(record, "lr")
    assert [len(level.trials) for level in comparison.levels] == [2, 1, 1, 1, 2]
    assert comparison.levels[0].label == "0.01 to 0.025"
    assert markdown(comparison).startswith("# made: lr per 128 of batch_size\n")
    few = make_record(make_spec(SPACE), [MadeTrial({"lr": 0.1, "batch_size": size}, 0.5) for size in (64, 512)])
    assert [(level.label, len(level.trials)) for level in compare(few, "lr").levels] == [("0.1", 2)]
