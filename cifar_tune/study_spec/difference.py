"""What differs between a study file and the stored specification, and which trials fit both."""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from cifar_tune.errors import UserError
from cifar_tune.knobs.configuration import as_it_ran
from cifar_tune.knobs.knob import stored
from cifar_tune.knobs.metrics import VALIDATION
from cifar_tune.knobs.part import Scalar, Value
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.vocabulary import METRIC
from cifar_tune.study_spec.partial import partial_configuration
from cifar_tune.study_spec.placing import OutsideError, placed
from cifar_tune.study_spec.search_space import Dimension
from cifar_tune.study_spec.space import Space
from cifar_tune.study_spec.specification import StudySpec

_MAY_CHANGE = (
    *("name", "budget", "stop", "repeats.stop_early", "metrics", "data.root", "data.download"),
    "transfer_from.storage",
)
"""The budget may grow at any time, study and configurations be stopped by another rule, and other metrics be listed,
which decide nothing; the data may lie elsewhere on another machine (their content is compared), and so may an earlier
study, whose configurations are stored with this one."""


_OF_A_PRIOR = re.compile(r"search_space\.[^.]+\.prior\.(value|confidence)")
"""It bends draws, and says nothing of what trials are."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that differs; `None` where one side does not have it. `words` say it where the values say nothing."""

    key: str
    stored: Any
    given: Any
    words: str = ""

    def __str__(self) -> str:
        if self.words:
            return f"{self.key}: {self.words}"
        if self.stored is None:
            return f"{self.key}: added {self.given!r}"
        if self.given is None:
            return f"{self.key}: removed (was {self.stored!r})"
        return f"{self.key}: {self.stored!r} -> {self.given!r}"


