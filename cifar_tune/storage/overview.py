"""What `status` tells of a study, found out by the database, without reading the trials that have ended.

`load_record` tells the same and more, and reads everything: at 20,000 trials, thousands of times as much.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_ended import outline
from cifar_tune.optuna_internals import trial_id
from cifar_tune.optuna_questions import (
    counts_of_user_attribute,
    ended_last,
    ended_without_user_attribute,
    user_attribute_of_trials,
)
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import SenselessError, naming_damage
from cifar_tune.storage import attributes
from cifar_tune.storage.constraints import was_finished_elsewhere, without_best_words
from cifar_tune.storage.damage import check_values
from cifar_tune.storage.ended import (
    JUDGED_BY,
    READ,
    VALUES,
    Ended,
    EndedTrials,
    candidates,
    counted,
    front_of,
    read_whole,
    records_of,
    texts,
)
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.means import MEAN_OF, by_configuration, completed_values, judged, mean_trials
from cifar_tune.storage.openings import Elsewhere, Opening, openings_elsewhere, read_openings
from cifar_tune.storage.records import FINISHED, TrialRecord, trial_record
from cifar_tune.storage.stored_studies import identity_of, read_study_attributes, while_it_is_there
from cifar_tune.study_spec.specification import StudySpec

_GROUPED_BY = replace(JUDGED_BY, params=True, user=(*READ, attributes.REPEAT))
"""The same of a study with `repeats`: which trials are trainings of one configuration."""


@dataclass(frozen=True)
class Overview:
    """A study as it stands.

    Attributes:
        name: of the study.
        identity: see `stored_studies.identity_of`.
        spec: its specification.
        counts: how many trials are in each state, by the name of the state.
        reasons: how many trials ended for each of REASONS.
        strangers: see `StudyRecord.strangers`.
        best: see `StudyRecord.best`.
        front: see `StudyRecord.front`; of one objective the best trial alone.
        has_own: whether this program ended one of the completed trials.
        last: those that ended last, in the order of their ends; as many as were asked for.
        unfinished: the trials that run or wait, by their numbers.
        failed: errors by the numbers of the trials that failed; None where none is stored.
        openings: of the test split.
        elsewhere: see `StudyRecord.elsewhere`.
        evolved: what `run --evolve` made it from; None if it did not.
        elapsed_seconds: over all runs.
        data: what is known of the images; empty before the first run began.
        stopped: see `StudyRecord.stopped`.
        incomplete: how many configurations have completed trainings, but not all of them; 0 without `repeats`.
    """

    name: str
    identity: Hashable
    spec: StudySpec
    counts: Mapping[str, int]
    reasons: Mapping[str, int]
    strangers: int
    best: TrialRecord | None
    front: Sequence[TrialRecord]
    has_own: bool
    last: Sequence[TrialRecord]
    unfinished: Sequence[TrialRecord]
    failed: Mapping[int, str | None]
    openings: Sequence[Opening]
    evolved: Mapping[str, Any] | None
    elapsed_seconds: float
    data: Mapping[str, Any]
    stopped: Mapping[str, Any] | None = None
    elsewhere: Sequence[Elsewhere] = ()
    incomplete: int = 0

    @property
    def finished(self) -> int:
        """How many trials count against the budget."""
        return sum(self.counts.get(state, 0) for state in FINISHED)

    @property
    def without_best_words(self) -> str:
        """See `StudyRecord.without_best_words`."""
        return without_best_words(self.name, self.spec, self.counts.get("COMPLETE", 0), self.has_own)


def overview(storage: BatchStorage, name: str, last: int = 0, ended: EndedTrials | None = None) -> Overview:
    """Look at one study.

    Args:
        storage: that holds it.
        name: of the study.
        last: of this many trials that ended last, everything is read.
        ended: knows those that have ended from earlier looks, and sees to it that few of them are read. None: all of
            them are, and looked through for damage.

    Raises:
        UserError: if the storage has no study of that name, or another tool made it.
        DamagedError: if what it holds of the study makes no sense.
    """
    with while_it_is_there(storage, name), naming_damage(name):
        return _overview(storage, name, last, ended)


def _overview(storage: BatchStorage, name: str, last: int, known: EndedTrials | None) -> Overview:
    own, spec, attrs = read_study_attributes(storage, name)
    trials = outline(storage.engine, own)
    counts, count = trials.counts, sum(trials.counts.values())
    if trials.highest_number != count - 1:
        raise SenselessError(f"there are {count} trials, and the last one is trial {trials.highest_number}")
    identity = identity_of(storage.engine, own, attrs)
    incomplete = 0
    last_ids = ended_last(storage.engine, own, last) if last else []
    if known is None or spec.repeats is not None:
        ended, front, incomplete = _all_ended(storage, own, spec)
        newest = _whole(storage, own, spec, last_ids)
    else:
        ended, whole = known.of(own, identity, spec, trials, last_ids)
        front = [] if parent_of(name) is not None else _in_order(whole, [each.id for each in ended.front])
        newest = _in_order(whole, last_ids)
    waiting_or_running = storage.read_trials(own, (TrialState.RUNNING, TrialState.WAITING)) if trials.unfinished else []
    openings = read_openings(attrs)
    return Overview(
        name=name,
        identity=identity,
        spec=spec,
        counts={state.name: count for state, count in counts.items()},
        reasons=ended.reasons,
        strangers=ended.strangers,
        best=front[0] if front else None,
        front=front,
        has_own=ended.has_own,
        last=newest,
        unfinished=_records(waiting_or_running, spec),
        failed=dict(sorted(ended.failed.items())),
        openings=openings,
        elsewhere=openings_elsewhere(storage, name, openings),
        evolved=attrs.get(attributes.EVOLVED),
        elapsed_seconds=float(attrs.get(attributes.ELAPSED, 0.0)),
        data=attrs.get(attributes.DATA) or {},
        stopped=attrs.get(attributes.STOPPED),
        incomplete=incomplete,
    )


def _all_ended(storage: BatchStorage, study: int, spec: StudySpec) -> tuple[Ended, list[TrialRecord], int]:
    """What all that have ended come to, their front, and how many configurations lack trainings."""
    completed = storage.read_trials(
        study, (TrialState.COMPLETE,), parts=JUDGED_BY if spec.repeats is None else _GROUPED_BY
    )
    front = _front(storage, study, spec, completed)
    errors = texts(user_attribute_of_trials(storage.engine, study, attributes.ERROR))
    failed = storage.read_trials(study, (TrialState.FAIL,), parts=VALUES)
    ended = Ended(
        reasons=counted(counts_of_user_attribute(storage.engine, study, attributes.REASON)),
        strangers=ended_without_user_attribute(storage.engine, study, attributes.CONFIG),
        failed={trial.number: errors.get(trial.number) for trial in failed},
        has_own=any(not was_finished_elsewhere(trial) for trial in completed),
    )
    return ended, front, _incomplete(completed, spec)


def _front(storage: BatchStorage, study: int, spec: StudySpec, completed: Sequence[FrozenTrial]) -> list[TrialRecord]:
    """The Pareto front as `StudyRecord.front` has it; of these trials alone, everything is read."""
    if parent_of(spec.name) is not None:
        return []
    check_values(completed, len(spec.objectives))
    compared = judged(completed, spec)
    best = front_of(candidates(compared, spec), spec)
    if spec.repeats is None:
        return _whole(storage, study, spec, [each.id for each in best])
    trainings = {trial.number: trial.user_attrs[MEAN_OF].numbers for trial in compared}
    numbers = {number for each in best for number in trainings[each.number]}
    ids = [trial_id(trial) for trial in completed if trial.number in numbers]
    means = {trial.number: trial for trial in mean_trials(read_whole(storage, study, spec, ids).values(), spec)}
    return [trial_record(means[each.number], spec) for each in best if each.number in means]


def _incomplete(completed: Sequence[FrozenTrial], spec: StudySpec) -> int:
    if spec.repeats is None:
        return 0
    return sum(len(completed_values(trainings)) < spec.trainings for trainings in by_configuration(completed).values())


def _whole(storage: BatchStorage, study: int, spec: StudySpec, ids: Sequence[int]) -> list[TrialRecord]:
    """All that is stored of the trials with these ids, in the same order."""
    return _in_order(records_of(read_whole(storage, study, spec, ids), spec), ids)


def _in_order(found: Mapping[int, TrialRecord], ids: Sequence[int]) -> list[TrialRecord]:
    return [found[each] for each in ids if each in found]  # one may be deleted meanwhile


def _records(trials: Sequence[FrozenTrial], spec: StudySpec) -> list[TrialRecord]:
    return [trial_record(trial, spec) for trial in sorted(trials, key=lambda trial: trial.number)]
