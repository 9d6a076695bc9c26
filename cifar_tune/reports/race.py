"""The race of `finalize`, for people: in the terminal, in tables and in a picture."""

import math
from collections import Counter

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cifar_tune.markdown import inert, table
from cifar_tune.plotting import style
from cifar_tune.reports.objective import Scale, scale_of
from cifar_tune.reports.report import Report
from cifar_tune.storage.linked import FINALS, linked_name
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study.race_result import TIED, UNDECIDED, WITHDRAWN, WORSE, RacedTrial, RaceResult
from cifar_tune.wording import counted


def race_lines(record: StudyRecord, result: RaceResult) -> list[str]:
    """What a race has decided.

    Args:
        record: the study.
        result: of its race.
    """
    scale = scale_of(record.spec.objective.metric, record.spec.vocabulary)
    race, winner = result.record.race, result.winner
    lines = [winner_words(result, scale)]
    by_verdict = {verdict: [each for each in result.candidates if each.verdict == verdict] for verdict in _HEADS}
    for verdict, head in _HEADS.items():
        found = [each for each in by_verdict[verdict] if each is not winner]
        if found:
            lines.append(f"  {head}: {'; '.join(_words(each, scale) for each in found)}")
    if math.isnan(result.comparison.scatter):
        lines.append(f"  {_COARSE}")
    lines.append(f"  {cheapest_words(record, result, scale)}")
    lines.append(f"  {optimism_words(result, scale)}")
    lines.append(f"  all trainings: cifar-tune status {linked_name(race.study, FINALS)}")
    return lines


_COARSE = (
    "the figures of these trainings do not tell how much a training scatters, so no candidate is told from another"
)

_HEADS = {
    TIED: "tied, not told from the winner",
    UNDECIDED: "dropped, and not decided",
    WORSE: "worse",
    WITHDRAWN: "withdrawn, since a training failed",
}


def winner_words(result: RaceResult, scale: Scale) -> str:
    """Who has won, with the interval of its mean."""
    race, winner, found = result.record.race, result.winner, result.interval
    words = f"winner of the race: trial {winner.trial}"
    if found is None:
        return f"{words}, the only one that was left"
    blocks = race.rungs[-1].blocks
    on = (
        "each on other images than the study chose by"
        if race.uses_folds
        else "on the validation split of the study only"
    )
    if found.is_point:
        return (
            f"{words}, {scale.shown(found.mean)} in each of {counted(blocks, 'training')} with fresh seeds, {on}; all "
            f"gave the same, so these figures are too coarse for an interval"
        )
    return (
        f"{words}, {scale.shown(found.mean)} (95 % interval {scale.shown(found.low)} to {scale.shown(found.high)}), "
        f"the mean of {counted(blocks, 'training')} with fresh seeds, {on}"
    )


def optimism_words(result: RaceResult, scale: Scale) -> str:
    """How much better the study's best trial looked than it is."""
    best = result.candidates[0]
    if result.optimism is None:
        return f"measured optimism of the study: unknown, since its best trial, {best.trial}, was withdrawn"
    direction = "better" if result.optimism >= 0 else "worse"
    return (
        f"measured optimism of the study: its best trial, {best.trial}, had {scale.shown(best.studied)}, which is "
        f"{gap_words(abs(result.optimism), scale)} {direction} than the {scale.shown(best.mean)} of "
        f"{counted(len(best.values), 'fresh training')}"
    )


def cheapest_words(record: StudyRecord, result: RaceResult, scale: Scale) -> str:
    """Which of the tied finalists costs least."""
    cheapest = result.cheapest(record.trials)
    if cheapest is result.winner:
        return "no tied finalist is cheaper than the winner (multiply-adds of an image)"
    return f"the cheapest of the tied (multiply-adds of an image): {_words(cheapest, scale)}"


def _words(each: RacedTrial, scale: Scale) -> str:
    if each.failed is not None:
        return f"trial {each.trial} (trial {each.failed} of the race)"
    worse = "" if each.at_most_worse is None else f", at most {gap_words(each.at_most_worse, scale)} worse"
    return f"trial {each.trial}{worse}"


def gap_words(value: float, scale: Scale) -> str:
    """A difference of two values: `0.31 points`."""
    return f"{100 * value:.2f} points" if scale.is_share else f"{value:.4g}"


def race_rows(report: Report, result: RaceResult) -> list[tuple[str, ...]]:
    """A row per candidate under ROW_HEAD, the winner first."""
    scale = report.mean_scale
    return [
        (
            str(each.trial),
            scale.shown(each.studied),
            scale.shown(each.mean),
            str(len(each.values)),
            f"{each.rungs} of {len(result.record.race.rungs)}",
            "winner" if each is result.winner else each.verdict,
            "-" if each.at_most_worse is None or each is result.winner else gap_words(each.at_most_worse, scale),
        )
        for each in in_order(result)
    ]


