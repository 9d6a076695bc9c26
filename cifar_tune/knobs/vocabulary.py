"""The names that a study or a configuration can use: the built-in ones, and those of its own plugins.

Every specification and every configuration carries its own vocabulary. So studies whose plugins give different meanings
to one name can be read, trained and reported in one process, and in several threads at once.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import cast

from cifar_tune.knobs.augmentations import AugmentationPart
from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.losses import LossPart
from cifar_tune.knobs.metrics import MEASURES, MetricPart
from cifar_tune.knobs.models import ModelPart
from cifar_tune.knobs.part import Part, Value
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.schedules import SchedulePart
from cifar_tune.knobs.table import BEFORE_THEY_WERE_KNOBS, KNOBS

METRIC = "metric"
"""The kind of a plugin's metrics, which no knob names."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Everything that can be named. It never changes. Two are equal if `plugins` and `earlier` are.

    Attributes:
        plugins: where the names come from that are not built in.
        knobs: by name, owners before the knobs that they own; the names of `knobs["model"]` are all models, and so on.
        earlier: the knobs whose default is what trainings did before there was the knob (BEFORE_THEY_WERE_KNOBS).
    """

    plugins: tuple[Plugin, ...]
    knobs: Mapping[str, Knob] = field(compare=False, repr=False)
    earlier: frozenset[str] = frozenset()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled and copied without `knobs`: the read-only views cannot be."""
        return vocabulary_with, (self.plugins, self.earlier)

    @property
    def models(self) -> Mapping[str, ModelPart]:
        """The models by name."""
        return cast(Mapping[str, ModelPart], self.parts("model"))

    @property
    def schedules(self) -> Mapping[str, SchedulePart]:
        """The learning-rate schedules by name."""
        return cast(Mapping[str, SchedulePart], self.parts("schedule"))

    @property
    def losses(self) -> Mapping[str, LossPart]:
        """The losses by name."""
        return cast(Mapping[str, LossPart], self.parts("loss"))

    @property
    def augmentations(self) -> Mapping[str, AugmentationPart]:
        """The augmentations by name."""
        return cast(Mapping[str, AugmentationPart], self.parts("augment"))

    @property
    def measures(self) -> Mapping[str, MetricPart]:
        """The metrics by the names of their entries; see `cifar_tune.knobs.metrics`."""
        own = [plugin.parts.get(METRIC, {}) for plugin in self.plugins]
        return {
            **MEASURES,
            **{name: cast(MetricPart, part) for parts in own for name, part in parts.items()},
            **MEASURES,
        }

    def parts(self, owner: str) -> Mapping[str, Part]:
        """The choices of a knob that owns others, such as `optimizer`, by name."""
        return cast(Mapping[str, Part], self.knobs[owner].names)

    def chosen_parts(self, owner: str, values: Mapping[str, Value]) -> list[Part]:
        """The parts that the owner's value names: none where the owner itself does not apply."""
        if owner not in values:
            return []
        value = values[owner]
        names = value if isinstance(value, tuple) else (value,)
        parts = self.parts(owner)
        return [parts[cast(str, name)] for name in names]

    def applies(self, knob: Knob, values: Mapping[str, Value]) -> bool:
        """Whether a run whose owners have these values takes the knob."""
        return knob.owner is None or any(knob.name in part.arguments for part in self.chosen_parts(knob.owner, values))

    def default_of(self, knob: Knob, values: Mapping[str, Value]) -> Value:
        """The knob's default beside these values of its owner: the owner's part may have one of its own."""
        if knob.owner is not None:
            for part in self.chosen_parts(knob.owner, values):
                if knob.name in part.defaults:
                    return part.defaults[knob.name]
        return knob.default

    def takers(self, knob: Knob) -> tuple[str, ...]:
        """The owner's choices that take this knob: `sgd` and `rmsprop` for momentum."""
        if knob.owner is None:
            return ()
        return tuple(name for name, part in self.parts(knob.owner).items() if knob.name in part.arguments)


BUILT_IN = Vocabulary((), KNOBS)
"""The vocabulary without plugins."""


def vocabulary_with(plugins: Sequence[Plugin], earlier: Set[str] = frozenset()) -> Vocabulary:
    """The built-in names, which keep their meaning, and those of the plugins; `earlier` as in `Vocabulary`."""
    if not plugins and not earlier:
        return BUILT_IN
    knobs = {name: _with_parts(knob, plugins) for name, knob in KNOBS.items()}
    own = {name: knob for plugin in plugins for name, knob in plugin.knobs.items() if name not in knobs}
    before = {name: replace(knobs[name], default=BEFORE_THEY_WERE_KNOBS[name]) for name in earlier}
    return Vocabulary(tuple(plugins), MappingProxyType(knobs | before | own), frozenset(earlier))


def _with_parts(knob: Knob, plugins: Sequence[Plugin]) -> Knob:
    """A built-in knob whose choices are also those that plugins add to it."""
    own = {name: part for plugin in plugins for name, part in plugin.parts.get(knob.name, {}).items()}
    built_in = cast(Mapping[str, Part], knob.names or {})
    return replace(knob, names=MappingProxyType({**built_in, **own, **built_in})) if own else knob
