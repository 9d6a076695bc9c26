"""Configurations of an earlier study come first, once, as if nobody had measured them, and without that study."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from sqlalchemy import text

from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import CheckError, DamagedError, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_markdown import summary_markdown
from cifar_tune.reports.trial_markdown import trial_markdown
from cifar_tune.storage import attributes
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.evolving import evolve_study, finish_evolution
from cifar_tune.study.finals import linked_spec
from cifar_tune.study.opening import open_study
from cifar_tune.study.race import RaceScript, plan_race
from cifar_tune.study.transfer import find_transfer, look_up_transfer
from tests.processes import call_cifar_tune

from .conftest import RunStudy, spec_of
from .enqueuing import die_while_enqueuing
from .scripted import Script

SPACE: dict[str, Any] = {
    "lr": {"low": 0.001, "high": 0.1, "log": True},
    "optimizer": {"choices": ["sgd", "adam"]},
}
CURVE = Script(lambda config, epoch: config.number("lr") * epoch)
"""The higher the rate, the better: 0.1 is the best."""


def study(name: str, trials: int = 6, **sections: Any) -> dict[str, Any]:
    plain = {"pruner": {"name": "none"}, "sampler": {"name": "random", "seed": 1}, "train": {"epochs": 2}}
    return {"name": name, "budget": {"trials": trials}, "search_space": SPACE, **plain, **sections}


def small(rates: list[float], **sections: Any) -> dict[str, Any]:
    known = [{"lr": rate, "optimizer": "sgd"} for rate in rates]
    return study("small", len(rates), start_from=known, **sections)


LARGE = study("large", train={"epochs": 2, "width": 16}, transfer_from={"study": "small", "configurations": 2})


def rates(record: StudyRecord, source: str = "transfer_from") -> list[object]:
    return [trial.config["lr"] for trial in record.trials if trial.source == source and trial.config]


def test_the_best_come_first_and_say_where_they_come_from(run_scripted: RunStudy, storage: BatchStorage) -> None:
    run_scripted(small([0.01, 0.05, 0.015, 0.02]), CURVE)
    _, record, _ = run_scripted(LARGE, CURVE)
    assert rates(record) == [0.05, 0.02]
    assert [trial.source for trial in record.trials] == ["transfer_from"] * 2 + ["sampler"] * 4
    assert [trial.config["width"] for trial in record.trials] == [16] * 6
    assert [trial.transferred_from for trial in record.trials[:3]] == [
        {"study": "small", "trial": 1}, {"study": "small", "trial": 3}, None,
    ]  # fmt: skip
    report = Report(record)
    assert "| 0 | trial 1 of `small` | COMPLETE | 10.0 % |" in summary_markdown(report, Path(), {})
    assert "2 of the trials did not come from the sampler: `transfer_from`" in summary_markdown(report, Path(), {})
    assert "trial 3 of `small`" in trial_markdown(record.trials[1], record.spec, "large")


def test_continuing_needs_the_earlier_study_no_more(run_scripted: RunStudy, storage: BatchStorage) -> None:
    run_scripted(small([0.01, 0.05, 0.02]), CURVE)
    ending, _, _ = run_scripted(LARGE, CURVE, stop_after=1)
    assert ending == "interrupted"
    optuna.delete_study(study_name="small", storage=storage)
    _, record, _ = run_scripted(LARGE, CURVE)
    assert rates(record) == [0.05, 0.02]
    assert record.finished == 6
    with pytest.raises(UserError, match="the storage has no study 'small'; it holds large"):
        run_scripted({**LARGE, "name": "other"}, CURVE)


@pytest.mark.parametrize("enqueued", range(3))
def test_killed_while_they_are_enqueued(
    run_scripted: RunStudy,
    storage: BatchStorage,
    data: PreparedData,
    monkeypatch: pytest.MonkeyPatch,
    enqueued: int,
) -> None:
    run_scripted(small([0.01, 0.05, 0.02]), CURVE)
    spec = spec_of(LARGE)
    die_while_enqueuing(monkeypatch, enqueued)
    if enqueued < 2:
        with pytest.raises(KeyboardInterrupt):
            open_study(storage, spec, data, find_transfer(storage, spec))
    else:
        open_study(storage, spec, data, find_transfer(storage, spec))
    monkeypatch.undo()
    optuna.delete_study(study_name="small", storage=storage)
    _, record, _ = run_scripted(LARGE, CURVE)
    assert rates(record) == [0.05, 0.02]


def test_what_another_run_has_stored_meanwhile_counts(
    run_scripted: RunStudy, storage: BatchStorage, data: PreparedData
) -> None:
    """Two runs look up the earlier study at the same time; the second one gets the lease after the first."""
    run_scripted(small([0.01, 0.05, 0.02]), CURVE)
    spec = spec_of(LARGE)
    first = find_transfer(storage, spec)
    optuna.delete_study(study_name="small", storage=storage)
    run_scripted(small([0.06, 0.03, 0.01]), CURVE)
    second = find_transfer(storage, spec)
    open_study(storage, spec, data, first)
    open_study(storage, spec, data, second)
    enqueued = load_record(storage, spec.name).study.trials
    assert [trial.system_attrs["fixed_params"]["lr"] for trial in enqueued] == [0.05, 0.02]


def test_the_sampler_never_sees_a_value_of_the_earlier_study(run_scripted: RunStudy, storage: BatchStorage) -> None:
    run_scripted(small([0.01, 0.05, 0.02]), CURVE)
    _, record, _ = run_scripted(LARGE, Script(lambda config, epoch: 0.001 * epoch))
    assert {value for trial in record.study.trials for value in trial.values} == {0.002}
    assert all(set(trial.intermediate_values.values()) == {0.001, 0.002} for trial in record.study.trials)


def test_only_completed_trials_that_keep_the_constraints_count(run_scripted: RunStudy) -> None:
    lasting = Script(CURVE.curve, {0: [(1, "diverged")]}, parameters=lambda config: int(1e6 * config.number("lr")))
    constraint = {"constraints": ["parameters <= 80000"]}
    run_scripted(small([0.06, 0.09, 0.03, 0.04], **constraint), lasting)
    _, record, _ = run_scripted(LARGE, CURVE)
    assert rates(record) == [0.04, 0.03]


def test_means_of_repeats_decide_and_are_trained_on_all_seeds_here(run_scripted: RunStudy) -> None:
    lucky = Script(lambda config, epoch: 0.07 if config["lr"] == 0.01 and config["seed"] == 0 else config.number("lr"))
    run_scripted(
        small([0.01, 0.05, 0.06], repeats={"seeds": 2, "stop_early": False}) | {"budget": {"trials": 6}}, lucky
    )
    sections: dict[str, Any] = {"repeats": {"seeds": 3, "stop_early": False}}
    _, record, _ = run_scripted(study("large", transfer_from="small", **sections) | {"budget": {"trials": 15}}, CURVE)
    assert rates(record) == [0.06, 0.05, 0.01]
    assert Counter(trial.config["lr"] for trial in record.trials) == {0.06: 3, 0.05: 3, 0.01: 3}
    assert record.spec.is_list
    assert record.ranked[0].config["lr"] == 0.06


def test_after_a_race_its_order_counts(run_scripted: RunStudy, storage: BatchStorage) -> None:
    _, record, _ = run_scripted(small([0.01, 0.02, 0.03, 0.04, 0.05]), CURVE)
    race = plan_race(record, 10, folds=0)
    params = [record.trials[number].params for number in race.candidates]
    spec = linked_spec(record, record.spec.data, "finals", race.planned)
    plain = spec.plain() | {"name": "finals"}
    turned = Script(lambda config, epoch: (0.5 if config["lr"] == 0.04 else 0.1) * epoch / 2)
    _, finals, _ = run_scripted(plain, turned, planned=RaceScript(race, params))
    finals.study.set_user_attr(attributes.LINKED, {**race.plain(), "identity": record.identity})
    with storage.engine.begin() as connection:  # only finalize gives a study such a name
        connection.execute(text("UPDATE studies SET study_name = 'small/finals' WHERE study_name = 'finals'"))
    found = find_transfer(storage, spec_of(LARGE | {"transfer_from": "small"}))
    assert found is not None
    assert [source.config["lr"] for source in found.sources] == [0.04, 0.05, 0.03, 0.02, 0.01]
    assert found.notes == ("transfer_from: small is ranked by its race of finalize",)
    with pytest.raises(UserError, match="belongs to the study small"):
        find_transfer(storage, spec_of(LARGE | {"transfer_from": "small/finals"}))


def test_the_front_of_the_same_objectives(run_scripted: RunStudy, storage: BatchStorage) -> None:
    objectives: dict[str, Any] = {"objective": [{"metric": "val_accuracy"}, {"metric": "parameters"}]}
    sized = Script(CURVE.curve, parameters=lambda config: int(1e6 * config.number("lr")))
    run_scripted(small([0.01, 0.02, 0.03, 0.04, 0.05], **objectives), sized)
    asked = {"study": "small", "configurations": 3}
    both = find_transfer(storage, spec_of(study("large", transfer_from=asked, **objectives)))
    assert both is not None
    assert [source.config["lr"] for source in both.sources] == [0.05, 0.03, 0.01]
    one = find_transfer(storage, spec_of(study("large", transfer_from=asked)))
    assert one is not None
    assert [source.config["lr"] for source in one.sources] == [0.05, 0.04, 0.03]


def test_what_is_said_of_the_earlier_study(run_scripted: RunStudy, storage: BatchStorage) -> None:
    run_scripted(small([0.01, 0.5 / 10, 0.02]) | {"budget": {"trials": 9}}, CURVE, stop_after=7)
    narrow = SPACE | {"lr": {"low": 0.015, "high": 0.04, "log": True}}
    best = {"metric": "best_val_accuracy"}
    found = find_transfer(storage, spec_of(study("large", search_space=narrow, objective=best, transfer_from="small")))
    assert found is not None
    assert list(found.lines(spec_of(study("large", search_space=narrow)))) == [
        "transfer_from: 3 configurations of small, the best first:",
        "  trial 1: lr 0.04, optimizer sgd; lr was 0.05 there (val_accuracy 0.1 there)",
        "  trial 2: lr 0.02, optimizer sgd (val_accuracy 0.04 there)",
        "  trial 0: lr 0.015, optimizer sgd; lr was 0.01 there (val_accuracy 0.02 there)",
    ]
    assert [note.removeprefix("transfer_from: small ") for note in found.notes] == [
        "is ranked by val_accuracy, its objective; that of this study is best_val_accuracy",
        "is not finished, 6 trials are left: it may find better ones later",
        "gives 3 configurations, fewer than the 5 that transfer_from asks for",
    ]


def test_what_is_refused(run_scripted: RunStudy, storage: BatchStorage, tmp_path: Path) -> None:
    run_scripted(small([0.01], objective={"metric": "val_loss"}), CURVE)
    with pytest.raises(
        UserError, match="its objective, val_loss, is there to minimize, and val_accuracy here to maxim"
    ):
        find_transfer(storage, spec_of(LARGE))
    with pytest.raises(UserError, match=r"no study 'smal'; it holds small \(did you mean 'small'\?\)"):
        find_transfer(storage, spec_of(LARGE | {"transfer_from": "smal"}))
    loss = {"objective": {"metric": "val_loss"}}
    fixed = {"search_space": {"dropout": {"low": 0.0, "high": 0.5}}, "train": {"optimizer": "adam"}}
    found = find_transfer(storage, spec_of(LARGE | loss | fixed))
    assert found is not None  # the default that it had
    with pytest.raises(UserError, match="nothing of it can be used here: trial 0 is left out: it names no knob"):
        find_transfer(storage, spec_of(LARGE | loss | {"search_space": {"seed": {"choices": [0, 1]}}}))
    run_scripted(study("hopeless", 1), Script(disasters={0: [(1, "diverged")]}))
    with pytest.raises(CheckError, match="transfer_from: the study 'hopeless' has no completed trial"):
        find_transfer(storage, spec_of(LARGE | {"transfer_from": "hopeless"}))
    storage.set_study_user_attr(storage.get_study_id_from_name("hopeless"), attributes.SPEC, None)
    with pytest.raises(UserError, match=r"transfer_from: .*'hopeless' was not made by cifar-tune"):
        find_transfer(storage, spec_of(LARGE | {"transfer_from": "hopeless"}))
    with storage.engine.begin() as connection:
        connection.execute(text("UPDATE trial_user_attributes SET value_json = '3' WHERE key = 'config'"))
    fresh = open_storage(storage.engine.url)
    with pytest.raises(DamagedError, match=r"transfer_from: .*small"):
        find_transfer(fresh, spec_of(LARGE | loss))
    close(fresh)
    nowhere = storage_url(f"sqlite:///{tmp_path}/nowhere.db")
    with pytest.raises(UserError, match="there is no storage yet"):
        look_up_transfer(nowhere, spec_of(LARGE))
    elsewhere = {"study": "small", "storage": str(nowhere)}
    with pytest.raises(UserError, match=r"transfer_from.storage = .*: there is no such file yet"):
        find_transfer(storage, spec_of(LARGE | {"transfer_from": elsewhere}))
    assert not (tmp_path / "nowhere.db").exists()


def test_from_another_storage(run_scripted: RunStudy, storage: BatchStorage, tmp_path: Path) -> None:
    run_scripted(small([0.02, 0.05]), CURVE)
    other = {"study": "small", "storage": str(storage.engine.url), "configurations": 1}
    spec = spec_of(study("small", transfer_from=other))  # of the same name, in another file
    found = look_up_transfer(storage_url(f"sqlite:///{tmp_path}/new.db"), spec)
    assert found is not None
    assert [source.trial for source in found.sources] == [1]


def test_a_grid_tries_them_first_and_every_combination_once(run_scripted: RunStudy) -> None:
    run_scripted(small([0.01, 0.02]), CURVE)
    space = {"lr": {"choices": [0.005, 0.01, 0.02]}, "optimizer": {"choices": ["sgd", "adam"]}}
    plain = study("large", 9, search_space=space, sampler={"name": "grid"}, transfer_from="small")
    ending, record, _ = run_scripted(plain, CURVE)
    assert ending == "exhausted"
    assert rates(record) == [0.02, 0.01]
    assert len({tuple(trial.params.values()) for trial in record.trials}) == len(record.trials) == 6


def evolved(storage: BatchStorage, data: PreparedData, plain: dict[str, Any]) -> None:
    spec = spec_of(plain)
    transfer = find_transfer(storage, spec)
    lease = acquire(storage.engine, spec.name)
    evolve_study(storage, spec, data, lease, lambda _: None)
    finish_evolution(storage, spec.name, storage.engine.url)
    lease.release()
    open_study(storage, spec, data, transfer)


def test_evolving_runs_none_of_them_twice(run_scripted: RunStudy, storage: BatchStorage, data: PreparedData) -> None:
    run_scripted(small([0.01, 0.05, 0.02]), CURVE)
    run_scripted(LARGE, CURVE, stop_after=2)  # the first one has ended, the second has not begun
    optuna.delete_study(study_name="small", storage=storage)
    wider = LARGE | {"search_space": SPACE | {"dropout": {"low": 0.0, "high": 0.5}}}
    evolved(storage, data, wider)
    _, record, _ = run_scripted(wider, CURVE)
    assert rates(record) == [0.05, 0.02]
    assert [trial.config["dropout"] for trial in record.trials[:2]] == [0.0, 0.0]
    assert record.finished == 6


def test_added_by_evolving_leaves_out_what_was_tried(
    run_scripted: RunStudy, storage: BatchStorage, data: PreparedData
) -> None:
    run_scripted(small([0.01, 0.05, 0.02]), CURVE)
    known = {"start_from": [{"lr": 0.05, "optimizer": "sgd"}]}
    before = {key: value for key, value in LARGE.items() if key != "transfer_from"} | known
    run_scripted(before | {"budget": {"trials": 2}}, CURVE)
    with pytest.raises(UserError, match=r"transfer_from.study: added 'small'"):
        run_scripted(LARGE, CURVE)
    evolved(storage, data, LARGE)
    _, record, _ = run_scripted(LARGE, CURVE)
    assert rates(record) == [0.02]
    assert [trial.config["lr"] for trial in record.trials].count(0.05) == 1
    evolved(storage, data, LARGE | {"transfer_from": {"study": "small", "configurations": 3}})
    assert rates(load_record(storage, "large")) == [0.02]  # one more waits, which has no configuration yet
    assert load_record(storage, "large").counts["WAITING"] == 1


def test_check_lists_them_and_a_wrong_name_is_told_with_its_line(run_scripted: RunStudy, tmp_path: Path) -> None:
    run_scripted(small([0.01, 0.05, 0.02]), CURVE)
    file = tmp_path / "large.yaml"
    plain = LARGE | {"data": {"name": "digits"}, "train": {"model": "tutorial_net", "epochs": 2}}

    def checked(asked: object) -> tuple[int, str, str]:
        file.write_text(yaml.safe_dump(plain | {"transfer_from": asked}, sort_keys=False))
        return call_cifar_tune(("check", "large.yaml", "--devices", "cpu"), tmp_path, os.environ)

    code, out, _ = checked({"study": "small", "configurations": 2})
    assert code == 0
    lines = out.splitlines()
    begin = lines.index("# transfer_from: 2 configurations of small, the best first:")
    assert lines[begin + 1 : begin + 3] == [
        "#   trial 1: lr 0.05, optimizer sgd (val_accuracy 0.1 there)",
        "#   trial 2: lr 0.02, optimizer sgd (val_accuracy 0.04 there)",
    ]
    code, _, err = checked("smal")
    assert code == 2
    line = file.read_text().splitlines().index("transfer_from: smal") + 1
    assert f"large.yaml:{line}: transfer_from: the storage has no study 'smal'" in err
