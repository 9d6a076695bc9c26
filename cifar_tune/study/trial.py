"""A trial while it runs: what it reports, when it is pruned, and what is written when it ends.

A configuration that the study has trained to its end is not trained again: the trial takes over the earlier result.
Everything random in a training follows from its configuration, `seed` included, so the epochs would show nothing new.
On a CPU they would be the same to the bit; on a GPU some operations add up in an order of their own.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.executors.messages import Began
from cifar_tune.knobs.configuration import Configuration, as_it_ran
from cifar_tune.knobs.part import Scalar
from cifar_tune.optuna_internals import as_stored
from cifar_tune.storage import attributes
from cifar_tune.storage.attributes import is_piece, pieces
from cifar_tune.storage.constraints import write_violations
from cifar_tune.storage.figures import known_figures
from cifar_tune.storage.views import first_of_batch
from cifar_tune.study_spec.constraints import violations
from cifar_tune.study_spec.metrics import Measured
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.results import FIGURES, EpochResult, is_over

_START_SECONDS = 60.0
"""An executor may take as long to read a checkpoint before a trial that goes on counts as hanging."""

_DEATHS = "deaths"
"""Trial: executors that died under it since it last finished an epoch."""

_LONGEST_ERROR = 10_000
"""Characters of an error that are kept, from its end: a value in MySQL holds 65,535 bytes, and JSON takes six of them
for a letter that is not ASCII."""


@dataclass
class RunningTrial:
    """One trial that an executor trains. `reported` holds the epochs whose objective the storage has.

    `told` is how many epochs it trains where somebody has said so. `repeat` says which of its configuration's trainings
    it is, from 1, in a study with `repeats`.
    """

    trial: optuna.Trial
    config: Configuration
    spec: StudySpec
    results: list[EpochResult] = field(default_factory=list)
    reported: set[int] = field(default_factory=set)
    told: int | None = None
    repeat: int | None = None

    def __post_init__(self) -> None:
        frozen = as_stored(self.trial)
        self.reported = set(frozen.intermediate_values)
        self.has_begun = False
        self._touched = attributes.PARAMETERS in frozen.user_attrs
        self._judged = int(frozen.user_attrs.get(attributes.EPOCHS, 0))
        if self.spec.has_several_objectives:  # Optuna takes no reports, so the epochs are counted beside them
            self.reported = set(range(1, self._judged + 1))
        self._parameters = 0
        self._flops = 0
        self._deaths = int(frozen.user_attrs.get(_DEATHS, 0))
        self._spent = float(frozen.user_attrs.get(attributes.SPENT, 0.0))
        self._handed_out = self._progressed = time.monotonic()
        self._resumed_from: list[int] = list(frozen.user_attrs.get(attributes.RESUMED_FROM, []))
        if frozen.user_attrs.get(attributes.REASON):  # killed in the middle of its end, which comes again
            self.trial.set_user_attr(attributes.REASON, None)
        if attributes.CONFIG not in frozen.user_attrs:
            self.trial.set_user_attr(attributes.CONFIG, self.config.stored())

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.trial.number

    @property
    def epochs(self) -> int:
        """How many epochs it is to have at most."""
        return self.config.integer("epochs")

    @property
    def searched(self) -> dict[str, Scalar]:
        """Its searched knobs with the values that training uses."""
        stored = self.config.stored()
        return {name: stored[name] for name in self.trial.params}

    def begin(self, began: Began) -> None:
        """Write down what its executor found out, and from which epoch it goes on if it ran before."""
        self.has_begun = True
        self._progressed = time.monotonic()
        self.trial.set_user_attr(attributes.DEVICE, began.device)
        self._parameters, self._flops = began.parameters, began.flops
        self.trial.set_user_attr(attributes.PARAMETERS, began.parameters)
        self.trial.set_user_attr(attributes.FLOPS, began.flops)
        self.trial.set_user_attr(attributes.PRECISION, began.precision)
        if self._touched:
            self._resumed_from.append(len(began.results))
            self.trial.set_user_attr(attributes.RESUMED_FROM, self._resumed_from)

    def add(self, result: EpochResult) -> tuple[float, bool]:
        """Report one more finished epoch; returns the objective, and whether the storage learnt something new."""
        self.results.append(result)
        self._progressed = time.monotonic()
        value = self.value
        is_new = result.epoch not in self.reported
        if is_new:
            self._report(value, result.epoch)
            self.reported.add(result.epoch)
            if self.spec.budget.trial_timeout is not None:
                self.keep_time()
        if self._deaths and is_new:
            self._deaths = 0
            self.trial.set_user_attr(_DEATHS, 0)
        return value, is_new

    @property
    def finished_epochs(self) -> int:
        """How many epochs are finished, as far as is known: before it goes on, as many as when it was parked."""
        return len(self.results) if self.has_begun else self._judged

    @property
    def seconds(self) -> float:
        """How long executors have had it, over all runs."""
        return self._spent + time.monotonic() - self._handed_out

    @property
    def is_trained(self) -> bool:
        """Whether no epoch is left; its executor has yet to say so."""
        return self.has_begun and is_over(self.config, self.results, self.told)

    @property
    def is_overdue(self) -> bool:
        """Whether its time is over."""
        limit = self.spec.budget.trial_timeout
        return limit is not None and self.seconds >= limit

    @property
    def limit_words(self) -> str:
        """What ended it where its time is over."""
        return f"budget.trial_timeout of {self.spec.budget.trial_timeout:g} s is over"

    @property
    def hangs(self) -> bool:
        """Whether its time is over and the end of its epoch is not worth waiting for.

        It is waited for twice as long as the trial's longest epoch took, so that one that makes progress is not torn
        out of the middle; and of a trial that goes on, until its executor has said how far it is: it may be trained.
        """
        goes_on = self._judged > 0 and not self.has_begun
        patience = _START_SECONDS if goes_on else 2 * max((result.seconds for result in self.results), default=0.0)
        return self.is_overdue and time.monotonic() - self._progressed > patience

    def split_into(self, micro_batches: int) -> None:
        """Write down into how many parts memory made its executor split the steps, if it did."""
        if micro_batches > 1:
            self.trial.set_user_attr(attributes.MICRO_BATCHES, micro_batches)

    def keep_time(self) -> None:
        """Store how long executors have had it."""
        self.trial.set_user_attr(attributes.SPENT, round(self.seconds, 3))

    @property
    def value(self) -> float:
        """The first objective after the epochs so far."""
        return self.figures[self.spec.objective.metric]

    @property
    def figures(self) -> dict[str, float]:
        """The metrics of the study by name, as far as they are known."""
        measured = Measured(self.results, self._parameters, self._flops)
        return known_figures(self.spec, measured, has_begun=self.has_begun)

    @property
    def need_not_be_trained(self) -> bool:
        """Whether the model itself breaks a constraint, and the sampler needs no completed trial to learn that.

        TPE learns from pruned trials too: it sorts infeasible ones by their violation, whatever their state. Random,
        quasi-random and grid search learn nothing from any trial. GP and the genetic samplers read completed trials
        alone, and so does CMA-ES of trials that reported nothing: pruned at once, a model that is too large would teach
        them nothing, and they would propose similar ones again.
        """
        if SAMPLERS[self.spec.sampler.name].learns_from_completed_only:
            return False
        return any(
            constraint.violation(self.figures[constraint.metric]) > 0
            for constraint in self.spec.constraints
            if constraint.is_known_before_training
        )

    @property
    def is_judged(self) -> bool:
        """Whether the pruner was asked about the newest epoch before the trial was parked.

        It was not if the run was killed between the report and the verdict.
        """
        return not self.results or self.results[-1].epoch <= self._judged

    def should_prune(self) -> bool:
        """Ask the pruner.

        After the last epoch, also the one at which it stops early, nothing is left to save, so the answer is no; the
        pruner is asked all the same, since successive halving writes down which rung a trial has reached, for others
        to be compared with.
        """
        if self.spec.has_several_objectives:  # Optuna raises; `check` has refused every pruner
            return False
        wanted = self.trial.should_prune() and not is_over(self.config, self.results, self.told)
        return wanted and not self.spare()

    def spare(self) -> bool:
        """Whether it is trained on although the pruner would stop it, or let it wait; the first time is noted."""
        is_spared = self._is_spared
        if is_spared and attributes.SPARED_AT not in self.trial.user_attrs:
            self.trial.set_user_attr(attributes.SPARED_AT, len(self.results))
        return is_spared

    @property
    def _is_spared(self) -> bool:
        """Whether it is trained on against the pruner's advice: drawn by its number, so that it stays what it is."""
        digest = hashlib.sha256(f"spare {self.spec.sampler.seed} {self.number}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < self.spec.pruner.spare * 2**32

    def count_death(self) -> int:
        """Count one more executor that died under it; returns how many since its last finished epoch."""
        self._deaths += 1
        self.trial.set_user_attr(_DEATHS, self._deaths)
        return self._deaths

    def write_down(self) -> None:
        """Store its epochs: when it ends, and when it is parked."""
        self._write_figures()
        self.trial.set_user_attr(attributes.EPOCHS, len(self.results))
        self.trial.set_user_attr(attributes.SECONDS, round(sum(result.seconds for result in self.results), 3))
        for name, piece in pieces(_history(self.results)).items():
            self.trial.set_user_attr(name, piece)

    def tell(self, state: TrialState, reason: str, error: str = "") -> None:
        """End it. PRUNED keeps the last reported objective as its value."""
        if self.has_begun:  # else what an earlier run wrote down stands
            self.write_down()
        self.trial.set_user_attr(attributes.REASON, reason)
        if error:
            self.trial.set_user_attr(attributes.ERROR, error[-_LONGEST_ERROR:])
        self._write_violations(reason)
        figures = self.figures
        values = [figures[each.metric] for each in self.spec.objectives] if state == TrialState.COMPLETE else None
        self.trial.study.tell(self.trial, values, state=state)

    def _report(self, value: float, epoch: int) -> None:
        # the figures first: a run that is killed after the verdict of the pruner leaves them to the next one
        self._write_figures()
        if self.spec.has_several_objectives:
            self.trial.set_user_attr(attributes.EPOCHS, epoch)
        else:
            self.trial.report(value, epoch)

    def _write_figures(self) -> None:
        if self.spec.keeps_metrics:
            self.trial.set_user_attr(attributes.METRICS, self.figures)

    def _write_violations(self, reason: str) -> None:
        figures = self.figures
        # of a model that was not trained, what is not known is left open: that it is too large is all there is to learn
        judged = [each for each in self.spec.constraints if reason != "infeasible" or each.metric in figures]
        write_violations(self.trial, violations(judged, figures), self.spec.sampler)


def _history(results: Sequence[EpochResult]) -> dict[str, Sequence[float | None]]:
    """The figures of the epochs, and the further metrics: None where an epoch was trained before one was asked for."""
    measures = dict.fromkeys(name for result in results for name in result.measures)
    return {
        **{name: [_short(getattr(result, name)) for result in results] for name in FIGURES},
        **{name: [result.measures.get(name) for result in results] for name in measures},
    }


def _short(value: float) -> float:
    """Nine digits hold a 32-bit float exactly."""
    return float(f"{value:.9g}")


_TAKEN_OVER = (
    attributes.PARAMETERS,
    attributes.FLOPS,
    attributes.METRICS,
    attributes.DEVICE,
    attributes.PRECISION,
    attributes.MICRO_BATCHES,
    attributes.EPOCHS,
    attributes.SPARED_AT,
)


class TrainedBefore:
    """The completed trials of a study by their configuration."""

    def __init__(self, trials: Iterable[FrozenTrial], spec: StudySpec) -> None:
        self._spec = spec
        self._by_config: dict[bytes, FrozenTrial] = {}
        for trial in trials:
            self.add(trial)

    def add(self, trial: FrozenTrial) -> None:
        """Take note of a trial that has ended."""
        if trial.state == TrialState.COMPLETE and trial.user_attrs.get(attributes.REASON) == "completed":
            config = as_it_ran(trial.user_attrs[attributes.CONFIG], self._spec.vocabulary)
            self._by_config.setdefault(digest_of(config), trial)

    def find(self, config: Configuration, number: int) -> FrozenTrial | None:
        """The trial that trial `number` would repeat; in `deterministic: N` one of an earlier batch."""
        found = self._by_config.get(digest_of(config.stored()))
        size = self._spec.deterministic
        if found is not None and size is not None and found.number >= first_of_batch(number, size):
            return None
        return found


def repeat(trial: optuna.Trial, earlier: FrozenTrial, spec: StudySpec) -> None:
    """Complete a trial with what an earlier one has shown.

    The pruner is asked, since successive halving writes down which rungs a trial has reached; what it says is of no
    use, since there is nothing to save.
    """
    attrs = earlier.user_attrs
    for name, value in attrs.items():
        if name in _TAKEN_OVER or is_piece(name):
            trial.set_user_attr(name, value)
    if not spec.has_several_objectives:
        reported = as_stored(trial).intermediate_values
        for epoch, value in sorted(earlier.intermediate_values.items()):
            if epoch not in reported:
                trial.report(value, epoch)
            trial.should_prune()
    trial.set_user_attr(attributes.SECONDS, 0.0)
    trial.set_user_attr(attributes.REPEATS, earlier.number)
    trial.set_user_attr(attributes.REASON, "repeated")
    write_violations(trial, violations(spec.constraints, attrs.get(attributes.METRICS, {})), spec.sampler)
    trial.study.tell(trial, earlier.values)


def digest_of(config: Mapping[str, Any]) -> bytes:
    """Equal for equal configurations; small, since there may be very many."""
    return hashlib.sha256(repr(sorted(config.items())).encode()).digest()
