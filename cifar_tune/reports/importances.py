"""How much each searched knob had to do with reaching the best trials."""

import copy
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from cifar_tune import optuna_internals
from cifar_tune.storage.records import StudyRecord
from cifar_tune.storage.views import PassingStorage
from cifar_tune.study_spec.specification import StudySpec


class _Empty(PassingStorage):
    """A storage that knows the directions of a study and nothing else. One of Optuna's would log that it was made."""

    def __init__(self, directions: Sequence[StudyDirection]) -> None:
        super().__init__(InMemoryStorage())
        self._directions = list(directions)

    def get_study_id_from_name(self, study_name: str) -> int:
        """The one that there is."""
        return 0

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Those of the objectives."""
        return self._directions


class ShownTrials(optuna.Study):
    """A study that has these trials, some of them perhaps several times; nothing is copied, stored or read."""

    def __init__(self, spec: StudySpec, trials: Sequence[FrozenTrial]) -> None:
        super().__init__(spec.name, _Empty([StudyDirection[each.direction.upper()] for each in spec.objectives]))
        self._shown = list(trials)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """The trials themselves; `deepcopy` is ignored."""
        return [trial for trial in self._shown if states is None or trial.state in states]


OF_LINKED = "No importances: these trials are trainings that finalize has planned, and no search."
"""What is said of a study that `finalize` has made."""

_TOP_SHARE = 0.1
_FEWEST_TRIALS = 5
"""Completed trials. Of fewer, two would be set against four at most, and shares would be made of chance alone."""

_FEWEST_TOP = 5
ENOUGH_TRIALS = 50
"""Below, the best tenth would be fewer than five trials; more are taken, and the shares are a hint at most."""


@dataclass(frozen=True, slots=True)
class Importances:
    """Shares that add up to 1, largest first.

    They rest on `completed` trials, of which the `top` best ones are set against all. Of several objectives, the best
    ones are those `near_front`: on the Pareto front, then on the front of what remains, and so on. Besides there are
    this many `infeasible` ones, which break a constraint.
    """

    shares: Mapping[str, float]
    completed: int
    top: int
    near_front: bool = False
    infeasible: int = 0

    @property
    def basis(self) -> str:
        """On how much they rest, as half a sentence."""
        best = "the best one" if self.top == 1 else f"the best {self.top:,}"
        if self.near_front:
            best = f"the {self.top:,} nearest to the Pareto front"
        basis = f"{best} of {self.completed:,} completed trials against all of them"
        if self.infeasible:
            return f"{basis}; {_left_out(self.infeasible)}"
        return basis


def share_words(share: float) -> str:
    """`38 %`; importances vary by many points, so they have no decimals."""
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def importances(record: StudyRecord) -> Importances | str:
    """The importances of a study, or the sentence that says why it has none.

    PED-ANOVA, on completed trials alone. It is given no `target`: it would then take low values for good ones and
    analyse the worst trials of a study that maximizes. It knows no constraints, so trials that break one are left out:
    else they would be the best ones wherever what is forbidden pays.
    """
    trials = assessed(record)
    completed, infeasible = len(trials), _infeasible(record)
    if completed < _FEWEST_TRIALS:
        kind = "completed trials that keep all constraints" if infeasible else "completed trials"
        there_are = "there is one" if completed == 1 else f"there are {completed or 'none'}"
        return f"Importances need at least {_FEWEST_TRIALS} {kind}; {there_are}."
    share = top_share(completed)
    shares = ped_anova(record.spec, quick(trials))
    if not shares:
        return "No knob can be told more important than another: the best trials do not differ from the others."
    top = math.ceil(share * completed)
    return Importances(_largest_first(shares), completed, top, record.spec.has_several_objectives, infeasible)


def importances_of_each(record: StudyRecord) -> list[Mapping[str, float]]:
    """The shares for each objective alone, in the order of the study file; empty ones where `importances` has none.

    `importances` itself asks what brings trials near the Pareto front, so it has one list for all objectives.
    """
    trials = assessed(record)
    if len(trials) < _FEWEST_TRIALS:
        return [{} for _ in record.spec.objectives]
    return [
        _largest_first(ped_anova(replace(record.spec, objectives=(objective,)), quick(_with_value(trials, index))))
        for index, objective in enumerate(record.spec.objectives)
    ]


def _with_value(trials: Sequence[FrozenTrial], index: int) -> list[FrozenTrial]:
    """Copies that have one of their values alone."""
    copies = [copy.copy(trial) for trial in trials]
    for each, trial in zip(copies, trials, strict=True):
        each.values = [trial.values[index]]
    return copies


def _largest_first(shares: Mapping[str, float]) -> dict[str, float]:
    """Equal ones by name: Optuna orders them by how the process happens to hash."""
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def ped_anova(spec: StudySpec, trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """The share of each searched knob, adding up to 1; empty where the best of these trials do not differ from all."""
    raw = divergences(spec, trials)
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()} if total > 0 else {}


def divergences(spec: StudySpec, trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """PED-ANOVA's own figures, of which the shares are made: how far the best trials' values differ from all."""
    raw = optuna_internals.ped_anova(ShownTrials(spec, trials), top_share(len(trials)))
    knobs = varying(trial.params for trial in trials)
    return {name: value if name in knobs else 0.0 for name, value in raw.items()}


class _Choices(CategoricalDistribution):
    """Choices that are told apart by being another object, which takes no time."""

    __hash__ = object.__hash__


class _Floats(FloatDistribution):
    """A range, likewise."""

    __hash__ = object.__hash__


class _Ints(IntDistribution):
    """Likewise."""

    __hash__ = object.__hash__


def _told_by_object(given: BaseDistribution) -> BaseDistribution:
    match given:
        case CategoricalDistribution():
            return _Choices(given.choices)
        case FloatDistribution():
            return _Floats(given.low, given.high, given.log, given.step)
        case IntDistribution():
            return _Ints(given.low, given.high, given.log, given.step)
    return given


def quick(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Copies that PED-ANOVA goes through several times as fast: equal distributions of all trials are one object."""
    shared: dict[BaseDistribution, BaseDistribution] = {}
    copies = []
    for trial in trials:
        distributions = {}
        for name, given in trial.distributions.items():
            if given not in shared:
                shared[given] = _told_by_object(given)
            distributions[name] = shared[given]
        each = copy.copy(trial)
        each.distributions = distributions
        copies.append(each)
    return copies


