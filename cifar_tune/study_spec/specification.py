"""A study's whole specification: frozen, typed, and as plain values for YAML, JSON and the database."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, cast

from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.table import BEFORE_THEY_WERE_KNOBS
from cifar_tune.knobs.vocabulary import BUILT_IN, Vocabulary
from cifar_tune.plugins.description import described
from cifar_tune.study_spec.constraints import Constraint
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.prior import Prior
from cifar_tune.study_spec.repeats import RepeatsSpec
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.settings import Budget, Objective, PrunerSpec, SamplerSpec
from cifar_tune.study_spec.space import Space
from cifar_tune.study_spec.start_from import KnownConfiguration
from cifar_tune.study_spec.stop import StopSpec
from cifar_tune.study_spec.transfer import TransferSpec

DEFAULTS = "defaults"
"""The section that only the database has: the defaults that the study began with, of BEFORE_THEY_WERE_KNOBS."""


@dataclass(frozen=True)
class StudySpec:
    """What a study file says, checked, with the defaults of its sections filled in."""

    name: str
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    budget: Budget
    sampler: SamplerSpec
    pruner: PrunerSpec
    data: DataSpec
    train: Mapping[str, Value]
    search_space: Mapping[str, Dimension]
    start_from: tuple[KnownConfiguration, ...] = ()
    vocabulary: Vocabulary = BUILT_IN
    deterministic: int | None = None
    stop: StopSpec | None = None
    listed: tuple[str, ...] = ()
    repeats: RepeatsSpec | None = None
    transfer_from: TransferSpec | None = None
    notify: tuple[str, ...] = field(default=(), repr=False, compare=False)  # they may hold secrets

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """The plugins that the study can use parts of."""
        return self.vocabulary.plugins

    @property
    def objective(self) -> Objective:
        """The first objective: the only one of most studies, and what trials are ranked by where one must be chosen."""
        return self.objectives[0]

    @property
    def judged(self) -> tuple[str, ...]:
        """The metrics that decide on trials: the objectives first, then what else is constrained."""
        constrained = (constraint.metric for constraint in self.constraints)
        return tuple(dict.fromkeys((*(each.metric for each in self.objectives), *constrained)))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the study looks at: those that decide, then those that it only lists (`metrics`)."""
        return tuple(dict.fromkeys((*self.judged, *self.listed)))

    @property
    def other_metrics(self) -> tuple[str, ...]:
        """Those of them that are no objective: the constrained ones first, then those that it only lists."""
        objectives = {each.metric for each in self.objectives}
        return tuple(name for name in self.metrics if name not in objectives)

    @property
    def known_metrics(self) -> Metrics:
        """All metrics that it could look at."""
        return Metrics(self.vocabulary)

    @property
    def measures(self) -> tuple[str, ...]:
        """What executors have to compute for its metrics after each epoch, beside loss and accuracy."""
        return self.known_metrics.measures(self.metrics)

    @property
    def keeps_metrics(self) -> bool:
        """Whether its trials keep their metrics beside the one objective that Optuna has a place for."""
        return self.has_several_objectives or bool(self.constraints or self.listed)

    @property
    def has_several_objectives(self) -> bool:
        """Whether there is a Pareto front instead of one best trial."""
        return len(self.objectives) > 1

    @property
    def priors(self) -> dict[str, Prior]:
        """What is held for good before the study begins, by searched knob."""
        searched = self.search_space.items()
        return {name: dimension.prior for name, dimension in searched if dimension.prior is not None}

    @cached_property
    def space(self) -> Space:
        """Fixed and searched knobs together."""
        return Space(self.train, self.search_space, self.vocabulary)

    @property
    def trainings(self) -> int:
        """How often each configuration is trained."""
        return 1 if self.repeats is None else self.repeats.count

    @property
    def is_list(self) -> bool:
        """Whether nothing is to be drawn: the budget goes no further than to the configurations that are known."""
        is_drawn = self.repeats is None or self.sampler.name == "grid" or not self.most_known
        return not is_drawn and self.most_known * self.trainings >= self.budget.trials

    @property
    def most_known(self) -> int:
        """How many configurations `start_from` names, and `transfer_from` takes from another study at most."""
        return len(self.start_from) + (0 if self.transfer_from is None else self.transfer_from.configurations)

    @property
    def first_seed(self) -> int:
        """The seed of the first training of each configuration, where `repeats` gives the seeds."""
        return int(cast("int", self.train.get("seed", self.vocabulary.knobs["seed"].default)))

    def data_of(self, repeat: int | None) -> DataSpec:
        """The images of a training: those of its fold, where a configuration is trained on several folds."""
        if self.repeats is None or not self.repeats.on_folds or repeat is None:
            return self.data
        return self.data.model_copy(update={"fold": repeat})

    @property
    def largest_epochs(self) -> int:
        """The largest number of epochs that a trial can have."""
        return int(self.space.largest("epochs"))

    @property
    def largest_threads(self) -> int:
        """The largest number of CPU threads that a trial can have."""
        return int(self.space.largest("threads"))

    def plain(self) -> dict[str, Any]:
        """The specification as it would stand in a study file: mappings, lists, text and numbers.

        Of plugins it holds more than their paths: their descriptions by path, if there are any. Addresses (`notify`)
        are left out: they may hold secrets, and say nothing of what is trained.
        """
        objectives = [{"metric": each.metric, "direction": each.direction} for each in self.objectives]
        plain: dict[str, Any] = {
            "name": self.name,
            "objective": objectives if self.has_several_objectives else objectives[0],
            "constraints": [str(constraint) for constraint in self.constraints],
            **({"metrics": list(self.listed)} if self.listed else {}),
            "budget": asdict(self.budget),
            **({} if self.stop is None else {"stop": self.stop.plain()}),
            **({} if self.repeats is None else {"repeats": self.repeats.plain()}),
            "sampler": {
                "name": self.sampler.name,
                "seed": self.sampler.seed,
                **plain_values(self.sampler.options),
            },
            "pruner": _plain_pruner(self.pruner),
            **({} if self.deterministic is None else {"deterministic": self.deterministic}),
            "data": self._plain_data(),
            **({"plugins": {plugin.path: described(plugin) for plugin in self.plugins}} if self.plugins else {}),
            "train": plain_values(self.train),
            "search_space": {name: plain_dimension(dimension) for name, dimension in self.search_space.items()},
        }
        if self.start_from:
            plain["start_from"] = [plain_values(item) for item in self.start_from]
        if self.transfer_from is not None:
            plain["transfer_from"] = self.transfer_from.plain()
        return plain

    def _plain_data(self) -> dict[str, Any]:
        """The section `data`; without the folds that `repeats` gives, as in the file."""
        plain = self.data.model_dump(mode="json")
        if self.repeats is not None and self.repeats.on_folds:
            plain |= {"folds": None, "fold": None}
        return plain

    def stored(self) -> dict[str, Any]:
        """The specification as the database holds it: `plain`, and the defaults that may change between versions."""
        defaults = {name: self.vocabulary.knobs[name].default for name in BEFORE_THEY_WERE_KNOBS}
        return {**self.plain(), DEFAULTS: plain_values(defaults)}


def plain_values(values: Mapping[str, Value]) -> dict[str, Any]:
    """Knobs as they stand in a file: lists of names as lists."""
    return {name: _plain(value) for name, value in values.items()}


def plain_dimension(dimension: Dimension) -> dict[str, Any]:
    """A search dimension as it stands in a study file."""
    if isinstance(dimension, Choices):
        plain: dict[str, Any] = {"choices": [_plain(choice) for choice in dimension.choices]}
    else:
        plain = {"low": dimension.low, "high": dimension.high}
        if dimension.log:
            plain["log"] = True
        elif dimension.step is not None:
            plain["step"] = dimension.step
        if dimension.per is not None:
            plain["per"] = {dimension.per.knob: dimension.per.reference}
    if dimension.when:
        plain["when"] = {name: [_plain(value) for value in wanted] for name, wanted in dimension.when.items()}
    if dimension.prior is not None:
        plain["prior"] = dimension.prior.plain()
    return plain


def _plain_pruner(pruner: PrunerSpec) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": pruner.name, **plain_values(pruner.options)}
    if pruner.wrapped is not None:
        plain["wrapped_pruner"] = _plain_pruner(pruner.wrapped)
    if pruner.spare:
        plain["spare"] = pruner.spare
    return plain


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value
