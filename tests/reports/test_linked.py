"""What is said of the studies that `finalize` makes: none of their trials is the best one anywhere."""

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage
from rich.console import Console

from cifar_tune.cli.progress import LiveView
from cifar_tune.cli.watch_frame import frame
from cifar_tune.dashboard.study_note import study_note
from cifar_tune.errors import UserError
from cifar_tune.optuna_internals import storage_of
from cifar_tune.reports.export import export
from cifar_tune.reports.learning_curves import draw_trial
from cifar_tune.reports.loaded import LoadedStudy
from cifar_tune.reports.trial_markdown import trial_markdown
from cifar_tune.storage import attributes
from cifar_tune.storage.overview import overview
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.events import TrialEnd
from cifar_tune.study.live import live
from cifar_tune.study.plain_lines import PlainLines
from cifar_tune.study.standing import Standing
from cifar_tune.training.results import EpochResult
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.reports.test_race import VALUES, raced


@pytest.fixture(scope="module")
def finals() -> StudyRecord:
    return load_record(storage_of(raced(VALUES).study), "made/finals")


def networks_spec_and_trials() -> tuple:  # type: ignore[type-arg]
    spec = replace(make_spec({}), name="made/networks")
    tasks = [{attributes.TASK: {"candidate": 0, "block": block, "seed": 7 + block, "fold": 0}} for block in range(3)]
    return spec, [MadeTrial({}, 0.87 + 0.01 * block, attrs=tasks[block]) for block in range(3)]


@pytest.fixture(scope="module")
def networks() -> StudyRecord:
    spec, trials = networks_spec_and_trials()
    return make_record(spec, trials, InMemoryStorage(), stored_as="made")


@pytest.mark.usefixtures("blank_pictures")
def test_the_report_of_a_race_crowns_no_trial_and_says_whose_trainings_they_are(
    finals: StudyRecord, tmp_path: Path
) -> None:
    assert finals.best is None
    assert (finals.ranked, finals.front) == ((), [])
    (tmp_path / "best.yaml").touch()
    files = {file.name: file for file in export(finals, tmp_path)}
    assert not files.keys() & {"best.yaml", "importance.png", "slices.png", "parallel_coordinates.png"}
    assert not (tmp_path / "best.yaml").exists()  # of an earlier version
    markdown, page = files["summary.md"].read_text(), files["report.html"].read_text()
    for text in (markdown, page):
        assert "This is the race of made: finalize trains its best trials again with fresh seeds." in text
        for wrong in (
            "How far to trust it",
            "The best ",
            "best so far",
            "chosen as the best",
            "Better than all before",
        ):
            assert wrong not in text
    assert "\n| trial | trial of made | seed | validated on |" in markdown
    assert "\n| 5 | 1 | 1 | fold 2 | 93.0 % | completed |" in markdown
    assert "\n| 3 | 3 | 0 | fold 1 | - | error |" in markdown
    summary = json.loads(files["summary.json"].read_text())
    assert summary["best"] is None
    assert summary["linked"]["trials"][5] == {"trial": 5, "study_trial": 1, "seed": 1, "fold": 2}
    rows = list(csv.DictReader(StringIO(files["trials.csv"].read_text())))
    assert [row["study_trial"] for row in rows] == ["0", "1", "2", "3", "0", "1", "0", "1", "0", "1"]


@pytest.mark.usefixtures("blank_pictures")
def test_the_figures_of_networks_are_never_called_validation(networks: StudyRecord, tmp_path: Path) -> None:
    files = {file.name: file for file in export(networks, tmp_path)}
    assert "best.yaml" not in files
    markdown, page = files["summary.md"].read_text(), files["report.html"].read_text()
    for text in (markdown, page):
        assert "all figures here are of images that the network was trained on" in text
        for wrong in ("alidation accuracy", "95 % interval", "The test split was not read", "chosen as"):
            assert wrong not in text
    assert "| 1 | 8 | 88.00 % | completed |" in markdown
    assert "</svg>after the epoch, on images trained on</li>" in page
    assert json.loads(files["summary.json"].read_text())["best"] is None
    legend = draw_trial(networks.trials[0], networks.name).legends[0].get_texts()
    assert [each.get_text() for each in legend] == ["after the epoch, on images trained on", "training"]
    text = trial_markdown(networks.trials[0], networks.spec, networks.name)
    assert "of images that the network was trained on" in text


def test_python_and_compare_crown_none_either(finals: StudyRecord) -> None:
    loaded = LoadedStudy(finals)
    assert loaded.best_value is None
    with pytest.raises(UserError, match="none of its trials is the best one"):
        loaded.best_config()
    with pytest.raises(UserError, match="nothing was searched that could be compared"):
        loaded.compare("lr")


def test_watch_and_status_and_the_note_say_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage(storage_url("sqlite:///made.db"))
    spec, trials = networks_spec_and_trials()
    make_record(spec, trials, storage, stored_as="made")
    seen = overview(storage, "made/networks", 5)
    state = live(storage, seen)
    close(storage)
    assert seen.best is None
    assert list(seen.front) == []
    console = Console(width=2000, file=StringIO(), record=True)
    console.print(frame(state))
    text = console.export_text()
    assert "These are the networks of made" in text
    assert "best: " not in text
    assert "(the best)" not in text
    assert "These are the networks of made" in study_note("made/networks", replace(spec, name="made").stored())


def test_progress_says_that_networks_have_seen_the_images(
    networks: StudyRecord, finals: StudyRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    end = TrialEnd(0, "COMPLETE", "completed", 0.8733, None, None, 1, 3)
    lines = PlainLines(networks.spec)
    lines.began(0, {}, 2, 0)
    lines.ended(end)
    begun, ended = capsys.readouterr().err.splitlines()
    assert begun == "trial 0: a network of the chosen configuration"
    assert ended == "[1/3] trial 0: completed, val_accuracy 0.8733 on images that it was trained on"
    view = LiveView(networks.spec, Console(file=StringIO(), width=200))
    view.ended(end)
    assert "0.8733 on images that it was trained on" in view.console.file.getvalue()  # type: ignore[attr-defined]


def test_no_training_of_a_race_is_announced_as_the_best(finals: StudyRecord) -> None:
    trials = finals.study.get_trials(deepcopy=False)
    end = Standing(finals.spec, trials).end_of(trials[1], 0.93, {}, "", 0.0)
    assert (end.best_number, end.best_value) == (None, None)
    assert Standing(replace(finals.spec, name="made"), trials).end_of(trials[1], 0.93, {}, "", 0.0).best_number == 9


def test_a_training_that_only_has_to_be_written_down_does_not_train_again(
    finals: StudyRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = PlainLines(finals.spec)
    lines.began(5, {"lr": 0.1}, 2, 2)
    lines.epoch(5, EpochResult(2, 0.5, 0.8, 0.5, 0.8, 0.1, 1.0), 0.8)
    assert capsys.readouterr().err == "trial 5 has trained all 2 epochs before the stop: lr 0.1\n"
    lines.began(6, {"lr": 0.1}, 2, 1)
    lines.epoch(6, EpochResult(2, 0.5, 0.8, 0.5, 0.8, 0.1, 1.0), 0.8)
    assert "trial 6: epoch 2 of 2" in capsys.readouterr().err
