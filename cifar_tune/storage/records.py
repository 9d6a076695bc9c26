"""Studies and trials as the database holds them, read-only and typed. Reports and `status` are made from these."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.errors import DamagedError, UserError
from cifar_tune.knobs.configuration import Configuration, as_it_ran, complete
from cifar_tune.knobs.part import Scalar
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.memory import uncollected
from cifar_tune.optuna_internals import ENQUEUED
from cifar_tune.optuna_tables import naming_damage
from cifar_tune.storage import attributes
from cifar_tune.storage.attributes import joined
from cifar_tune.storage.constraints import is_feasible, was_finished_elsewhere, without_best_words
from cifar_tune.storage.damage import check_configurations, check_trials
from cifar_tune.storage.fallen_behind import courses, fallen_behind
from cifar_tune.storage.figures import stored_figures
from cifar_tune.storage.linked import FINALS, linked_name, parent_of
from cifar_tune.storage.means import MEAN_OF, Key, Repeated, judged, key_of
from cifar_tune.storage.openings import Elsewhere, Opening, openings_elsewhere, read_openings
from cifar_tune.storage.stored_studies import load_optuna_study, read_spec, study_names, while_it_is_there
from cifar_tune.storage.versions import successor
from cifar_tune.study_spec.pareto import minimized, pareto_front
from cifar_tune.study_spec.space import distinct
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.results import FIGURES

FINISHED = ("COMPLETE", "PRUNED", "FAIL")
"""The states that count against the budget."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    `value` is the first objective: of the last finished epoch if the trial was pruned, None if it never finished one;
    `values` are all objectives, in the order of the study file, empty where `value` is None.
    `drawn_by` is the name of the study's sampler, or of that of the earlier version that a trial was carried over from;
    None where that is not known. `source` is `sampler`, `start_from`, `transfer_from`, or `enqueued` if somebody else
    gave it. `transferred_from` has the study and the trial there whose configuration it tries. `params` is what the
    sampler suggested: of a knob that is searched `per` another, not the value in `config`. `intermediate` is the
    objective after each finished epoch; of several objectives the first one, after the newest epoch alone where
    `history` does not have it. `history` has one list per figure, one item per epoch, and `measures` one per further
    metric, with None where an epoch was not measured.
    `metrics` holds what else is known of metrics by name.
    `feasible` says whether the trial keeps all constraints; None as long as that is open. `spared_at` is the epoch
    after which the pruner would have stopped it, where it was trained on all the same. `task` is which planned training
    it is (`attributes.TASK`); None where it is none.
    `paused` is the epoch after which it waits to be promoted by the pruner `promotion`, or waited until it ended; None
    where it does not.
    `repeat` says which of its configuration's trainings it is, from 1, in a study with `repeats`. `repeated` holds
    these where it stands for a configuration; then `value`, `values`, `metrics`, `intermediate` and `seconds` are
    means.
    """

    number: int
    state: str
    source: str
    drawn_by: str | None
    value: float | None
    values: Sequence[float]
    feasible: bool | None
    metrics: Mapping[str, float]
    params: Mapping[str, Scalar]
    config: Mapping[str, Scalar]
    intermediate: Mapping[int, float]
    history: Mapping[str, Sequence[float]]
    measures: Mapping[str, Sequence[float | None]]
    epochs: int
    seconds: float
    parameters: int | None
    flops: int | None
    device: str | None
    precision: str | None
    reason: str | None
    error: str | None
    resumed_from: Sequence[int]
    spared_at: int | None
    started: datetime | None
    ended: datetime | None
    task: Mapping[str, int] | None = None
    repeat: int | None = None
    paused: int | None = None
    repeated: Repeated | None = None
    transferred_from: Mapping[str, Any] | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether it has all its parameters and waits for its beginning."""
        return self.state == "WAITING" and bool(self.config) and self.device is None and not self.epochs

    @property
    def ended_here(self) -> bool:
        """Whether this program ended it: otherwise nobody knows what its value was trained with."""
        return bool(self.config) and self.reason is not None

    @property
    def is_repetition(self) -> bool:
        """Whether it has the result of an earlier trial: counted as another observation, it would feign certainty."""
        return self.reason == "repeated"

    @property
    def searched(self) -> Mapping[str, Scalar]:
        """The searched knobs with the values that training used."""
        return {name: self.config.get(name, value) for name, value in self.params.items()}

    def configuration(self, vocabulary: Vocabulary) -> Configuration:
        """Every knob of the trial by type; `precision` as it came out on the device.

        A knob that is newer than the trial has its default, which is what the trial did (BEFORE_THEY_WERE_KNOBS).

        Args:
            vocabulary: of its study.
        """
        values = {name: vocabulary.knobs[name].parse(value) for name, value in self.config.items()}
        known = values if self.precision is None else {**values, "precision": self.precision}
        return complete(known, vocabulary)


