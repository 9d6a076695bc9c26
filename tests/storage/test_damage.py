"""A database in which one value was changed: whoever reads it gets what was stored, or a sentence; nothing else.

Every column of every table is changed in turn, in every way that SQLite lets one, and every kind of row is removed: all
of it takes minutes, so that a few of each table are drawn for every day.
"""

import math
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState, create_trial
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from cifar_tune.errors import CifarTuneError, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.reports.best_config import best_yaml
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_json import summary_json
from cifar_tune.reports.trials_csv import trials_csv
from cifar_tune.storage import attributes
from cifar_tune.storage.damage import _STUDY, _TRIAL
from cifar_tune.storage.lease import acquire, held_lease
from cifar_tune.storage.openings import Opening, write_opening
from cifar_tune.storage.overview import overview
from cifar_tune.storage.rdb import close, open_existing, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.storage.stored_studies import load_optuna_study, read_spec, study_names
from cifar_tune.storage.study_rows import StudyRows
from cifar_tune.storage.urls import storage_url
from tests.exhaustive import few_of
from tests.reports.factory import MadeTrial, make_record, make_spec

NAME = "damaged"
SPACE = {"lr": {"low": 0.1, "high": 1.0}, "activation": {"choices": ["relu", "elu"]}}
MORE = {
    attributes.DEVICE: "cpu", attributes.PRECISION: "fp32", attributes.PARAMETERS: 10, attributes.FLOPS: 20,
    attributes.RESUMED_FROM: [1], attributes.SPENT: 1.5, attributes.METRICS: {"parameters": 10.0},
}  # fmt: skip
TRIALS = [
    MadeTrial({"lr": 0.1, "activation": "relu"}, 0.5, attrs=MORE),
    MadeTrial({"lr": 0.2, "activation": "elu"}, 0.75, attrs=MORE),
    MadeTrial({"lr": 0.3, "activation": "elu"}, 0.25, "PRUNED", 2, attrs=MORE),
    MadeTrial({"lr": 0.4, "activation": "relu"}, None, "FAIL", 0, "error", "Boom: x"),
    MadeTrial({"lr": 0.5, "activation": "relu"}, 0.6, "RUNNING", 3, attrs=MORE),
    MadeTrial({"lr": 0.6, "activation": "relu"}, 0.7, "WAITING", 4, attrs=MORE),
]
TABLES = {
    "studies": ("study_name",),
    "study_directions": ("direction", "objective"),
    "study_user_attributes": ("key", "value_json"),
    "trials": ("number", "state", "datetime_start", "datetime_complete"),
    "trial_user_attributes": ("key", "value_json"),
    "trial_params": ("param_name", "param_value", "distribution_json"),
    "trial_values": ("objective", "value", "value_type"),
    "trial_intermediate_values": ("step", "intermediate_value", "intermediate_value_type"),
    "version_info": ("schema_version", "library_version"),
    "alembic_version": ("version_num",),
    "cifar_tune_leases": ("token", "host", "pid", "process_started", "expires"),
}
VALUES = ("NULL", "'{'", "'NaN'", "'[1]'", "'null'", "-7", "CAST(x'7bff' AS TEXT)", '\'{"a": {"b": [null]}}\'')
"""Of columns; JSON that is none, and JSON of a wrong kind, among them."""

NUMBERS = ("value", "param_value", "intermediate_value")
"""Columns in which -7 may be right."""

UNNOTICED = {
    "studies": {"study_name"},  # any text is a name, and then there is no study of the old one
    "trials": {"datetime_start", "datetime_complete"},  # may be missing
    "trial_params": {"param_name", "row"},  # what a sampler has drawn; the configuration is what was trained
    "trial_intermediate_values": {"row"},  # a trial that was killed may have fewer
    "trial_values": {"objective"},  # an order, which one value cannot have
    "study_directions": {"objective"},
    "version_info": {"library_version"},
    "cifar_tune_leases": {"token", "host", "pid", "process_started", "expires"},
}
"""What may be read as something else, since it says nothing of any result; or cannot be told from what is right."""

AT_ONCE = 8
"""Damages that are drawn of each table."""

