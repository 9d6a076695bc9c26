"""`run --evolve`: what fits goes over, what does not stays behind with its reason, and nothing is lost."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import CheckError, UserError
from cifar_tune.storage import attributes
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.openings import read_openings, write_opening
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.storage.urls import checkpoint_name, storage_url
from cifar_tune.study.asking import distribution
from cifar_tune.study.checkpoints import checkpoints_of
from cifar_tune.study.evolving import evolve_study, finish_evolution, previewed
from cifar_tune.study.opening import open_study
from tests.exhaustive import few_of
from tests.postgres import own_server
from tests.processes import start_cifar_tune
from tests.reports.factory import OPENING, analysed_opening
from tests.waiting import PATIENCE

from .conftest import RunStudy, spec_of
from .killed_evolution import POINTS
from .scripted import Script

SPACE: dict[str, Any] = {
    "optimizer": {"choices": ["sgd", "adamw"]},
    "lr": {"low": 0.01, "high": 1.0, "log": True},
    "momentum": {"low": 0.5, "high": 0.9, "when": {"optimizer": "sgd"}},
}
Evolve = Callable[[dict[str, Any]], list[str]]


def study(trials: int = 8, **sections: Any) -> dict[str, Any]:
    return {
        "budget": {"trials": trials},
        "pruner": {"name": "none"},
        "sampler": {"name": "random", "seed": 5},
        "train": {"epochs": 4},
        "search_space": SPACE,
    } | sections


def space(**changes: Any) -> dict[str, Any]:
    return {name: each for name, each in (SPACE | changes).items() if each is not None}


@pytest.fixture
def evolve(storage: RDBStorage, data: PreparedData) -> Evolve:
    def run(plain: dict[str, Any]) -> list[str]:
        spec = spec_of(plain)
        said: list[str] = []
        would = previewed(storage, spec).consequences
        lease = acquire(storage.engine, spec.name)
        try:
            evolve_study(storage, spec, data, lease, said.append)
            finish_evolution(storage, spec.name, storage.engine.url)
        finally:
            lease.release()
        done = [each.replace("would evolve", "has evolved").replace("would be kept", "is kept") for each in would]
        assert said == done, "what was shown before is not what was done"
        return said

    return run


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RDBStorage]:
    """SQLite; PostgreSQL where a test asks for it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield open_storage(storage_url(f"sqlite:///{tmp_path}/studies.db"))
        return
    with own_server() as server:
        opened = open_storage(storage_url(server.get_uri()))
        yield opened
        close(opened)


def by_lr(record: StudyRecord) -> dict[object, Any]:
    return {
        trial.config["lr"]: (trial.state, trial.value, dict(trial.intermediate), dict(trial.history), trial.reason)
        for trial in record.trials
    }


@pytest.mark.parametrize("storage", few_of(["sqlite", "postgresql"], ["sqlite"]), indirect=True)
def test_a_narrowed_range_keeps_what_lies_in_it(run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage) -> None:
    _, before, _ = run_scripted(study())
    said = evolve(study(search_space=space(lr={"low": 0.05, "high": 0.5, "log": True})))
    after = load_record(storage, "test")
    inside = [trial for trial in before.trials if 0.05 <= float(trial.params["lr"]) <= 0.5]
    assert 0 < len(inside) < 8
    assert said[0] == (
        f"test has evolved: {len(inside)} finished trials carried over; {8 - len(inside)} left behind. "
        f"The study as it was is kept as test@1"
    )
    outside = [str(trial.number) for trial in before.trials if trial not in inside]
    assert said[1:] == [f"left behind: trial {', '.join(outside)}: lr must be between 0.05 and 0.5"]
    assert by_lr(after) == {key: value for key, value in by_lr(before).items() if 0.05 <= float(str(key)) <= 0.5}
    assert [trial.number for trial in after.trials] == list(range(len(inside)))
    assert by_lr(load_record(storage, "test@1")) == by_lr(before)
    for trial in after.study.trials:
        assert trial.distributions == {name: distribution(after.spec, name) for name in trial.params}


