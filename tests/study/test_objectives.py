"""Several objectives and constraints, from asking to telling, undisturbed and disturbed."""

import warnings
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from cifar_tune.executors.messages import Job
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.study.checkpoints import checkpoints_of, numbers_in
from cifar_tune.study_spec.samplers import SAMPLERS
from tests.exhaustive import few_of

from .conftest import RunStudy
from .scripted import Script, ScriptedExecutors

WIDTHS = [4, 8, 16, 32, 64]
STUDY: dict[str, Any] = {
    "objective": [{"metric": "val_accuracy"}, {"metric": "parameters"}],
    "budget": {"trials": 12},
    "train": {"epochs": 3, "model": "cnn3"},
    "search_space": {"width": {"choices": WIDTHS}, "lr": {"low": 0.1, "high": 0.9, "step": 0.1}},
}
SMALL = {"constraints": ["parameters <= 3000"]}


def parameters(config: Configuration) -> int:
    return 100 * config.integer("width")


def curve(config: Configuration, epoch: int) -> float:
    """The more epochs, the nearer lr to 0.5, and the wider, the better."""
    return (1 - abs(config.number("lr") - 0.5)) * epoch / 3 * (0.5 + config.integer("width") / 128)


def script(**disasters: list[tuple[int, str]]) -> Script:
    return Script(curve, {int(name[1:]): what for name, what in disasters.items()}, parameters)


def facts(record: StudyRecord) -> list[object]:
    return [
        (trial.number, trial.state, dict(trial.params), tuple(trial.values), trial.feasible, trial.reason)
        for trial in record.trials
    ]


def dominates(one: Any, other: Any) -> bool:
    return bool(one != other and one[0] >= other[0] and one[1] <= other[1])


