"""What the report says of the test split once it was opened."""

import math

from cifar_tune.reports.report import Report
from cifar_tune.reports.tables import table
from cifar_tune.storage.openings import Opening, times


def test_set(report: Report) -> list[str]:
    """A section with every opening of the test split; nothing where it was not opened."""
    openings = report.record.openings
    if not openings:
        return []
    last = openings[-1]
    words = (
        f"The test set was opened **{times(openings)}**, by `cifar-tune finalize`, which trains a configuration on the "
        f"images of the training and of the validation split."
    )
    later = report.record.finished - last.finished_trials
    if later:
        words += f" Trials that have finished since: {later:,}."
    tested = {opening.trial for opening in openings if opening.study is None}
    if report.best and report.best.number not in tested:
        words += f" **Trial {report.best.number} is the best one by now, and was not tested.**"
    if len(openings) > 1:
        words += " A choice that was made with a look at an earlier result makes the later ones optimistic."
    rows = [
        (opening.opened, opening.tested, str(opening.epochs), f"{opening.train_images:,}", *_tested(opening))
        for opening in openings
    ]
    header = ("opened", "trial", "epochs", "trained on", "test images", "test loss", "test accuracy", "standard error")
    return ["## Test set", words, table(header, rows, right=tuple(range(1, len(header))))]


def _tested(opening: Opening) -> tuple[str, str, str, str]:
    """Images, loss, accuracy and its standard error."""
    share = opening.test_accuracy
    if share is None or opening.test_images is None:
        return "-", "-", "result lost", "-"
    error = math.sqrt(share * (1 - share) / opening.test_images)
    return (
        f"{opening.test_images:,}",
        "not finite" if opening.test_loss is None else f"{opening.test_loss:.4f}",
        f"{share * 100:.2f} %",
        f"{error * 100:.2f} points",
    )
