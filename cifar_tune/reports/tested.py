"""What a report says of the test set: the result first, then every opening, classes, calibration and mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cifar_tune.knobs.metrics import VALIDATION
from cifar_tune.markdown import code, inert, table
from cifar_tune.reports.guessing import no_better_on_test
from cifar_tune.reports.objective import scale_of
from cifar_tune.reports.report import Report
from cifar_tune.reports.trust import interval_words
from cifar_tune.statistics.predictions import class_accuracies
from cifar_tune.statistics.shares import wilson
from cifar_tune.storage.analyses import Analysis
from cifar_tune.storage.openings import CONFIG, RACE, Opening, elsewhere_words, times
from cifar_tune.wording import counted

_MOST_CLASSES = 100
"""Rows of a table of classes; of more, those with the smallest accuracy."""


@dataclass(frozen=True, slots=True)
class Result:
    """The newest result on the test set.

    Attributes:
        opening: which has one.
        accuracy: fraction of the test images that is right.
        images: how many there are.
    """

    opening: Opening
    accuracy: float
    images: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy, for new images; of several networks for new seeds too."""
        return opening_interval(self.opening, self.accuracy, self.images)

    @property
    def shown(self) -> str:
        """`90.00 %`."""
        return f"{self.accuracy * 100:.2f} %"

    @property
    def words(self) -> str:
        """What follows the figure, up to the name of what was tested."""
        on = f"on {counted(self.images, 'test image')}"
        if not self.opening.networks:
            return f"test accuracy, 95 % interval {interval_words(self.interval)}, {on}"
        words = (
            f"test accuracy, the mean of {counted(len(self.opening.networks), 'network')} {on}; 95 % interval for new "
            f"images and new seeds {interval_words(self.interval)}"
        )
        if self.opening.same_images is not None:
            words += f", for these images and new seeds {interval_words(self.opening.same_images)}"
        return words


def opening_interval(opening: Opening, accuracy: float, images: int) -> tuple[float, float]:
    """An opening's 95 % interval for new images; of one network Wilson's, which knows no other seeds."""
    if opening.new_images is None:
        return wilson(accuracy, images)
    low, high = opening.new_images
    return low, high


def newest_result(report: Report) -> Result | None:
    """The newest result; None where there is none."""
    for opening in reversed(report.record.openings):
        if opening.test_accuracy is not None and opening.test_images:
            return Result(opening, opening.test_accuracy, opening.test_images)
    return None


def newest_analysis(report: Report) -> tuple[Opening, Analysis] | None:
    """The newest opening of which more is known than loss and accuracy, and that; None where there is none."""
    for opening in reversed(report.record.openings):
        if opening.analysis is not None:
            return opening, opening.analysis
    return None


def of_network(opening: Opening) -> str:
    """Of which network the classes, the calibration and the mistakes are; empty where one was tested alone."""
    return f"the network with seed {opening.seed}" if opening.networks else ""


def of_network_words(opening: Opening) -> str:
    """The same as a sentence."""
    if not opening.networks:
        return ""
    return (
        f"They are those of {of_network(opening)} alone, which is the one that was kept; the figures above are means "
        f"of {counted(len(opening.networks), 'network')}."
    )


def caution(report: Report) -> str:
    """What weighs on the result, in a few sentences: a guess that is as good, and further openings; else empty."""
    others = elsewhere_words(report.record.elsewhere)
    found = newest_result(report)
    guessing = "" if found is None else no_better_on_test(found.opening)
    failures = "" if found is None else found.opening.failure_words
    return " ".join(words for words in (guessing, failures, _caution(report.record.openings), others) if words)


def _caution(openings: Sequence[Opening]) -> str:
    if len(openings) < 2:
        return ""
    first = openings[0]
    words = (
        f"The test set was opened {times(openings)}. A choice that was made with a look at an earlier result makes the "
        f"later ones optimistic"
    )
    if first.test_accuracy is None or not first.test_images:
        return f"{words}; the first result was lost."
    ends = interval_words(opening_interval(first, first.test_accuracy, first.test_images))
    return f"{words}; the first result was {first.test_accuracy * 100:.2f} % ({ends}), for {first.subject}."


def later_words(report: Report) -> list[str]:
    """What became of the study since the test set was opened: sentences."""
    openings = report.record.openings
    words = []
    later = report.record.finished - openings[-1].finished_trials
    if later:
        words.append(f"Trials that have finished since: {later:,}.")
    tested = {opening.trial for opening in openings if opening.study is None}
    if report.best and report.best.number not in tested:
        when = " by now" if later else " of the study"
        if not later and openings[-1].chosen == RACE:
            words.append(f"Trial {report.best.number} has the best value{when}, but lost the race, and was not tested.")
        elif openings[-1].chosen == CONFIG:
            words.append(f"Trial {report.best.number} is the best one{when}; what was tested came from a file.")
        else:
            words.append(f"Trial {report.best.number} is the best one{when}, and was not tested.")
    return words


def opened_words(opening: Opening) -> str:
    """When it was opened, and by whom, for a table."""
    return opening.opened if opening.person is None else f"{opening.opened}, by {opening.person} on {opening.host}"


def chosen_words(opening: Opening) -> str:
    """How what was tested was chosen, for a table."""
    return {"best": "the best", "race": "by a race", "trial": "by its number", "config": "from a file"}.get(
        opening.chosen, opening.chosen
    )