ROW_HEAD = ("trial", "in the study", "mean of fresh trainings", "trainings", "rungs", "", "at most so much worse")


def in_order(result: RaceResult) -> list[RacedTrial]:
    """The winner first, then the others that were left, then those that were dropped, the last ones first."""
    left = [result.candidates[each] for each in result.ranked]
    others = [each for each in result.candidates if each not in left]
    return [*left, *sorted(others, key=lambda each: (-each.rungs, result.candidates.index(each)))]


_HOW = (
    "`cifar-tune finalize` trained the best trials again, with fresh seeds. After each rung those with the best means "
    "went on. All statements on how much worse a trial is at most hold together in 95 of 100 studies. A trial that was "
    "dropped early and is not decided is not equal to the winner: it had too few trainings to tell. The means in "
    "the table are over all fresh trainings of a trial. The winner's interval is that of the last rung alone, since "
    "earlier trainings have chosen it."
)


def race_section(report: Report) -> list[str]:
    """The section of `summary.md`; nothing where no race is over."""
    result = report.race
    if result is None:
        return []
    scale = report.mean_scale
    return [
        "## Race",
        f"**{inert(_sentence(winner_words(result, scale)))}** {_sentence(optimism_words(result, scale))} "
        f"{_sentence(cheapest_words(report.record, result, scale))}",
        *([_sentence(_COARSE)] if math.isnan(result.comparison.scatter) else []),
        _HOW,
        table(ROW_HEAD, race_rows(report, result), right=(0, 1, 2, 3, 6)),
    ]


def race_sentences(report: Report) -> list[str]:
    """The same sentences for the page."""
    result = report.race
    if result is None:
        return []
    words = (winner_words(result, report.mean_scale), optimism_words(result, report.mean_scale),
             cheapest_words(report.record, result, report.mean_scale))  # fmt: skip
    coarse = [_sentence(_COARSE)] if math.isnan(result.comparison.scatter) else []
    return [*map(_sentence, words), *coarse, _HOW.replace("`", "")]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def draw(report: Report) -> Figure | str:
    """Draw the candidates with their values in the study and all fresh ones, and the winner's interval."""
    result = report.race
    if result is None:
        return "No race is over."
    rows = in_order(result)
    figure = style.new_figure(8.4, 1.7 + 0.36 * len(rows))
    axes = figure.add_subplot()
    for height, each in enumerate(reversed(rows)):
        _row(axes, report, result, each, height)
    axes.set_yticks(range(len(rows)), [_label(each, result) for each in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(report.scale.axis_label)
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=3)
    style.title(figure, f"The race: trial {result.winner.trial} won")
    return figure


def _row(axes: Axes, report: Report, result: RaceResult, each: RacedTrial, height: int) -> None:
    on_axis = report.scale.on_axis
    is_winner = each is result.winner
    colour = style.ORANGE if is_winner else style.BLUE if each.verdict == TIED else style.GREY
    axes.scatter(
        [on_axis(each.studied)], [height], marker="D", s=26, facecolors="white", edgecolors=style.INK, linewidths=0.9,
        zorder=3, label="in the study",
    )  # fmt: skip
    if each.mean is None:
        return
    values = [on_axis(value) for value in each.values]
    heights = [height + offset for offset in _offsets(values)]
    axes.scatter(values, heights, s=18, color=colour, alpha=0.55, linewidths=0, zorder=2.5,
                 label=_GROUPS[is_winner, each.verdict == TIED])  # fmt: skip
    found = result.interval if is_winner else None
    mean = on_axis(each.mean if found is None else found.mean)
    axes.plot([mean] * 2, [height - 0.28, height + 0.28], color=colour, linewidth=2.2, zorder=4,
              label="mean; of the winner in the last rung" if is_winner else None)  # fmt: skip
    if found is not None and not found.is_point:
        axes.plot([on_axis(found.low), on_axis(found.high)], [height, height], color=colour, linewidth=6, alpha=0.22,
                  solid_capstyle="butt", zorder=2, label="95 % interval, last rung")  # fmt: skip


def _offsets(values: list[float]) -> list[float]:
    """How far each dot is moved up or down, so that all dots of equal values are seen."""
    seen: Counter[float] = Counter()
    offsets = []
    for value in values:
        count = seen[value]
        seen[value] += 1
        offsets.append((-1) ** count * 0.11 * ((count + 1) // 2))
    return offsets


_GROUPS = {
    (True, True): "fresh, the winner",
    (True, False): "fresh, the winner",
    (False, True): "fresh, tied",
    (False, False): "fresh, dropped",
}


def _label(each: RacedTrial, result: RaceResult) -> str:
    if each is result.winner:
        return f"trial {each.trial}"
    return f"trial {each.trial}, {each.verdict}"
