"""What lies in the tables of Optuna, and that queries of our own read and write it as Optuna does."""

import importlib
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cifar_tune.errors import DamagedError

from .modules import SPACE, asked, counts, database, ended, internals, questions, rows, storage_module, studies, tables


def studies_as_rows(folder: Path) -> None:
    """Studies that are made of the rows of the tables are those that Optuna reads by its models."""
    storage = database(folder)
    several = optuna.create_study(
        storage=storage, study_name="several", directions=["minimize", "maximize", "minimize"]
    )
    one = asked(storage)[0]
    for study in (several, one):
        study.set_user_attr("of people", {"key": [1, None, "ü"]})
        storage.set_study_system_attr(internals().study_id(study), "of the system", True)
    optuna.create_study(storage=storage, study_name="bare")
    stored = studies().stored_studies(storage.engine)
    assert isinstance(stored, studies().StoredStudies)
    rows = stored.rows({each for each, _ in stored.names})
    assert all(isinstance(each, studies().StudyRows) for each in rows.values())
    assert [internals().frozen_study(*each) for each in rows.items()] == storage.get_all_studies()
    prints = [studies().print_of_studies(storage.engine)]
    assert studies().print_of_studies(storage.engine) == prints[0]
    one.add_trial(create_trial(values=[0.5]))
    assert studies().print_of_studies(storage.engine) == prints[0]
    one.set_user_attr("of people", {"key": [2, None, "ü"]})
    prints.append(studies().print_of_studies(storage.engine))
    storage.set_study_system_attr(internals().study_id(one), "of the system", False)
    prints.append(studies().print_of_studies(storage.engine))
    optuna.delete_study(study_name="bare", storage=storage)
    prints.append(studies().print_of_studies(storage.engine))
    optuna.create_study(study_name="another", storage=storage, direction="maximize")
    prints.append(studies().print_of_studies(storage.engine))
    assert len(set(prints)) == len(prints)
    assert studies().stored_studies(storage.engine).changed_since(stored) == {2, 3}


def columns_of_tables(_folder: Path) -> None:
    """The tables and models have the names and the columns that queries ask for."""
    expected = {
        "STUDIES": "studies: study_id study_name",
        "TRIALS": "trials: trial_id study_id number state datetime_start datetime_complete",
        "VALUES": "trial_values: trial_id objective value value_type",
        "PARAMS": "trial_params: param_id trial_id param_name param_value distribution_json",
        "REPORTS": "trial_intermediate_values: trial_id step intermediate_value intermediate_value_type",
        "USER_ATTRIBUTES": "trial_user_attributes: trial_user_attribute_id trial_id key value_json",
        "SYSTEM_ATTRIBUTES": "trial_system_attributes: trial_system_attribute_id trial_id key value_json",
        "DIRECTIONS": "study_directions: study_id objective direction",
        "STUDY_USER_ATTRIBUTES": "study_user_attributes: study_user_attribute_id study_id key value_json",
        "STUDY_SYSTEM_ATTRIBUTES": "study_system_attributes: study_system_attribute_id study_id key value_json",
    }
    for name, words in expected.items():
        table, _, columns = words.partition(": ")
        assert getattr(tables(), name).name == table
        assert set(columns.split()) <= set(getattr(tables(), name).c.keys()), table
    foreign = importlib.import_module("cifar_tune.storage.foreign_tables")
    models = importlib.import_module("optuna.storages._rdb.models")
    for name, present in foreign._COLUMNS.items():
        assert present <= set(models.BaseModel.metadata.tables[name].c.keys()), name


