"""Optuna's relational storage, except that a new trial is sent once.

Optuna sends it up to five times. Where it arrived the first time and only the answer was lost, there would be two of
it, of which nobody knows the second. Whoever sees the error can look what arrived.
"""

import copy
from typing import cast

from optuna.storages import RDBStorage
from optuna.storages._rdb.models import StudyModel
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial


class OneAttemptStorage(RDBStorage):
    """See `RDBStorage`; a trial that is given whole is created in one attempt, or an error is raised."""

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        if template_trial is None:
            return super()._create_new_trial(study_id)
        with _create_scoped_session(self.scoped_session) as session:
            StudyModel.find_or_raise_by_id(study_id, session, for_update=True)  # numbers are given one by one
            created = self._get_prepared_new_trial(study_id, template_trial, session)
            trial = copy.deepcopy(template_trial)
            trial.number, trial._trial_id = cast(int, created.number), cast(int, created.trial_id)
            return trial
