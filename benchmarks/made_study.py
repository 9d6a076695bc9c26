"""Studies of thousands of trials, made in seconds: a few are stored through Optuna, and copied inside the database."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    Table,
    bindparam,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from cifar_tune.data.prepared import prepare
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.knob import stored
from cifar_tune.knobs.part import Value
from cifar_tune.storage import attributes
from cifar_tune.study.opening import open_study
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.specification import StudySpec

_TEMPLATES = 100
_BEGIN = datetime(2025, 1, 1)
_FINISHED_PARTS = (
    "trial_params", "trial_values", "trial_user_attributes", "trial_system_attributes", "trial_intermediate_values",
)  # fmt: skip
_PARTS_OF_STUDIES = ("study_directions", "study_user_attributes", "study_system_attributes")


def store_study(storage: RDBStorage, spec: StudySpec, trials: int) -> None:
    """Create the study of `spec` with so many finished trials; the storage holds no other study.

    One trial in three was pruned. There are 100 different ones; the rest are copies of them.
    """
    study = open_study(storage, spec, prepare(spec.data))
    draw = random.Random(0)  # noqa: S311 (no secret)
    study.add_trials([_trial(spec, draw) for _ in range(min(_TEMPLATES, trials))])
    _copy(storage.engine, trials)


def store_studies(storage: RDBStorage, spec: StudySpec, studies: int, trials: int) -> None:
    """Create so many studies that differ in their names alone, `NAME-1` and so on; the storage holds no other study.

    Args:
        storage: where they are stored.
        spec: of each, but for the number in its name.
        studies: how many.
        trials: finished trials of each, at most 100.
    """
    study = open_study(storage, replace(spec, name=f"{spec.name}-1"), prepare(spec.data))
    draw = random.Random(0)  # noqa: S311 (no secret)
    study.add_trials([_trial(spec, draw) for _ in range(trials)])
    metadata = MetaData()
    metadata.reflect(storage.engine)
    tables = metadata.tables
    with storage.engine.begin() as connection:
        for number in range(2, studies + 1):
            added = insert(tables["studies"]).values(study_id=number, study_name=f"{spec.name}-{number}")
            connection.execute(added)
        for number in range(1, studies):
            for name in _PARTS_OF_STUDIES:
                _copy_rows_of_first(connection, tables[name], "study_id", number, 1)
            _copy_rows_of_first(connection, tables["trials"], "trial_id", number * trials, trials, study=number + 1)
            for name in _FINISHED_PARTS:
                _copy_rows_of_first(connection, tables[name], "trial_id", number * trials, trials)


def _copy_rows_of_first(
    connection: Connection, table: Table, key: str, shift: int, first: int, study: int | None = None
) -> None:
    """Copy the rows of the first study, or of its trials 1 to `first`, under ids that are higher by `shift`."""
    own_key = {column.name for column in table.primary_key} - {key}
    names = [column.name for column in table.columns if column.name not in own_key]
    changed: dict[str, ColumnElement[Any]] = {key: table.c[key] + literal(shift)}
    if study is not None:
        changed["study_id"] = literal(study)
    rows = select(*(changed.get(name, table.c[name]) for name in names)).where(table.c[key] <= first)
    connection.execute(insert(table).from_select(names, rows))


def move_times(engine: Engine, seconds: float) -> None:
    """Let the trials have ended one after the other within the last so many seconds."""
    trials = MetaData()
    trials.reflect(engine, only=["trials"])
    table = trials.tables["trials"]
    now = datetime.now(UTC).replace(tzinfo=None)
    with engine.begin() as connection:
        ids = list(connection.execute(select(table.c.trial_id).order_by(table.c.trial_id)).scalars())
        step = timedelta(seconds=seconds / (len(ids) + 1))
        rows = [
            {"id": each, "began": now - (len(ids) - place + 1) * step, "ended": now - (len(ids) - place) * step}
            for place, each in enumerate(ids)
        ]
        moved = update(table).where(table.c.trial_id == bindparam("id"))
        connection.execute(moved.values(datetime_start=bindparam("began"), datetime_complete=bindparam("ended")), rows)


def made_trial(spec: StudySpec, draw: random.Random) -> FrozenTrial:
    """A finished trial of the study, as `Study.add_trial` takes it; one in three was pruned."""
    return _trial(spec, draw)


def _trial(spec: StudySpec, draw: random.Random) -> FrozenTrial:
    params: dict[str, bool | int | float | str] = {}
    distributions: dict[str, BaseDistribution] = {}

    def choose(name: str, dimension: Dimension) -> Value:
        value, distributions[name] = _drawn(dimension, draw)
        params[name] = stored(value)
        return value

    config = spec.space.configuration(choose)
    is_pruned = draw.random() < 1 / 3
    epochs = config.integer("epochs")
    curve = _curve(config, draw, draw.randint(1, epochs - 1) if is_pruned else epochs)
    trial = create_trial(
        state=TrialState.PRUNED if is_pruned else TrialState.COMPLETE,
        value=curve[-1],
        params=params,
        distributions=distributions,
        intermediate_values=dict(enumerate(curve, start=1)),
        user_attrs={
            attributes.CONFIG: config.stored(),
            attributes.DEVICE: "cpu",
            attributes.PARAMETERS: 268_650,
            attributes.PRECISION: "bf16",
            attributes.EPOCHS: len(curve),
            attributes.SECONDS: 2.5 * len(curve),
            attributes.HISTORY: _history(curve),
            attributes.REASON: "pruned" if is_pruned else "completed",
        },
    )
    trial.datetime_start = _BEGIN
    trial.datetime_complete = _BEGIN + timedelta(seconds=2.5 * len(curve))
    return trial


def _drawn(dimension: Dimension, draw: random.Random) -> tuple[Value, BaseDistribution]:
    if isinstance(dimension, Choices):
        return draw.choice(dimension.choices), CategoricalDistribution([stored(each) for each in dimension.choices])
    low, high = dimension.low, dimension.high
    value = math.exp(draw.uniform(math.log(low), math.log(high))) if dimension.log else draw.uniform(low, high)
    return min(max(value, low), high), FloatDistribution(low, high, log=dimension.log)


def _curve(config: Configuration, draw: random.Random, epochs: int) -> list[float]:
    last = 0.8 - 0.06 * (math.log10(config.number("lr")) + 2) ** 2 + draw.gauss(0, 0.02)
    return [0.1 + (last - 0.1) * (1 - math.exp(-epoch / 6)) for epoch in range(1, epochs + 1)]


def _history(curve: Sequence[float]) -> dict[str, list[float]]:
    return {
        "train_loss": [-0.9 * math.log(value) for value in curve],
        "train_accuracy": list(curve),
        "val_loss": [-math.log(value) for value in curve],
        "val_accuracy": list(curve),
        "lr": [0.1] * len(curve),
        "seconds": [2.5] * len(curve),
    }


def _copy(engine: Engine, wanted: int) -> None:
    """Double the trials until there are so many, each copy with the parts of its original."""
    metadata = MetaData()
    metadata.reflect(engine)
    trials = metadata.tables["trials"]
    with engine.begin() as connection:
        while (count := connection.scalar(select(func.count()).select_from(trials)) or 0) < wanted:
            _copy_rows(connection, trials, count, wanted - count, ("trial_id", "number"))
            for name in _FINISHED_PARTS:
                _copy_rows(connection, metadata.tables[name], count, wanted - count, ("trial_id",))
        if engine.dialect.name == "postgresql":  # the sequence has not noticed
            connection.execute(text("SELECT setval('trials_trial_id_seq', (SELECT max(trial_id) FROM trials))"))


def _copy_rows(connection: Connection, table: Table, shift: int, most: int, shifted: tuple[str, ...]) -> None:
    """Copy the rows of the trials 1 to `most`, of those that there are, under ids that are higher by `shift`."""
    own_key = {column.name for column in table.primary_key} - set(shifted)
    names = [column.name for column in table.columns if column.name not in own_key]
    rows = select(*(table.c[name] + literal(shift) if name in shifted else table.c[name] for name in names))
    rows = rows.where(table.c.trial_id <= min(shift, most))
    connection.execute(insert(table).from_select(names, rows))


def load(storage: RDBStorage, name: str) -> optuna.Study:
    """Optuna's own object."""
    return optuna.load_study(study_name=name, storage=storage)
