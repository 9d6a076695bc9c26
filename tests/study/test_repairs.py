"""Whatever another tool left behind, the next run repairs it and says so, or refuses with a reason."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialSystemAttributeModel, TrialValueModel
from optuna.trial import TrialState, create_trial
from sqlalchemy import delete, update

from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import UserError
from cifar_tune.reports.export import export
from cifar_tune.storage import attributes
from cifar_tune.storage.records import load_record
from cifar_tune.study import asking
from cifar_tune.study.opening import open_study, stored_study
from tests.exhaustive import few_of

from .conftest import RunStudy, spec_of
from .scripted import Script, ScriptedExecutors
from .three_knobs import EPOCHS, LR, OPTIMIZER, PLAIN


@pytest.fixture
def foreign(storage: RDBStorage, data: PreparedData) -> optuna.Study:
    """Our study, as another program opens it."""
    open_study(storage, spec_of(PLAIN), data)
    return optuna.load_study(study_name="test", storage=storage)


def test_a_trial_left_running_by_plain_optuna_begins_again_here(foreign: optuna.Study, run_scripted: RunStudy) -> None:
    lr = foreign.ask({"lr": LR}).params["lr"]
    foreign.ask()
    ending, record, recorder = run_scripted(PLAIN)
    assert (ending, dict(record.counts)) == ("budget", {"COMPLETE": 6})
    assert record.trials[0].params["lr"] == lr
    assert "trial 0, 1 was left running by another program: it begins again here" in recorder.notes


@pytest.mark.parametrize("is_noted", [False, True], ids=["before the rung", "after it"])
@pytest.mark.parametrize("deterministic", [{}, {"deterministic": 2}], ids=["", "deterministic"])
def test_killed_after_a_verdict_the_rung_is_noted_once(
    run_scripted: RunStudy, storage: RDBStorage, deterministic: dict[str, Any], is_noted: bool
) -> None:
    """What a trial had reached there decides about those that follow."""
    plain = PLAIN | {"pruner": {"name": "asha"}, "train": {"epochs": 9}, "budget": {"trials": 12}} | deterministic
    plain |= {"search_space": {"lr": PLAIN["search_space"]["lr"]}}
    _, record, _ = run_scripted(plain)
    before = [dict(trial.system_attrs) for trial in record.study.trials]
    pruned = [trial for trial in record.study.trials if trial.state == TrialState.PRUNED]
    assert len(pruned) > 3
    with storage.engine.begin() as connection:
        for trial in pruned:
            rung = f"completed_rung_{sum(key.startswith('completed_rung') for key in trial.system_attrs) - 1}"
            of_trial = TrialSystemAttributeModel.trial_id == trial._trial_id
            if not is_noted:
                gone = of_trial & (TrialSystemAttributeModel.key == rung)
                assert connection.execute(delete(TrialSystemAttributeModel).where(gone)).rowcount == 1
            end = update(TrialModel).where(TrialModel.trial_id == trial._trial_id)
            connection.execute(end.values(state=TrialState.RUNNING, datetime_complete=None))
            connection.execute(delete(TrialValueModel).where(TrialValueModel.trial_id == trial._trial_id))
    _, record, _ = run_scripted(plain)
    assert [dict(trial.system_attrs) for trial in record.study.trials] == before
    assert {trial.state for trial in record.study.trials} == {TrialState.PRUNED, TrialState.COMPLETE}


def test_a_rung_that_was_noted_is_not_followed_by_the_next(run_scripted: RunStudy, storage: RDBStorage) -> None:
    """One that went on from its checkpoint may have passed several before the pruner was asked again."""
    plain = PLAIN | {"pruner": {"name": "asha", "reduction_factor": 2}, "train": {"epochs": 9}}
    plain |= {"search_space": {"lr": PLAIN["search_space"]["lr"]}, "budget": {"trials": 1}}
    _, record, _ = run_scripted(plain, stop_after=6)
    trial = record.study.trials[0]
    of_trial = TrialSystemAttributeModel.trial_id == trial._trial_id
    with storage.engine.begin() as connection:
        connection.execute(delete(TrialSystemAttributeModel).where(of_trial))
    last = trial.intermediate_values[max(trial.intermediate_values)]
    storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    storage.set_trial_system_attr(trial._trial_id, "completed_rung_0", last)
    storage.set_trial_user_attr(trial._trial_id, attributes.PRUNED_AT, max(trial.intermediate_values))
    _, record, _ = run_scripted(plain)
    (trial,) = record.study.trials
    assert (trial.state, trial.system_attrs) == (TrialState.PRUNED, {"completed_rung_0": last})


def test_a_trial_whose_parameters_cannot_be_drawn_does_not_run_for_good(
    run_scripted: RunStudy, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    run_scripted(PLAIN, stop_after=3)
    with monkeypatch.context() as patch:
        patch.setattr(asking, "_suggest", broken)
        with pytest.raises(ZeroDivisionError):
            run_scripted(PLAIN)
    assert load_record(storage, "test").counts["RUNNING"] == 0
    _, record, recorder = run_scripted(PLAIN)
    assert dict(record.counts) == {"COMPLETE": 6}
    assert not any("another program" in note for note in recorder.notes)


@pytest.mark.parametrize(
    ("distributions", "reason"),
    [
        ({"learning_rate": LR}, "learning_rate is not searched in this study"),
        ({"lr": FloatDistribution(10.0, 20.0, log=True)}, r"lr = 1\d\..* is not between 0.01 and 1.0"),
        ({"epochs": IntDistribution(3, 3)}, "epochs = 3 is not 2 or a whole number of steps of 2 above"),
    ],
)
def test_one_that_could_not_have_been_drawn_fails(
    foreign: optuna.Study, run_scripted: RunStudy, distributions: dict[str, Any], reason: str
) -> None:
    foreign.ask(distributions)
    ending, record, recorder = run_scripted(PLAIN)
    assert (ending, dict(record.counts)) == ("budget", {"COMPLETE": 5, "FAIL": 1})
    assert any(note.startswith("trial 0 was enqueued, or begun by another program, but") for note in recorder.notes)
    assert re.search(reason, record.trials[0].error or "")


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"learning_rate": 0.1}, "learning_rate is not searched in this study"),
        ({"lr": 5.0}, "lr = 5.0 is not between 0.01 and 1.0"),
        ({"lr": float("nan")}, "lr = nan is not between"),
        ({"lr": float("inf")}, "lr = inf is not between"),
        ({"lr": "0.1"}, "lr = '0.1' is not a number"),
        ({"lr": True}, "lr = True is not a number"),
        ({"lr": None}, "lr = None is not a number"),
        ({"lr": [0.1]}, r"lr = \[0.1\] is not a number"),
        ({"optimizer": "lion"}, "optimizer = 'lion' is none of sgd, adamw"),
        ({"optimizer": ["sgd"]}, r"optimizer = \['sgd'\] is none of"),
        ({"optimizer": {"a": 1}}, "optimizer = {'a': 1} is none of"),
        ({"epochs": 3}, "epochs = 3 is not 2 or a whole number of steps of 2 above"),
        ({"epochs": 4.5}, "epochs = 4.5 is not 2 or a whole number"),
        ({"epochs": 10**30}, "is not between 2 and 6"),
    ],
)
def test_what_was_enqueued_and_cannot_run_fails_with_its_reason(
    foreign: optuna.Study, run_scripted: RunStudy, params: dict[str, Any], reason: str
) -> None:
    foreign.enqueue_trial(params)
    ending, record, _ = run_scripted(PLAIN)
    assert (ending, dict(record.counts)) == ("budget", {"COMPLETE": 5, "FAIL": 1})
    assert record.trials[0].error is not None
    assert re.search(reason, record.trials[0].error)


def test_what_was_enqueued_and_can_run_runs(foreign: optuna.Study, run_scripted: RunStudy) -> None:
    foreign.enqueue_trial({"lr": 1, "epochs": 4.0})
    foreign.enqueue_trial({})
    foreign.add_trial(create_trial(state=TrialState.WAITING))
    _, record, _ = run_scripted(PLAIN)
    assert dict(record.counts) == {"COMPLETE": 6}
    assert (record.trials[0].config["lr"], record.trials[0].config["epochs"]) == (1.0, 4)


def finished(state: TrialState, value: float | None) -> optuna.trial.FrozenTrial:
    params = {"lr": 0.5, "optimizer": "sgd", "epochs": 4}
    distributions = {"lr": LR, "optimizer": OPTIMIZER, "epochs": EPOCHS}
    return create_trial(state=state, value=value, params=params, distributions=distributions)


@pytest.mark.parametrize("sampler", few_of(["random", "tpe", "gp", "grid"], ["tpe", "grid"]))
@pytest.mark.usefixtures("blank_pictures")
def test_trials_finished_by_another_program_count_but_are_never_the_best(
    storage: RDBStorage, data: PreparedData, run_scripted: RunStudy, tmp_path: Path, sampler: str
) -> None:
    space = PLAIN["search_space"] | ({"lr": {"choices": [0.1, 0.5, 1.0]}} if sampler == "grid" else {})
    plain = PLAIN | {"sampler": {"name": sampler}, "search_space": space}
    open_study(storage, spec_of(plain), data)
    foreign = optuna.load_study(study_name="test", storage=storage)
    if sampler == "grid":
        foreign.add_trial(create_trial(value=0.999))
    else:
        foreign.add_trial(finished(TrialState.COMPLETE, 0.999))
        foreign.add_trial(finished(TrialState.PRUNED, None))
        foreign.add_trial(finished(TrialState.FAIL, None))
    before = len(foreign.trials)
    ending, record, recorder = run_scripted(plain)
    assert (ending, record.finished) == ("budget", 6)
    assert any("another program finished trial 0" in note for note in recorder.notes)
    assert record.best is not None
    assert record.best.number >= before
    assert recorder.ends[-1].best_number == record.best.number
    assert export(load_record(storage, "test"), tmp_path / "report")
    assert (tmp_path / "report" / "best.yaml").exists()


def test_a_grid_tries_all_beside_trials_that_it_did_not_draw(foreign: optuna.Study, run_scripted: RunStudy) -> None:
    space = {"optimizer": PLAIN["search_space"]["optimizer"], "epochs": PLAIN["search_space"]["epochs"]}
    plain = PLAIN | {"name": "grid", "sampler": {"name": "grid"}, "search_space": space, "budget": {"trials": 50}}
    run_scripted(plain | {"budget": {"trials": 2}})
    other = optuna.load_study(study_name="grid", storage=foreign._storage)
    other.enqueue_trial({"epochs": 77})
    other.add_trial(create_trial(value=0.5))
    ending, record, recorder = run_scripted(plain)
    assert (ending, len(record.trials)) == ("exhausted", 6 + 2)
    assert (recorder.ends[-1].finished, recorder.ends[-1].most) == (8, 8)
    ours = [tuple(sorted(trial.params.items())) for trial in record.trials if trial.config]
    assert len(set(ours)) == len(ours) == 6


def of_another_tool(study: optuna.Study) -> None:
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)


@pytest.mark.parametrize(
    "make",
    [
        of_another_tool,
        lambda study: study.set_user_attr("project", "theirs"),
        lambda study: study.set_user_attr("spec", "something else"),
        lambda study: study.set_user_attr("spec", {"name": 5, "budget": []}),
    ],
)
def test_a_study_of_another_tool_is_refused_and_stays(
    storage: RDBStorage, data: PreparedData, make: Callable[[optuna.Study], None]
) -> None:
    study = optuna.create_study(study_name="test", storage=storage)
    make(study)
    for use in (stored_study, lambda storage, spec: open_study(storage, spec, data)):
        with pytest.raises(UserError) as raised:
            use(storage, spec_of(PLAIN))
        assert "study 'test'" in str(raised.value)
    assert optuna.load_study(study_name="test", storage=storage).user_attrs == study.user_attrs


def test_an_empty_study_that_its_creator_left_is_taken(
    storage: RDBStorage, data: PreparedData, run_scripted: RunStudy
) -> None:
    optuna.create_study(study_name="test", storage=storage, direction="minimize")
    _, record, _ = run_scripted(PLAIN)
    assert (record.finished, record.study.direction.name) == (6, "MAXIMIZE")


def test_a_trial_whose_checkpoint_is_gone_begins_again_and_says_so(run_scripted: RunStudy) -> None:
    plain = {"budget": {"trials": 1}, "train": {"epochs": 4}, "search_space": {"lr": {"low": 0.1, "high": 0.9}}}
    run_scripted(plain, executors=ScriptedExecutors(Script()), stop_after=2)
    ending, record, recorder = run_scripted(plain, executors=ScriptedExecutors(Script(), checkpoints={}))
    assert ending == "budget"
    assert [trial.epochs for trial in record.trials] == [4]
    assert "trial 0: begins again, since there is no checkpoint of its 2 epochs" in recorder.notes


@pytest.mark.usefixtures("blank_pictures")
def test_a_trial_of_ours_that_another_program_tells_is_never_the_best(
    storage: RDBStorage, data: PreparedData, run_scripted: RunStudy, tmp_path: Path
) -> None:
    """It carries everything of ours but the end: what it was told while nobody ran the study."""
    _, before, _ = run_scripted(PLAIN, stop_after=3)
    (parked,) = before.study.get_trials(states=(TrialState.WAITING,))
    assert attributes.CONFIG in parked.user_attrs
    storage.set_trial_state_values(parked._trial_id, TrialState.RUNNING)
    optuna.load_study(study_name="test", storage=storage).tell(parked.number, 0.999)
    ending, record, recorder = run_scripted(PLAIN)
    assert (ending, record.finished) == ("budget", 6)
    assert record.trials[parked.number].value == 0.999
    assert record.best is not None
    assert record.best.number != parked.number
    assert recorder.ends[-1].best_number == record.best.number
    assert parked.number not in [trial.number for trial in record.completed]
    assert any(f"another program finished trial {parked.number}: counted" in note for note in recorder.notes)
    export(record, tmp_path / "report")
    assert "0.999" not in (tmp_path / "report" / "best.yaml").read_text()