def test_values_directions_and_names_are_told(run_scripted: RunStudy) -> None:
    ending, record, recorder = run_scripted(STUDY, script())
    assert (ending, record.finished, dict(record.counts)) == ("budget", 12, {"COMPLETE": 12})
    assert [direction.name for direction in record.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert record.study.metric_names == ["val_accuracy", "parameters"]
    for trial, stored in zip(record.trials, record.study.trials, strict=True):
        assert trial.values == tuple(stored.values)
        assert trial.values[0] == pytest.approx(trial.history["val_accuracy"][-1])
        assert trial.values[1] == trial.parameters
        assert stored.user_attrs["flops"] == trial.flops == 50_000
        assert not stored.intermediate_values
    values = [trial.values for trial in record.trials]
    front = [trial.number for trial in record.front]
    assert sorted(front) == [
        number
        for number, each in enumerate(values)
        if not any(dominates(other, each) for other in values) and not record.trials[number].is_repetition
    ]
    optimal = {trial.number for trial in record.study.best_trials}
    assert sorted(front) == sorted(number for number in optimal if not record.trials[number].is_repetition)
    assert record.best is record.front[0]
    assert record.best.value == max(value[0] for value in values)
    last = recorder.ends[-1]
    assert sorted(last.front) == sorted(front)
    assert last.figures == {"val_accuracy": record.trials[-1].values[0], "parameters": record.trials[-1].values[1]}


def test_three_objectives(run_scripted: RunStudy) -> None:
    metrics = ["val_loss", "flops", "seconds_per_epoch"]
    _, record, _ = run_scripted(STUDY | {"objective": [{"metric": each} for each in metrics]}, script())
    assert [trial.values[1:] for trial in record.trials] == [(50_000, 1.0)] * 12
    assert record.best is not None
    assert record.best.value == min(trial.value or 9 for trial in record.trials)


@pytest.mark.parametrize("sampler", few_of(sorted(set(SAMPLERS) - {"cmaes"}), ["nsgaii", "tpe"]))
@pytest.mark.parametrize("constraints", [[], ["parameters <= 3000", "val_accuracy >= 0.3"]], ids=["free", "bound"])
def test_every_sampler_gets_along(run_scripted: RunStudy, sampler: str, constraints: list[str]) -> None:
    plain = STUDY | {"sampler": {"name": sampler}, "constraints": constraints, "budget": {"trials": 16}}
    if sampler in ("gp", "tpe"):
        plain["sampler"]["n_startup_trials"] = 13 if sampler == "gp" else 4  # gp takes long for each of the others
    if sampler.startswith("nsga"):
        plain["sampler"]["population_size"] = 4
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        ending, record, _ = run_scripted(plain, script(t2=[(1, "diverged")], t5=[(0, "out_of_memory")]))
    assert (ending, record.finished, len(record.trials)) == ("budget", 16, 16)
    assert all(trial.feasible for trial in record.front)
    if constraints:
        assert {"PRUNED"} == {t.state for t in record.trials if t.reason in ("infeasible", "diverged", "out_of_memory")}
        for trial in record.trials:
            keeps = trial.state == "COMPLETE" and trial.values[0] >= 0.3 and trial.values[1] <= 3000
            assert trial.feasible == keeps


def test_a_grid_ends_when_all_is_tried(run_scripted: RunStudy) -> None:
    plain = STUDY | SMALL | {"sampler": {"name": "grid"}, "budget": {"trials": 100}}
    ending, record, _ = run_scripted(plain, script())
    assert (ending, dict(record.counts)) == ("exhausted", {"COMPLETE": 27, "PRUNED": 18})


def test_a_model_that_breaks_a_constraint_is_not_trained(run_scripted: RunStudy) -> None:
    executors = ScriptedExecutors(script())
    _, record, recorder = run_scripted(STUDY | SMALL | {"sampler": {"name": "random"}}, executors=executors)
    large = [trial for trial in record.trials if trial.params["width"] in (32, 64)]
    assert large
    for trial in large:
        assert (trial.state, trial.reason, trial.epochs, trial.feasible) == ("PRUNED", "infeasible", 0, False)
        assert executors.checkpoints[trial.number] == []
        assert trial.metrics == {"parameters": trial.parameters}
    assert {trial.state for trial in record.trials if trial not in large} == {"COMPLETE"}
    assert record.finished == len(record.trials) == len(recorder.ends) == 12


@pytest.mark.parametrize("sampler", ["gp", "nsgaii", "nsgaiii"])
def test_it_is_trained_where_only_completed_trials_teach(run_scripted: RunStudy, sampler: str) -> None:
    _, record, _ = run_scripted(STUDY | SMALL | {"sampler": {"name": sampler}}, script())
    assert dict(record.counts) == {"COMPLETE": 12}
    assert {trial.feasible for trial in record.trials} == {True, False}
    for trial, stored in zip(record.trials, record.study.trials, strict=True):
        assert stored.constraints["parameters <= 3000"] == pytest.approx((trial.values[1] - 3000) / 3000)


def test_the_dashboard_finds_the_violations(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(STUDY | {"constraints": ["parameters <= 3000", "val_accuracy >= 0.3"]}, script())
    for trial in record.study.trials:
        named = [value for name, value in trial.constraints.items() if "=" in name]
        assert trial.system_attrs["constraints"] == named


@pytest.mark.parametrize(("sampler", "trials"), few_of([("tpe", 50), ("nsgaii", 50), ("gp", 17)], [("tpe", 50)]))
def test_later_suggestions_keep_the_constraint(run_scripted: RunStudy, sampler: str, trials: int) -> None:
    """Two thirds of the space are forbidden, and the wider, the better: without the constraint all end there."""
    options = {"tpe": {"n_startup_trials": 10}, "nsgaii": {"population_size": 10}, "gp": {"n_startup_trials": 10}}
    plain: dict[str, Any] = {
        "sampler": {"name": sampler, "seed": 1, **options[sampler]},
        "pruner": {"name": "none"},
        "constraints": ["parameters <= 2000"],
        "budget": {"trials": trials},
        "train": {"epochs": 1, "model": "cnn3"},
        "search_space": {"width": {"low": 1, "high": 60}, "lr": {"low": 0.1, "high": 0.9}},
    }
    _, record, _ = run_scripted(plain, script())
    allowed = [float(trial.params["width"]) <= 20 for trial in record.trials]
    assert sum(allowed[:10]) <= 5
    taught = allowed[10:][-20:]
    assert sum(taught) >= 0.6 * len(taught)
    assert record.best is not None
    assert float(record.best.params["width"]) in range(16, 21)


def test_the_best_keeps_the_constraints(run_scripted: RunStudy) -> None:
    plain = STUDY | {"objective": {"metric": "val_accuracy"}, "constraints": ["val_accuracy <= 0.4"]}
    _, record, recorder = run_scripted(plain | {"pruner": {"name": "none"}}, script())
    assert record.best is not None
    values = [trial.value or 0 for trial in record.trials]
    assert record.best.value == max(value for value in values if value <= 0.4) < max(values)
    assert recorder.ends[-1].best_number == record.best.number
    assert {end.number for end in recorder.ends if end.feasible} == {n for n, v in enumerate(values) if v <= 0.4}


def test_nothing_feasible_is_no_best(run_scripted: RunStudy) -> None:
    plain = STUDY | {"objective": {"metric": "val_accuracy"}, "constraints": ["val_accuracy >= 1"]}
    _, record, recorder = run_scripted(plain | {"pruner": {"name": "none"}}, script())
    assert record.counts["COMPLETE"] == 12
    assert (record.best, record.front, recorder.ends[-1].best_number) == (None, [], None)


def test_checkpoints_of_the_front_are_kept(run_scripted: RunStudy) -> None:
    executors = ScriptedExecutors(script())
    submit = executors.submit

    def submit_and_save(job: Job) -> None:
        job.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        job.checkpoint.touch()
        submit(job)

    executors.submit = submit_and_save  # type: ignore[method-assign]
    _, record, _ = run_scripted(STUDY | SMALL | {"budget": {"trials": 20}}, executors=executors)
    left = set(numbers_in(checkpoints_of(record.study)))
    assert left == {trial.number for trial in record.front}
    assert len(left) > 1


@pytest.mark.parametrize(
    "sections", few_of([{}, SMALL, SMALL | {"sampler": {"name": "random"}}], [SMALL]), ids=["free", "tpe", "random"]
)
def test_interrupted_after_every_epoch_ends_like_undisturbed(
    run_scripted: RunStudy, storage: RDBStorage, sections: dict[str, Any]
) -> None:
    plain = STUDY | sections
    disasters = {"t1": [(1, "diverged")], "t3": [(2, "out_of_memory")]}
    _, undisturbed, _ = run_scripted(plain, script(**disasters))
    wanted = facts(undisturbed)
    optuna.delete_study(study_name="test", storage=storage)
    disk: dict[int, Any] = {}
    ending, runs = "interrupted", 0
    while ending == "interrupted":
        disasters = {"t1": [(1, "diverged")], "t3": [(2, "out_of_memory")]}
        executors = ScriptedExecutors(script(**disasters), checkpoints=disk)
        ending, record, _ = run_scripted(plain, executors=executors, stop_after=2)
        assert not record.counts["RUNNING"]
        runs += 1
    assert runs > 5
    assert facts(record) == wanted


def test_a_parked_trial_shows_how_far_it_came(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(STUDY, script(), stop_after=2)
    trial = record.trials[0]
    assert (trial.state, trial.epochs, trial.values) == ("WAITING", 2, ())
    assert trial.intermediate == dict(enumerate(trial.history["val_accuracy"], start=1))
    assert trial.feasible


def test_diverged_and_dead_trials_of_several_objectives(run_scripted: RunStudy) -> None:
    happened = script(
        t1=[(2, "diverged")], t2=[(0, "out_of_memory")], t3=[(1, "error")], t4=[(1, "died"), (2, "died")],
        t5=[(2, "died")] * 4,
    )  # fmt: skip
    _, record, _ = run_scripted(STUDY | {"constraints": ["val_accuracy >= 0.01"]}, happened)
    assert dict(record.counts) == {"COMPLETE": 8, "PRUNED": 2, "FAIL": 2}
    diverged, starved, failed, orphaned = record.trials[1:5]
    assert diverged.values == (diverged.history["val_accuracy"][1], diverged.parameters)
    assert diverged.feasible
    assert (starved.values, starved.feasible, failed.values) == ((), False, ())
    assert record.study.trials[2].constraints["val_accuracy >= 0.01"] == 1
    assert (orphaned.state, list(orphaned.resumed_from)) == ("COMPLETE", [1, 2])
    assert record.finished == len(record.trials) == 12


def test_a_killed_run_leaves_nothing_unjudged(run_scripted: RunStudy, storage: RDBStorage) -> None:
    """Killed between the pruner's verdict and the end of the trial: its figures were written down before."""
    plain = STUDY | {"objective": {"metric": "val_accuracy"}, "constraints": ["val_accuracy >= 0.01", "flops <= 60000"]}
    _, record, _ = run_scripted(plain, script(), stop_after=2)
    trial_id = record.study.trials[0]._trial_id
    storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    storage.set_trial_user_attr(trial_id, "pruned_at", 2)
    _, record, _ = run_scripted(plain, script())
    trial = record.trials[0]
    assert (trial.state, trial.reason, trial.feasible) == ("PRUNED", "pruned", True)
    assert set(record.study.trials[0].constraints) >= {"val_accuracy >= 0.01", "flops <= 60000"}
    assert record.finished == len(record.trials) == 12


@pytest.mark.parametrize("constraints_written", [0, 1])
def test_an_infeasible_trial_that_was_not_told_is_told_by_the_next_run(
    run_scripted: RunStudy, storage: RDBStorage, constraints_written: int
) -> None:
    """The run was killed while the end of the last trial was being written."""
    plain = STUDY | SMALL | {"sampler": {"name": "random"}}
    _, wanted, _ = run_scripted(plain, script())
    number = next(trial.number for trial in wanted.trials[1:] if trial.feasible is False)
    half_written = wanted.study.trials[number]
    optuna.delete_study(study_name="test", storage=storage)
    run_scripted(plain | {"budget": {"trials": number}}, script())
    half_written.state, half_written.values, half_written.datetime_complete = TrialState.RUNNING, None, None
    kept = [key for key in half_written.system_attrs if key.startswith("constraints:")][:constraints_written]
    half_written.system_attrs = {key: half_written.system_attrs[key] for key in kept}
    storage.create_new_trial(storage.get_study_id_from_name("test"), half_written)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Optuna's, where a constraint is set a second time
        _, record, _ = run_scripted(plain, script())
    assert facts(record) == facts(wanted)


def test_parameters_alone_are_senseless_but_legal(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(STUDY | {"objective": {"metric": "parameters"}}, script())
    assert dict(record.counts) == {"COMPLETE": 12}
    assert record.best is not None
    assert record.best.value == min(trial.parameters or 0 for trial in record.trials)


def test_what_is_stored_is_read_again(run_scripted: RunStudy, storage: RDBStorage) -> None:
    plain = STUDY | {"constraints": ["flops <= 6e4"]}
    _, record, _ = run_scripted(plain, script())
    assert load_record(storage, "test").spec == record.spec
    ending, record, _ = run_scripted(plain | {"budget": {"trials": 14}}, script())
    assert (ending, record.finished) == ("budget", 14)
