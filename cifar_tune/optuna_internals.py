"""What cifar-tune uses of Optuna and what Optuna does not promise to keep.

These are private names, keys under which it stores things, and habits of its classes. Any release may change them, so
they are used here and in the other modules `optuna_*` (its storage, its tables), and nowhere else. Each docstring says
what it relies on. `tests/test_optuna_contract.py` tries each of them on the Optuna that is installed, and says in a
sentence what changed.
"""

import json
from collections.abc import Container, Sequence
from contextlib import suppress
from functools import cached_property

from optuna import Study, Trial
from optuna.distributions import BaseDistribution
from optuna.pruners import HyperbandPruner as OptunaHyperbandPruner
from optuna.samplers import BaseSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy as FrozenStudy  # noqa: PLC0414 (the type of what `get_all_studies` returns)
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_studies import StudyRows
from cifar_tune.statistics.densities import divergence

ENQUEUED = "fixed_params"
"""Under this system attribute of a trial, `Study.enqueue_trial` keeps the parameters that it was given."""

RUNG = "completed_rung_"
"""Under this and a number from 0, successive halving keeps in a trial's system attributes what it had reached there."""

QMC_COUNTER = "qmc:"
"""Under this and a hash, a quasi-random sampler keeps in the study's system attributes how many points it has drawn."""

CONSTRAINT = "constraints:"
"""Under this and a name, `Trial.set_constraint` keeps in the trial's system attributes how far it is broken."""

CONSTRAINTS_OF_OPTUNA_4 = "constraints"
"""Under this system attribute, Optuna 4 kept a list of the same; optuna-dashboard 0.21 reads nothing else."""

NOTE_VERSION = "dashboard:note_ver"
"""Under this system attribute of a study, optuna-dashboard counts how often its note was written."""

NOTE_TEXT = "dashboard:note_str:"
"""Under this and a number from 0, it keeps the pieces of the note's text."""

NOTE_PIECE = 2045
"""Characters of one piece."""

ARTIFACT = "artifacts:"
"""Under this and its id, `upload_artifact` keeps in a trial's system attributes what a file is."""


def trial_id(trial: Trial | FrozenTrial) -> int:
    """The trial's id in its storage. Relies on `_trial_id` of both classes."""
    return trial._trial_id


def study_id(study: Study | FrozenStudy) -> int:
    """The study's id in its storage. Relies on `_study_id` of both classes."""
    return study._study_id


def frozen_study(study: int, rows: StudyRows) -> FrozenStudy:
    """A study as `get_all_studies` returns it. Relies on the constructor of `FrozenStudy`.

    Args:
        study: its id.
        rows: what is stored of it.

    Raises:
        ValueError: an attribute is no JSON.
        TypeError: likewise.
    """
    user, system = ({key: json.loads(text) for key, text in each} for each in (rows.user, rows.system))
    return FrozenStudy(rows.name, None, user, system, study, directions=list(rows.directions))


def storage_of(study: Study) -> BaseStorage:
    """The storage that the study was loaded from. Relies on `Study._storage`."""
    return study._storage


def as_asked(study: Study, trial: FrozenTrial) -> Trial:
    """A stored trial that runs, as `Study.ask` would have returned it.

    Relies on the constructor of `Trial`, which takes a study and an id, and changes nothing.
    """
    return Trial(study, trial_id(trial))


def as_stored(trial: Trial) -> FrozenTrial:
    """The trial as its storage has it. Relies on `Trial.storage` and `Trial._trial_id`."""
    return trial.storage.get_trial(trial_id(trial))


def show_constraints(trial: Trial, violations: Sequence[float]) -> None:
    """Store how far a trial breaks its constraints where the dashboard looks for it.

    Relies on `Trial.storage`, `Trial._trial_id` and the key CONSTRAINTS_OF_OPTUNA_4.
    """
    trial.storage.set_trial_system_attr(trial_id(trial), CONSTRAINTS_OF_OPTUNA_4, list(violations))


def asks_what_waits(states: Container[TrialState] | None) -> bool:
    """Whether `BaseStorage.get_all_trials` was called with these `states` by `Study.ask`, to take the first trial.

    Relies on `Study.ask`, which looks for waiting trials in this way and in no other.
    """
    return states == (TrialState.WAITING,)


