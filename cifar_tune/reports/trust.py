"""How far the figures of the best trial are to be trusted: intervals, and what choosing it did to them."""

import math
from collections.abc import Sequence

from cifar_tune.errors import enumerate_names
from cifar_tune.reports.guessing import no_better_than_guessing
from cifar_tune.reports.report import Report
from cifar_tune.statistics.shares import standard_error, wilson
from cifar_tune.storage.linked import FINALS, linked_name
from cifar_tune.storage.openings import RACE, Opening, times
from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study.race_result import RaceResult
from cifar_tune.wording import counted


def intervals(report: Report, trial: TrialRecord | None) -> dict[str, tuple[float, float]]:
    """Wilson's 95 % interval of each objective of a trial of the study that is an accuracy, by metric.

    It says what other validation images would have changed. What another seed would, and that the best of many was
    chosen, it does not say. Empty without a trial, where the number of validation images is unknown, and with
    `repeats`, where the figure is a mean over seeds or folds: it has a standard error of its own.
    """
    images = report.record.data.get("val_images")
    if trial is None or not images or trial.repeated is not None:
        return {}
    measured = zip(report.record.spec.objectives, report.scales, trial.values, strict=False)
    return {each.metric: wilson(value, images) for each, scale, value in measured if scale.is_accuracy}


def trust_words(report: Report) -> str:
    """Sentences on what the study has come to: the winner of a race, else the best trial. One of them there must be."""
    record = report.record
    guessing = no_better_than_guessing(record, report.raced)
    guessing = f" {guessing}" if guessing else ""
    if report.raced is not None:
        return f"{_raced_words(report, report.raced)}{guessing}"
    images = record.data.get("val_images")
    on = f"{images:,} validation images" if images else "the validation split"
    subject = "measured" if record.spec.has_several_objectives else f"this is the {report.scale.words}"
    words = f"How far to trust it: {subject} on {on}"
    found = intervals(report, report.best)
    if found:
        of_metric = {name: f"of {name} " if record.spec.has_several_objectives else "" for name in found}
        decimals = report.scale.decimals
        each = (f"95 % interval {of_metric[name]}{interval_words(ends, decimals)}" for name, ends in found.items())
        words += f", {', '.join(each)} for new images, and this training alone"
    repeated = report.best.repeated if report.best else None
    if repeated is not None and record.spec.repeats is not None:
        words += (
            f"; it is the mean of {len(repeated.numbers)} trainings on as many {record.spec.repeats.what} (trials "
            f"{', '.join(map(str, repeated.numbers))}), with a standard error of {error_words(report)}, and was chosen "
            f"as the best of {counted(len(report.ranked), 'configuration')}"
        )
        words += ", so it is optimistic" if len(report.ranked) > 1 else ""
    elif record.finished > 1:
        words += f"; it was chosen as the best of {record.finished:,} trials, so it is optimistic"
        words += ", and the interval does not allow for that" if found else ""
    words += f". The test set was opened {times(record.openings)}" if record.openings else (
        ". The test split was not read")  # fmt: skip
    return f"{words}.{guessing}{_optimism_words(report)}"


def _raced_words(report: Report, result: RaceResult) -> str:
    """The same where a race has decided it."""
    record, scale, found = report.record, report.mean_scale, result.interval
    on = "each on other images than the study chose by" if result.record.race.uses_folds else _ON_SPLIT
    if found is None:
        words = f"{result_figure(report)} is the mean of {counted(len(result.winner.values), 'fresh training')}, {on}"
    else:
        ends = f"{scale.shown(found.low)} to {scale.shown(found.high)}"
        new = "new images and new seeds" if result.record.race.uses_folds else "these images and new seeds"
        interval = (
            "all gave the same, so these figures are too coarse for an interval"
            if found.is_point
            else f"95 % interval {ends} for {new}"
        )
        trainings = counted(result.record.race.rungs[-1].blocks, "fresh training")
        words = f"{scale.shown(found.mean)} is the mean of {trainings}, {on}; {interval}"
    words = f"How far to trust it: {words}. {beside_words(report)}"
    if record.openings:
        words += f" The test set was opened {times(record.openings)}."
        last = next((each for each in reversed(record.openings) if each.test_accuracy is not None), None)
        difference = None if last is None else fall(record, last, result)
        if last is not None and last.chosen == RACE and difference is not None:
            points, error = (100 * each for each in difference)
            words += (
                f" On the test images this configuration is right for {(last.test_accuracy or 0.0) * 100:.2f} %, "
                f"{abs(points):.2f} points {'less' if points >= 0 else 'more'} than in the race (standard error "
                f"{error:.2f} points, from the numbers of images alone). The networks that were tested had the "
                f"validation images too."
            )
        return words
    return f"{words} The test split was not read."


_ON_SPLIT = "on the validation split by which the study chose, so it may still be optimistic"


