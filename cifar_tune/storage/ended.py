"""What the trials of a study that have ended come to: how many ended for which reason, and the best of them.

Such trials never change. So whoever looks at a study again and again reads only those that have ended since, and the
first time the database itself counts and sorts them where it can: then no trial but the best is read.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Final

from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_ended import (
    Outline,
    Seen,
    best_of_seen,
    counts_of_seen,
    failed_of_seen,
    has_odd_values,
    seen_now,
    seen_since,
)
from cifar_tune.optuna_internals import trial_id
from cifar_tune.optuna_questions import states_of_trials
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import Parts, SenselessError
from cifar_tune.storage import attributes
from cifar_tune.storage.constraints import is_stranger, may_be_best, was_finished_elsewhere
from cifar_tune.storage.damage import check_configurations, check_values
from cifar_tune.storage.records import TrialRecord, trial_record
from cifar_tune.study_spec.pareto import Minimized, minimized, pareto_front
from cifar_tune.study_spec.specification import StudySpec

VALUES: Final = Parts(times=False, params=False, reports=False, user=())
"""Numbers and values, and what samplers and pruners have noted."""

READ: Final = (attributes.REASON, attributes.CONFIG)
JUDGED_BY: Final = replace(VALUES, user=READ, bare=(attributes.CONFIG,))
"""What `may_be_best` looks at: that, and whether the configuration is known; it is long, and not read."""

_COUNTED_BY = replace(JUDGED_BY, user=(*READ, attributes.ERROR))
_FIRST_PAGE = 20
_NO_END = 2**31 - 1
_FEW = 20
_MANY = 400
"""With this many new trials or more, the database counts all of them anew."""


@dataclass
class Ended:
    """What they come to.

    Attributes:
        counts: how many are in each state.
        reasons: how many ended for each reason.
        strangers: how many were never begun here.
        failed: errors by the numbers of the trials that failed; None where none is stored.
        has_own: whether this program ended one of the completed trials.
        front: those that no other is better than in all objectives, the best in the first one first; of one objective
            the best alone.
    """

    counts: Counter[TrialState] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    strangers: int = 0
    failed: dict[int, str | None] = field(default_factory=dict)
    has_own: bool = False
    front: list["Candidate"] = field(default_factory=list)


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A trial that may be the best one; the better, the smaller, and of equal ones the earlier.

    Attributes:
        point: its values, turned so that lower is better.
        number: of the trial.
        id: of the trial.
    """

    point: Minimized
    number: int
    id: int


class EndedTrials:
    """Keeps what is known of them, study by study. Several threads may ask.

    Args:
        storage: the database.
        most: studies that are kept.
    """

    def __init__(self, storage: BatchStorage, most: int) -> None:
        self._storage = storage
        self._most = most
        self._lock = Lock()
        self._known: dict[object, _Known] = {}

    def of(
        self,
        study: int,
        identity: Hashable,
        spec: StudySpec,
        trials: Outline,
        also: Sequence[int] = (),
    ) -> tuple[Ended, Mapping[int, TrialRecord]]:
        """What those of a study come to, and all that is stored of those of the front, by their ids.

        Args:
            study: its id.
            identity: see `stored_studies.identity_of`.
            spec: its specification; one with `repeats` chooses among means, and is not for here.
            trials: of the study, as they are now.
            also: ids of other trials that have ended, of which everything is wanted too.

        Raises:
            SenselessError: what is stored of a trial makes no sense.
        """
        key = (study, spec.name, identity)
        with self._lock:
            known = self._known.pop(key, None) or _Known(self._storage, study)
            self._known[key] = known
            while len(self._known) > self._most:
                del self._known[next(iter(self._known))]
        with known.lock:
            ended = known.look(spec, trials)
            return ended, known.whole(spec, [*(each.id for each in ended.front), *also])