def images_words(opening: Opening) -> str:
    """What it was trained on, for a table."""
    return f"{opening.train_images:,}{' (those of the study)' if opening.images == 'study' else ''}"


def opening_cells(opening: Opening) -> tuple[str, str, str, str]:
    """Test images, loss, accuracy, and its interval for other images."""
    share = opening.test_accuracy
    if share is None or opening.test_images is None:
        return "-", "-", "result lost", "-"
    return (
        f"{opening.test_images:,}",
        "not finite" if opening.test_loss is None else f"{opening.test_loss:.4f}",
        f"{share * 100:.2f} %",
        interval_words(opening_interval(opening, share, opening.test_images)),
    )


def further_metrics(report: Report, opening: Opening) -> list[tuple[str, str]]:
    """Name and value of each further metric of the study on the test set, such as `test_macro_f1`."""
    vocabulary = report.record.spec.vocabulary
    return [
        (name, scale_of(f"{VALIDATION}{name.removeprefix('test_')}", vocabulary).shown(value))
        for name, value in opening.test_metrics.items()
    ]


def class_rows(analysis: Analysis) -> list[tuple[str, str, str, str]]:
    """Of each class: name, test images, accuracy, and what it was most often taken for."""
    confusion = analysis.confusion
    rows = []
    for index, (name, images, right) in enumerate(class_accuracies(analysis.classes, confusion)):
        others = confusion[index].copy()
        others[index] = 0
        most = int(np.argmax(others))
        taken = f"{analysis.classes[most]} ({others[most]:,})" if others[most] else "-"
        share = right / images if images else 1.0
        rows.append((share, (name, f"{images:,}", f"{share * 100:.1f} %" if images else "-", taken)))
    if len(rows) > _MOST_CLASSES:
        rows = sorted(rows, key=lambda row: row[0])[:_MOST_CLASSES]
    return [cells for _, cells in rows]


def calibration_words(analysis: Analysis) -> str:
    """The calibration error, with the bins that it comes from, and which way it goes."""
    total = sum(each.images for each in analysis.bins)
    confidence = sum(each.images * (each.confidence or 0.0) for each in analysis.bins) / total
    gap = 100 * (confidence - (total - analysis.wrong) / total)
    return (
        f"Expected calibration error: {100 * analysis.calibration_error:.2f} points, over {len(analysis.bins)} bins of "
        f"equal width. On average the model gave its answers a probability of {100 * confidence:.2f} %, "
        f"{abs(gap):.2f} points {'more' if gap >= 0 else 'less'} than the share that is right."
    )


def test_json(report: Report) -> dict[str, Any] | None:
    """The newest result for programs; None where there is none."""
    found = newest_result(report)
    if found is None:
        return None
    return {
        "accuracy": found.accuracy,
        "interval": list(found.interval),
        "images": found.images,
        "trial": found.opening.trial,
        "source": found.opening.source,
        "openings": len(report.record.openings),
    }


def result_words(report: Report) -> list[str]:
    """The head of the summary: the newest result, and what several openings mean; nothing without one."""
    found = newest_result(report)
    if found is None:
        return []
    words = f"**{found.shown}** {found.words}: {inert(found.opening.subject)}."
    return [" ".join((words, inert(caution(report)))).rstrip()]


def test_set(report: Report) -> list[str]:
    """A section with every opening of the test split; nothing where it was not opened."""
    openings = report.record.openings
    if not openings:
        return []
    words = (
        f"The test set was opened **{times(openings)}**, by `cifar-tune finalize`, which trains a configuration on "
        f"images of the training and of the validation split together."
    )
    words += "".join(f" **{sentence}**" for sentence in later_words(report))
    if len(openings) > 1:
        words += " A choice that was made with a look at an earlier result makes the later ones optimistic."
    if others := elsewhere_words(report.record.elsewhere):
        words += f" {inert(others)}"
    rows = [
        (
            inert(opened_words(opening)),
            inert(opening.tested),
            chosen_words(opening),
            str(opening.epochs),
            images_words(opening),
            *opening_cells(opening),
        )
        for opening in openings
    ]
    header = (
        "opened", "trial", "chosen", "epochs", "trained on", "test images", "test loss", "test accuracy",
        "95 % interval",
    )  # fmt: skip
    parts = ["## Test set", words, table(header, rows, right=(1, *range(3, len(header))))]
    for opening in openings:
        figures = ", ".join(f"{code(name)} {shown}" for name, shown in further_metrics(report, opening))
        means = f", means of {counted(len(opening.networks), 'network')}" if opening.networks else ""
        parts += [f"Further metrics of {inert(opening.subject)}{means}, opened {opening.opened}: {figures}."] * bool(
            figures
        )
    found = newest_analysis(report)
    if found is None:
        return parts
    opening, analysis = found
    classes = [(inert(name), images, share, inert(taken)) for name, images, share, taken in class_rows(analysis)]
    return [
        *parts,
        f"Classes, calibration and mistakes are those of {inert(opening.subject)}, opened {opening.opened}. "
        f"{of_network_words(opening)}".rstrip(),
        table(("class", "test images", "accuracy", "most often taken for"), classes, right=(1, 2)),
        calibration_words(analysis),
    ]