MAY_BE_MISSING = (
    attributes.CONFIG,  # trials of other programs have none
    f"{attributes.TEST_OPENING}2",  # the newest one
    attributes.DEVICE, attributes.PRECISION, attributes.PARAMETERS, attributes.FLOPS, attributes.RESUMED_FROM,
    attributes.SPENT, attributes.METRICS, attributes.ERROR, attributes.REASON, attributes.HISTORY, attributes.EPOCHS,
    attributes.SECONDS, attributes.DATA, attributes.ENVIRONMENT, attributes.ELAPSED,
)  # fmt: skip
"""Attributes that not every trial or study has, so that nobody can miss them."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one study, whose test set was opened once."""
    file = tmp_path_factory.mktemp("sound") / "studies.db"
    storage = open_storage(url_of(file))
    record = make_record(make_spec(SPACE, name=NAME, budget={"trials": 9}), TRIALS, storage)
    assert record.best is not None
    opening = Opening(
        opened="2025-01-01T00:00:00+00:00", host="h", cifar_tune="0.1", fingerprint="ab" * 32, trial=1, value=0.75,
        finished_trials=4, config=dict(record.best.config), seed=0, epochs=5, train_images=50000, device="cpu",
        precision="fp32", test_images=100, test_loss=1.0, test_accuracy=0.7,
    )  # fmt: skip
    write_opening(record.study, 0, opening)
    write_opening(record.study, 1, opening)
    acquire(storage.engine, NAME).release()
    close(storage)
    return file


def url_of(file: Path) -> URL:
    return storage_url(f"sqlite:///{file}")


def status(storage: BatchStorage) -> str:
    return repr({**vars(overview(storage, NAME)), "spec": None})


def lease(storage: BatchStorage) -> str:
    acquire(storage.engine, NAME).release()
    return repr(held_lease(storage.engine, NAME))


def reports(storage: BatchStorage) -> str:
    report = Report(load_record(storage, NAME))
    assert report.best is not None
    return summary_json(report) + trials_csv(report) + best_yaml(report.record, report.best, Path("best.yaml"))


def memory(storage: BatchStorage) -> str:
    """What a run begins with."""
    read_spec(load_optuna_study(storage, NAME))
    rows = StudyRows(storage, storage.get_study_id_from_name(NAME))
    found = [(each.state, each.values, each.params, each.intermediate_values) for each in rows.stored()]
    return repr((found, rows.attributes("user").keys() - {"x"}, rows.attributes("system")))


def deletion(storage: BatchStorage) -> str:
    storage.delete_study(storage.get_study_id_from_name(NAME))
    return repr(study_names(storage))


READERS: tuple[Callable[[BatchStorage], str], ...] = (status, lease, reports, memory, deletion)


def read_all(file: Path) -> dict[str, str]:
    """What each of them finds, or the sentence with which it ends; what is none begins with `!`."""
    try:
        storage = open_existing(url_of(file))
    except CifarTuneError as error:
        return {"opening": f"sentence: {error}"}
    assert storage is not None
    found = {}
    try:
        has_study = NAME in study_names(storage)
        for read in READERS if has_study else ():
            try:
                found[read.__name__] = read(storage)
            except (CifarTuneError, DBAPIError, StorageInternalError) as error:  # see test_failing_databases
                found[read.__name__] = f"sentence: {error}"
            except Exception as error:  # noqa: BLE001 (all of them are told together)
                found[read.__name__] = f"!{error!r}"
    except CifarTuneError as error:
        found["names"] = f"sentence: {error}"
    finally:
        close(storage)
    return found