@dataclass(frozen=True)
class StudyRecord:
    """One study with all its trials in the order of their numbers.

    `judged` is what is ranked, chosen and analysed: the trials themselves, or in a study with `repeats` one for each
    configuration whose trainings have all completed, with the means of these (`storage.means`). `fallen` says in a
    sentence each which configurations have fallen behind, and `incomplete` holds the others that lack trainings: the
    number of the first trial, and how many trainings have completed. `openings` are those of the test split.
    `completed` are Optuna's own objects of the completed trials among `judged`, for importances; `study` is that of the
    study, and of use as long as its storage is open. `environment` and `data` are empty before the first run began.
    `stopped` says why its rule `stop` has ended it, or `repeats` (`attributes.STOPPED`); None where neither did, and
    while it goes on. `succeeded_by` is the study that this one evolved into, as long as that is there. `elsewhere` are
    openings of the same test images for other studies. `identity` tells it from others of its name. `linked` says what
    a linked study is for (`attributes.LINKED`), and `finals` is the race of this study; None where there is none, or
    nothing of it can be read.
    """

    name: str
    spec: StudySpec
    environment: Mapping[str, Any]
    data: Mapping[str, Any]
    elapsed_seconds: float
    openings: Sequence[Opening]
    trials: Sequence[TrialRecord]
    completed: Sequence[FrozenTrial]
    study: optuna.Study
    stopped: Mapping[str, Any] | None = None
    succeeded_by: str | None = None
    means: Sequence[TrialRecord] | None = None
    fallen: Mapping[Key, str] = field(default_factory=dict)
    incomplete: Sequence[tuple[int, int]] = ()
    elsewhere: Sequence[Elsewhere] = ()
    identity: str | None = None
    linked: Mapping[str, Any] | None = None
    finals: "StudyRecord | None" = None

    @property
    def judged(self) -> Sequence[TrialRecord]:
        """See above."""
        return self.trials if self.means is None else self.means

    @cached_property
    def counts(self) -> Counter[str]:
        """How many trials are in each state."""
        return Counter(trial.state for trial in self.trials)

    @property
    def finished(self) -> int:
        """How many trials count against the budget."""
        return sum(self.counts[state] for state in FINISHED)

    @cached_property
    def ended_early(self) -> bool:
        """Whether no further trial would be drawn, although the budget is not used up.

        Its rule `stop` has ended it, or every combination of its grid was tried.
        """
        if self.stopped is not None or self.spec.sampler.name != "grid":
            return self.stopped is not None
        size = self.spec.space.size()
        if self.spec.repeats is not None:  # where one has fewer trainings, `stopped` says so
            trained = {(key_of(trial.params), trial.repeat) for trial in self.trials if trial.state in FINISHED}
            return size is not None and len(trained) >= size * self.spec.trainings
        begun = (trial for trial in self.trials if trial.state != "WAITING" or trial.paused is not None)
        tried = distinct(trial.params for trial in begun if trial.config)
        return size is not None and tried >= size

    @property
    def strangers(self) -> int:
        """How many of these were never begun here."""
        return sum(trial.state in FINISHED and not trial.config for trial in self.trials)

    @cached_property
    def ranked(self) -> Sequence[TrialRecord]:
        """The trials that ran to their end and keep all constraints, best first; by the first objective, then the next.

        The first one is always on the Pareto front. None at all in a linked study, which chooses no trial by its value.
        """
        if parent_of(self.name) is not None:
            return ()
        complete = [
            trial
            for trial in self.judged
            if trial.state == "COMPLETE"
            and trial.values
            and trial.feasible
            and trial.ended_here
            and not trial.is_repetition
        ]
        return sorted(complete, key=lambda trial: (minimized(trial.values, self.spec.objectives), trial.number))

    @property
    def best(self) -> TrialRecord | None:
        """The best trial that ran to its end and keeps all constraints; None if there is none."""
        return self.ranked[0] if self.ranked else None

    @property
    def without_best_words(self) -> str:
        """Why there is no best trial, as the begin of a sentence."""
        completed = [trial for trial in self.trials if trial.state == "COMPLETE"]
        return without_best_words(self.name, self.spec, len(completed), any(trial.ended_here for trial in completed))

    @cached_property
    def front(self) -> Sequence[TrialRecord]:
        """The Pareto front, best first objective first; with one objective the best trial and those equal to it."""
        points = [minimized(trial.values, self.spec.objectives) for trial in self.ranked]
        return [self.ranked[index] for index in pareto_front(points)]


