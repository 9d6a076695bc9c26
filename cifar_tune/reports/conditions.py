"""Under which conditions the levels of a knob were compared, in sentences."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cifar_tune.reports.levels import IMPARTIAL, Level, listed
from cifar_tune.study_spec.search_space import Range
from cifar_tune.wording import counted, figure

if TYPE_CHECKING:
    from cifar_tune.reports.comparison import Comparison

_NO_INTERVALS = (
    "Means have no intervals: these trials are no random sample, since the sampler (perhaps that of an earlier "
    "version), the pruner, `start_from` or `transfer_from` chose among them, so the usual interval would be too "
    "narrow, and often would not hold the true mean."
)
BEST_SENTENCE = "`best` depends on how many trials a level had; a difference of means may come from the other knobs."
"""What a difference of levels says where the other knobs varied."""

_EITHER = (
    "The 95 % interval is the standard error times Student's factor, so a paper gives one of the two, and says which."
)
_GENERAL = (_NO_INTERVALS, BEST_SENTENCE, _EITHER)
"""What is true of every table that says it, so that it need not be said twice."""


def conditions_text(comparison: "Comparison") -> str:
    """All sentences in a row."""
    return " ".join(conditions(comparison))


def conditions(comparison: "Comparison", names_others: bool = True) -> list[str]:
    """The sentences, the most important ones first.

    Args:
        comparison: of the levels.
        names_others: whether the other searched knobs are listed. Without the list, sentences on several knobs of a
            study are the same, so that they can be said once.
    """
    trials = [trial for level in comparison.levels for trial in level.trials]
    untrained = sum(trial.reason == "infeasible" for trial in trials)
    pruned = sum(trial.state == "PRUNED" for trial in trials) - untrained
    keeps = comparison.report.constraint_words
    found = [
        *_equality(comparison, names_others),
        *_intervals(comparison),
        *_differences(comparison),
        *_repeats(comparison),
        *_left_out(comparison),
    ]
    untried = [level.label for level in comparison.levels if not level.trials]
    if untried:
        found.append(f"Never tried: {', '.join(untried)}.")
    few = [level.label for level in comparison.levels if level.trials and len(level.completed) < 3]
    if few:
        found.append(f"Fewer than three completed trials: {', '.join(few)}.")
    broken = sum(len(level.values) - len(level.allowed) for level in comparison.levels)
    if broken:
        found.append(f"Completed trials that break {keeps}: {broken}; means hold them, `best` not.")
    if pruned:
        found.append(f"Means leave out {pruned} pruned trials, which tend to be the worse ones of their level.")
    if untrained:
        found.append(f"Not trained, since their model breaks {keeps}: {counted(untrained, 'trial')}.")
    return found


def shared_first(each: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """The sentences that the comparisons of a study share, and for each comparison the sentences that are left.

    A sentence is shared if all comparisons have it, or if it is general and at least two have it. A single comparison
    shares nothing.
    """
    if len(each) < 2:
        return [], [list(own) for own in each]
    count = Counter(sentence for own in each for sentence in own)
    shared = [said for said in count if count[said] == len(each) or (count[said] > 1 and said in _GENERAL)]
    return shared, [[sentence for sentence in own if sentence not in shared] for own in each]


def _equality(comparison: "Comparison", names_others: bool) -> Iterator[str]:
    """Whether the conditions of the levels were equal, and why they were not."""
    others = ", ".join(comparison.others)
    if others and not names_others:
        others = "the other knobs"
    # it goes through all knobs of all trials, so only where it is told
    defaults = "; ".join(_differing(comparison)) if not others or comparison.is_balanced else ""
    if len(comparison.tried) == 1:
        yield f"Only {comparison.tried[0].label} was tried, so there is nothing to compare."
    elif comparison.is_each_at_its_own:
        yield f"Each level has one configuration, with other knobs of its own: {_own_configurations(comparison)}."
    elif others and comparison.is_balanced_but_for_trainings:
        yield (
            f"Not under equal conditions: every level that was tried had the same values of {others}, but not every "
            f"configuration has all its {comparison.report.record.spec.trainings} trainings."
        )
    elif others and comparison.is_balanced and defaults:
        yield (
            f"Not under equal conditions: every level that was tried had the same suggestions for {others}, but they "
            f"differ in {defaults}."
        )
    elif others and comparison.is_balanced:
        yield f"Under equal conditions: every level that was tried had the same values of {others}."
    elif others:
        favours = comparison.report.record.spec.sampler.name not in IMPARTIAL
        yield (
            f"Not under equal conditions: {others} varied at the same time"
            f"{', and the sampler tried more of what looked good' if favours else ''}."
        )
        yield BEST_SENTENCE
    elif defaults:
        yield f"Not under equal conditions: nothing else was searched, but levels differ in {defaults}."
    else:
        yield "Under equal conditions: nothing else was searched."


def _differing(comparison: "Comparison") -> Iterator[str]:
    """What training used differently from level to level though nobody searched it: defaults, and scaled values."""
    spec = comparison.report.record.spec
    for name in spec.vocabulary.knobs:
        dimension = spec.search_space.get(name)
        is_scaled = isinstance(dimension, Range) and dimension.per is not None
        if name == comparison.knob or (name == "seed" and comparison.repeats is not None):
            continue
        if dimension is not None and not is_scaled:
            continue
        used = [
            {trial.config[name] for trial in level.completed if name in trial.config} for level in comparison.levels
        ]
        taken = [values for values in used if values]
        if all(values == taken[0] for values in taken):  # or only one level takes it
            continue
        if is_scaled:
            yield f"{name}, which goes with {comparison.knob}"
        else:
            each = zip(comparison.levels, used, strict=True)
            shown = ", ".join(f"{level.label}: {listed(values)}" for level, values in each if values)
            yield f"{name} ({shown})"


def _own_configurations(comparison: "Comparison") -> str:
    """The other knobs of each level's one configuration, where there is only one."""
    each = {level.label: level.completed[0].searched for level in comparison.compared}
    return "; ".join(
        f"{label} with {', '.join(f'{name} {figure(values[name])}' for name in comparison.others if name in values)}"
        for label, values in each.items()
    )


