"""`run --evolve`: what fits goes over, and what does not stays behind with its reason."""

from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import CheckError, UserError
from cifar_tune.storage import attributes
from cifar_tune.storage.records import load_record
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.study.asking import distribution
from cifar_tune.study.opening import open_study
from tests.exhaustive import few_of

from .conftest import RunStudy, spec_of
from .evolution import Evolve, by_lr, space, study


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