def test_the_budget_counts_what_was_carried_over_and_the_sampler_goes_on(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    run_scripted(study())
    wider = study(12, search_space=space(lr={"low": 0.001, "high": 2.0, "log": True}), sampler={"name": "tpe"})
    assert evolve(wider)[0].startswith("test has evolved: 8 finished trials carried over; 0 left behind")
    _, record, _ = run_scripted(wider)
    assert record.finished == len(record.trials) == 12
    assert record.study.trials[11].distributions["lr"] == record.study.trials[0].distributions["lr"]
    assert record.study.user_attrs[attributes.EVOLVED] == {"from": "test@1", "version": 1, "carried": 8, "left": 0}


def test_who_drew_a_trial_is_remembered_through_all_versions(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    run_scripted(study(2, sampler={"name": "tpe"}))
    wider = study(3, search_space=space(lr={"low": 0.001, "high": 2.0, "log": True}))
    for version in (study(3), wider):
        evolve(version)
    _, record, _ = run_scripted(wider)
    assert [trial.drawn_by for trial in record.trials] == ["tpe", "tpe", "random"]


@pytest.mark.parametrize("budget", [60, 70])
def test_a_study_that_was_stopped_tries_what_is_new(run_scripted: RunStudy, evolve: Evolve, budget: int) -> None:
    """The rule counts from zero: what was tried before says nothing of a space that is larger."""
    rule = {"stop": {"after_trials_without_gain": 4}}
    ending, before, _ = run_scripted(study(60, **rule))
    assert ending == "stopped"
    wider = study(budget, search_space=space(lr={"low": 0.001, "high": 2.0, "log": True}), **rule)
    evolve(wider)
    ending, after, _ = run_scripted(wider, stop_after=2)
    assert ending == "interrupted"
    ending, after, _ = run_scripted(wider)
    assert ending == "stopped"
    assert before.finished + 4 <= after.finished < budget


COULD_HAVE_BEEN_DRAWN: list[dict[str, Any]] = [
    {"search_space": space(dropout={"low": 0.0, "high": 0.5})},  # was at its default, 0
    {"train": {}, "search_space": space(epochs={"choices": [4, 8]})},  # was fixed
    {"search_space": space(optimizer={"choices": ["adamw", "rmsprop", "sgd"]})},
    {"search_space": space(lr={"low": 0.001, "high": 10.0})},  # not logarithmic any more
    {"search_space": space(lr={"low": 0.01, "high": 1.0, "log": True, "per": "batch_size"})},
    {"sampler": {"name": "tpe"}, "pruner": {"name": "median"}, "deterministic": 3},
    {"constraints": ["val_accuracy >= 0.1", "parameters <= 2000"]},
    {"start_from": [{"lr": 0.5}]},
]


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"train": {"epochs": 5}}, "epochs is 5 now"),
        ({"train": {"epochs": 4, "seed": 1}}, "seed is 1 now"),
        ({"search_space": space(dropout={"low": 0.1, "high": 0.5})}, "dropout must be between 0.1 and 0.5"),
        ({"train": {"epochs": 4, "lr": 0.3}, "search_space": space(lr=None)}, "lr is 0.3 now"),
        ({"train": {"epochs": 4, "optimizer": "rmsprop"}, "search_space": space(optimizer=None, momentum=None)},
         "optimizer is rmsprop now"),
        ({"train": {"epochs": 4, "batch_size": 64},
          "search_space": space(lr={"low": 0.01, "high": 1.0, "log": True, "per": "batch_size"})},
         "batch_size is 64 now"),
    ],
)  # fmt: skip
def test_what_could_not_have_been_drawn_stays_behind(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage, sections: dict[str, Any], reason: str
) -> None:
    run_scripted(study())
    said = evolve(study(**sections))
    assert "8 left behind" in said[0]
    assert said[1] == f"left behind: trial 0, 1, 2, 3, 4, 5, 6, 7: {reason}"
    assert load_record(storage, "test").trials == []


@pytest.mark.parametrize(
    "sections", few_of(COULD_HAVE_BEEN_DRAWN, [COULD_HAVE_BEEN_DRAWN[0], COULD_HAVE_BEEN_DRAWN[-1]])
)
def test_what_could_have_been_drawn_goes_over_whole(
    run_scripted: RunStudy, evolve: Evolve, sections: dict[str, Any]
) -> None:
    _, before, _ = run_scripted(study())
    changed = study(10, **sections)
    assert "8 finished trials carried over; 0 left behind" in evolve(changed)[0]
    _, after, _ = run_scripted(changed)
    assert after.finished == len(after.trials) == 10
    assert by_lr(after).items() >= by_lr(before).items()
    assert all(trial.feasible is not None for trial in after.trials)


def test_a_knob_that_became_fixed_keeps_the_trials_that_have_its_value(run_scripted: RunStudy, evolve: Evolve) -> None:
    _, before, _ = run_scripted(study())
    changed = study(train={"epochs": 4, "optimizer": "adamw"}, search_space=space(optimizer=None, momentum=None))
    adamw = [trial for trial in before.trials if trial.config["optimizer"] == "adamw"]
    assert 0 < len(adamw) < 8
    assert f"{len(adamw)} finished trials carried over" in evolve(changed)[0]


