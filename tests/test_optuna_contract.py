"""What the modules `optuna_*` rely on, tried on the installed Optuna.

Each check has one sentence about Optuna as its docstring. Where it is true no more, the test fails with that sentence.
"""

import ast
import importlib
import json
import math
import threading
from collections.abc import Callable, Container
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen
from wsgiref.simple_server import make_server

import numpy as np
import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.samplers import CmaEsSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna_dashboard import save_note, wsgi
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cifar_tune.errors import DamagedError
from cifar_tune.statistics.densities import divergence

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

NAMES = {
    "optuna.storages._rdb.models": (
        "StudyDirectionModel "
        "StudyModel TrialModel TrialParamModel TrialIntermediateValueModel TrialUserAttributeModel "
        "TrialSystemAttributeModel"
    ),
    "optuna.storages._rdb.storage": "_create_scoped_session",
    "optuna.study._frozen": "FrozenStudy",
}
SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}
EVERY_KIND: dict[str, BaseDistribution] = {
    "float": FloatDistribution(0.0, 1.0),
    "log float": FloatDistribution(1e-4, 1.0, log=True),
    "float with a step": FloatDistribution(0.0, 1.0, step=0.25),
    "int": IntDistribution(1, 9),
    "large int": IntDistribution(1, 1000),
    "log int": IntDistribution(1, 64, log=True),
    "int with a step": IntDistribution(2, 8, step=2),
    "choices": CategoricalDistribution(["a", "b", "c"]),
}


def internals() -> Any:
    """Imported late: where a private name is gone, the sentence about it comes first."""
    return importlib.import_module("cifar_tune.optuna_internals")


def storage_module() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_storage")


def tables() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_tables")


def rows() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_rows")


def questions() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_questions")


def ended() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_ended")


def studies() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_studies")


def counts() -> Any:
    """Likewise."""
    return importlib.import_module("cifar_tune.optuna_counts")


def database(folder: Path) -> Any:
    return storage_module().BatchStorage(f"sqlite:///{folder / 'contract.db'}")


def asked(storage: Any = None, **options: Any) -> tuple[optuna.Study, optuna.Trial]:
    study = optuna.create_study(study_name="contract", storage=storage, **options)
    return study, study.ask(SPACE)


def private_names(_folder: Path) -> None:
    """The private modules have the names that are imported from them."""
    for module, names in NAMES.items():
        for name in names.split():
            assert hasattr(importlib.import_module(module), name), f"{module}.{name} is gone"


def ids(folder: Path) -> None:
    """Studies and trials of each kind know the id that their storage gave them, as `_study_id` and `_trial_id`."""
    storage = database(folder)
    asked(storage)
    study = optuna.load_study(study_name="contract", storage=storage)
    trial = study.ask()
    (frozen_study,) = storage.get_all_studies()
    assert isinstance(frozen_study, internals().FrozenStudy)
    wanted = storage.get_study_id_from_name("contract")
    assert [internals().study_id(each) for each in (study, frozen_study)] == [wanted, wanted]
    wanted = storage.get_trial_id_from_study_id_trial_number(wanted, 1)
    assert [internals().trial_id(each) for each in (trial, study.get_trials()[1])] == [wanted, wanted]


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


def storage_of_a_study(_folder: Path) -> None:
    """A study holds the storage that it was loaded from, as `_storage`."""
    storage = InMemoryStorage()
    assert internals().storage_of(asked(storage)[0]) is storage


def a_trial_from_its_id(_folder: Path) -> None:
    """`optuna.Trial(study, id)` is the trial that `Study.ask` returned, and making it changes nothing."""
    study = asked()[0]
    before = study.get_trials()
    again = internals().as_asked(study, before[0])
    assert study.get_trials() == before
    again.report(0.5, 1)
    study.tell(again, 0.25)
    assert (study.trials[0].intermediate_values, study.trials[0].value) == ({1: 0.5}, 0.25)


def a_trial_as_stored(_folder: Path) -> None:
    """A trial knows its storage, as `storage`."""
    study, trial = asked()
    trial.set_user_attr("a", 1)
    assert internals().as_stored(trial) == study.get_trials()[0]


def enqueued(_folder: Path) -> None:
    """`Study.enqueue_trial` keeps the parameters under the system attribute ENQUEUED."""
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25})
    assert study.trials[0].system_attrs == {internals().ENQUEUED: {"x": 0.25}}
    assert study.ask(SPACE).params == {"x": 0.25}


