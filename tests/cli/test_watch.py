"""`watch`, on a study that really runs in another process, and on stored ones."""

import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import create_trial

from cifar_tune.cli.study_status import one_status
from cifar_tune.cli.watch_frame import is_over
from cifar_tune.cli.watching import Watcher, as_text, render
from cifar_tune.errors import CheckError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports.page.timeline import spans
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from tests.processes import start_cifar_tune
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import PATIENCE, Gate, read_until

from .conftest import Cli

URL = "sqlite:///studies.db"
STUDY = """
name: watched
budget: {trials: 4}
sampler: {name: random, seed: 1}
data: {name: digits, val_size: 300, train_size: 300}
plugins: [wait_for_test.py]
train: {model: cnn2, width: 4, epochs: 3, batch_size: 64, augment: [wait_for_test]}
search_space:
  lr: {low: 1e-3, high: 1e-1, log: true}
"""
TRIALS = [
    MadeTrial({"lr": 0.1}, 0.5),
    MadeTrial({"lr": 0.2}, 0.75),
    MadeTrial({"lr": 0.3}, 0.25, "PRUNED", 2),
    MadeTrial({"lr": 0.35}, None, "PRUNED", 0, "out_of_memory"),
    MadeTrial({"lr": 0.5}, None, "RUNNING", 3, history={"val_accuracy": [0.1, 0.2, 0.6], "seconds": [1.0, 1.0, 1.5]}),
    MadeTrial({"lr": 0.6}, 0.7, "WAITING", 4),
]


@pytest.fixture
def stored(cli: Cli) -> None:
    storage = open_storage(storage_url(URL))
    make_record(make_spec({"lr": {"low": 0.1, "high": 1}}, name="made", budget={"trials": 9}), TRIALS, storage)
    close(storage)


@pytest.mark.usefixtures("stored")
def test_one_frame(cli: Cli) -> None:
    ended = cli("watch", "made", "--once", "--storage", URL)
    assert (ended.code, ended.err) == (0, "")
    assert "made: 4 of 9 trials  2 COMPLETE, 2 PRUNED, 1 RUNNING left behind, 1 WAITING" in ended.out
    assert "best: val_accuracy 0.7500 (trial 1)  lr 0.2" in ended.out
    assert "nobody runs it right now" in ended.out
    assert "1 out of memory: the device ran out of memory" in ended.out
    assert re.search(r"trial 4 .* 3/15 +val_accuracy 0.6000 +left behind", ended.out)
    assert re.search(r"trial 5 .* 4/15 +val_accuracy 0.7000 +parked", ended.out)
    assert "trial 2: pruned, val_accuracy 0.2500" in ended.out


@pytest.mark.usefixtures("stored")
def test_a_study_that_is_deleted_while_it_is_watched_ends_that(cli: Cli) -> None:
    watcher = Watcher("made", storage_url(URL))
    watcher.look()
    assert cli("delete", "made", "--yes", "--storage", URL).code == 0
    with pytest.raises(CheckError, match="the study 'made' was deleted or renamed while it was watched"):
        watcher.look()
    watcher.close()


@pytest.mark.parametrize("device", ["cuda:0 [bold]", "[/] [link=http://evil]gpu"])
def test_devices_from_elsewhere_are_shown_as_they_are(cli: Cli, device: str) -> None:
    storage = open_storage(storage_url(URL))
    trials = [MadeTrial({"lr": 0.5}, None, "RUNNING", 3, attrs={"device": device})]
    make_record(make_spec({"lr": {"low": 0.1, "high": 1}}, name="made"), trials, storage)
    acquire(storage.engine, "made")
    ended = cli("watch", "made", "--once", "--storage", URL)
    close(storage)
    assert (ended.code, ended.err) == (0, "")
    assert device in ended.out


@pytest.mark.usefixtures("stored")
def test_a_run_that_was_killed_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    storage = open_storage(storage_url(URL))
    acquire(storage.engine, "made")
    out = cli("watch", "made", "--once", "--storage", URL).out
    assert f"run by process {os.getpid()}" in out
    assert re.search(r"trial 4 .* 3/15 +val_accuracy 0.6000 +1.5 s/epoch +cpu", out)
    monkeypatch.setattr("cifar_tune.storage.lease._process_started", lambda _pid: "")
    out = cli("watch", "made", "--once", "--storage", URL).out
    process = f"process {os.getpid()} on {socket.gethostname()}"
    assert (
        f"nobody runs it right now: {process} was killed or lost, and the next run takes over at once; it ran for"
        in out
    )
    close(storage)


def over_after_a_look(watcher: Watcher) -> bool:
    watcher.look()
    return watcher.is_over


@pytest.mark.usefixtures("stored")
def test_it_names_who_runs_it_and_takes_no_lease() -> None:
    storage = open_storage(storage_url(URL))
    lease = acquire(storage.engine, "made")
    watcher = Watcher("made", storage_url(URL))
    watcher.look()
    assert watcher.owner is not None
    assert f"process {os.getpid()}" in watcher.owner
    assert not watcher.is_over
    lease.renew()  # it is still ours
    lease.release()
    assert [over_after_a_look(watcher) for _ in range(3)] == [False, False, True]  # the run that was seen is gone
    close(storage)
    watcher.close()