def test_constraints_are_judged_anew(run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage) -> None:
    _, before, _ = run_scripted(study())
    changed = study(constraints=["val_accuracy <= 0.1"], sampler={"name": "tpe"})
    evolve(changed)
    after = load_record(storage, "test")
    assert [trial.feasible for trial in after.trials] == [(trial.value or 0) <= 0.1 for trial in before.trials]
    assert {trial.feasible for trial in after.trials} == {True, False}
    evolve(study(sampler={"name": "tpe"}))
    assert load_record(storage, "test").best == load_record(storage, "test").ranked[0]
    assert {trial.feasible for trial in load_record(storage, "test").trials} == {True}
    assert study_names(storage) == ["test", "test@1", "test@2"]


def test_the_number_of_a_version_that_was_deleted_is_not_given_again(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    run_scripted(study(2))
    evolve(study(2, search_space=space(lr={"low": 0.001, "high": 1.0, "log": True})))
    optuna.delete_study(study_name="test@1", storage=storage)
    evolve(study(2, search_space=space(lr={"low": 0.001, "high": 2.0, "log": True})))
    assert study_names(storage) == ["test", "test@2"], "trials of test@2 say that they came from test@1"
    optuna.delete_study(study_name="test", storage=storage)
    run_scripted(study(2))
    evolve(study(2, search_space=space(lr={"low": 0.001, "high": 1.0, "log": True})))
    assert study_names(storage) == ["test", "test@2", "test@3"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"objective": {"metric": "val_loss"}}, "objective.metric: 'val_accuracy' -> 'val_loss': trials are ranked by"),
        ({"data": {"name": "digits", "val_size": 200}}, "data.val_size: added 200: values on other images"),
    ],
)
def test_other_objectives_and_data_are_refused_with_the_reason(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage, sections: dict[str, Any], message: str
) -> None:
    _, before, _ = run_scripted(study())
    with pytest.raises(UserError) as raised:
        evolve(study(**sections))
    assert message in str(raised.value)
    assert "Nothing was changed" in str(raised.value)
    assert by_lr(load_record(storage, "test")) == by_lr(before)
    assert study_names(storage) == ["test"]


def test_nothing_happens_where_nothing_differs(run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage) -> None:
    run_scripted(study())
    assert evolve(study(20)) == []  # the budget may always change
    assert study_names(storage) == ["test"]


def write_checkpoint(study: optuna.Study, number: int, content: bytes) -> None:
    checkpoints_of(study).mkdir(parents=True, exist_ok=True)
    (checkpoints_of(study) / checkpoint_name(number)).write_bytes(content)


def test_parked_trials_go_on_at_their_checkpoints(run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage) -> None:
    _, before, _ = run_scripted(study(), stop_after=10)  # trial 2 is parked after 2 epochs
    assert [trial.state for trial in before.trials] == ["COMPLETE", "COMPLETE", "WAITING"]
    for number in range(3):
        write_checkpoint(before.study, number, b"weights of %d" % number)
    lr = float(before.trials[0].params["lr"])
    changed = study(search_space=space(lr={"low": 0.01, "high": 1.0, "log": True}, dropout={"low": 0.0, "high": 0.1}))
    changed["search_space"]["lr"] = {"choices": [before.trials[1].params["lr"], before.trials[2].params["lr"]]}
    said = evolve(changed)
    assert "1 finished trial carried over, and 1 that had not ended; 1 left behind" in said[0]
    now = optuna.load_study(study_name="test", storage=storage)
    files = {file.name: file.read_bytes() for file in checkpoints_of(now).iterdir()}
    assert files == {"trial-000000.pt": b"weights of 1", "trial-000001.pt": b"weights of 2"}
    assert list(checkpoints_of(now).parent.parent.iterdir()) == [checkpoints_of(now).parent]
    assert lr not in changed["search_space"]["lr"]["choices"]
    _, after, _ = run_scripted(changed | {"budget": {"trials": 2}})
    assert [trial.number for trial in after.trials] == [0, 1]
    assert after.trials[1].resumed_from == [0]  # scripted executors keep their checkpoints elsewhere
    assert after.trials[1].config == before.trials[2].config
    assert dict(after.trials[1].intermediate).items() >= dict(before.trials[2].intermediate).items()


