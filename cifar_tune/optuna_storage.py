"""Optuna's relational storage with quicker and safer ways to read and write: `BatchStorage`.

Like everything in `optuna_internals`, what is used here of Optuna without a promise is used in this file alone;
`tests/test_optuna_contract.py` tries it on the Optuna that is installed.
"""

import copy
import re
from collections.abc import Collection, Container, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Table, delete, select
from sqlalchemy.orm import Session

from cifar_tune.errors import DamagedError
from cifar_tune.optuna_questions import study_of_trial
from cifar_tune.optuna_rows import add_reports, add_trials
from cifar_tune.optuna_studies import attributes_of_study, names_of_studies
from cifar_tune.optuna_tables import (
    ALL_PARTS,
    STUDY_SYSTEM_ATTRIBUTES,
    STUDY_USER_ATTRIBUTES,
    TRIALS,
    Decoded,
    Parts,
    SenselessError,
    damage,
    naming_damage,
    read_trials,
    undecodable,
)


def is_of_what_is_gone(error: KeyError) -> bool:
    """Whether a storage has raised this, since a study or a trial is not there. Relies on `NOT_FOUND_MSG`."""
    return error.args == (models.NOT_FOUND_MSG,)


class BatchStorage(RDBStorage):
    """Optuna's relational storage, except that trials are read in bulk, and that a trial is written as a whole.

    Optuna looks for each report and each attribute before it writes it, and gives each a transaction of its own once
    the trial exists: of a trial with 30 epochs, nine tenths of the time that writing takes. Here they are added to
    Optuna's own tables in one transaction, as rows. Tests compare what is read back with what was written.

    Optuna also sends a new trial up to five times. Where it arrived the first time and only the answer was lost, there
    would be two of it, of which nobody knows the second; so it is sent once, and whoever sees the error can look what
    arrived.

    Relies on `RDBStorage._get_trials`, by which all trials are read, also by the cache of
    `optuna.storages.get_storage`; on `RDBStorage._create_new_trial`, which `create_new_trial` calls, and which returns
    the trial as it was created; on `_set_trial_intermediate_value_without_commit` and `_set_trial_attr_without_commit`,
    which write within a transaction; on `_create_scoped_session`, which is one; on `scoped_session` and `engine`; on
    the models of the tables; and on `_version_manager`, whose `check_table_schema_compatibility` raises what Optuna
    says of tables of another version.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any] | None = None) -> None:
        super().__init__(url, engine_kwargs, skip_compatibility_check=True)
        if self.get_current_version() != newest_schema():  # which takes a tenth of the time that Optuna's check takes
            self._version_manager.check_table_schema_compatibility()
        # of the knobs that were written here, by study: Optuna has compared them with what the study has
        self._distributions: dict[tuple[int, str], BaseDistribution] = {}
        self._decoded = Decoded()

    def write_at_once(self) -> None:
        """Let a transaction send its new rows together at its end, not one by one before each of its next queries.

        None of these queries looks for rows of its own transaction, so nothing changes but the time.
        """
        self.remove_session()  # it would keep its old ways
        self.scoped_session.configure(autoflush=False)

    def read_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None = None,
        ids: Collection[int] | None = None,
        parts: Parts = ALL_PARTS,
    ) -> list[FrozenTrial]:
        """All trials of a study, in the order in which they arrived.

        Args:
            study_id: of the study.
            states: in which they are; None for all.
            ids: of the trials; None for all.
            parts: what is read of them.

        Raises:
            KeyError: there is no such study.
            DamagedError: naming the trial, if what is stored of it makes no sense.
            StorageInternalError: the database failed.
        """
        return self._read(study_id, states, None if ids is None else (ids, None), parts)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return self._read(study_id, states, (included_trial_ids, trial_id_greater_than), ALL_PARTS)

    def _read(
        self, study: int, states: Container[TrialState] | None, only: tuple[Collection[int], int | None] | None,
        parts: Parts,
    ) -> list[FrozenTrial]:  # fmt: skip
        try:
            return self._read_sound(study, states, only, parts)
        except (SenselessError, StorageInternalError) as error:
            if isinstance(error, StorageInternalError) and undecodable(error) is None:
                raise
            damaged = self._damage(study, parts, error)
            if damaged is not None:
                raise damaged from error
        with naming_damage(self.get_study_name_from_id(study)):  # it was changed while it was read
            return self._read_sound(study, states, only, parts)

    def _read_sound(
        self, study: int, states: Container[TrialState] | None, only: tuple[Collection[int], int | None] | None,
        parts: Parts,
    ) -> list[FrozenTrial]:  # fmt: skip
        with _create_scoped_session(self.scoped_session) as session:
            trials = read_trials(session, study, self._decoded, states, only, parts)
            if not trials:
                models.StudyModel.find_or_raise_by_id(study, session)
        for trial in trials:
            self.check_trial(study, trial, parts)
        return trials

    def _damage(self, study: int, parts: Parts, error: Exception) -> DamagedError | None:
        """The damage of a trial, which is found by reading them one by one; None if there is none any more."""
        name = self.get_study_name_from_id(study)
        with self.engine.connect() as connection:
            rows = connection.execute(
                select(TRIALS.c.trial_id, TRIALS.c.number).where(TRIALS.c.study_id == study)
            ).all()
        for each, number in rows:
            try:
                self._read_sound(study, None, ((each,), None), parts)
            except (SenselessError, StorageInternalError) as found:
                return damage(name, f"trial {number}: {undecodable(found) or found}")
        words = undecodable(error)
        return None if words is None else damage(name, words)

    def check_trial(self, study_id: int, trial: FrozenTrial, parts: Parts) -> None:
        """Raise SenselessError if the trial, of which `parts` were read, has what no trial of the study can have."""

    def check_study(self, user_attrs: Mapping[str, Any]) -> None:
        """The same for the attributes of a study."""

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `BaseStorage`."""
        study = study_of_trial(self.engine, trial_id)
        found = [] if study is None else self._read(study, None, ((trial_id,), None), ALL_PARTS)
        return found[0] if found else super().get_trial(trial_id)  # which raises what Optuna expects

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`.

        Raises:
            DamagedError: also.
        """
        with naming_damage(lambda: self.get_study_name_from_id(study_id)):
            found = self._attributes_of_study(STUDY_USER_ATTRIBUTES, study_id)
            self.check_study(found)
        return found

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """The same."""
        with naming_damage(lambda: self.get_study_name_from_id(study_id)):
            return self._attributes_of_study(STUDY_SYSTEM_ATTRIBUTES, study_id)

    def _attributes_of_study(self, table: Table, study_id: int) -> dict[str, Any]:
        with _create_scoped_session(self.scoped_session) as session:
            found = attributes_of_study(session, table, study_id)
            if not found:
                models.StudyModel.find_or_raise_by_id(study_id, session)
        return found

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """The same."""
        with naming_damage(lambda: self.get_study_name_from_id(study_id)):
            try:
                return super().get_study_directions(study_id)
            except LookupError as error:
                if isinstance(error, KeyError):  # there is no such study
                    raise
                raise SenselessError(f"its directions cannot be read: {error}") from error

    def get_all_studies(self) -> list[FrozenStudy]:
        """See `BaseStorage`. Of a study with attributes that make no sense these are empty: others stay usable.

        Whoever reads that study itself is told.
        """
        try:
            return super().get_all_studies()
        except (ValueError, TypeError, LookupError, StorageInternalError) as error:
            if isinstance(error, StorageInternalError) and undecodable(error) is None:
                raise
        studies = []
        for name in names_of_studies(self.engine):
            user: dict[str, Any] = {}
            system: dict[str, Any] = {}
            with suppress(KeyError):  # it was deleted a moment ago
                own = self.get_study_id_from_name(name)
                directions = [StudyDirection.NOT_SET]
                with suppress(DamagedError):
                    directions = self.get_study_directions(own)
                    user, system = self.get_study_user_attrs(own), self.get_study_system_attrs(own)
                studies.append(FrozenStudy(name, None, user, system, own, directions=directions))
        return studies

    def delete_study(self, study_id: int) -> None:
        """See `BaseStorage`. Nothing of it is read first: what makes no sense can be deleted too.

        Relies on every table that belongs to a study or to a trial having a column study_id or trial_id.
        """
        of_study = select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            for table in reversed(models.BaseModel.metadata.sorted_tables):
                if "trial_id" in table.c and table is not TRIALS:
                    session.execute(delete(table).where(table.c.trial_id.in_(of_study)))
                elif "study_id" in table.c:
                    session.execute(delete(table).where(table.c.study_id == study_id))

    def create_numbered(self, study_id: int, trial: FrozenTrial) -> tuple[int, int]:
        """See `create_new_trial`; returns the trial's id and its number."""
        ids, number = self._add_trials(study_id, [trial])
        return ids[0], number

    def create_trials(self, study_id: int, trials: Sequence[FrozenTrial]) -> list[int]:
        """Create many trials in one transaction, all of them or none. Each is what `create_new_trial` makes of it.

        Args:
            study_id: of the study.
            trials: in the order in which they are numbered; their own numbers are ignored.

        Returns:
            Their ids.

        Raises:
            KeyError: there is no such study.
            ValueError: one of them has another kind of parameter than the study.
            StorageInternalError: the database failed.
        """
        return self._add_trials(study_id, trials)[0] if trials else []

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        if template_trial is None:
            return super()._create_new_trial(study_id)
        trial = copy.copy(template_trial)
        (trial._trial_id,), trial.number = self._add_trials(study_id, [template_trial])
        return trial

    def _add_trials(self, study_id: int, trials: Sequence[FrozenTrial]) -> tuple[list[int], int]:
        """The ids of new trials, and the number of the first one."""
        with _create_scoped_session(self.scoped_session) as session:
            added = add_trials(session.connection(), study_id, trials, self._distributions)
        for trial in trials:
            self._distributions.update({(study_id, name): each for name, each in trial.distributions.items()})
        return added

    def add_to_trial(
        self, trial_id: int, reports: Mapping[int, float], user: Mapping[str, Any], system: Mapping[str, Any]
    ) -> None:
        """Write reports by step, and attributes, of a trial that has not ended.

        Raises:
            KeyError: there is no such trial.
            UpdateFinishedTrialError: it has ended.
            StorageInternalError: the database failed.
        """
        with _create_scoped_session(self.scoped_session) as session:
            trial = models.TrialModel.find_or_raise_by_id(trial_id, session)
            self.check_trial_is_updatable(trial_id, cast(TrialState, trial.state))
            there = _steps_of(session, trial_id, reports)
            new = {step: value for step, value in reports.items() if step not in there}
            add_reports(session.connection(), trial_id, new)
            for step in there:  # another program was quicker
                self._set_trial_intermediate_value_without_commit(session, trial_id, step, reports[step])
            for model, attributes in _attributes(user, system):
                for key, value in attributes.items():
                    self._set_trial_attr_without_commit(session, model, trial_id, key, value)


_MIGRATION = re.compile(r"(v(\d+)\.(\d+)\.(\d+)\.([a-z]))_?\.py")


@cache
def newest_schema() -> str | None:
    """The version of the tables that the installed Optuna makes; None if the names of its files do not tell.

    Optuna reads all of its migrations to find out. Relies on each being a file with the name of its version.
    """
    folder = Path(models.__file__).with_name("alembic") / "versions"
    found = [_MIGRATION.fullmatch(file.name) for file in folder.glob("v*.py")]
    versions = {(int(each[2]), int(each[3]), int(each[4]), each[5]): each[1] for each in found if each is not None}
    return versions[max(versions)] if len(versions) == len(found) > 0 else None


_Attribute = type[models.TrialUserAttributeModel | models.TrialSystemAttributeModel]


def _attributes(user: Mapping[str, Any], system: Mapping[str, Any]) -> tuple[tuple[_Attribute, Mapping[str, Any]], ...]:
    """The models of both kinds. Relies on their columns trial_id, key and value_json."""
    return (models.TrialUserAttributeModel, user), (models.TrialSystemAttributeModel, system)


def _steps_of(session: Session, trial_id: int, reports: Mapping[int, float]) -> list[int]:
    """Of which of the reports there is a row already. Relies on columns of `TrialIntermediateValueModel`."""
    model = models.TrialIntermediateValueModel
    wanted = select(model.step).where(model.trial_id == trial_id, model.step.in_(reports))
    return [int(step) for step in session.scalars(wanted)] if reports else []