def questions_about_trials(folder: Path) -> None:
    """Trials are found by the columns of their tables: their study, states, distributions and attributes."""
    storage = database(folder)
    study, trial = asked(storage)
    trial.set_user_attr("a", [1])
    trial.set_user_attr("seconds", 2.5)
    trial.set_user_attr("epochs", 3)
    study.tell(trial, 0.5)
    engine, own = storage.engine, internals().study_id(study)
    assert questions().study_of_trial(engine, internals().trial_id(trial)) == own
    assert questions().study_of_trial(engine, 10**6) is None
    assert questions().beginnings(engine) == {own: ("contract", 1, questions().beginnings(engine)[own][2])}
    assert questions().Beginning
    with engine.connect() as connection:
        ((id_, number, state, started, _),) = tables().trial_rows(connection, own)
        assert (id_, number, state) == (internals().trial_id(trial), 0, TrialState.COMPLETE)
        assert tables().as_local(started) == study.trials[0].datetime_start
        columns = [tables().VALUES.c.value, tables().VALUES.c.value_type]
        rows = tables().part_rows(connection, tables().VALUES, [id_], columns, tables().VALUES.c.objective)
        assert [(each, value, kind.name) for each, value, kind in rows] == [(id_, 0.5, tables().FINITE)]
    assert {kind.name for kind in type(rows[0][2])} <= tables().NOT_FINITE.keys() | {tables().FINITE}
    assert questions().states_of_trials(engine, own) == {TrialState.COMPLETE: 1}
    assert questions().counts_of_user_attribute(engine, own, "a") == [([1], 1)]
    assert questions().user_attribute_of_trials(engine, own, "a") == {0: [1]}
    assert [questions().ended_without_user_attribute(engine, own, key) for key in ("a", "none")] == [0, 1]
    assert questions().ended_last(engine, own, 5) == [internals().trial_id(trial)]
    assert questions().distributions_of_study(engine, own) == list(SPACE.items())
    assert questions().numbers_of_trials(engine, own) == (1, 0)
    assert questions().numbers_of_trials(engine, 10**6) == (0, -1)
    assert studies().names_of_studies(engine) == ["contract"]
    assert questions().ids_of_studies(engine) == {"contract": own}
    assert questions().parts_of_unfinished(engine, own) == (0, 0)
    of_ended = [(internals().trial_id(trial), "COMPLETE", 2.5, 3)]
    assert questions().figures_of_ended(engine, datetime(2000, 1, 1), "seconds", "epochs", 9) == of_ended
    assert questions().figures_of_ended(engine, datetime(9000, 1, 1), "seconds", "epochs", 9) == []
    assert questions().states_of_studies(engine, [own]) == {own: {TrialState.COMPLETE: 1}}
    assert questions().states_of_studies(engine, [own + 1]) == {}
    assert questions().states_of_all_trials(engine) == {TrialState.COMPLETE: 1}
    assert questions().trial_ids(engine, own, 0, 5) == [internals().trial_id(trial)]
    assert questions().trial_ids(engine, own, 0, 5, [TrialState.FAIL]) == questions().trial_ids(engine, own, 1, 5) == []


def questions_about_all_studies(folder: Path) -> None:
    """The tables of Optuna have the columns by which the trials of all studies are counted."""
    storage = database(folder)
    study = optuna.create_study(study_name="contract", storage=storage)
    optuna.create_study(study_name="another", storage=storage).set_user_attr("key", "a")
    study.add_trials([create_trial(value=0.5), create_trial(value=0.25)])
    running = study.ask()
    engine, (own, other) = storage.engine, (1, 2)
    assert counts().studies_with(engine, "key") == [(other, "another", '"a"'), (own, "contract", None)]
    both, alone = counts().Counted(own, TrialState.COMPLETE, 2, 2), counts().Counted(own, TrialState.RUNNING, 1, 3)
    assert counts().count_all(engine) == [both, alone]
    assert counts().count_since(engine, 2, []) == ([alone], 3)
    study.tell(running, 1.0)
    assert counts().count_since(engine, 3, [3]) == ([counts().Counted(own, TrialState.COMPLETE, 1, 3)], 3)
    assert counts().count_since(engine, 3, []) == ([], 3)