def test_enqueued_trials_and_known_configurations(run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage) -> None:
    plain = study(4, start_from=[{"optimizer": "adamw", "lr": 0.2}, {"lr": 0.7}])
    _, record, _ = run_scripted(plain)
    record.study.enqueue_trial({"lr": 0.3})
    record.study.enqueue_trial({"lr": 0.03})
    changed = study(
        9,
        search_space=space(lr={"low": 0.1, "high": 1.0, "log": True}),
        start_from=[{"lr": 0.9}, {"lr": 0.7}, {"optimizer": "adamw", "lr": 0.2}],
    )
    said = evolve(changed)
    assert any("it was enqueued, and lr = 0.03 is not between 0.1 and 1.0" in line for line in said)
    _, after, recorder = run_scripted(changed)
    assert after.finished == 9
    items = {trial.user_attrs[attributes.START_FROM]: trial.params["lr"]
             for trial in after.study.trials if attributes.START_FROM in trial.user_attrs}  # fmt: skip
    assert items == {0: 0.9, 1: 0.7, 2: 0.2}
    assert sorted(trial.params["lr"] for trial in after.study.trials).count(0.7) == 1
    assert [trial.source for trial in after.trials if trial.params["lr"] == 0.3] == ["enqueued"]
    assert not any("enqueued" in note for note in recorder.notes)


def test_openings_of_the_test_set_stay_on_the_record(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    _, before, _ = run_scripted(study())
    order = sorted(before.trials, key=lambda trial: float(trial.params["lr"]))
    write_opening(before.study, 0, OPENING.__class__(**OPENING.plain() | {"trial": order[0].number}))
    write_opening(before.study, 1, analysed_opening(trial=order[-1].number))
    file = {"trial": None, "chosen": "config", "source": "small.yaml"}
    write_opening(before.study, 2, OPENING.__class__(**OPENING.plain() | file))
    evolve(study(search_space=space(lr={"low": float(order[1].params["lr"]), "high": 1.0, "log": True})))
    after = load_record(storage, "test")
    lost, kept, other = read_openings(after.study.user_attrs)
    assert (lost.trial, lost.study, lost.tested) == (order[0].number, "test@1", f"{order[0].number} of test@1")
    assert (other.trial, other.study, other.tested) == (None, None, "small.yaml")
    assert kept.study is None
    assert kept.analysis == analysed_opening().analysis
    assert kept.trial is not None
    assert after.trials[kept.trial].params == order[-1].params
    assert after.elapsed_seconds == pytest.approx(sum(trial.seconds for trial in after.trials), abs=0.1)
    assert after.environment == before.environment


def test_a_pruners_rungs_stay_where_they_mean_the_same(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage
) -> None:
    def rungs(name: str) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in trial.system_attrs.items() if key.startswith("completed_rung")}
            for trial in optuna.load_study(study_name=name, storage=storage).trials
        ]

    asha = {"name": "asha", "reduction_factor": 2}
    run_scripted(study(pruner=asha))
    before = rungs("test")
    assert any(before)
    evolve(study(pruner=asha, sampler={"name": "tpe"}))
    assert rungs("test") == before
    evolve(study(pruner={"name": "asha", "min_resource": 2}))
    assert rungs("test") == [{}] * 8


def test_what_another_program_spoiled_is_left_behind(
    run_scripted: RunStudy, evolve: Evolve, storage: RDBStorage, data: PreparedData
) -> None:
    open_study(storage, spec_of(study(6)), data)
    foreign = optuna.load_study(study_name="test", storage=storage)
    foreign.add_trial(
        optuna.trial.create_trial(
            params={"optimizer": "magic"},
            distributions={"optimizer": optuna.distributions.CategoricalDistribution(["magic"])},
            value=0.99,
        )
    )
    with pytest.raises(CheckError, match=r"another program wrote trial 0 .*another kind of optimizer"):
        run_scripted(study(6))
    assert "1 left behind" in evolve(study(6))[0]
    _, record, _ = run_scripted(study(6))
    assert record.finished == len(record.trials) == 6


def test_other_images_are_refused(
    run_scripted: RunStudy, storage: RDBStorage, data: PreparedData, evolve: Evolve
) -> None:
    _, before, _ = run_scripted(study())
    before.study.set_user_attr(attributes.DATA, dict(before.data) | {"fingerprint": "other"})
    with pytest.raises(UserError, match="the images are not those"):
        evolve(study(sampler={"name": "tpe"}))
    assert study_names(storage) == ["test"]


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


def test_a_copy_that_was_not_finished_is_removed_and_said(storage: RDBStorage) -> None:
    optuna.create_study(study_name="test@evolving", storage=storage)
    assert study_names(storage) == []
    assert "killed while it carried trials over" in (finish_evolution(storage, "test", storage.engine.url) or "")
    assert optuna.get_all_study_names(storage) == []
    assert finish_evolution(storage, "test", storage.engine.url) is None