class _Known:
    """What is known of one study."""

    def __init__(self, storage: BatchStorage, study: int) -> None:
        self.lock = Lock()
        self._storage = storage
        self._study = study
        self._ended: Ended | None = None
        self._seen = Seen(study, -1, frozenset())
        self._spec: StudySpec | None = None
        self._records: dict[int, TrialRecord] = {}

    def whole(self, spec: StudySpec, ids: Sequence[int]) -> Mapping[int, TrialRecord]:
        """All that is stored of these, by their ids; of those that were asked for the last time it is known."""
        if self._spec != spec:
            self._spec, self._records = spec, {}
        missing = [each for each in ids if each not in self._records]
        found = self._records | records_of(read_whole(self._storage, self._study, spec, missing), spec)
        self._records = {each: found[each] for each in ids if each in found}  # one may be deleted meanwhile
        return self._records

    def look(self, spec: StudySpec, trials: Outline) -> Ended:
        """Add what has ended since the last look; begin anew where that does not explain the counts."""
        ended = self._ended
        counts = {state: count for state, count in trials.counts.items() if state.is_finished()}
        if ended is not None and ended.counts != counts:
            new, seen = seen_since(self._storage.engine, self._seen)
            ended = self._with(ended, new, spec) if len(new) <= _MANY else None
            if ended is not None and ended.counts != counts and ended.counts != self._counts():
                ended = None  # others have changed or removed what had ended
            self._ended, self._seen = ended, seen
        if ended is None:
            if trials.unfinished:
                self._seen = seen_now(self._storage.engine, self._study)
            else:
                self._seen = Seen(self._study, trials.highest_id, frozenset())
            ended = self._ended = self._all(spec)
        return ended

    def _counts(self) -> dict[TrialState, int]:
        found = states_of_trials(self._storage.engine, self._study)
        return {state: count for state, count in found.items() if state.is_finished()}

    def _with(self, ended: Ended, new: Sequence[int], spec: StudySpec) -> Ended:
        """With these trials too. Of a few, everything is read at once: those that ended last are shown."""
        if len(new) <= _FEW and self._spec == spec:
            whole = read_whole(self._storage, self._study, spec, new)
            self._records |= records_of(whole, spec)
            trials = list(whole.values())
        else:
            trials = self._storage.read_trials(self._study, ids=new, parts=_COUNTED_BY)
        check_values(trials, len(spec.objectives))
        completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        return Ended(
            counts=ended.counts + Counter(trial.state for trial in trials),
            reasons=ended.reasons + counted([(trial.user_attrs.get(attributes.REASON), 1) for trial in trials]),
            strangers=ended.strangers + sum(map(is_stranger, trials)),
            failed=ended.failed | texts(
                {each.number: each.user_attrs.get(attributes.ERROR) for each in trials if each.state == TrialState.FAIL}
            ),
            has_own=ended.has_own or any(not was_finished_elsewhere(trial) for trial in completed),
            front=front_of([*ended.front, *candidates(completed, spec)], spec),
        )  # fmt: skip

    def _all(self, spec: StudySpec) -> Ended:
        """All that have ended."""
        engine, seen = self._storage.engine, self._seen
        alike = counts_of_seen(engine, seen, attributes.REASON, attributes.CONFIG)
        counts: Counter[TrialState] = Counter()
        for each in alike:
            counts[each.state] += each.count
        ended = Ended(
            counts=counts,
            reasons=counted([(each.value, each.count) for each in alike]),
            strangers=sum(each.count for each in alike if not each.has_other),
            failed=texts(failed_of_seen(engine, seen, attributes.ERROR)) if counts[TrialState.FAIL] else {},
        )
        is_sorted = not (spec.has_several_objectives or spec.constraints) and not has_odd_values(engine, seen)
        is_max = spec.objective.direction == "maximize"
        for trials in _best_first(self._storage, seen, is_max) if is_sorted else [self._completed()]:
            check_values(trials, len(spec.objectives))
            ended.has_own = ended.has_own or any(not was_finished_elsewhere(trial) for trial in trials)
            ended.front = front_of(candidates(trials, spec), spec)
            if ended.front:
                break
        return ended

    def _completed(self) -> list[FrozenTrial]:
        return self._storage.read_trials(self._study, (TrialState.COMPLETE,), parts=JUDGED_BY)


def read_whole(storage: BatchStorage, study: int, spec: StudySpec, ids: Sequence[int]) -> dict[int, FrozenTrial]:
    """The trials of a study with these ids, by their ids.

    Raises:
        SenselessError: what is stored of one makes no sense.
    """
    found = {trial_id(trial): trial for trial in storage.read_trials(study, ids=ids)} if ids else {}
    check_configurations(list(found.values()), spec)
    return found


def records_of(trials: Mapping[int, FrozenTrial], spec: StudySpec) -> dict[int, TrialRecord]:
    """The records of trials, by their ids."""
    return {each: trial_record(trial, spec) for each, trial in trials.items()}


def best_ended(storage: BatchStorage, study: int, is_max: bool) -> tuple[int, float] | None:
    """The number and the value of the best trial of a study with one objective and no constraints; None without any."""
    for trials in _best_first(storage, Seen(study, _NO_END, frozenset()), is_max):
        allowed = [trial for trial in trials if may_be_best(trial, ())]
        if allowed:
            best = min(allowed, key=lambda trial: (-trial.values[0] if is_max else trial.values[0], trial.number))
            return best.number, best.values[0]
    return None


def _best_first(storage: BatchStorage, seen: Seen, is_max: bool) -> Iterator[list[FrozenTrial]]:
    """Those with the best values, then the next ones: more and more, since most studies begin with their best."""
    skipped, size = 0, _FIRST_PAGE
    while ids := best_of_seen(storage.engine, seen, is_max, skipped, size):
        yield storage.read_trials(seen.study, ids=ids, parts=JUDGED_BY)
        skipped, size = skipped + size, 10 * size


def counted(found: Sequence[tuple[object, int]]) -> Counter[str]:
    """The reasons among REASONS for which trials have ended.

    Args:
        found: reasons as they are stored, and how many trials have each.

    Raises:
        SenselessError: one is no text.
    """
    reasons: Counter[str] = Counter()
    for reason, count in found:
        if not isinstance(reason, str | None):
            raise SenselessError(f"the attribute {attributes.REASON!r} of a trial is {reason!r}, and must be text")
        if reason in list(attributes.REASONS):
            reasons[str(reason)] += count
    return reasons


def texts(found: Mapping[int, object]) -> dict[int, str | None]:
    """The errors of trials by their numbers.

    Raises:
        SenselessError: one is no text.
    """
    errors: dict[int, str | None] = {}
    for number, error in found.items():
        if not isinstance(error, str | None):
            raise SenselessError(f"trial {number}: its attribute {attributes.ERROR!r} is {error!r}, and must be text")
        errors[number] = error
    return errors


def candidates(completed: Sequence[FrozenTrial], spec: StudySpec) -> list[Candidate]:
    """Those of the completed trials that may be the best one."""
    return [
        Candidate(minimized(trial.values, spec.objectives), trial.number, trial_id(trial))
        for trial in completed
        if may_be_best(trial, spec.constraints)
    ]


def front_of(found: Sequence[Candidate], spec: StudySpec) -> list[Candidate]:
    """The front of these, the best in the first objective first; of one objective the best alone."""
    ordered = sorted(found)
    if not spec.has_several_objectives:
        return ordered[:1]
    return [ordered[index] for index in pareto_front([each.point for each in ordered])]