def rungs(_folder: Path) -> None:
    """Successive halving, asked about a trial, keeps its value under RUNG and 0, 1, 2, one for each rung."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    _, trial = asked(direction="maximize", pruner=pruner)
    for step, value in enumerate((0.1, 0.2, 0.3), start=1):
        trial.report(value, step)
        trial.should_prune()
    rung = internals().RUNG
    assert dict(internals().as_stored(trial).system_attrs) == {f"{rung}0": 0.1, f"{rung}1": 0.2}


def quasi_random_counters(_folder: Path) -> None:
    """A quasi-random sampler counts its points in one study attribute, whose name begins with QMC_COUNTER."""
    study = optuna.create_study(sampler=QMCSampler(seed=0, warn_independent_sampling=False))
    for _ in range(4):
        study.tell(study.ask(SPACE), 0.0)
    attrs = study._storage.get_study_system_attrs(study._study_id)
    counters = [value for key, value in attrs.items() if key.startswith(internals().QMC_COUNTER)]
    assert counters == [2]


def constraints(_folder: Path) -> None:
    """`Trial.set_constraint` keeps a value under CONSTRAINT and its name, and `FrozenTrial.constraints` reads it."""
    study, trial = asked()
    trial.set_constraint("size", 2.0)
    assert study.trials[0].system_attrs == {f"{internals().CONSTRAINT}size": 2.0}
    assert study.trials[0].constraints == {"size": 2.0}


def constraints_in_the_dashboard(_folder: Path) -> None:
    """optuna-dashboard shows the constraints that are stored under CONSTRAINTS_OF_OPTUNA_4."""
    study, trial = asked(optuna.storages.get_storage(None))
    internals().show_constraints(trial, [2.0, -1.0])
    assert list(study.trials[0].system_attrs) == [internals().CONSTRAINTS_OF_OPTUNA_4]
    study.tell(trial, 0.5)
    with make_server("127.0.0.1", 0, wsgi(study._storage)) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with urlopen(f"http://127.0.0.1:{server.server_port}/api/studies/{study._study_id}?after=0") as answer:
            shown = json.load(answer)
        thread.join()
    assert [each["constraints"] for each in shown["trials"]] == [[2.0, -1.0]]


def notes_of_the_dashboard(_folder: Path) -> None:
    """optuna-dashboard keeps a note in pieces of NOTE_PIECE characters under NOTE_TEXT, and counts in NOTE_VERSION."""
    study = optuna.create_study()
    text = internals().NOTE_PIECE * "a" + "b"
    save_note(study, text)
    attrs = study._storage.get_study_system_attrs(study._study_id)
    stem = internals().NOTE_TEXT
    assert attrs == {internals().NOTE_VERSION: 1, f"{stem}0": text[:-1], f"{stem}1": "b"}


def artifacts(folder: Path) -> None:
    """`upload_artifact` describes a file in a system attribute of its trial, under ARTIFACT and the file's id."""
    _, trial = asked()
    store = FileSystemArtifactStore(folder)
    store.write("other", BytesIO(b"text"))
    found = upload_artifact(artifact_store=store, file_path=str(folder / "other"), study_or_trial=trial)
    ((key, value),) = internals().as_stored(trial).system_attrs.items()
    assert key == f"{internals().ARTIFACT}{found}"
    assert json.loads(value).keys() == {"artifact_id", "filename", "mimetype", "encoding"}


class _Listening(InMemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[object] = []

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self.asked.append(states)
        return super().get_all_trials(study_id, deepcopy, states)


def what_waits(_folder: Path) -> None:
    """`Study.ask` reads the waiting trials once, by `get_all_trials` with these states, and takes the first one."""
    storage = _Listening()
    study, _ = asked(storage, sampler=RandomSampler())
    for x in (0.25, 0.75):
        study.enqueue_trial({"x": x})
    storage.asked.clear()
    assert study.ask(SPACE).params == {"x": 0.25}
    assert [states for states in storage.asked if internals().asks_what_waits(states)] == [(TrialState.WAITING,)]
    assert not any(internals().asks_what_waits(states) for states in (None, (TrialState.RUNNING, TrialState.WAITING)))


def search_spaces(_folder: Path) -> None:
    """TPE and CMA-ES keep in `_search_space` what all trials have in common, and go on with one that is given."""
    for kind in (TPESampler, CmaEsSampler):
        first, second = kind(seed=0), kind(seed=1)
        space = internals().share_search_space(first, None)
        study, trial = asked(sampler=first)
        study.tell(trial, 0.0)
        assert first.infer_relative_search_space(study, study.trials[0]) == SPACE, kind.__name__
        assert internals().share_search_space(second, space) is space, kind.__name__
        assert second._search_space is space, kind.__name__
    assert internals().share_search_space(RandomSampler(), space) is space


def hyperband(_folder: Path) -> None:
    """Hyperband has no `_pruners` before `_try_initialization`, and draws brackets by `_get_bracket_id`."""
    theirs = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)
    ours = internals().HyperbandPruner(min_resource=1, max_resource=9)
    assert theirs._pruners == ours._pruners == []
    study, trial = asked(pruner=theirs)
    trial.report(0.5, 1)
    trial.should_prune()
    bracket = ours.bracket_of(study, study.trials[0])
    asked_for: list[int] = []

    class Listening(optuna.pruners.HyperbandPruner):
        def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
            asked_for.append(trial.number)
            return optuna.pruners.HyperbandPruner._get_bracket_id(self, study, trial)

    listening, reporting = asked(pruner=Listening(min_resource=1, max_resource=9))
    reporting.report(0.5, 1)
    reporting.should_prune()
    assert set(asked_for) == {0}
    del listening
    assert len(theirs._pruners) == len(ours._pruners) == 3
    assert ours._brackets == {0: bracket} == {0: theirs._get_bracket_id(study, study.trials[0])}
    assert theirs._pruners[bracket]._min_early_stopping_rate == bracket