def load_record(storage: BaseStorage, name: str) -> StudyRecord:
    """Read one study.

    Raises:
        UserError: if the storage has no study of that name, or another tool made it.
        DamagedError: if what it holds of the study makes no sense.
    """
    study = load_optuna_study(storage, name)
    with while_it_is_there(storage, name):
        attrs = study.user_attrs
        spec = read_spec(study)
        with uncollected():
            stored = study.get_trials(deepcopy=False)
    with naming_damage(name):
        check_trials(stored, len(spec.objectives))
        check_configurations(stored, spec)
    newer = successor(name)
    openings = read_openings(attrs)
    shown = judged(stored, spec)
    images = int((attrs.get(attributes.DATA) or {}).get("val_images") or 0)
    configurations = courses(stored, spec)
    fallen = fallen_behind(configurations, spec, images)
    return StudyRecord(
        name=name,
        spec=spec,
        environment=attrs.get(attributes.ENVIRONMENT, {}),
        data=attrs.get(attributes.DATA) or {},
        elapsed_seconds=float(attrs.get(attributes.ELAPSED, 0.0)),
        openings=openings,
        elsewhere=openings_elsewhere(storage, name, openings),
        trials=[trial_record(trial, spec) for trial in stored],
        completed=[
            trial for trial in shown if trial.state == TrialState.COMPLETE and not was_finished_elsewhere(trial)
        ],
        study=study,
        stopped=attrs.get(attributes.STOPPED),
        succeeded_by=newer if newer is not None and newer in study_names(storage) else None,
        fallen=fallen,
        incomplete=[
            (course.first, len(course.values))
            for key, course in configurations.items()
            if key not in fallen and not course.is_out and len(course.values) < spec.trainings
        ],
        means=None if spec.repeats is None else [trial_record(trial, spec) for trial in shown],
        identity=attrs.get(attributes.IDENTITY),
        linked=attrs.get(attributes.LINKED),
        finals=_finals(storage, name),
    )


def _finals(storage: BaseStorage, name: str) -> StudyRecord | None:
    finals = linked_name(name, FINALS)
    if parent_of(name) is not None:
        return None
    try:
        storage.get_study_id_from_name(finals)
        return load_record(storage, finals)
    except (KeyError, UserError, DamagedError):  # without it, the study itself can be read all the same
        return None


def _course(
    spec: StudySpec, epochs: int, history: Mapping[str, Sequence[float | None]], metrics: Mapping[str, float]
) -> dict[int, float]:
    """The first of several objectives by epoch, which Optuna lets nobody report; at least its newest value."""
    metric = spec.objective.metric
    if not spec.has_several_objectives or not epochs:
        return {}
    if metric in history:
        return {epoch: value for epoch, value in enumerate(history[metric], start=1) if value is not None}
    return {epochs: metrics[metric]} if metric in metrics else {}


def _source(trial: FrozenTrial) -> str:
    if attributes.START_FROM in trial.user_attrs:
        return "start_from"
    if attributes.TRANSFERRED_FROM in trial.user_attrs:
        return "transfer_from"
    return "enqueued" if ENQUEUED in trial.system_attrs else "sampler"


def trial_record(trial: FrozenTrial, spec: StudySpec) -> TrialRecord:
    """One trial of a study with this specification."""
    attrs = trial.user_attrs
    values = _values(trial, spec)
    epochs = max([int(attrs.get(attributes.EPOCHS, 0)), *trial.intermediate_values])
    metrics = stored_figures(attrs, spec) if spec.listed else attrs.get(attributes.METRICS, {})
    history = joined(attrs)
    started: datetime | None = trial.datetime_start
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        source=_source(trial),
        drawn_by=attrs[attributes.CARRIED_FROM].get("sampler")
        if attributes.CARRIED_FROM in attrs
        else spec.sampler.name,
        value=values[0] if values else None,
        values=values,
        feasible=is_feasible(trial, spec.constraints),
        metrics=metrics,
        params=trial.params,
        config=as_it_ran(attrs.get(attributes.CONFIG, {}), spec.vocabulary),
        intermediate=trial.intermediate_values or _course(spec, epochs, history, metrics),
        history=cast("dict[str, list[float]]", {name: each for name, each in history.items() if name in FIGURES}),
        measures={name: each for name, each in history.items() if name not in FIGURES},
        epochs=epochs,
        seconds=float(attrs.get(attributes.SECONDS, 0.0)),
        parameters=attrs.get(attributes.PARAMETERS),
        flops=attrs.get(attributes.FLOPS),
        device=attrs.get(attributes.DEVICE),
        precision=attrs.get(attributes.PRECISION),
        reason=attrs.get(attributes.REASON),
        error=attrs.get(attributes.ERROR),
        resumed_from=attrs.get(attributes.RESUMED_FROM, ()),
        spared_at=attrs.get(attributes.SPARED_AT),
        started=started,
        ended=trial.datetime_complete,
        task=attrs.get(attributes.TASK),
        repeat=attrs.get(attributes.REPEAT),
        paused=attrs.get(attributes.PAUSED),
        repeated=attrs.get(MEAN_OF),
        transferred_from=attrs.get(attributes.TRANSFERRED_FROM),
    )


def _values(trial: FrozenTrial, spec: StudySpec) -> tuple[float, ...]:
    """All objectives of a trial that ended, as far as it came; Optuna keeps none of a pruned one if there are several.

    A trial that the model alone made infeasible may know the one and not the other, and then has none.
    """
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return ()
    if trial.values is not None:
        return tuple(trial.values)
    known = trial.user_attrs.get(attributes.METRICS, {})
    names = [objective.metric for objective in spec.objectives]
    return tuple(known[name] for name in names) if spec.has_several_objectives and known.keys() >= set(names) else ()
