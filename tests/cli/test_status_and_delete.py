"""`status` and `delete`, on studies stored as a run would store them."""

import errno
import json
import os
import re
import socket
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._rdb.models import StudyModel
from sqlalchemy import update

from cifar_tune.cli import study_status
from cifar_tune.storage import lease
from cifar_tune.storage.attributes import REASON
from cifar_tune.storage.lease import Lease, acquire
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.checkpoints import checkpoints_of
from cifar_tune.study.folder_claim import claim_folder
from tests.processes import start_cifar_tune
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.storage.contenders import HOLD
from tests.waiting import PATIENCE

from .conftest import Cli

URL = "sqlite:///studies.db"
TRIALS = [
    MadeTrial({"lr": 0.1}, 0.5),
    MadeTrial({"lr": 0.2}, 0.75),
    MadeTrial({"lr": 0.3}, 0.25, "PRUNED", 2),
    MadeTrial({"lr": 0.4}, None, "FAIL", 0),
    MadeTrial({"lr": 0.5}, 0.6, "RUNNING", 3),
    MadeTrial({"lr": 0.6}, 0.7, "WAITING", 4),
]


@pytest.fixture
def stored(cli: Cli, tmp_path: Path) -> Path:
    """A storage with two studies, one with trials, and one that another tool made."""
    storage = open_storage(storage_url(URL))
    space = {"lr": {"low": 0.1, "high": 1}}
    make_record(make_spec(space, name="first", budget={"trials": 9}), TRIALS, storage)
    make_record(make_spec(space, name="second"), [], storage)
    optuna.create_study(study_name="foreign", storage=storage)
    close(storage)
    return tmp_path / "studies.db"


def names() -> list[str]:
    storage = open_storage(storage_url(URL))
    found = sorted(optuna.get_all_study_names(storage))
    close(storage)
    return found


def test_a_storage_that_does_not_exist_has_no_studies(cli: Cli, tmp_path: Path) -> None:
    ended = cli("status", "--storage", "sqlite:///folder/absent.db")
    assert (ended.code, ended.err) == (0, "")
    none_yet = "no studies in sqlite:///folder/absent.db: there is no such file yet; begin one with: cifar-tune run "
    assert ended.out.startswith(none_yet)
    assert json.loads(cli("status", "--json").out) == {"storage": "sqlite:///storage/cifar_tune.db", "studies": []}
    assert list(tmp_path.iterdir()) == []


def test_no_next_run_is_promised_of_what_is_not_run_any_more(cli: Cli, stored: Path) -> None:
    storage = open_storage(storage_url(URL))
    with storage.engine.begin() as connection:
        connection.execute(update(StudyModel).where(StudyModel.study_name == "first").values(study_name="first@1"))
    close(storage)
    out = cli("status", "first@1", "--storage", URL).out
    assert "  left behind: trial 4 at epoch 3 of 15, val_accuracy 0.6\n" in out


def test_the_status_of_all_studies(cli: Cli, stored: Path) -> None:
    out = cli("status", "--storage", URL).out
    assert "first: 4 of 9 trials done (2 COMPLETE, 1 FAIL, 1 PRUNED, 1 RUNNING left behind, 1 WAITING)" in out
    assert "  best: val_accuracy 0.75 in trial 1 (lr 0.2)" in out
    assert "  run by: nobody right now" in out
    assert "  left behind: trial 4 at epoch 3 of 15, val_accuracy 0.6; the next run takes it up" in out
    assert "  failed: trial 3: no reason is known" in out
    assert "  parked: trial 5 at epoch 4 of 15, val_accuracy 0.7" in out
    assert "second: 0 of 50 trials done (no trials yet), 0 s so far" in out
    assert "foreign: not made by cifar-tune" in out


