"""Optuna's relational storage, except that a trial is written as a whole.

Optuna looks for each report and each attribute before it writes it, and gives each a transaction of its own once the
trial exists: of a trial with 30 epochs, nine tenths of the time that writing takes. Here they are added to Optuna's own
tables, by its own models, in one transaction. This leaves its public interface; it was written for Optuna 5, and tests
compare what is read back with what was written.

Optuna also sends a new trial up to five times. Where it arrived the first time and only the answer was lost, there
would be two of it, of which nobody knows the second; so it is sent once, and whoever sees the error can look what
arrived.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any, cast

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select
from sqlalchemy.orm import Session


class BatchStorage(RDBStorage):
    """See `RDBStorage`."""

    def __init__(self, url: str, engine_kwargs: dict[str, Any] | None = None) -> None:
        super().__init__(url, engine_kwargs)
        # of the knobs that were written here, by study: Optuna has compared them with what the study has
        self._distributions: dict[tuple[int, str], BaseDistribution] = {}

    def create_numbered(self, study_id: int, trial: FrozenTrial) -> tuple[int, int]:
        """See `create_new_trial`; returns the trial's id and its number."""
        created = self._create_new_trial(study_id, trial)
        return created._trial_id, created.number

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        if template_trial is None:
            return super()._create_new_trial(study_id)
        bare = copy.copy(template_trial)
        bare.intermediate_values, bare.user_attrs, bare.system_attrs = {}, {}, {}
        distributions = {(study_id, name): each for name, each in template_trial.distributions.items()}
        is_known = all(self._distributions.get(name) == each for name, each in distributions.items())
        if is_known:
            bare.params, bare.distributions = {}, {}
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)  # numbers are given one by one
            created = self._get_prepared_new_trial(study_id, bare, session)
            trial = copy.copy(template_trial)
            trial.number, trial._trial_id = cast(int, created.number), cast(int, created.trial_id)
            _add_reports(session, trial._trial_id, template_trial.intermediate_values)
            if is_known:
                _add_params(session, trial)
            for model, attributes in _attributes(template_trial.user_attrs, template_trial.system_attrs):
                session.add_all(
                    model(trial_id=trial._trial_id, key=key, value_json=json.dumps(value))
                    for key, value in attributes.items()
                )
        self._distributions.update(distributions)
        return trial

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
            _add_reports(session, trial_id, {step: value for step, value in reports.items() if step not in there})
            for step in there:  # another program was quicker
                self._set_trial_intermediate_value_without_commit(session, trial_id, step, reports[step])
            for model, attributes in _attributes(user, system):
                for key, value in attributes.items():
                    self._set_trial_attr_without_commit(session, model, trial_id, key, value)


_Attribute = type[models.TrialUserAttributeModel | models.TrialSystemAttributeModel]


def _attributes(user: Mapping[str, Any], system: Mapping[str, Any]) -> tuple[tuple[_Attribute, Mapping[str, Any]], ...]:
    return (models.TrialUserAttributeModel, user), (models.TrialSystemAttributeModel, system)


def _add_params(session: Session, trial: FrozenTrial) -> None:
    session.add_all(
        models.TrialParamModel(
            trial_id=trial._trial_id,
            param_name=name,
            param_value=trial.distributions[name].to_internal_repr(value),
            distribution_json=distribution_to_json(trial.distributions[name]),
        )
        for name, value in trial.params.items()
    )


def _steps_of(session: Session, trial_id: int, reports: Mapping[int, float]) -> list[int]:
    """Of which of the reports there is a row already."""
    model = models.TrialIntermediateValueModel
    wanted = select(model.step).where(model.trial_id == trial_id, model.step.in_(reports))
    return [int(step) for step in session.scalars(wanted)] if reports else []


def _add_reports(session: Session, trial_id: int, reports: Mapping[int, float]) -> None:
    model = models.TrialIntermediateValueModel
    for step, value in reports.items():
        stored, kind = model.intermediate_value_to_stored_repr(value)
        session.add(model(trial_id=trial_id, step=step, intermediate_value=stored, intermediate_value_type=kind))