def questions_about_ended_trials(folder: Path) -> None:
    """The tables of Optuna have the columns by which ended trials are counted and sorted."""
    storage = database(folder)
    study = optuna.create_study(study_name="contract", storage=storage, direction="maximize")
    values = (0.5, math.inf, 0.75, 0.75, -math.inf)
    study.add_trials([create_trial(value=value, user_attrs={"reason": "completed"}) for value in values])
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"error": "ValueError"}))
    running = study.ask()
    engine, own = storage.engine, internals().study_id(study)
    ids = [internals().trial_id(trial) for trial in study.get_trials()]
    [(place, (oldest, began))] = ended().oldest_trials(engine, [own, own + 1]).items()
    assert (place, oldest) == (own, ids[0])
    assert tables().as_local(datetime.fromisoformat(began)) == study.get_trials()[0].datetime_start
    seen = ended().seen_now(engine, own)
    counted = {TrialState.COMPLETE: 5, TrialState.FAIL: 1, TrialState.RUNNING: 1}
    assert ended().outline(engine, own) == ended().Outline(counted, 6, ids[-1])
    assert ended().outline(engine, own).unfinished == 1
    assert ended().outline(engine, own + 1) == ended().Outline({}, -1, -1)
    assert seen == ended().Seen(own, ids[-1], frozenset(ids[-1:]))
    completed = ended().Alike(TrialState.COMPLETE, "completed", False, 5)
    failed = ended().Alike(TrialState.FAIL, None, True, 1)
    assert ended().counts_of_seen(engine, seen, "reason", "error") == [completed, failed]
    assert ended().failed_of_seen(engine, seen, "error") == {5: "ValueError"}
    assert ended().best_of_seen(engine, seen, True, 0, 9) == [ids[1], ids[2], ids[3], ids[0], ids[4]]
    assert ended().best_of_seen(engine, seen, False, 1, 2) == [ids[0], ids[2]]
    assert ended().best_of_studies(engine, [own], True, "reason", "reason", "repeated") == {own: (1, math.inf)}
    assert ended().best_of_studies(engine, [own], False, "reason", "reason", "completed") == {}
    study.set_user_attr("key", [1])
    assert ended().user_attribute_of_studies(engine, [own, own + 1], "key") == {own: [1]}
    assert not ended().has_odd_values(engine, seen)
    study.tell(running, 1.0)
    study.ask()
    new, later = ended().seen_since(engine, seen)
    assert (new, later.highest) == (ids[-1:], ids[-1] + 1)
    assert ended().seen_since(engine, later)[0] == []


def what_makes_no_sense(folder: Path) -> None:
    """Attributes of a study are read from their tables; text that SQLite cannot decode is told by its words."""
    storage = database(folder)
    study, _ = asked(storage)
    study.set_user_attr("a", [1])
    study._storage.set_study_system_attr(internals().study_id(study), "b", {"c": 2})
    own = internals().study_id(study)
    assert storage.get_study_user_attrs(own) == {"a": [1]}
    assert storage.get_study_system_attrs(own)["b"] == {"c": 2}
    with Session(storage.engine) as session:
        assert studies().attributes_of_study(session, tables().STUDY_USER_ATTRIBUTES, own) == {"a": [1]}
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE study_user_attributes SET value_json = CAST(x'7bff' AS TEXT)")
    with pytest.raises(StorageInternalError) as raised_by_optuna:
        RDBStorage.get_study_user_attrs(storage, own)
    error = raised_by_optuna.value
    assert tables().undecodable(error).startswith("could not decode to UTF-8 column")
    assert tables().undecodable(ValueError("x")) is None
    assert str(tables().damage("x", "its y")).startswith(tables().CHANGED)
    assert tables().key_of("a") == "a"
    assert tables().cannot_be_there(OperationalError("", {}, Exception(1267)))
    assert not tables().cannot_be_there(OperationalError("", {}, Exception(1)))
    assert "in the study 'x', its y" in str(tables().damage("x", "its y"))
    for raised in (error, tables().SenselessError("its y")):
        with pytest.raises(DamagedError, match="in the study 'contract', "), tables().naming_damage("contract"):
            raise raised


def trials_in_bulk(folder: Path) -> None:
    """Trials that are read in bulk, from the tables, are those that Optuna reads by its models, times included."""
    storage = database(folder)
    study, trial = asked(storage)
    trial.report(0.5, 1)
    trial.set_user_attr("a", {"b": "c"})
    study.tell(trial, float("inf"))
    study.enqueue_trial({"x": 0.25})
    study.add_trial(create_trial(values=[-0.5], intermediate_values={1: float("-inf")}))
    theirs = RDBStorage(storage.url).get_all_trials(internals().study_id(study))
    assert storage.get_all_trials(internals().study_id(study)) == theirs
    outlines = storage.read_trials(internals().study_id(study), parts=tables().Parts(params=False, user=()))
    assert [(each.values, each.params, each.user_attrs) for each in outlines] == [
        (each.values, {}, {}) for each in theirs
    ]
    assert tables().Parts() == tables().ALL_PARTS
    with storage.scoped_session() as session:
        found = tables().read_trials(session, internals().study_id(study), tables().Decoded())
    assert found == theirs