def studies_in_memory(_folder: Path) -> None:
    """In memory, the first study has the id 0, a trial's id is its number, and a change makes a new object of it."""
    storage = internals().StudyInMemory([StudyDirection.MINIMIZE], "contract")
    assert storage.get_study_id_from_name("contract") == 0
    assert [storage.create_new_trial(0) for _ in range(2)] == [0, 1]
    storage.set_trial_user_attr(1, "a", [1])
    before = storage.get_trial(1)
    storage.set_trial_user_attr(1, "b", [2])
    after = storage.get_trial(1)
    assert (before.user_attrs, after.user_attrs) == ({"a": [1]}, {"a": [1], "b": [2]})
    assert after.user_attrs["a"] is before.user_attrs["a"]
    taken = create_trial(value=0.5, params={"x": 0.25}, distributions=dict(SPACE))
    storage.take(taken)
    assert storage.get_trial(2) is taken
    assert (taken.number, internals().trial_id(taken)) == (2, 2)
    assert storage.get_best_trial(0) is taken
    assert storage.create_new_trial(0) == 3
    assert [trial.number for trial in storage.get_all_trials(0)] == [0, 1, 2, 3]


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
    """The tables of Optuna do not have the columns any more by which the trials of all studies are counted."""
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
    """The tables of Optuna do not have the columns any more by which ended trials are counted and sorted."""
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


def drawn(distribution: BaseDistribution, share: float) -> Any:
    """The value that lies at this share of a range or of choices."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(share * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    value = low * (high / low) ** share if distribution.log else low + share * (high - low)
    if step is not None:
        value = low + round((value - low) / step) * step
    return int(value) if isinstance(distribution, IntDistribution) else value


def importances(folder: Path) -> None:
    """PED-ANOVA compares the best trials with all by kernel densities on a grid, in `_compute_pearson_divergence`."""
    calls: list[object] = []

    def watched(*given: Any) -> float:
        calls.append(given)
        return divergence(*given)

    draw = np.random.default_rng(0)
    for trials in (2, 7, 60, 300):
        study = optuna.create_study()
        for value in draw.random(trials):
            chosen = {name: drawn(distribution, draw.random() ** 3) for name, distribution in EVERY_KIND.items()}
            study.add_trial(create_trial(value=value, params=chosen, distributions=EVERY_KIND))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.2)
        theirs = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(internals(), "divergence", watched)
            assert internals().ped_anova(study, 0.2) == pytest.approx(theirs, rel=1e-9)
        assert set(theirs) == set(EVERY_KIND)
    assert len(calls) == 4 * len(EVERY_KIND)


CHECKS: tuple[Callable[[Path], None], ...] = (
    private_names,
    ids,
    storage_of_a_study,
    a_trial_from_its_id,
    studies_as_rows,
    a_trial_as_stored,
    enqueued,
    rungs,
    quasi_random_counters,
    constraints,
    constraints_in_the_dashboard,
    notes_of_the_dashboard,
    artifacts,
    what_waits,
    search_spaces,
    hyperband,
    importances,
    studies_in_memory,
    columns_of_tables,
    questions_about_trials,
    questions_about_ended_trials,
    attributes_once,
    what_makes_no_sense,
    trials_in_bulk,
    version_of_the_tables,
    whole_trials,
)


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
def test_optuna_is_what_we_rely_on(check: Callable[[Path], None], tmp_path: Path) -> None:
    try:
        check(tmp_path)
    except Exception as error:  # noqa: BLE001 (whatever it is, the sentence says what changed)
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        pytest.fail(
            f"Optuna {optuna.__version__} has changed what cifar_tune/optuna_*.py relies "
            f"on. This is not true any more: {check.__doc__} ({what})",
            pytrace=False,
        )


@pytest.mark.parametrize("module", [internals, storage_module, tables, rows, questions, ended])
def test_everything_in_there_is_checked(module: Callable[[], Any]) -> None:
    source = ast.parse(Path(str(module().__file__)).read_text())
    public: set[str] = set()
    for node in source.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                assert "Relies on" in (ast.get_docstring(node) or ""), f"{name} does not say what it relies on"
                public.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                public.add(name)
    used = {
        node.attr if isinstance(node, ast.Attribute) else node.value
        for node in ast.walk(ast.parse(Path(__file__).read_text()))
        if isinstance(node, ast.Attribute | ast.Constant)
    }
    assert {name for name in public if not name.startswith("_")} - used == set()