def differences(stored: StudySpec, given: StudySpec) -> list[Difference]:
    """The keys in which two specifications differ, of those that may not change under a running study."""
    plugins = _changed_plugins(stored, given)
    shared = set(_paths(stored)) & set(_paths(given))
    before, after = (_comparable(flat(spec.plain()), shared) for spec in (stored, given))
    keys = list(dict.fromkeys((*before, *after)))
    return plugins + [
        Difference(key, before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
        and not any(key == free or key.startswith(f"{free}.") for free in _MAY_CHANGE)
        and not _OF_A_PRIOR.fullmatch(key)
    ]


def _changed_plugins(stored: StudySpec, given: StudySpec) -> list[Difference]:
    found = []
    for plugin in stored.plugins:
        other = next((each for each in given.plugins if each.path == plugin.path), None)
        if other is not None and not plugin.is_as_good_as(other):
            words = "its code has changed" if plugin.meaning else "its content has changed, perhaps only in comments"
            found.append(Difference(f"plugins.{plugin.path}", plugin.sha256, other.sha256, words))
    ours, theirs = _paths(stored), _paths(given)
    found += [Difference(f"plugins.{path}", path, None, "removed") for path in ours if path not in theirs]
    return found + [Difference(f"plugins.{path}", None, path, "added") for path in theirs if path not in ours]


def _paths(spec: StudySpec) -> list[str]:
    return [plugin.path for plugin in spec.plugins]


def _comparable(plain: Mapping[str, Any], shared: Set[str]) -> dict[str, Any]:
    """All but plugins; and what their parts and knobs are, of those that both sides have."""
    return {
        key: value
        for key, value in plain.items()
        if not key.startswith("plugins.")
        or any(key.startswith((f"plugins.{path}.parts.", f"plugins.{path}.knobs.")) for path in shared)
    }


def flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"lr": {"low": 1}}` as `{"lr.low": 1}`."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for index, item in enumerate(value):
                found |= flat(item, f"{prefix}{key}[{index}].")
        else:
            found[f"{prefix}{key}"] = value
    return found


_WHY_NOT: Mapping[str, str] = {
    "objective": "trials are ranked by their objective, and values of another one cannot be compared with them",
    "repeats.folds": "values on other folds, or on a split in place of folds, cannot be compared",
    "data": "values on other images, or on another split of them, cannot be compared",
}


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why the other specification could not have drawn a configuration."""

    reason: str


def why_not_evolvable(different: Sequence[Difference]) -> list[str]:
    """What differs that no trial can be carried over, each with its reason; empty if nothing does."""
    return [
        f"{difference}: {_WHY_NOT[section]}"
        for difference in different
        if (section := difference.key.partition(".")[0].partition("[")[0]) in _WHY_NOT
        or (section := difference.key) in _WHY_NOT
    ]


def suggested_for(space: Space, config: Mapping[str, object]) -> dict[str, Scalar] | Misfit:
    """What Optuna would have suggested, had this space drawn the configuration; or the first thing that does not fit.

    Args:
        space: of the other specification.
        config: all knobs of a trial, `Configuration.stored`.
    """
    values: dict[str, Value] = {}
    for name, plain in as_it_ran(config, space.vocabulary).items():
        if name not in space.vocabulary.knobs:
            return Misfit(f"there is no {name} any more")
        try:
            values[name] = space.vocabulary.knobs[name].parse(plain)
        except ValueError as error:
            return Misfit(f"{name} {error}")
    suggested: dict[str, Scalar] = {}

    def choose(name: str, dimension: Dimension) -> Value:
        if name not in values:
            raise OutsideError(f"{name} is searched now")
        try:
            value = placed(dimension, values[name], values)
        except OutsideError as error:
            raise OutsideError(f"{name} {error}") from error
        suggested[name] = stored(value)
        return value

    try:
        drawn = space.configuration(choose)
    except OutsideError as error:
        return Misfit(str(error))
    for name in space.order():  # what others follow from comes first
        if drawn.get(name) != values.get(name):
            now = f"{stored(drawn[name])} now" if name in drawn else "not taken now"
            return Misfit(f"{name} is {now}")
    return suggested


def uses_changed_plugin(config: Mapping[str, object], before: Sequence[Plugin], after: Sequence[Plugin]) -> str | None:
    """The plugin that this configuration has a part or a knob of, and whose file has changed or is gone."""
    same = {plugin.path for plugin in before if any(plugin.is_as_good_as(other) for other in after)}
    for plugin in before:
        if plugin.path in same:
            continue
        has_knob = any(name in config for name in plugin.knobs)
        if has_knob or any(_names(config.get(owner)) & parts.keys() for owner, parts in plugin.parts.items()):
            return plugin.path
    return None


def measured_by_changed_plugin(before: StudySpec, after: StudySpec) -> str | None:
    """The plugin that has a metric which decided on the trials, and whose file has changed or is gone."""
    measures = {name.removeprefix(VALIDATION) for name in before.known_metrics.measures(before.judged)}
    for plugin in before.plugins:
        is_same = any(plugin.is_as_good_as(other) for other in after.plugins)
        if not is_same and measures & plugin.parts.get(METRIC, {}).keys():
            return plugin.path
    return None


def items_run_already(spec: StudySpec, config: Mapping[str, object]) -> list[int]:
    """The items of `start_from`, by their position, that name every searched knob and that this configuration is."""
    return [
        index
        for index, item in enumerate(spec.start_from)
        if not partial_configuration(spec.space, item).drawn
        and all(config.get(name) == stored(value) for name, value in item.items())
    ]


def require_evolvable(study: str, different: Sequence[Difference]) -> None:
    """Refuse what nothing could be carried over to.

    Raises:
        UserError: with each such difference and its reason.
    """
    reasons = why_not_evolvable(different)
    if reasons:
        lines = "\n".join(f"  {reason}" for reason in reasons)
        raise UserError(
            f"nothing of the study {study!r} can be carried over (stored -> given):\n{lines}\n"
            f"Nothing was changed. Give this one another name: `name:` in the file, or --set name=..."
        )


def _names(value: object) -> Set[str]:
    return set(value.split("+")) if isinstance(value, str) else set()