def assessed(record: StudyRecord) -> list[FrozenTrial]:
    """The trials that importances rest on: completed, without repetitions, comparable, all constraints kept."""
    feasible = {trial.number for trial in record.judged if trial.feasible and not trial.is_repetition}
    return [trial for trial in record.completed if trial.number in feasible and all(map(math.isfinite, trial.values))]


def _infeasible(record: StudyRecord) -> int:
    return sum(trial.state == "COMPLETE" and trial.ended_here and not trial.feasible for trial in record.judged)


def top_share(completed: int) -> float:
    """Which share of this many completed trials is set against all of them."""
    return min(0.5, max(_TOP_SHARE, _FEWEST_TOP / completed))


def varying(params: Iterable[Mapping[str, object]]) -> set[str]:
    """The knobs that have different values in these trials.

    Where all share one, the densities of the best trials and of all trials differ in their width alone, which the
    evaluator takes for importance.
    """
    first: dict[str, object] = {}
    found: set[str] = set()
    for each in params:
        for name, value in each.items():
            if name not in found and first.setdefault(name, value) != value:
                found.add(name)
    return found


def _left_out(infeasible: int) -> str:
    if infeasible == 1:
        return "another one, which breaks a constraint, is left out"
    return f"{infeasible:,} more, which break a constraint, are left out"