def _intervals(comparison: "Comparison") -> Iterator[str]:
    """Why means have no intervals, where they have none."""
    if not comparison.is_random_sample and any(len(level.completed) > 2 for level in comparison.levels):
        yield _NO_INTERVALS


def _differences(comparison: "Comparison") -> Iterator[str]:
    """What the differences of the levels say."""
    if comparison.paired is None or comparison.leader is None:
        return
    behind: list[str] = []
    open_: list[str] = []
    for level in comparison.compared:
        found = comparison.difference(level)
        if found is not None:
            (behind if abs(found[0]) > found[1] else open_).append(level.label)
    yield (
        f"Differences are paired: each level against {comparison.leader.label}, the best mean, over the same "
        f"{comparison.paired.blocks} {_blocks(comparison)}; their 95 % intervals hold for all of them together (Tukey)."
    )
    if behind:
        yield f"Behind it by more than chance: {', '.join(behind)}."
    if open_:
        yield f"Not settled: {', '.join(open_)}."


def _blocks(comparison: "Comparison") -> str:
    """What the levels are compared over."""
    others = ", ".join(comparison.others)
    if comparison.repeats is None or comparison.knob == "seed":
        return f"combinations of {others}"
    if not others or comparison.is_each_at_its_own:
        return comparison.repeats.what
    return f"combinations of {others} and {comparison.repeats.what.removesuffix('s')}"


def _repeats(comparison: "Comparison") -> Iterator[str]:
    """What the standard errors and the best configurations of a study with `repeats` are."""
    if any(comparison.standard_error(level) is not None for level in comparison.tried):
        what = comparison.repeats.what if comparison.repeats else ""
        others = f", with {', '.join(comparison.others)} as they are" if comparison.others else ""
        yield f"The standard error of a mean is over {what} alone{others}."
    if any(_has_both(comparison, level) for level in comparison.tried):
        yield _EITHER
    unnamed = [each.label for each in comparison.tried if _has_hidden_best(comparison, each)]
    if unnamed:
        yield (
            f"No best configuration is shown for {', '.join(unnamed)}: one that lacks trainings is better so far "
            f"than those that have all."
        )


def _has_both(comparison: "Comparison", level: Level) -> bool:
    """Whether a level has a standard error and an interval, both over its seeds or folds."""
    return comparison.standard_error(level) is not None and comparison.half_width(level) is not None


def _has_hidden_best(comparison: "Comparison", level: Level) -> bool:
    means = comparison.report.record.means or ()
    own = {trial.number for trial in level.completed}
    return (
        comparison.knob != "seed"
        and comparison.best(level) is None
        and any(each.number in own and each.feasible and each.value is not None for each in means)
    )


def _left_out(comparison: "Comparison") -> Iterator[str]:
    """Which levels are not compared, since they have fewer trainings than others."""
    fallen = [level.label for level in comparison.tried if comparison.fell_behind(level)]
    if fallen:
        yield (
            f"Left out of the differences, since configurations of theirs fell behind and were not trained "
            f"{comparison.report.record.spec.trainings} times (`repeats.stop_early`): {', '.join(fallen)}."
        )
    lacking = [
        each.label for each in comparison.tried if comparison.lacks_trainings(each) and not comparison.fell_behind(each)
    ]
    if lacking and comparison.paired is not None:
        yield f"Left out too, since a training of theirs is missing or did not complete: {', '.join(lacking)}."