def share_search_space(sampler: BaseSampler, space: IntersectionSearchSpace | None) -> IntersectionSearchSpace | None:
    """Let a sampler go on with what an earlier one of its kind found out: the knobs that all trials have in common.

    Relies on the attribute `_search_space` of TPE and CMA-ES, which holds it, and which they ask again for each trial.

    Args:
        sampler: a new one.
        space: that of the earlier one; None if there was none.

    Returns:
        What the sampler now has; `space` itself if it is of a kind that keeps nothing.
    """
    own = getattr(sampler, "_search_space", None)
    if not isinstance(own, IntersectionSearchSpace):
        return space
    found = space or own
    sampler._search_space = found  # type: ignore[attr-defined]
    return found


class HyperbandPruner(OptunaHyperbandPruner):
    """Optuna's Hyperband for one study, which tells the bracket of a trial and remembers it.

    Optuna draws it from the study's name and the trial's number, again for every trial whenever one reaches a rung, and
    whenever a sampler is asked, which sees the trials of one bracket.

    Relies on `_get_bracket_id`, which is called for each trial; on `_pruners`, empty as long as there are no brackets;
    and on `_try_initialization`, which makes them.
    """

    @cached_property
    def _brackets(self) -> dict[int, int]:
        """By the trial's number."""
        return {}

    def bracket_of(self, study: Study, trial: FrozenTrial) -> int:
        """The number of a trial's bracket; in bracket b, the first rung is at `min_resource * factor**b`."""
        if not self._pruners:
            self._try_initialization(study)
        return self._get_bracket_id(study, trial)

    def _get_bracket_id(self, study: Study, trial: FrozenTrial) -> int:
        known = self._brackets.get(trial.number)
        if known is None:
            known = super()._get_bracket_id(study, trial)
            if self._pruners:
                self._brackets[trial.number] = known
        return known


def ped_anova(study: Study, top_share: float) -> dict[str, float]:
    """The figures of Optuna's PED-ANOVA by knob, computed in a fraction of the time, for hundreds of them.

    Relies on `_compute_pearson_divergence`, which is called for each knob with the best trials and with all.
    """
    from optuna.importance import (  # noqa: PLC0415 (they import scikit-learn, in a second)
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    class Quick(PedAnovaImportanceEvaluator):
        def _compute_pearson_divergence(
            self,
            param_name: str,
            dist: BaseDistribution,
            target_trials: list[FrozenTrial],
            region_trials: list[FrozenTrial],
        ) -> float:
            near, among = ([trial.params[param_name] for trial in trials] for trials in (target_trials, region_trials))
            return divergence(dist, near, among)

    return get_param_importances(study, evaluator=Quick(target_quantile=top_share), normalize=False)


class StudyInMemory(InMemoryStorage):
    """One study in memory, whose id is 0; the id of a trial is its number.

    Relies on the habits of `InMemoryStorage`: it counts ids of studies and of trials from 0, and a change puts a new
    object in the place of a trial, whose unchanged attributes are the same objects. `take` relies on its private
    attributes, and on `_update_cache`, which knows the best trial.
    """

    def __init__(self, directions: Sequence[StudyDirection], name: str) -> None:
        super().__init__()
        self.create_new_study(directions, name)

    def take(self, trial: FrozenTrial) -> None:
        """Let a trial be the next one. Nothing is copied: it gets another number and id, and belongs to the memory."""
        with self._lock:
            number = len(self._studies[0].trials)
            trial.number, trial._trial_id = number, number
            self._max_trial_id = number
            self._trial_id_to_study_id_and_number[number] = (0, number)
            self._studies[0].trials.append(trial)
            self._update_cache(number, 0)

    def bring_up_to_date(self, trial: FrozenTrial) -> None:
        """Let a trial that another program ran be here what it is in the database."""
        number, known = trial.number, self.get_trial(trial.number).params
        for name, value in trial.params.items():
            if name not in known:
                distribution = trial.distributions[name]
                with suppress(ValueError):  # of another kind than the study has, which is refused elsewhere
                    self.set_trial_param(number, name, distribution.to_internal_repr(value), distribution)
        for step, value in trial.intermediate_values.items():
            self.set_trial_intermediate_value(number, step, value)
        for key, value in trial.user_attrs.items():
            self.set_trial_user_attr(number, key, value)
        for key, value in trial.system_attrs.items():
            self.set_trial_system_attr(number, key, value)
        self.set_trial_state_values(number, trial.state, trial.values)
