"""The section `repeats` of a study file: how often each configuration is trained, on seeds or folds that all share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.study_spec.problems import Path, Problems
from cifar_tune.study_spec.search_space import read_value
from cifar_tune.study_spec.settings import as_mapping

SEEDS = Knob("seeds", Kind.INT, 3, "trainings of each configuration, each with a seed of its own", low=2, high=100)
FOLDS = Knob("folds", Kind.INT, 5, "the same, each with a fold of its own", low=2, high=100)
STOP_EARLY = Knob("stop_early", Kind.BOOL, True, "train a configuration no further that has fallen behind")

_PATH: Path = ("repeats",)
_EXAMPLE = "3, {seeds: 3} or {folds: 5}"


@dataclass(frozen=True, slots=True)
class RepeatsSpec:
    """How often each configuration is trained.

    Attributes:
        count: so often.
        on_folds: whether each training has a fold of its own, beside a seed of its own.
        stop_early: whether a configuration that has fallen behind is trained no further.
    """

    count: int
    on_folds: bool = False
    stop_early: bool = True

    @property
    def what(self) -> str:
        """What the trainings of a configuration differ in: `seeds` or `folds`."""
        return FOLDS.name if self.on_folds else SEEDS.name

    def plain(self) -> dict[str, Any]:
        """As it stands in a study file."""
        return {self.what: self.count, STOP_EARLY.name: self.stop_early}


def read_repeats(raw: object, problems: Problems) -> RepeatsSpec | None:
    """Read `repeats`; None where it is missing, and where it cannot be used."""
    if raw is None:
        return None
    before = problems.count
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        count = read_value(SEEDS, raw, _PATH, problems)
        return None if problems.count > before else RepeatsSpec(cast("int", count))
    values = as_mapping(raw, _PATH, _EXAMPLE, problems)
    names = (SEEDS.name, FOLDS.name, STOP_EARLY.name)
    for key in values:
        if key not in names:
            problems.unknown_key((*_PATH, key), names)
    if problems.count > before:
        return None
    if (SEEDS.name in values) == (FOLDS.name in values):
        problems.add(_PATH, f"must say how often, over seeds or over folds: {_EXAMPLE}")
        return None
    knob = FOLDS if FOLDS.name in values else SEEDS
    count = read_value(knob, values[knob.name], (*_PATH, knob.name), problems)
    given = values.get(STOP_EARLY.name, STOP_EARLY.default)
    stop_early = read_value(STOP_EARLY, given, (*_PATH, STOP_EARLY.name), problems)
    if problems.count > before:
        return None
    return RepeatsSpec(cast("int", count), knob is FOLDS, cast("bool", stop_early))


def unread_repeats(raw: object) -> RepeatsSpec:
    """What stands for `repeats` that cannot be used, so that what cannot be combined with it is told all the same."""
    return RepeatsSpec(2, on_folds=isinstance(raw, dict) and FOLDS.name in raw)


def check_with_seeds(
    repeats: RepeatsSpec, train: Mapping[str, object], searched: Mapping[str, object], seed: Knob, problems: Problems
) -> None:
    """Refuse what would take the seeds away from it.

    Args:
        repeats: what was read.
        train: fixed knobs.
        searched: the search space.
        seed: the knob of that name.
        problems: receives what is wrong.
    """
    if "seed" in searched:
        rule = "cannot be combined with `repeats`, which gives all configurations the same seeds"
        problems.add(("search_space", "seed"), rule)
        return
    first = train.get("seed", seed.default)
    highest = seed.high
    if isinstance(first, int) and highest is not None and first + repeats.count - 1 > highest:
        most = f"{highest - repeats.count + 1:.0f}"
        rule = f"is the first of {repeats.count} seeds with `repeats`, so it must be at most {most}"
        problems.add(("train", "seed"), rule, first)


def check_without_search(
    pruner: str, has_stop: bool, given_data: Sequence[str], repeats: RepeatsSpec, problems: Problems
) -> None:
    """Refuse what does not go together with it.

    Args:
        pruner: its name.
        has_stop: whether there is a section `stop`.
        given_data: the keys that stand under `data`.
        repeats: what was read.
        problems: receives what is wrong.
    """
    if pruner != "none":
        rule = (
            "must be none together with `repeats`: a pruned training leaves its configuration without a mean. "
            "Configurations that fall behind are not trained further in any case"
        )
        problems.add(("pruner", "name"), rule, pruner)
    if has_stop:
        problems.add(("stop",), "cannot be combined with `repeats`: it takes each trial for a configuration of its own")
    if repeats.on_folds:
        for key in ("val_size", "folds", "fold"):
            if key in given_data:
                problems.add(("data", key), "is decided by `repeats.folds`: leave it out")


SEARCH_WORDS = (
    "repeats are for grids and lists of configurations, not for a search: with 120 trainings in all, the chosen "
    "configuration was in the mean .19 points worse than the best with 2 seeds for each, .18 with 3 or 5, and .13 with "
    "single trainings and `cifar-tune finalize` (random search, simulated); with TPE .54, .53 and .70 against .46. "
    "Take repeats out, and let finalize race the best ones"
)
