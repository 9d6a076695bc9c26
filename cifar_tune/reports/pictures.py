"""The pictures of a report. A new one is one file with `draw(report)`, and one entry here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from cifar_tune.reports import (
    history,
    importance,
    learning_curves,
    parallel_coordinates,
    pareto,
    race,
    slices,
    test_pictures,
)
from cifar_tune.reports.report import Report
from cifar_tune.reports.tested import newest_analysis, of_network


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture.

    Attributes:
        heading: its heading in the summary.
        caption: what it shows and how to read it.
        draw: returns the figure, or the sentence that says why there is nothing to see.
        has_photographs: whether it needs more colours than a palette holds.
    """

    heading: str
    caption: str
    draw: Callable[[Report], Figure | str]
    has_photographs: bool = False


PICTURES: Mapping[str, Picture] = {
    "history.png": Picture(
        "Course of the study",
        "The objective of each trial by its number, and the best completed trial so far.",
        history.draw,
    ),
    "importance.png": Picture(
        "Importance of the knobs",
        "How much each searched knob had to do with reaching the best trials (PED-ANOVA, completed trials).",
        importance.draw,
    ),
    "slices.png": Picture(
        "Each knob by itself",
        "The objective against each searched knob. The other knobs vary at the same time.",
        slices.draw,
    ),
    "parallel_coordinates.png": Picture(
        "All knobs together",
        "Each line is a completed trial, the darker the better; the thick one is the best.",
        parallel_coordinates.draw,
    ),
    "learning_curves.png": Picture(
        "Learning curves",
        "Accuracy and loss by epoch of the best trials; pruned ones behind. Training figures are taken while training, "
        "with augmentation, dropout and label smoothing where the trial has them.",
        learning_curves.draw,
    ),
}
"""By file name, in the order of the summary."""

PARETO: Mapping[str, Picture] = {
    "pareto.png": Picture(
        "The objectives against each other",
        "Completed trials. None on the Pareto front is dominated: no other is at least as good in every objective and "
        "better in one. Those that break a constraint are left out of it.",
        pareto.draw,
    )
}
"""The picture of studies with several objectives."""


TEST_SET: Mapping[str, Picture] = {
    "test_classes.png": Picture(
        "Classes of the test set",
        "How many test images of each class are right, and for which class the others were taken.",
        test_pictures.draw_classes,
    ),
    "test_calibration.png": Picture(
        "Calibration on the test set",
        "Of the test images that are given a class with probability 0.8, eight in ten should be right; and so on.",
        test_pictures.draw_calibration,
    ),
    "test_mistakes.png": Picture(
        "Mistakes on the test set",
        "The wrong answers that the model was surest of.",
        test_pictures.draw_mistakes,
        has_photographs=True,
    ),
}
"""The pictures of studies whose test set was opened; no test image is read for them."""


RACE: Mapping[str, Picture] = {
    "race.png": Picture(
        "The race for the best",
        "The candidates of `finalize`, the winner on top: the value that each had in the study, and those of its "
        "fresh trainings.",
        race.draw,
    )
}
"""The picture of studies whose best trials have raced."""


_OF_LINKED: Mapping[str, str] = {
    "history.png": "The objective of each training by its number.",
    "learning_curves.png": "Accuracy and loss of the first trainings, epoch by epoch.",
}
"""The captions of the pictures of studies that `finalize` has made: nothing is searched in them."""


def pictures_of(report: Report) -> Mapping[str, Picture]:
    """The pictures of a study, by file name, in the order of the summary."""
    if report.is_linked:
        return {file: replace(PICTURES[file], caption=caption) for file, caption in _OF_LINKED.items()}
    front = PARETO if report.record.spec.has_several_objectives else {}
    raced = {} if report.race is None else RACE
    found = newest_analysis(report)
    network = of_network(found[0]) if found else ""
    alone = f" Of {network} alone." if network else ""
    tested = {
        file: replace(picture, caption=picture.caption + alone)
        for file, picture in TEST_SET.items()
        if found is not None
    }
    return {**tested, **raced, **front, **PICTURES}