def damages(sound: Path, table: str) -> Iterator[tuple[str, str]]:
    """What is changed, and the statement that does it; of attributes the row of each key, of others two rows."""
    with sqlite3.connect(sound) as connection:
        if "attributes" in table:
            found = connection.execute(f"SELECT min(rowid), key FROM {table} GROUP BY key").fetchall()
        else:
            rows = connection.execute(f"SELECT rowid FROM {table}").fetchall()
            found = [(row[0], "") for row in (*rows[:1], *rows[len(rows) // 2 :][:1])]
    for row, key in dict(found).items():
        for column in TABLES[table]:
            for value in VALUES if column not in NUMBERS else [each for each in VALUES if each != "-7"]:
                yield f"{column} {key}", f"UPDATE {table} SET {column} = {value} WHERE rowid = {row}"
        yield f"row {key}", f"DELETE FROM {table} WHERE rowid = {row}"


@pytest.mark.parametrize("table", few_of(TABLES, ["studies", "trial_user_attributes", "trial_values"]))
def test_nothing_but_what_was_stored_or_a_sentence(sound: Path, tmp_path: Path, table: str) -> None:
    some = list(damages(sound, table))
    compare(sound, tmp_path, table, random.Random(table).sample(some, min(len(some), AT_ONCE)))  # noqa: S311


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_the_same_of_every_damage(sound: Path, tmp_path: Path, table: str) -> None:
    compare(sound, tmp_path, table, damages(sound, table))


def compare(sound: Path, tmp_path: Path, table: str, changes: Iterable[tuple[str, str]]) -> None:
    expected = read_all(Path(shutil.copy(sound, tmp_path / "sound.db")))
    assert not any(found.startswith(("!", "sentence")) for found in expected.values())
    wrong = []
    for number, (what, statement) in enumerate(changes):
        file = Path(shutil.copy(sound, tmp_path / f"{number}.db"))
        connection = sqlite3.connect(file)
        try:
            with connection:
                connection.execute(statement)
        except sqlite3.IntegrityError:  # this column holds no such value
            continue
        finally:
            connection.close()
        column, _, key = what.partition(" ")
        is_open = column in UNNOTICED.get(table, ()) or (column in ("row", "key") and key in MAY_BE_MISSING)
        for read, found in read_all(file).items():
            is_right = found.startswith("sentence") or found == expected[read] or is_open
            if found.startswith("!") or not is_right or (read == "deletion" and found != expected[read]):
                wrong.append(f"{read}: {statement} ({what}): {found[:200]}")
        file.unlink()
    assert "\n".join(wrong) == ""


def test_each_attribute_of_a_study_and_of_a_trial_is_checked() -> None:
    told = {value for name, value in vars(attributes).items() if name.isupper() and isinstance(value, str)}
    pieces = {attributes.TEST_OPENING, attributes.TEST_ANALYSIS, attributes.HISTORY}
    assert told == {*_STUDY, *_TRIAL, attributes.SPEC, *pieces}


def test_what_other_programs_store_is_no_damage(tmp_path: Path) -> None:
    """They may use our names for their own things, and leave out what our trials have."""
    storage = open_storage(url_of(tmp_path / "studies.db"))
    foreign = optuna.create_study(storage=storage, study_name="foreign")
    for key in _STUDY:
        foreign.set_user_attr(key, 1.5)
    foreign.add_trial(create_trial(value=1, user_attrs={key: [None] for key in _TRIAL}))
    assert len(foreign.get_trials()) == 1
    ours = make_record(make_spec(SPACE, name=NAME, budget={"trials": 9}), TRIALS, storage).study
    ours.add_trial(create_trial(state=TrialState.FAIL, user_attrs={attributes.REASON: "error", "history_x": "y"}))
    ours.add_trial(create_trial(state=TrialState.PRUNED, user_attrs={attributes.DEVICE: 0}))
    ours.add_trial(create_trial(value=1, system_attrs={"constraints": None}, intermediate_values={3: 1.0, 7: math.nan}))
    ours.add_trial(create_trial(value=1, user_attrs={attributes.CONFIG: {"of another release": 1, "lr": 1e9}}))
    own = [attributes.EPOCHS, attributes.REASON]
    ours.add_trial(create_trial(value=1, user_attrs=dict(zip(own, (7, "completed"), strict=True)),
                                intermediate_values={6: 1.0, 7: 1.0}))  # fmt: skip
    try:
        assert len(load_record(storage, NAME).trials) == len(TRIALS) + 5
        assert overview(storage, NAME).counts["COMPLETE"] == 5
        assert len(StudyRows(storage, storage.get_study_id_from_name(NAME)).stored()) == len(TRIALS) + 5
        with pytest.raises(UserError, match="foreign"):
            load_record(storage, "foreign")
    finally:
        close(storage)
