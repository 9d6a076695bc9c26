"""Which studies a storage holds, and the specification that is stored with each."""

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from sqlalchemy import Engine

from cifar_tune.data.spec import as_before_resize
from cifar_tune.errors import Problem, UserError, nearest_name
from cifar_tune.knobs.table import BEFORE_THEY_WERE_KNOBS
from cifar_tune.optuna_ended import oldest_trials
from cifar_tune.optuna_storage import BatchStorage, is_of_what_is_gone
from cifar_tune.optuna_studies import names_of_studies
from cifar_tune.optuna_tables import damage
from cifar_tune.storage import attributes
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.versions import is_copy
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import DEFAULTS, StudySpec
from cifar_tune.study_spec.yaml_reader import Document

_KEPT = 256
"""Specifications that stay in memory."""


class ForeignStudyError(UserError):
    """Another tool made the study."""


def study_names(storage: BaseStorage) -> list[str]:
    """The names of all studies in the storage, whoever made them."""
    names = names_of_studies(storage.engine) if isinstance(storage, RDBStorage) else optuna.get_all_study_names(storage)
    return sorted(name for name in map(str, names) if not is_copy(name))


def require_study(storage: BaseStorage, name: str) -> None:
    """See that there is a study of that name.

    Raises:
        UserError: with the names that there are, if there is none.
    """
    names = study_names(storage)
    if name not in names:
        made = f"; finalize makes it: cifar-tune finalize {parent}" if (parent := parent_of(name)) in names else ""
        known = f"it holds {', '.join(names)}" if names else "it holds none yet"
        raise UserError(Problem(f"the storage has no study {name!r}; {known}{made}", nearest=nearest_name(name, names)))


def load_optuna_study(storage: BaseStorage, name: str) -> optuna.Study:
    """Optuna's own object.

    Raises:
        UserError: if the storage has no study of that name.
    """
    with while_it_is_there(storage, name):
        return optuna.load_study(study_name=name, storage=storage)


def find_optuna_study(storage: BaseStorage, name: str) -> optuna.Study | None:
    """The same; None if the storage has no study of that name.

    Raises:
        UserError: MySQL takes the name for that of another study.
    """
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


@contextmanager
def while_it_is_there(storage: BaseStorage, name: str) -> Iterator[None]:
    """A block that reads a study, which somebody else may delete at any moment.

    Raises:
        UserError: it is not there, or was deleted in between.
    """
    try:
        if is_copy(name):
            require_study(storage, name)  # which hides copies
        yield
    except KeyError as error:
        require_study(storage, name)  # which names all that there are
        if not is_of_what_is_gone(error):
            raise
        raise UserError(Problem(f"the study {name!r} was deleted or renamed a moment ago")) from error


def identity_of(engine: Engine, study: int, attrs: Mapping[str, Any]) -> Hashable:
    """Something that no other study ever has. SQLite gives the id of a deleted study, and those of its trials, again.

    Args:
        engine: of the database.
        study: its id.
        attrs: its user attributes.

    Returns:
        `attributes.IDENTITY`. An early version stored none; then the id and the start of the oldest trial.
    """
    own = attrs.get(attributes.IDENTITY)
    return own if isinstance(own, str) else oldest_trials(engine, [study]).get(study)


def read_spec(study: optuna.Study) -> StudySpec:
    """The specification that is stored with the study. Of its plugins it holds descriptions, which train nothing.

    It has the name that the study has now: a study that was copied or renamed holds the specification of the old name.

    Raises:
        UserError: if another tool made the study, or another version wrote what this one cannot read.
    """
    return _read_spec(study.study_name, study.user_attrs, study.directions)


def read_study_attributes(storage: BatchStorage, name: str) -> tuple[int, StudySpec, dict[str, Any]]:
    """The id of a study, its specification and all of its attributes, each read once.

    Raises:
        UserError: if the storage has no study of that name; and as `read_spec`.
    """
    with while_it_is_there(storage, name):
        study = storage.get_study_id_from_name(name)
        directions = storage.get_study_directions(study)
        attrs = storage.get_study_user_attrs(study)  # last: of a study that is deleted meanwhile, this finds out
    return study, _read_spec(name, attrs, directions), attrs


def _read_spec(name: str, attrs: Mapping[str, Any], directions: Sequence[StudyDirection]) -> StudySpec:
    spec = read_stored_spec(name, attrs.get(attributes.SPEC))
    shown = [direction.name.lower() for direction in directions]
    if shown != [objective.direction for objective in spec.objectives]:
        raise damage(name, f"its directions are {shown}, which are not those of its specification")
    return spec


def read_stored_spec(name: str, plain: object) -> StudySpec:
    """The same of what a study holds as its specification.

    Raises:
        UserError: as above.
    """
    if not isinstance(plain, dict) or not isinstance(plain.get(DEFAULTS, {}), dict):
        raise ForeignStudyError(Problem(f"the study {name!r} was not made by cifar-tune"))
    return _read_text(name, json.dumps(plain))


@lru_cache(_KEPT)
def _read_text(name: str, text: str) -> StudySpec:
    """The same of the JSON text, which is read and checked once: whoever watches a study asks each second."""
    plain = json.loads(text)
    sections = {key: value for key, value in plain.items() if key != DEFAULTS}
    began = BEFORE_THEY_WERE_KNOBS | plain.get(DEFAULTS, {})
    earlier = {knob for knob, before in BEFORE_THEY_WERE_KNOBS.items() if began[knob] == before}
    data = sections.get("data")
    if isinstance(data, dict):
        sections["data"] = as_before_resize(data)
    source = f"the stored study {name!r}"
    parent = parent_of(name)
    if parent is not None:
        sections["name"] = "linked"  # no study file can have its name
    return replace(read_study(Document(sections), source, is_stored=True, earlier=earlier).spec, name=name)