@pytest.mark.usefixtures("stored")
def test_a_study_that_nobody_runs_yet_is_waited_for() -> None:
    watcher = Watcher("made", storage_url(URL))
    for _ in range(5):
        watcher.look()
    assert not watcher.is_over
    watcher.close()


@pytest.mark.usefixtures("stored")
def test_a_database_that_does_not_answer_is_said_and_tried_again(tmp_path: Path) -> None:
    watcher = Watcher("made", storage_url(URL))
    watcher.look()
    watcher.close()
    file = tmp_path / "studies.db"
    file.rename(tmp_path / "away.db")
    file.mkdir()
    watcher.look()
    assert "the database does not answer" in watcher.trouble
    assert not watcher.is_over
    file.rmdir()
    (tmp_path / "away.db").rename(file)
    watcher.look()
    assert watcher.trouble == ""
    watcher.close()


def test_a_study_that_is_not_there(cli: Cli) -> None:
    ended = cli("watch", "absent", "--storage", URL)
    assert ended.code == 2
    assert "no study 'absent'" in ended.err


def test_a_study_whose_budget_is_used_up_is_over(cli: Cli) -> None:
    storage = open_storage(storage_url(URL))
    make_record(make_spec({"lr": {"low": 0.1, "high": 1}}, name="made", budget={"trials": 4}), TRIALS[:4], storage)
    close(storage)
    ended = cli("watch", "made", "--storage", URL)  # ends by itself
    assert ended.code == 0
    assert "made: 4 of 4 trials" in ended.out


def test_it_watches_a_real_run_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    Gate(tmp_path).let(7)  # to the first epoch of trial 2
    environment = os.environ | {
        "CIFAR_TUNE_STORAGE": f"sqlite:///{tmp_path}/studies.db",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "COLUMNS": "160",
    }
    run = start_cifar_tune(("run", "study.yaml"), tmp_path, environment)
    read_until(run, "trial 2: ")
    watch = start_cifar_tune(("watch", "study.yaml", "--interval", "0.2"), tmp_path, environment)
    assert watch.stdout is not None
    seen = ""
    for line in watch.stdout:
        seen += line
        if f"run by process {run.pid}" in seen and "RUNNING" in seen and "trial 1:" in seen:
            break
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=PATIENCE)
    out, err = watch.communicate(timeout=PATIENCE)
    assert (run.returncode, watch.returncode, err) == (130, 0, "")
    assert "nobody runs it right now" in out


def test_trials_that_are_drawn_but_have_not_begun(cli: Cli) -> None:
    storage = open_storage(storage_url(URL))
    begun = MadeTrial({"lr": 0.5}, None, "RUNNING", 3)
    parked = MadeTrial({"lr": 0.6}, 0.7, "WAITING", 4)
    drawn = MadeTrial({"lr": 0.7}, None, "WAITING", 0, attrs={"device": None})
    spec = make_spec({"lr": {"low": 0.1, "high": 1}}, name="made")
    record = make_record(spec, [begun, parked, drawn, drawn], storage)
    close(storage)

    assert [trial.number for trial in record.trials if trial.is_drawn] == [2, 3]
    status = cli("status", "made", "--storage", URL).out
    assert "  drawn: trial 2, 3\n" in status
    assert status.count("parked: ") == 1
    watched = cli("watch", "made", "--once", "--storage", URL).out
    assert re.search(r"trial 1 .* parked", watched)
    assert not re.search(r"trial [23] ", watched)
    assert {span.trial.number for span in spans(record.trials)} == {0}


@pytest.mark.usefixtures("cli")
def test_of_a_long_study_only_few_trials_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(storage_url(URL))
    trials = [MadeTrial({"lr": 0.1 + 0.001 * n}, 0.5 + 0.001 * n) for n in range(200)]
    make_record(make_spec({"lr": {"low": 0.1, "high": 1}}, name="long", budget={"trials": 300}), trials, storage)
    close(storage)
    whole: list[int] = []
    read_trials = BatchStorage.read_trials

    def counted(self: BatchStorage, study: int, *more: Any, **named: Any) -> Any:
        found = read_trials(self, study, *more, **named)
        whole.append(sum(bool(trial.params) for trial in found))
        return found

    monkeypatch.setattr(BatchStorage, "read_trials", counted)
    monkeypatch.setattr(BatchStorage, "get_all_trials", lambda *_, **__: pytest.fail("all trials are read"))
    watcher = Watcher("long", storage_url(URL))
    watcher.look()
    assert watcher.state is not None
    assert [trial["number"] for trial in watcher.state["ended"]] == [195, 196, 197, 198, 199]
    assert sum(whole) == 1 + 5  # the best one, and those that ended last
    watcher.close()


@pytest.mark.usefixtures("cli")
def test_a_grid_is_not_over_because_of_another_programs_trials() -> None:
    storage = open_storage(storage_url(URL))
    spec = make_spec({"lr": {"choices": [0.1, 0.2, 0.3, 0.4]}}, name="cells", sampler={"name": "grid"})
    record = make_record(spec, [MadeTrial({"lr": 0.1}, 0.5)], storage)
    for _ in range(4):
        record.study.add_trial(create_trial(value=0.9))
    watcher = Watcher("cells", storage_url(URL))
    watcher.look()
    assert watcher.state is not None
    assert "cells: 5 of 8 trials" in as_text(render(watcher), 120)
    assert not is_over(watcher.state)
    assert one_status("cells", storage_url(URL))["budget_trials"] == 8
    close(storage)
    watcher.close()