def result_figure(report: Report) -> str:
    """The figure of what the study has come to: of a race's winner the mean of its fresh trainings."""
    raced, chosen = report.raced, report.chosen
    if raced is not None and raced.mean is not None:
        return report.mean_scale.shown(raced.mean)
    return report.scale.shown(None if chosen is None else chosen.value)


def beside_words(report: Report) -> str:
    """What is to be known beside the winner of a race: its own value in the study, the best trial, and later trials."""
    result, best, winner, scale = report.raced, report.best, report.winner, report.mean_scale
    if result is None or winner is None or best is None:
        return ""
    words = f"In the study, trial {winner.number} had {scale.shown(winner.value)}."
    raced = next((each for each in result.candidates if each.trial == best.number), None)
    if best.number == winner.number:
        words = f"In the study it had {scale.shown(winner.value)}, and was the best trial there too."
    elif raced is not None:
        fresh = f" Its fresh trainings had {scale.shown(raced.mean)} in the mean." if raced.mean is not None else ""
        words += (
            f" The best trial of the study by its own value is trial {best.number} with {scale.shown(best.value)}; it "
            f"lost the race.{fresh}"
        )
    later = report.record.finished - result.record.race.finished_trials
    if later > 0:
        took = "took" if later == 1 else "have taken"
        words += f" Since the race was planned, {counted(later, 'trial')} more finished, and {took} no part in it."
        if raced is None:
            words += f" One of them, trial {best.number}, has the best value of the study, {scale.shown(best.value)}."
        words += f" To race them, first remove the race: cifar-tune delete {linked_name(report.record.name, FINALS)}."
    return words


def repeats_words(report: Report) -> str:
    """What is shown of a study with `repeats`, as sentences; empty without."""
    repeats = report.record.spec.repeats
    if repeats is None:
        return ""
    words = (
        f"Each configuration is trained on {repeats.count} {repeats.what}, the same for all. What is ranked, drawn and "
        f"analysed are the {counted(len(report.completed), 'configuration')} with all of them, by the means of their "
        f"figures; each has the number, and the learning curve, of its last training."
    )
    fallen = len(report.record.fallen)
    if not fallen:
        return words
    return f"{words} Others fell behind and were trained less often: {counted(fallen, 'configuration')}."


def error_words(report: Report) -> str:
    """The standard error of the best configuration's mean, with its unit; a dash where there is none."""
    repeated = report.best.repeated if report.best else None
    return "-" if repeated is None else report.scale.shown_error(repeated.standard_errors[0])


def interval_words(ends: Sequence[float], decimals: int = 2) -> str:
    """`78.87 to 81.08 %`."""
    return f"{ends[0] * 100:.{decimals}f} to {ends[1] * 100:.{decimals}f} %"


def fall(record: StudyRecord, opening: Opening, race: RaceResult | None = None) -> tuple[float, float] | None:
    """By how much the test accuracy is below the validation accuracy that the trial was chosen for.

    That is the optimism of the choice less what training on the validation images too has gained. Of the winner of
    the race it is the mean of its fresh trainings that counts.

    Args:
        record: the study.
        opening: of its test set.
        race: what its race has decided; None where none is over.

    Returns:
        The difference and its standard error, by the numbers of images alone; None where the objective is another
        metric, or there is no result.
    """
    val_images = record.data.get("val_images")
    share = opening.test_accuracy
    value = opening.value
    if race is not None and opening.chosen == RACE and opening.trial == race.winner.trial and race.mean is not None:
        value, val_images = race.mean, (val_images or 0) * race.splits
    if share is None or value is None or not opening.test_images or not val_images:
        return None
    if record.spec.objective.metric not in ("val_accuracy", "best_val_accuracy"):
        return None
    error = math.hypot(standard_error(value, val_images), standard_error(share, opening.test_images))
    return value - share, error


def _optimism_words(report: Report) -> str:
    """What the first test of the best trial shows of the optimism of the choice.

    An opening for another trial shows nothing of it. A later test of the same trial is no better than the first one.
    """
    openings = report.record.openings
    if not openings or report.best is None:
        return ""
    own = [each for each in openings if each.study is None and each.trial == report.best.number]
    if not own:
        subjects = enumerate_names(list(dict.fromkeys(each.subject for each in openings)), "and")
        return f" It was not opened for trial {report.best.number}, but for {subjects}."
    tested = next((each for each in own if each.test_accuracy is not None), own[0])
    found = fall(report.record, tested)
    if found is None:
        return ""
    value, share = tested.value or 0.0, tested.test_accuracy or 0.0
    difference, error = (100 * each for each in found)
    return (
        f" Measured optimism: trial {tested.tested} had {value * 100:.2f} % on the validation images, and its "
        f"configuration {share * 100:.2f} % on the test images, {abs(difference):.2f} points "
        f"{'lower' if difference >= 0 else 'higher'} (standard error {error:.2f} points, from the numbers of images "
        f"alone). The final training had the validation images too, so the optimism may be larger than this difference."
    )
