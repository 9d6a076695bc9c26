"""How far the figures of the best trial are to be trusted: intervals, and what choosing it did to them."""

import math
from collections.abc import Sequence

from cifar_tune.errors import enumerate_names
from cifar_tune.reports.report import Report
from cifar_tune.statistics.shares import standard_error, wilson
from cifar_tune.storage.openings import Opening, times
from cifar_tune.storage.records import StudyRecord
from cifar_tune.wording import counted


def intervals(report: Report) -> dict[str, tuple[float, float]]:
    """Wilson's 95 % interval of each objective of the best trial that is an accuracy, by metric.

    It says what other validation images would have changed. What another seed would, and that the best of many was
    chosen, it does not say. Empty without a best trial, where the number of validation images is unknown, and with
    `repeats`, where the best figure is a mean over seeds or folds: it has a standard error of its own.
    """
    images = report.record.data.get("val_images")
    if report.best is None or not images or report.best.repeated is not None:
        return {}
    measured = zip(report.record.spec.objectives, report.scales, report.best.values, strict=False)
    return {each.metric: wilson(value, images) for each, scale, value in measured if scale.is_accuracy}


def trust_words(report: Report) -> str:
    """One or several sentences on the best trial, which there must be."""
    record = report.record
    images = record.data.get("val_images")
    on = f"{images:,} validation images" if images else "the validation split"
    subject = "measured" if record.spec.has_several_objectives else f"this is the {report.scale.words}"
    words = f"How far to trust it: {subject} on {on}"
    found = intervals(report)
    if found:
        of_metric = {name: f"of {name} " if record.spec.has_several_objectives else "" for name in found}
        each = (f"95 % interval {of_metric[name]}{interval_words(ends)}" for name, ends in found.items())
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
    return f"{words}.{_optimism_words(report)}"


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


def interval_words(ends: Sequence[float]) -> str:
    """`78.87 to 81.08 %`."""
    return f"{ends[0] * 100:.2f} to {ends[1] * 100:.2f} %"


def fall(record: StudyRecord, opening: Opening) -> tuple[float, float] | None:
    """By how much the test accuracy is below the validation accuracy that the trial was chosen for.

    That is the optimism of the choice less what training on the validation images too has gained.

    Returns:
        The difference and its standard error, by the numbers of images alone; None where the objective is another
        metric, or there is no result.
    """
    val_images = record.data.get("val_images")
    share = opening.test_accuracy
    if share is None or opening.value is None or not opening.test_images or not val_images:
        return None
    if record.spec.objective.metric not in ("val_accuracy", "best_val_accuracy"):
        return None
    error = math.hypot(standard_error(opening.value, val_images), standard_error(share, opening.test_images))
    return opening.value - share, error


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
        f"{_BESIDE_RACE if report.race is not None and report.race.optimism is not None else ''}"
    )


_BESIDE_RACE = (
    " The race has measured the optimism too, against fresh trainings on validation images. Its figure differs: it has "
    "nothing of what other images and a training on more images change."
)
