"""`run --evolve` is killed, or a run before it was: nothing is lost, and nothing runs twice."""

import os
import signal
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cifar_tune.storage.records import load_record
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.storage.urls import checkpoint_name
from cifar_tune.study.checkpoints import checkpoints_of
from cifar_tune.study.evolving import finish_evolution
from tests.exhaustive import few_of
from tests.processes import start_cifar_tune
from tests.waiting import PATIENCE

from .conftest import RunStudy
from .evolution import Evolve, by_lr, space, study, write_checkpoint
from .killed_evolution import POINTS
from .scripted import Script

KILLED = "import sys; from tests.study.killed_evolution import main; main(*sys.argv[1:])"


@pytest.mark.parametrize("point", few_of(POINTS, ["staged", "renamed"]))
def test_killed_at_any_point_nothing_is_lost(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage, tmp_path: Path, point: str
) -> None:
    _, before, _ = run_scripted(study(), stop_after=18)
    for trial in before.trials:
        write_checkpoint(before.study, trial.number, b"%d" % trial.number)
    former = checkpoints_of(before.study)
    smallest = min(float(trial.params["lr"]) for trial in before.trials)
    changed = study(search_space=space(lr={"low": smallest * 1.01, "high": 1.0, "log": True}))
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump({"name": "test", "data": {"name": "digits"}} | changed))
    arguments = (point, f"sqlite:///{tmp_path}/studies.db", str(file))
    process = start_cifar_tune(arguments, Path(__file__).parents[2], os.environ, KILLED)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == (0 if point == "never" else -signal.SIGKILL), err
    is_new = point in ("renamed", "checkpoints removed", "never")
    assert ("test@1" in study_names(storage)) == is_new
    assert by_lr(load_record(storage, "test@1" if is_new else "test")) == by_lr(before)
    if not is_new:
        assert study_names(storage) == ["test"]
        finish_evolution(storage, "test", storage.engine.url)
        contents = {each.name: each.read_bytes() for each in former.iterdir()}
        assert contents == {checkpoint_name(n): b"%d" % n for n in range(len(before.trials))}
        assert list(former.parent.parent.iterdir()) == [former.parent]  # nothing is left of the copy
    evolve(changed)
    after = load_record(storage, "test")
    assert study_names(storage) == ["test", "test@1"]
    assert len(after.trials) == len(before.trials) - 1
    for trial in after.trials:
        old = next(each for each in before.trials if each.config["lr"] == trial.config["lr"])
        assert (checkpoints_of(after.study) / checkpoint_name(trial.number)).read_bytes() == b"%d" % old.number
    assert list(former.parent.parent.iterdir()) == [checkpoints_of(after.study).parent]
    _, record, _ = run_scripted(changed, Script())
    assert record.finished == len(record.trials) == 8
    assert all(trial.state == TrialState.COMPLETE.name for trial in record.trials)


@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
def test_what_a_killed_run_left_running_does_not_run_in_the_earlier_version(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    _, before, _ = run_scripted(study(), stop_after=6)
    (parked,) = before.study.get_trials(states=(TrialState.WAITING,))
    storage.set_trial_state_values(parked._trial_id, TrialState.RUNNING)
    changed = study(sampler={"name": "tpe"})
    evolve(changed)
    assert dict(load_record(storage, "test@1").counts) == {"COMPLETE": 1, "WAITING": 1}
    _, after, recorder = run_scripted(changed)
    assert dict(after.counts) == {"COMPLETE": 8}
    assert any("an earlier run was killed while it trained trial 1" in note for note in recorder.notes)


@pytest.mark.parametrize("evolved", [True, False])
def test_a_copy_that_was_not_finished_is_removed_and_said(storage: RDBStorage, evolved: bool) -> None:
    """Without a study of the name, one was about to begin; there is nothing to say of it."""
    names = ["test"] if evolved else []
    for name in [*names, "test@evolving"]:
        optuna.create_study(study_name=name, storage=storage)
    assert study_names(storage) == names
    said = finish_evolution(storage, "test", storage.engine.url) or ""
    assert ("killed while it carried trials over" in said) == evolved
    assert optuna.get_all_study_names(storage) == names
    assert finish_evolution(storage, "test", storage.engine.url) is None