def test_the_status_of_one_study_lists_its_last_trials(cli: Cli, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = cli("status", "first", "--storage", URL).out
    assert "  all trials that ended (state, val_accuracy, knobs):\n    trial 0  completed" in out
    (best,) = (line for line in out.splitlines() if line.startswith("    trial 1"))
    assert best.split() == ["trial", "1", "completed", "0.7500", "lr", "0.2", "(best)"]
    assert out.count("(best)") == 1
    assert "(best)" not in cli("status", "--storage", URL).out
    monkeypatch.setattr(study_status, "LAST_TRIALS", 1)
    out = cli("status", "first", "--storage", URL).out
    assert "  the last 1 of 4 trials that ended" in out
    assert "all of them: trials.csv of `cifar-tune export first`" in out


def test_a_name_below_a_study_is_no_file(cli: Cli, stored: Path) -> None:
    for name in ("first/final", "first/finals"):
        for command in (("status", name), ("watch", name, "--once"), ("export", name)):
            ended = cli(*command, "--storage", URL)
            assert (ended.code, ended.out) == (2, "")
            assert f"the storage has no study {name!r}; it holds first" in ended.err


def test_the_status_as_json(cli: Cli, stored: Path) -> None:
    found = {each["name"]: each for each in json.loads(cli("status", "--storage", URL, "--json").out)["studies"]}
    assert found["foreign"] == {"name": "foreign", "foreign": True}
    first = found["first"]
    assert (first["finished"], first["budget_trials"], first["owner"]) == (4, 9, None)
    assert first["counts"] == {"COMPLETE": 2, "PRUNED": 1, "FAIL": 1, "RUNNING": 1, "WAITING": 1}
    assert first["best"] == {"number": 1, "value": 0.75, "values": {"val_accuracy": 0.75}, "params": {"lr": 0.2}}
    assert (first["objectives"], first["constraints"], first["front"]) == (["val_accuracy"], [], None)
    assert (first["lease"], first["evolved_from"]) == (None, None)
    assert first["parked"] == [{"number": 5, "epoch": 4, "epochs": 15, "value": 0.7}]
    assert first["running"] == [{"number": 4, "epoch": 3, "epochs": 15, "value": 0.6}]
    assert json.loads(cli("status", "first", "--storage", URL, "--json").out) == first


def test_the_status_of_several_objectives(cli: Cli, tmp_path: Path) -> None:
    spec = make_spec(
        {"lr": {"low": 0.1, "high": 1.0}},
        name="front",
        objective=[{"metric": "val_accuracy"}, {"metric": "parameters"}],
        constraints=["parameters <= 50"],
    )
    sizes = {0.5: 10, 0.4: 20, 0.8: 40, 0.9: 60}
    trials = [MadeTrial({"lr": value}, value, figures={"parameters": size}) for value, size in sizes.items()]
    storage = open_storage(storage_url(None))
    make_record(spec, trials, storage)
    close(storage)
    out = cli("status", "front").out
    assert "Pareto front: 2 trials of val_accuracy, parameters" in out
    assert "best: val_accuracy 0.8, parameters 40 in trial 2 (lr 0.8)" in out
    found = json.loads(cli("status", "front", "--json").out)
    assert found["best"]["values"] == {"val_accuracy": 0.8, "parameters": 40}
    assert [each["number"] for each in found["front"]] == [2, 0]
    assert (found["objective"], found["constraints"]) == ("val_accuracy", ["parameters <= 50"])


def test_failed_trials_are_named_and_counted(cli: Cli) -> None:
    errors = ["Traceback\n  File x\nValueError: too wide", "", None, "OSError: gone", "OSError: gone"]
    trials = [MadeTrial({"lr": 0.1 * (1 + i)}, None, "FAIL", 0, error=error) for i, error in enumerate(errors)]
    storage = open_storage(storage_url(None))
    make_record(make_spec({"lr": {"low": 0.1, "high": 1.0}}, name="bad"), trials, storage)
    close(storage)
    found = [line for line in cli("status", "bad").out.splitlines() if "failed" in line]
    assert found == [
        "  failed: trial 0: ValueError: too wide",
        "  failed: trial 1: no reason is known",
        "  failed: trial 2: no reason is known",
        "  failed: 2 more",
    ]
    assert json.loads(cli("status", "bad", "--json").out)["failed"][3] == {"number": 3, "error": "OSError: gone"}


def test_why_there_is_no_best_where_another_program_ended_what_completed(cli: Cli) -> None:
    foreign = MadeTrial({"lr": 0.1}, 0.9, attrs={REASON: None})
    storage = open_storage(storage_url(None))
    make_record(make_spec({"lr": {"low": 0.1, "high": 1.0}}, name="told"), [foreign], storage)
    close(storage)
    words = "another program ended all completed trials, so nobody knows what was trained"
    assert f"  best: none; {words}" in cli("status", "told").out.splitlines()
    theirs = "the study 'told' has no completed trial of its own"
    assert f"{theirs} yet" in cli("watch", "told", "--once").out
    refused = cli("finalize", "told")
    assert refused.code == 1
    assert f"{theirs}, so there is no best configuration to train" in refused.err


def test_why_there_is_no_best_where_the_completed_trials_are_repetitions_that_break_a_constraint(cli: Cli) -> None:
    repetition = MadeTrial({"lr": 0.1}, 0.9, figures={"parameters": 60}, attrs={REASON: "repeated"})
    storage = open_storage(storage_url(None))
    spec = make_spec({"lr": {"low": 0.1, "high": 1.0}}, name="again", constraints=["parameters <= 50"])
    make_record(spec, [repetition], storage)
    close(storage)
    assert "  best: none; no completed trial keeps parameters <= 50" in cli("status", "again").out.splitlines()


def test_a_study_of_a_newer_version_is_told_from_a_foreign_one(cli: Cli) -> None:
    storage = open_storage(storage_url(None))
    record = make_record(make_spec({"lr": {"low": 0.1, "high": 1.0}}, name="newer"), [], storage)
    record.study.set_user_attr("test_opening_1", {"cifar_tune": "9.9", "unknown": 1})
    close(storage)
    words = "newer: test_opening_1: was written by cifar-tune 9.9, and cifar-tune"
    assert cli("status").out.startswith(words)
    (listed,) = json.loads(cli("status", "--json").out)["studies"]
    assert (listed["name"], set(listed)) == ("newer", {"name", "unreadable"})
    for command in (("status", "newer"), ("watch", "newer", "--once"), ("export", "newer"), ("delete", "newer")):
        ended = cli(*command)
        assert ended.code == 2, command
        assert "was written by cifar-tune 9.9" in ended.err


def test_the_status_of_a_study_by_its_file(cli: Cli, stored: Path, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("name: second\n")
    assert cli("status", "file.yaml", "--storage", URL).out.startswith("second: 0 of 50 trials done")


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (
            "frist",
            "cifar-tune: the storage has no study 'frist'; it holds first, foreign, second (did you mean 'first'?)",
        ),
        ("foreign", "cifar-tune: the study 'foreign' was not made by cifar-tune"),
    ],
)
def test_the_status_of_what_is_no_study_of_ours(cli: Cli, stored: Path, study: str, message: str) -> None:
    ended = cli("status", study, "--storage", URL)
    assert (ended.code, ended.out, ended.err.strip()) == (2, "", message)