def what_is_gone(folder: Path) -> None:
    """Who asks for a study or a trial that is not there gets a KeyError that no missing key of a mapping gives."""
    storage = database(folder)
    asks: list[Callable[[], object]] = [
        lambda: storage.get_study_name_from_id(1),
        lambda: storage.get_study_id_from_name("x"),
        lambda: storage.get_study_directions(1),
        lambda: storage.get_study_user_attrs(1),
        lambda: storage.get_study_system_attrs(1),
        lambda: storage.get_all_trials(1),
        lambda: storage.get_trial(1),
        lambda: storage.delete_study(1),
        lambda: storage.set_study_user_attr(1, "key", "value"),
        lambda: storage.read_trials(1),
    ]
    for ask in asks:
        with pytest.raises(KeyError) as raised:
            ask()
        assert storage_module().is_of_what_is_gone(raised.value)
    assert not storage_module().is_of_what_is_gone(KeyError("x"))


def version_of_the_tables(folder: Path) -> None:
    """The newest migration, by the names of their files, is the version of the tables that Optuna makes."""
    theirs = RDBStorage("sqlite://")
    assert storage_module().newest_schema() == theirs.get_head_version() == theirs.get_current_version()


def whole_trials(folder: Path) -> None:
    """A trial that is written whole, through the tables, is read as one that Optuna wrote step by step."""
    ours = database(folder)
    ours.write_at_once()
    theirs = RDBStorage("sqlite://")
    given = create_trial(
        value=0.5,
        params={"x": 0.25},
        distributions=dict(SPACE),
        user_attrs={"a": [1]},
        system_attrs={"b": {"c": None}},
        intermediate_values={1: 0.5, 2: float("nan"), 3: float("inf"), 4: float("-inf")},
    )
    found = []
    for storage in (ours, theirs):
        study = storage.create_new_study([StudyDirection.MINIMIZE], "contract")
        storage.create_new_trial(study, given)
        storage.create_new_trial(study, given)  # the second time, its knobs are known
        _add(storage, storage.create_new_trial(study), is_ours=storage is ours)
        found.append([_plain(trial) for trial in storage.get_all_trials(study)])
    assert found[0] == found[1]
    assert ours.create_numbered(1, given) == (4, 3)
    assert ours.create_trials(1, [given, given]) == [5, 6]
    *_, fourth, fifth, sixth = map(_plain, ours.get_all_trials(1))
    assert [fifth, sixth] == [(4, *fourth[1:]), (5, *fourth[1:])]
    with ours.engine.begin() as connection:
        rows().add_reports(connection, 6, {7: float("nan"), 8: 0.25})
    *_, sixth_then = map(_plain, ours.get_all_trials(1))
    reports = cast("dict[int, str]", sixth[-1])
    assert sixth_then == (*sixth[:-1], {**reports, 7: "np.float64(nan)", 8: "np.float64(0.25)"})


def _add(storage: Any, trial: int, is_ours: bool) -> None:
    storage.set_trial_intermediate_value(trial, 1, 0.1)
    storage.set_trial_user_attr(trial, "a", 0)
    if is_ours:
        storage.add_to_trial(trial, {1: 0.5, 2: 0.75}, {"a": 1}, {"b": 2})
    else:
        storage.set_trial_intermediate_value(trial, 1, 0.5)
        storage.set_trial_intermediate_value(trial, 2, 0.75)
        storage.set_trial_user_attr(trial, "a", 1)
        storage.set_trial_system_attr(trial, "b", 2)


def _plain(trial: FrozenTrial) -> tuple[object, ...]:
    reports = {step: repr(np.float64(value)) for step, value in sorted(trial.intermediate_values.items())}
    return trial.number, trial.state, trial.values, trial.params, trial.user_attrs, trial.system_attrs, reports


def attributes_once(folder: Path) -> None:
    """A study has a user attribute of each key once, and what it has stays when somebody adds another.

    Those of all studies are read by the beginning of their keys.
    """
    storage = database(folder)
    study, _ = asked(storage)
    add = questions().add_attribute_of_study
    assert [add(storage.engine, internals().study_id(study), "a", value) for value in ([1], [2])] == [True, False]
    assert study.user_attrs == {"a": [1]}
    optuna.create_study(storage=storage, study_name="another").set_user_attr("a.b", {"c": 1})
    found = questions().attributes_of_all_studies(storage.engine, "a")
    assert found == [("another", "a.b", {"c": 1}), (study.study_name, "a", [1])]