def test_a_study_may_be_named_like_a_folder(cli: Cli, stored: Path, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    assert cli("status", "first", "--storage", URL).out.startswith("first: 4 of 9")


def test_looking_leaves_no_file_behind(cli: Cli, stored: Path, tmp_path: Path) -> None:
    cli("status", "--storage", URL)
    before = stored.read_bytes()
    cli("status", "first", "--storage", URL)
    assert stored.read_bytes() == before


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, False), ("n\n", 1, True), ("", 1, True), ("\n", 1, True)]
)
def test_delete_asks(cli: Cli, stored: Path, answer: str, code: int, left: bool) -> None:
    ended = cli("delete", "first", "--storage", URL, answer=answer)
    assert ended.code == code
    assert "Remove the study 'first' with its 6 trials for good? [y/N]" in ended.err
    assert ended.out.strip() == ("" if left else "removed first (6 trials)")  # the prompt leaves a space there
    assert ("first" in names()) == left
    assert {"second", "foreign"} <= set(names())


def test_whoever_deletes_what_somebody_else_has_deleted_meanwhile_is_told_so(
    cli: Cli, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        storage = open_storage(storage_url(URL))
        optuna.delete_study(study_name="first", storage=storage)
        close(storage)

    monkeypatch.setattr("typer.confirm", asked)
    ended = cli("delete", "first", "--storage", URL)
    assert (ended.code, ended.out) == (2, "")
    assert "the storage has no study 'first'; it holds " in ended.err
    assert stored.exists()


def checkpointed(name: str, url: str = URL) -> Path:
    """A checkpoint of a stored study, as its run leaves it."""
    storage = open_storage(storage_url(url))
    study = optuna.load_study(study_name=name, storage=storage)
    assert list(claim_folder(study, storage, storage_url(url))) == []
    checkpoint = checkpoints_of(study) / "trial-000001.pt"
    checkpoint.write_bytes(b"weights")
    close(storage)
    return checkpoint


def test_delete_removes_the_checkpoints_too_and_no_others(cli: Cli, stored: Path) -> None:
    first, second = checkpointed("first"), checkpointed("second")
    ended = cli("delete", "first", "--storage", URL, "--yes")
    assert (ended.code, ended.out, ended.err) == (0, "removed first (6 trials)\n", "")
    assert not first.parent.parent.parent.exists()
    assert second.exists()
    assert cli("status", "first", "--storage", URL).code == 2


def test_delete_names_checkpoints_that_it_cannot_remove(
    cli: Cli, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = checkpointed("first")
    unlink = os.unlink

    def refused(path: str, **keywords: Any) -> None:
        if str(path).endswith(".pt"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        unlink(path, **keywords)

    monkeypatch.setattr(os, "unlink", refused)  # root may delete in a folder that is read-only, too
    ended = cli("delete", "first", "--storage", URL, "--yes")
    assert (ended.code, ended.out) == (0, "removed first (6 trials)\n")
    assert ended.err.startswith("note: its checkpoints could not be removed: ")
    assert str(checkpoint) in ended.err
    assert "first" not in names()


def test_delete_refuses_while_somebody_runs_the_study(cli: Cli, stored: Path) -> None:
    holder = start_cifar_tune((f"sqlite:///{stored}", "first"), Path.cwd(), os.environ, HOLD)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        ended = cli("delete", "first", "--storage", URL, "--yes")
        assert ended.code == 1
        assert ended.err.startswith(f"cifar-tune: the study 'first' is being run by process {holder.pid} on ")
        assert "first" in names()
        told = cli("status", "first", "--storage", URL).out
        assert re.search(
            rf"run by: process {holder.pid} on \S+, whose lease holds for \d\d s unless it is renewed", told
        )
        assert "1 RUNNING, 1 WAITING" in told
        assert "  running: trial 4 at epoch 3 of 15, val_accuracy 0.6\n" in told
        lease = json.loads(cli("status", "first", "--storage", URL, "--json").out)["lease"]
        assert (lease["pid"], lease["host"], lease["is_free"]) == (holder.pid, socket.gethostname(), False)
        assert 0 < lease["seconds_left"] <= 60
    finally:
        holder.kill()
        holder.communicate()
    told = cli("status", "first", "--storage", URL).out
    assert f"run by: nobody right now; process {holder.pid} on " in told
    assert "was killed or lost, and the next run takes over at once" in told
    found = json.loads(cli("status", "first", "--storage", URL, "--json").out)
    assert (found["owner"], found["lease"]["is_free"]) == (None, True)
    assert cli("delete", "first", "--storage", URL, "--yes").code == 0


@pytest.mark.parametrize("name", ["../../precious", "/precious", "a/b"])
def test_names_of_other_programs_lead_nowhere(cli: Cli, stored: Path, tmp_path: Path, name: str) -> None:
    precious = [tmp_path / "precious" / "file", tmp_path / "storage" / "artifacts" / "a" / "b" / "file"]
    for file in precious:
        file.parent.mkdir(parents=True)
        file.write_text("mine")
    storage = open_storage(storage_url(URL))
    study = make_record(make_spec({"lr": {"low": 0.1, "high": 1}}, name="copied"), TRIALS, storage).study
    other = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    for key, value in study.user_attrs.items():
        other.set_user_attr(key, value)
    close(storage)
    ended = cli("export", name, "--storage", URL)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    ended = cli("delete", name, "--storage", URL, "--yes")
    assert (ended.code, ended.out) == (0, f"removed {name} (0 trials)\n")
    assert name not in names()
    assert all(file.exists() for file in precious)


def test_delete_keeps_its_lease_however_long_it_takes(cli: Cli, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delete_study = optuna.delete_study
    renewed = threading.Event()
    renew = Lease.renew

    def counted(lease: Lease) -> None:
        renew(lease)
        if threading.current_thread() is not threading.main_thread():
            renewed.set()

    def slow(**keywords: Any) -> None:
        assert renewed.wait(PATIENCE)  # by the thread that keeps the lease
        delete_study(**keywords)

    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(Lease, "renew", counted)
    monkeypatch.setattr(optuna, "delete_study", slow)
    assert cli("delete", "first", "--storage", URL, "--yes").code == 0
    assert "first" not in names()


def test_delete_gives_the_lease_back(cli: Cli, stored: Path) -> None:
    assert cli("delete", "first", "--storage", URL, "--yes").code == 0
    storage = open_storage(storage_url(URL))
    acquire(storage.engine, "first").release()
    close(storage)


def test_delete_leaves_the_checkpoints_of_a_study_of_that_name_elsewhere(cli: Cli, tmp_path: Path) -> None:
    checkpoints = []
    for url in ("sqlite:///one.db", "sqlite:///two.db"):
        storage = open_storage(storage_url(url))
        make_record(make_spec({}, name="made"), [], storage)
        close(storage)
        checkpoints.append(checkpointed("made", url))
    assert cli("delete", "made", "--yes", "--storage", "sqlite:///two.db").code == 0
    assert [checkpoint.exists() for checkpoint in checkpoints] == [True, False]
    assert cli("delete", "made", "--yes", "--storage", "sqlite:///one.db").code == 0
    assert not checkpoints[0].exists()
